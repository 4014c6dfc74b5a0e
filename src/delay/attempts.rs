//! Connecting to the first of several addresses, for clients that make their own system calls.

use crate::io::during;
use crate::sys::{Connect, Descriptor, Family, KernelHandle};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// The addresses of a server that are left to try.
///
/// ```text
///   connect ---> a socket ---> writable: finish ---> Connected
///                  ^                       |-------> InProgress: wait until it is again
///                  `---- Another ----------'         an error, from the last address
/// ```
#[derive(Clone, Debug)]
pub struct Attempts {
    addresses: Rc<[SocketAddr]>,
    /// The one that is tried.
    current: usize,
}

/// How an attempt stands.
#[derive(Debug)]
pub enum Attempt {
    /// The connection stands.
    Connected,
    /// It is under way: the socket becomes writable.
    InProgress,
    /// It failed, and this socket tries the next address in its place.
    Another(Descriptor),
}

impl Attempts {
    /// All of `addresses`.
    #[must_use]
    pub fn new(addresses: &Rc<[SocketAddr]>) -> Attempts {
        Attempts { addresses: Rc::clone(addresses), current: 0 }
    }

    /// A socket that connects to the first address where that does not fail at once.
    ///
    /// # Errors
    /// That of the last address, if it fails at all; `NotFound` if there is none.
    pub fn connect(&mut self) -> io::Result<Descriptor> {
        loop {
            let address = self.address()?;
            // Where the kernel lacks a family, an address of the other may do.
            let socket = KernelHandle::linux().socket(Family::of(&address));
            match socket.and_then(|socket| socket.connect(address).map(|_| socket)) {
                Ok(socket) => return Ok(socket),
                Err(error) => self.pass_over(error)?,
            }
        }
    }

    /// Asks how the connection of `socket` stands, by a second `connect(2)`: unlike `SO_ERROR`, it
    /// tells one that stands from one that is under way.
    ///
    /// # Errors
    /// As [`connect`](Attempts::connect).
    pub fn finish(&mut self, socket: &Descriptor) -> io::Result<Attempt> {
        match socket.connect(self.address()?) {
            Ok(Connect::Done) => Ok(Attempt::Connected),
            Ok(Connect::InProgress) => Ok(Attempt::InProgress),
            Err(error) => {
                self.pass_over(error)?;
                self.connect().map(Attempt::Another)
            }
        }
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.addresses.get(self.current).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Goes on to the next address; the error if this was the last.
    fn pass_over(&mut self, error: io::Error) -> io::Result<()> {
        let failed = self.address()?;
        self.current += 1;
        match self.addresses.get(self.current) {
            Some(_) => Ok(()),
            None => Err(during("connect", failed, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn an_address_that_refuses_is_passed_over_and_the_last_ones_error_arrives() {
        let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let mut attempts = Attempts::new(&[refusing, there].into());
        let mut socket = attempts.connect().unwrap();
        loop {
            match attempts.finish(&socket).unwrap() {
                Attempt::Connected => break,
                Attempt::InProgress => {}
                Attempt::Another(next) => socket = next,
            }
        }
        assert_eq!(socket.peer_address().unwrap(), there);
        let mut hopeless = Attempts::new(&[refusing].into());
        let error = hopeless.connect().and_then(|socket| hopeless.finish(&socket)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("connect {refusing}: ")), "{error}");
        let nothing = Attempts::new(&[].into()).connect().unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::NotFound);
    }
}

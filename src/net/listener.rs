//! Listening for connections.

use super::address::{Addresses, resolve};
use super::{TcpSocket, TcpStream};
use crate::reactor::{After, Direction, Watched};
use crate::sys::{Descriptor, is_connection_error};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A socket that listens for TCP connections.
///
/// Several tasks may accept on one listener at the same time: all that wait are woken when a
/// connection comes, and each connection goes to one of them.
#[derive(Debug)]
pub struct TcpListener {
    watched: Watched,
}

impl TcpListener {
    pub(super) fn new(watched: Watched) -> TcpListener {
        TcpListener { watched }
    }

    /// Listens at the first address of `target` at which that works, with `SO_REUSEADDR` and a
    /// backlog of 4,096; [`TcpSocket`] has the other options. Port 0 picks a free one.
    ///
    /// Cancel safety: nothing is left behind.
    ///
    /// # Errors
    /// Those of [`resolve`], and then the last address's: `AddrInUse`, `AddrNotAvailable`,
    /// `PermissionDenied` and the others of `bind(2)`.
    pub async fn bind(target: impl Addresses) -> io::Result<TcpListener> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in resolve(target).await? {
            match TcpSocket::listening(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Listens at `address`; as [`TcpListener::bind`] with nothing to look up.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
        TcpSocket::listening(address)
    }

    /// Waits for the next connection, and returns it with its peer's address.
    ///
    /// Connections that failed while they were queued (`accept(2)`, "Error handling") are passed
    /// over.
    ///
    /// Cancel safety: if it is dropped before it is done, no connection was taken.
    ///
    /// # Errors
    /// Out of descriptors or memory: the connection stays queued, and the next call tries again at
    /// once, so wait a little before it ([`is_exhaustion`](crate::sys::is_exhaustion) tells).
    /// If the listener belongs to another runtime; those of `epoll_ctl(2)`.
    pub fn accept(&self) -> Accept<'_> {
        Accept { listener: self, number: None }
    }

    fn poll_accept(
        &self,
        cx: &Context<'_>,
        number: &mut Option<u64>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            let accepted = self.watched.poll_shared_call(cx, Direction::Read, number, |listener| {
                listener.accept().map(|accepted| (accepted, After::MayBeMore))
            });
            return Poll::Ready(match ready!(accepted) {
                Ok((descriptor, peer)) => Ok((TcpStream::new(Watched::new(descriptor)), peer)),
                Err(error) if is_connection_error(&error) => continue,
                Err(error) => Err(crate::io::during("accept", "tcp", error)),
            });
        }
    }

    /// The address that it listens at.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.watched.descriptor().local_address()
    }

    /// Takes the listener out of its runtime, so that it can be sent to another thread and used
    /// under another runtime.
    #[must_use]
    pub fn detach(self) -> DetachedListener {
        let (descriptor, has_duplicates) = self.watched.into_parts();
        DetachedListener { descriptor, has_duplicates }
    }

    /// Takes over a listener of the standard library's.
    ///
    /// # Errors
    /// If it can't be made non-blocking. `Unsupported` under a kernel that is not Linux.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener::new(Watched::adopt(listener.into())?))
    }

    /// Makes it one of the standard library's, still non-blocking.
    ///
    /// # Errors
    /// `Unsupported` under a kernel that is not Linux; the listener is then closed.
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        Ok(self.watched.into_descriptor().into_owned_fd()?.into())
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.as_fd()
    }
}

/// A listener that belongs to no runtime, and may be sent to another thread.
#[derive(Debug)]
pub struct DetachedListener {
    descriptor: Descriptor,
    /// See [`Watched`]: it must not be forgotten on the way.
    has_duplicates: bool,
}

impl DetachedListener {
    /// The address that it listens at.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.descriptor.local_address()
    }

    /// Makes it a listener of whichever runtime first waits for it.
    #[must_use]
    pub fn attach(self) -> TcpListener {
        TcpListener::new(Watched::from_parts(self.descriptor, self.has_duplicates))
    }
}

/// The future of [`TcpListener::accept`].
#[derive(Debug)]
#[must_use = "accepting does nothing unless it is awaited"]
pub struct Accept<'a> {
    listener: &'a TcpListener,
    /// Its name among the waiters, once it waited.
    number: Option<u64>,
}

impl Future for Accept<'_> {
    type Output = io::Result<(TcpStream, SocketAddr)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.listener.poll_accept(cx, &mut this.number)
    }
}

impl Drop for Accept<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.listener.watched.leave(Direction::Read, number);
        }
    }
}

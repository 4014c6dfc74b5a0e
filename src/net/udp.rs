//! Datagrams.

use super::address::{Addresses, resolve};
use crate::io::during;
use crate::reactor::{After, Direction, Watched, current_kernel};
use crate::sys::{Descriptor, Family, SocketOption};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};

/// A socket for datagrams (`udp(7)`): each arrives whole, out of order, more than once, or never.
///
/// Several tasks may send and receive on one socket at the same time: each datagram goes to one of
/// them.
///
/// ```
/// use whirligig::net::UdpSocket;
///
/// whirligig::run(async {
///     let server = UdpSocket::bind("127.0.0.1:0").await?;
///     let client = UdpSocket::bind("127.0.0.1:0").await?;
///     client.send_to(b"ping", server.local_addr()?).await?;
///
///     let mut buffer = [0; 1500];
///     let (count, from) = server.recv_from(&mut buffer).await?;
///     assert_eq!((&buffer[..count], from), (&b"ping"[..], client.local_addr()?));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Options that are not here, such as broadcast and groups, are set on a socket of the standard
/// library's, before [`UdpSocket::from_std`].
#[derive(Debug)]
pub struct UdpSocket {
    watched: Watched,
}

impl UdpSocket {
    /// A socket at the first address of `target` at which that works. Port 0 picks a free one.
    ///
    /// Cancel safety: nothing is left behind.
    ///
    /// # Errors
    /// Those of [`resolve`], and then the last address's: `AddrInUse`, `AddrNotAvailable`,
    /// `PermissionDenied` and the others of `bind(2)`; out of descriptors or memory.
    pub async fn bind(target: impl Addresses) -> io::Result<UdpSocket> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in resolve(target).await? {
            match UdpSocket::bind_address(address) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A socket at `address`; as [`UdpSocket::bind`] with nothing to look up. One of IPv6 is for
    /// that alone (`IPV6_V6ONLY`).
    ///
    /// # Errors
    /// As [`UdpSocket::bind`].
    pub fn bind_address(address: SocketAddr) -> io::Result<UdpSocket> {
        let family = Family::of(&address);
        let socket = current_kernel().datagram_socket(family);
        let socket = socket.map_err(|error| during("socket", "udp", error))?;
        if family == Family::V6 {
            socket.set_option(SocketOption::V6Only, 1)?;
        }
        socket.bind(address).map_err(|error| during("bind", address, error))?;
        Ok(UdpSocket { watched: Watched::new(socket) })
    }

    /// Makes the first address of `target` for which that works the socket's peer: datagrams of
    /// [`send`](UdpSocket::send) go there, and only those that come from there are received.
    /// Nothing is sent.
    ///
    /// Cancel safety: the socket has its old peer, or the new one.
    ///
    /// # Errors
    /// Those of [`resolve`], and then the last address's: `NetworkUnreachable`, and the others of
    /// `connect(2)`; `EAFNOSUPPORT` for an address of IPv6 and a socket of IPv4.
    pub async fn connect(&self, target: impl Addresses) -> io::Result<()> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in resolve(target).await? {
            match self.watched.descriptor().connect(address) {
                Ok(_) => return Ok(()),
                Err(error) => last = during("connect", address, error),
            }
        }
        Err(last)
    }

    /// Sends a datagram to `address`, and returns how many bytes it has: all of them.
    ///
    /// Cancel safety: if it is dropped before it is done, nothing was sent.
    ///
    /// # Errors
    /// `EMSGSIZE` if it is too large (65,507 bytes at most by IPv4); `ConnectionRefused` if an
    /// earlier one found nobody, which is told of connected sockets only; those of `sendto(2)`. If
    /// the socket belongs to another runtime; those of `epoll_ctl(2)`.
    pub async fn send_to(&self, bytes: &[u8], address: SocketAddr) -> io::Result<usize> {
        let sent = self.call(Direction::Write, |socket| socket.send_to(bytes, address)).await;
        sent.map_err(|error| during("send", address, error))
    }

    /// Receives a datagram, and returns how many bytes it has and who sent it. What has no room in
    /// `buffer` is lost.
    ///
    /// Cancel safety: if it is dropped before it is done, nothing was received.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to), of `recvfrom(2)`.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.call(Direction::Read, |socket| socket.recv_from(buffer)).await;
        received.map_err(|error| during("receive", "udp", error))
    }

    /// Sends a datagram to the socket's peer; else as [`send_to`](UdpSocket::send_to).
    ///
    /// Cancel safety: if it is dropped before it is done, nothing was sent.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to); `EDESTADDRREQ` without a
    /// [`connect`](UdpSocket::connect).
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.call(Direction::Write, |socket| socket.send(bytes)).await;
        sent.map_err(|error| during("send", "udp", error))
    }

    /// Receives a datagram, from the socket's peer if it has one; else as
    /// [`recv_from`](UdpSocket::recv_from).
    ///
    /// Cancel safety: if it is dropped before it is done, nothing was received.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = self.call(Direction::Read, |socket| socket.recv(buffer)).await;
        received.map_err(|error| during("receive", "udp", error))
    }

    async fn call<T>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&Descriptor) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut waits = Waits { watched: &self.watched, direction, number: None };
        poll_fn(|cx| waits.poll(cx, &mut call)).await
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.watched.descriptor().local_address()
    }

    /// The address of its peer.
    ///
    /// # Errors
    /// `NotConnected` without a [`connect`](UdpSocket::connect).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.watched.descriptor().peer_address()
    }

    /// Takes the socket out of its runtime, so that it can be sent to another thread and used under
    /// another runtime.
    #[must_use]
    pub fn detach(self) -> DetachedUdpSocket {
        let (descriptor, has_duplicates) = self.watched.into_parts();
        DetachedUdpSocket { descriptor, has_duplicates }
    }

    /// Takes over a socket of the standard library's.
    ///
    /// # Errors
    /// If it can't be made non-blocking. `Unsupported` under a kernel that is not Linux.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        Ok(UdpSocket { watched: Watched::adopt(socket.into())? })
    }

    /// Makes it one of the standard library's, still non-blocking.
    ///
    /// # Errors
    /// `Unsupported` under a kernel that is not Linux; the socket is then closed.
    pub fn into_std(self) -> io::Result<std::net::UdpSocket> {
        Ok(self.watched.into_descriptor().into_owned_fd()?.into())
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.as_fd()
    }
}

/// A socket that belongs to no runtime, and may be sent to another thread.
#[derive(Debug)]
pub struct DetachedUdpSocket {
    descriptor: Descriptor,
    /// See [`Watched`]: it must not be forgotten on the way.
    has_duplicates: bool,
}

impl DetachedUdpSocket {
    /// Makes it a socket of whichever runtime first waits for it.
    #[must_use]
    pub fn attach(self) -> UdpSocket {
        UdpSocket { watched: Watched::from_parts(self.descriptor, self.has_duplicates) }
    }
}

/// One of those who wait for a direction; dropped, it takes its waker out.
struct Waits<'s> {
    watched: &'s Watched,
    direction: Direction,
    /// Its name among the waiters, once it waited.
    number: Option<u64>,
}

impl Waits<'_> {
    fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        call: &mut impl FnMut(&Descriptor) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        // A short datagram says nothing of whether there is another.
        self.watched.poll_shared_call(cx, self.direction, &mut self.number, |socket| {
            call(socket).map(|done| (done, After::MayBeMore))
        })
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.watched.leave(self.direction, number);
        }
    }
}

//! A socket before it listens or connects.

use super::connect::Connecting;
use super::{TcpListener, TcpStream};
use crate::io::during;
use crate::reactor::{Watched, current_kernel};
use crate::sys::{Family, SocketOption};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

/// Connections that a listener's queue holds by default; the kernel caps it at
/// `/proc/sys/net/core/somaxconn`.
const BACKLOG: u32 = 4096;

/// A TCP socket that neither listens nor is connected yet, for setting options before it does.
///
/// ```
/// use whirligig::net::{TcpSocket, TcpStream};
///
/// whirligig::run(async {
///     let socket = TcpSocket::new_v4()?;
///     socket.set_reuse_port(true)?;
///     socket.bind("127.0.0.1:0".parse().unwrap())?;
///     let listener = socket.listen(128)?;
///     let address = listener.local_addr()?;
///     TcpSocket::new_v4()?.connect(address).await.map(drop)
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TcpSocket {
    watched: Watched,
}

impl TcpSocket {
    /// A socket for IPv4.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::new(Family::V4)
    }

    /// A socket for IPv6, and only that (`IPV6_V6ONLY`).
    ///
    /// # Errors
    /// Out of descriptors or memory; `Unsupported` where the kernel has no IPv6.
    pub fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::new(Family::V6)
    }

    pub(super) fn new(family: Family) -> io::Result<TcpSocket> {
        let descriptor =
            current_kernel().socket(family).map_err(|error| during("socket", "tcp", error))?;
        if family == Family::V6 {
            descriptor.set_option(SocketOption::V6Only, 1)?;
        }
        Ok(TcpSocket { watched: Watched::new(descriptor) })
    }

    #[inline]
    pub(super) fn into_watched(self) -> Watched {
        self.watched
    }

    fn set(&self, option: SocketOption, value: i32) -> io::Result<()> {
        self.watched.descriptor().set_option(option, value)
    }

    /// Binds also to an address whose old connections linger (`SO_REUSEADDR`).
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn set_reuse_address(&self, on: bool) -> io::Result<()> {
        self.set(SocketOption::ReuseAddress, on.into())
    }

    /// Shares its address with other sockets that set this too; the kernel deals connections out
    /// among those that listen (`SO_REUSEPORT`).
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn set_reuse_port(&self, on: bool) -> io::Result<()> {
        self.set(SocketOption::ReusePort, on.into())
    }

    /// Sends small segments at once (`TCP_NODELAY`); accepted connections inherit it.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.set(SocketOption::NoDelay, on.into())
    }

    /// Bytes of the send buffer, which accepted connections inherit; the kernel doubles the number
    /// and has bounds of its own.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn set_send_buffer(&self, bytes: u32) -> io::Result<()> {
        self.set(SocketOption::SendBuffer, i32::try_from(bytes).unwrap_or(i32::MAX))
    }

    /// Bytes of the receive buffer; as [`set_send_buffer`](TcpSocket::set_send_buffer).
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn set_receive_buffer(&self, bytes: u32) -> io::Result<()> {
        self.set(SocketOption::ReceiveBuffer, i32::try_from(bytes).unwrap_or(i32::MAX))
    }

    /// Gives the socket an address of this machine; port 0 picks a free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` and the others of `bind(2)`.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.watched.descriptor().bind(address).map_err(|error| during("bind", address, error))
    }

    /// Listens, with a queue of at most `backlog` connections that nobody has accepted.
    ///
    /// # Errors
    /// `AddrInUse`, if another socket listens there.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.watched
            .descriptor()
            .listen(backlog)
            .map_err(|error| during("listen", "tcp", error))?;
        Ok(TcpListener::new(self.watched))
    }

    /// Connects.
    ///
    /// Cancel safety: dropping it closes the socket.
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, `NetworkUnreachable` and the others of `connect(2)`.
    #[inline]
    pub fn connect(
        self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<TcpStream>> + use<> {
        Connecting::of(self.watched, address)
    }

    /// A listener at the default backlog.
    pub(super) fn listening(address: SocketAddr) -> io::Result<TcpListener> {
        let socket = TcpSocket::new(Family::of(&address))?;
        socket.set_reuse_address(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG).map_err(|error| during("listen", address, error))
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.as_fd()
    }
}

//! TCP connections.

use super::address::Addresses;
use super::connect::ConnectingTo;
use super::half::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::event::Readiness;
use crate::io::{AsyncRead, AsyncWrite};
use crate::reactor::{After, Attempt, Direction, Watched};
use crate::sys::{Descriptor, PARTS_MAX, SocketOption};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};
use std::time::Duration;

/// A TCP connection.
///
/// It is read and written through [`AsyncRead`] and [`AsyncWrite`], both at once through its
/// halves. Dropping it closes it; unread data makes that a reset (RFC 1122, 4.2.2.13).
#[derive(Debug)]
pub struct TcpStream {
    watched: Watched,
}

/// What is known of a stream whose peer sends no more, or that is broken.
const CLOSED: Readiness =
    Readiness::READ_CLOSED.union(Readiness::WRITE_CLOSED).union(Readiness::ERROR);

impl TcpStream {
    pub(super) fn new(watched: Watched) -> TcpStream {
        TcpStream { watched }
    }

    /// Connects to the first address of `target` at which that works.
    ///
    /// Cancel safety: nothing is left behind.
    ///
    /// # Errors
    /// Those of [`resolve`](super::resolve), and then the last address's: `ConnectionRefused`,
    /// `TimedOut`, `NetworkUnreachable` and the others of `connect(2)`.
    #[inline]
    pub fn connect(target: impl Addresses) -> impl Future<Output = io::Result<TcpStream>> {
        ConnectingTo::new(target.target())
    }

    /// Waits until a read may find something: bytes, the end of the stream, or an error. So no
    /// buffer need be held meanwhile.
    ///
    /// Cancel safety: nothing is lost.
    ///
    /// # Errors
    /// If the stream belongs to another runtime; those of `epoll_ctl(2)`.
    pub fn readable(&mut self) -> impl Future<Output = io::Result<()>> {
        self.when(Direction::Read, Readiness::READABLE)
    }

    /// Waits until a write may succeed in part, or find an error.
    ///
    /// Cancel safety: nothing is lost.
    ///
    /// # Errors
    /// As [`readable`](TcpStream::readable).
    pub fn writable(&mut self) -> impl Future<Output = io::Result<()>> {
        self.when(Direction::Write, Readiness::WRITABLE)
    }

    /// Waits until the peer sends no more (FIN), or the connection is broken (RST). Bytes that came
    /// before may still be there to read.
    ///
    /// Cancel safety: nothing is lost.
    ///
    /// # Errors
    /// As [`readable`](TcpStream::readable).
    pub fn closed(&mut self) -> impl Future<Output = io::Result<()>> {
        self.when(Direction::Read, CLOSED)
    }

    /// Reads what is there into the spare capacity of `bytes`, and does not wait; None if nothing
    /// is there, `Some(0)` at the end of the stream. The kernel is asked whatever was known of the
    /// stream before: for a last look before it is closed.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    pub fn try_read_into(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let room = bytes.capacity() - bytes.len();
        self.watched.descriptor().try_recv_into(bytes, room)
    }

    /// The poll of [`readable`](TcpStream::readable).
    ///
    /// # Errors
    /// As [`readable`](TcpStream::readable).
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched.poll_readiness(cx, Direction::Read, Readiness::READABLE)
    }

    /// The poll of [`closed`](TcpStream::closed).
    ///
    /// # Errors
    /// As [`readable`](TcpStream::readable).
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched.poll_readiness(cx, Direction::Read, CLOSED)
    }

    async fn when(&mut self, direction: Direction, wanted: Readiness) -> io::Result<()> {
        let waiting = half::Waiting { watched: &self.watched, direction };
        poll_fn(|cx| waiting.watched.poll_readiness(cx, direction, wanted)).await
    }

    /// Makes a call that transfers up to `asked` bytes, once it doesn't block; dropped before, it
    /// leaves no waker.
    async fn call(
        &mut self,
        direction: Direction,
        asked: usize,
        mut call: impl FnMut(&Descriptor) -> io::Result<(usize, After)>,
    ) -> io::Result<usize> {
        if asked == 0 {
            return Ok(0);
        }
        let waiting = half::Waiting { watched: &self.watched, direction };
        poll_fn(|cx| waiting.watched.poll_call(cx, direction, &mut call)).await
    }

    #[inline(always)]
    pub(super) fn poll_read_shared(
        &self,
        cx: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            // There is nothing to wait for.
            return Poll::Ready(Ok(0));
        }
        self.watched.poll_attempt(cx, Direction::Read, Recv(buffer))
    }

    #[inline(always)]
    pub(super) fn poll_read_into_shared(
        &self,
        cx: &Context<'_>,
        bytes: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let room = bytes.capacity() - bytes.len();
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        self.watched.poll_attempt(cx, Direction::Read, RecvInto(bytes, room))
    }

    #[inline(always)]
    pub(super) fn poll_write_shared(
        &self,
        cx: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.watched.poll_attempt(cx, Direction::Write, Send(bytes))
    }

    pub(super) fn forget_waiter(&self, direction: Direction) {
        self.watched.forget_waiter(direction);
    }

    pub(super) fn shutdown_shared(&self, how: Shutdown) -> io::Result<()> {
        match self.watched.descriptor().shutdown(how) {
            // The peer reset the connection: there is nothing left to shut down.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    /// Reads into several buffers, one after another, with one call (`readv(2)`); 0 at the end of
    /// the stream.
    ///
    /// Cancel safety: if it is dropped before it is done, nothing was read.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    pub async fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        // What is beyond the bound was not asked for, so its lack makes no result short.
        let room = buffers.iter().take(PARTS_MAX).map(|buffer| buffer.len()).sum();
        self.call(Direction::Read, room, |socket| {
            socket.recv_vectored(buffers).map(|count| (count, after(count, room)))
        })
        .await
    }

    /// Writes from several buffers, one after another, with one call (`sendmsg(2)`).
    ///
    /// Cancel safety: if it is dropped before it is done, nothing was written.
    ///
    /// # Errors
    /// Those of `send(2)`.
    pub async fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let asked = buffers.iter().take(PARTS_MAX).map(|buffer| buffer.len()).sum();
        self.call(Direction::Write, asked, |socket| {
            socket.send_vectored(buffers).map(|count| (count, after(count, asked)))
        })
        .await
    }

    /// Reads what comes next without taking it; 0 at the end of the stream.
    ///
    /// Cancel safety: nothing is lost.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let asked = buffer.len();
        self.call(Direction::Read, asked, |socket| {
            // However little it saw, it took nothing: what it saw is there still.
            socket.peek(buffer).map(|count| (count, After::MayBeMore))
        })
        .await
    }

    /// Ends one direction or both (`shutdown(2)`). The peer reads the end of the stream once
    /// writing is shut down, while this side may go on reading.
    ///
    /// # Errors
    /// None for a connection that was reset.
    pub fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.shutdown_shared(how)
    }

    /// The address of this side.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.watched.descriptor().local_address()
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// `NotConnected` after a reset.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.watched.descriptor().peer_address()
    }

    fn is_set(&self, option: SocketOption) -> io::Result<bool> {
        Ok(self.watched.descriptor().option(option)? != 0)
    }

    fn set(&self, option: SocketOption, value: i32) -> io::Result<()> {
        self.watched.descriptor().set_option(option, value)
    }

    /// Whether small segments are sent at once.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.is_set(SocketOption::NoDelay)
    }

    /// Sends small segments at once, without Nagle's algorithm (`TCP_NODELAY`).
    ///
    /// # Errors
    /// `InvalidInput` after a reset.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.set(SocketOption::NoDelay, on.into())
    }

    /// Whether idle connections are probed.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn keepalive(&self) -> io::Result<bool> {
        self.is_set(SocketOption::KeepAlive)
    }

    /// Probes the connection while it is idle (`SO_KEEPALIVE`).
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn set_keepalive(&self, on: bool) -> io::Result<()> {
        self.set(SocketOption::KeepAlive, on.into())
    }

    /// How long closing waits for data to be sent; None if it goes on in the background.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.watched.descriptor().linger()
    }

    /// Sets how long closing waits for data to be sent (`SO_LINGER`), rounded up to seconds. Zero
    /// resets the connection when it is closed. More than zero makes closing block the thread.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn set_linger(&self, wait: Option<Duration>) -> io::Result<()> {
        self.watched.descriptor().set_linger(wait)
    }

    fn hops(&self) -> io::Result<SocketOption> {
        let v4 = self.local_addr()?.is_ipv4();
        Ok(if v4 { SocketOption::Ttl } else { SocketOption::HopLimit })
    }

    /// How many hops a packet may take.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn ttl(&self) -> io::Result<u32> {
        let value = self.watched.descriptor().option(self.hops()?)?;
        Ok(u32::try_from(value).unwrap_or(0))
    }

    /// Sets how many hops a packet may take (`IP_TTL`, `IPV6_UNICAST_HOPS`).
    ///
    /// # Errors
    /// `InvalidInput` unless it is 1 to 255.
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        // For IPv6 the kernel would take 0 as well.
        match u8::try_from(hops) {
            Ok(1..) => self.set(self.hops()?, hops as i32),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// The pending error of the socket, which this clears (`SO_ERROR`).
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.watched.descriptor().take_error()
    }

    /// A half to read with and a half to write with, at the same time.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        half::split(self)
    }

    /// Halves that own the stream together, for two tasks of one runtime.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        half::into_split(self)
    }

    /// Takes the stream out of its runtime, so that it can be sent to another thread and used
    /// under another runtime.
    #[must_use]
    pub fn detach(self) -> DetachedStream {
        let (descriptor, has_duplicates) = self.watched.into_parts();
        DetachedStream { descriptor, has_duplicates }
    }

    /// Takes over a stream of the standard library's.
    ///
    /// # Errors
    /// If it can't be made non-blocking. `Unsupported` under a kernel that is not Linux.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(TcpStream::new(Watched::adopt(stream.into())?))
    }

    /// Makes it one of the standard library's, still non-blocking.
    ///
    /// # Errors
    /// `Unsupported` under a kernel that is not Linux; the stream is then closed.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        Ok(self.watched.into_descriptor().into_owned_fd()?.into())
    }
}

/// What a transfer of `count` bytes, when `asked` were possible, says of the readiness. Nothing,
/// for the end of the stream and for an empty buffer.
#[inline]
fn after(count: usize, asked: usize) -> After {
    if count > 0 && count < asked { After::Short } else { After::MayBeMore }
}

/// `recv(2)`.
struct Recv<'a>(&'a mut [u8]);

impl Attempt for Recv<'_> {
    type Output = usize;

    #[inline(always)]
    fn make(&mut self, socket: &Descriptor) -> io::Result<Option<(usize, After)>> {
        let count = socket.try_recv(self.0)?;
        Ok(count.map(|count| (count, after(count, self.0.len()))))
    }
}

/// `recv(2)` into so much spare capacity.
struct RecvInto<'a>(&'a mut Vec<u8>, usize);

impl Attempt for RecvInto<'_> {
    type Output = usize;

    #[inline(always)]
    fn make(&mut self, socket: &Descriptor) -> io::Result<Option<(usize, After)>> {
        let count = socket.try_recv_into(self.0, self.1)?;
        Ok(count.map(|count| (count, after(count, self.1))))
    }
}

/// `send(2)`.
struct Send<'a>(&'a [u8]);

impl Attempt for Send<'_> {
    type Output = usize;

    #[inline(always)]
    fn make(&mut self, socket: &Descriptor) -> io::Result<Option<(usize, After)>> {
        // Never nothing of something, so that this need not be told apart.
        let after = |count| if count < self.0.len() { After::Short } else { After::MayBeMore };
        Ok(socket.try_send(self.0)?.map(|count| (count, after(count))))
    }
}

impl AsyncRead for TcpStream {
    #[inline(always)]
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_read_shared(cx, buffer)
    }

    #[inline(always)]
    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        self.poll_read_into_shared(cx, bytes)
    }

    fn forget_reader(&mut self) {
        self.forget_waiter(Direction::Read);
    }
}

impl AsyncWrite for TcpStream {
    #[inline(always)]
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_shared(cx, bytes)
    }

    /// Nothing is buffered on this side of the kernel.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Shuts writing down.
    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown_shared(Shutdown::Write))
    }

    fn forget_writer(&mut self) {
        self.forget_waiter(Direction::Write);
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.as_fd()
    }
}

/// A stream that belongs to no runtime, and may be sent to another thread.
#[derive(Debug)]
pub struct DetachedStream {
    descriptor: Descriptor,
    /// See [`Watched`]: it must not be forgotten on the way.
    has_duplicates: bool,
}

impl DetachedStream {
    /// Makes it a stream of whichever runtime first waits for it.
    #[must_use]
    pub fn attach(self) -> TcpStream {
        TcpStream::new(Watched::from_parts(self.descriptor, self.has_duplicates))
    }
}

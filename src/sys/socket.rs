//! socket(7), ip(7), tcp(7): internet stream sockets, always non-blocking.
#![expect(unsafe_code, reason = "calls the socket functions of the C library")]

use super::address::RawAddress;
use super::direct::{self, Errno};
use super::ffi::{self, Linger, Msghdr, so};
use super::{check, check_length};
use std::ffi::c_int;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// The family of a socket's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family that `address` belongs to.
    #[must_use]
    pub fn of(address: &SocketAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// What a call to `connect(2)` came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// The connection stands.
    Done,
    /// It is under way; the socket becomes writable when it stands or has failed.
    InProgress,
}

/// An option of a socket whose value is an integer or a switch (0 or 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketOption {
    /// `SO_REUSEADDR`: bind to an address whose old connections linger in TIME-WAIT.
    ReuseAddress,
    /// `SO_REUSEPORT`: several sockets share one address, and the kernel deals connections out.
    ReusePort,
    /// `SO_KEEPALIVE`: probe idle connections.
    KeepAlive,
    /// `SO_SNDBUF`: bytes of the send buffer; the kernel doubles what is set.
    SendBuffer,
    /// `SO_RCVBUF`: bytes of the receive buffer; the kernel doubles what is set.
    ReceiveBuffer,
    /// `SO_OOBINLINE`: urgent data stays among the other.
    UrgentInline,
    /// `TCP_NODELAY`: small segments are sent at once (no Nagle's algorithm).
    NoDelay,
    /// `IP_TTL`: hops an IPv4 packet may take.
    Ttl,
    /// `IPV6_UNICAST_HOPS`: hops an IPv6 packet may take.
    HopLimit,
    /// `IPV6_V6ONLY`: an IPv6 socket takes no IPv4 traffic.
    V6Only,
}

impl SocketOption {
    fn level_and_name(self) -> (c_int, c_int) {
        match self {
            SocketOption::ReuseAddress => (so::SOL_SOCKET, so::REUSEADDR),
            SocketOption::ReusePort => (so::SOL_SOCKET, so::REUSEPORT),
            SocketOption::KeepAlive => (so::SOL_SOCKET, so::KEEPALIVE),
            SocketOption::SendBuffer => (so::SOL_SOCKET, so::SNDBUF),
            SocketOption::ReceiveBuffer => (so::SOL_SOCKET, so::RCVBUF),
            SocketOption::UrgentInline => (so::SOL_SOCKET, so::OOBINLINE),
            SocketOption::NoDelay => (ffi::IPPROTO_TCP, ffi::TCP_NODELAY),
            SocketOption::Ttl => (ffi::IPPROTO_IP, ffi::IP_TTL),
            SocketOption::HopLimit => (ffi::IPPROTO_IPV6, ffi::IPV6_UNICAST_HOPS),
            SocketOption::V6Only => (ffi::IPPROTO_IPV6, ffi::IPV6_V6ONLY),
        }
    }
}

#[inline]
pub(in crate::sys) fn create(family: Family) -> io::Result<OwnedFd> {
    create_of_kind(family, ffi::SOCK_STREAM)
}

/// A socket for datagrams, udp(7).
pub(in crate::sys) fn create_datagram(family: Family) -> io::Result<OwnedFd> {
    create_of_kind(family, ffi::SOCK_DGRAM)
}

#[inline]
fn create_of_kind(family: Family, kind: c_int) -> io::Result<OwnedFd> {
    let family = match family {
        Family::V4 => ffi::AF_INET,
        Family::V6 => ffi::AF_INET6,
    };
    let kind = kind | ffi::NONBLOCK | ffi::CLOEXEC;
    ffi::socket(family.into(), kind, 0).ok_or_else(io::Error::last_os_error)
}

pub(in crate::sys) fn bind(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    let raw = RawAddress::from(&address);
    let (start, length) = raw.as_ptr_and_length();
    // SAFETY: `start` is `length` readable bytes.
    check(unsafe { ffi::bind(fd, start, length) }).map(drop)
}

pub(in crate::sys) fn listen(fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    let backlog = c_int::try_from(backlog).unwrap_or(c_int::MAX);
    check(ffi::listen(fd, backlog)).map(drop)
}

/// Takes a connection, and writes to `peer` from whom it is.
#[inline]
pub(in crate::sys) fn accept(fd: BorrowedFd<'_>, peer: &mut RawAddress) -> io::Result<OwnedFd> {
    let (address, length) = peer.as_mut_ptrs();
    // SAFETY: `address` has room for the `*length` bytes that the kernel may write.
    let fd = unsafe { ffi::accept4(fd, address, length, ffi::NONBLOCK | ffi::CLOEXEC) };
    fd.ok_or_else(io::Error::last_os_error)
}

#[inline]
pub(in crate::sys) fn connect(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<Connect> {
    connect_to(fd, &RawAddress::from(&address))
}

#[inline]
pub(in crate::sys) fn connect_to(fd: BorrowedFd<'_>, raw: &RawAddress) -> io::Result<Connect> {
    let (start, length) = raw.as_ptr_and_length();
    // SAFETY: `start` is `length` readable bytes.
    match check(unsafe { ffi::connect(fd, start, length) }) {
        Ok(_) => Ok(Connect::Done),
        Err(error) => match error.raw_os_error() {
            Some(ffi::EINPROGRESS | ffi::EALREADY) => Ok(Connect::InProgress),
            _ => Err(error),
        },
    }
}

/// Why a connection under way failed, if it did (`SO_ERROR`); asking clears it.
pub(in crate::sys) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let number: c_int = get(fd, so::SOL_SOCKET, so::ERROR)?;
    Ok((number != 0).then(|| io::Error::from_raw_os_error(number)))
}

pub(in crate::sys) fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(try_recv(fd, buffer)?)
}

#[inline(always)]
pub(in crate::sys) fn try_recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    recv_with(fd, buffer, 0)
}

#[inline(always)]
fn recv_with(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: c_int) -> Result<usize, Errno> {
    // SAFETY: `buffer` is writable for its length.
    unsafe { direct::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), flags) }
}

/// Receives into the spare capacity of `bytes`, at most `bytes_max`, and adds what came to it.
#[inline(always)]
pub(in crate::sys) fn try_recv_into(
    fd: BorrowedFd<'_>,
    bytes: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<usize, Errno> {
    let spare = bytes.spare_capacity_mut();
    let room = spare.len().min(bytes_max);
    // SAFETY: the spare capacity is writable for its length, and `room` is no more than that.
    let count = unsafe { direct::recv(fd, spare.as_mut_ptr().cast(), room, 0) }?;
    let length = bytes.len() + count;
    // SAFETY: without MSG_TRUNC `recv(2)` returns how many bytes it wrote, at most `room`: so
    // `length` is within the capacity, and all bytes up to it are initialised.
    unsafe { bytes.set_len(length) };
    Ok(count)
}

pub(in crate::sys) fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv_with(fd, buffer, ffi::MSG_PEEK)?)
}

/// Receives a datagram, and who sent it; what of it has no room is lost.
pub(in crate::sys) fn recv_from(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr)> {
    let mut sender = RawAddress::empty();
    let (address, length) = sender.as_mut_ptrs();
    let start = buffer.as_mut_ptr().cast();
    // SAFETY: `buffer` is writable for its length, and `address` for the `*length` bytes that the
    // kernel may write.
    let count = unsafe { ffi::recvfrom(fd, start, buffer.len(), 0, address, length) };
    Ok((check_length(count)?, sender.decode()?))
}

/// How many buffers one vectored call takes (`IOV_MAX`); those beyond wait for the next call.
pub(crate) const PARTS_MAX: usize = 1024;

pub(in crate::sys) fn recv_vectored(
    fd: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
) -> io::Result<usize> {
    let count = buffers.len().min(PARTS_MAX) as c_int;
    // SAFETY: `IoSliceMut` has the layout of `iovec` (std promises it), and each is writable.
    check_length(unsafe { ffi::readv(fd, buffers.as_mut_ptr().cast(), count) })
}

/// Sends without SIGPIPE: a peer that is gone is an error, `BrokenPipe`.
pub(in crate::sys) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(try_send(fd, bytes)?)
}

#[inline(always)]
pub(in crate::sys) fn try_send(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    send_with(fd, bytes, ffi::MSG_NOSIGNAL)
}

#[inline(always)]
fn send_with(fd: BorrowedFd<'_>, bytes: &[u8], flags: c_int) -> Result<usize, Errno> {
    // SAFETY: `bytes` is readable for its length.
    unsafe { direct::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) }
}

/// Sends a datagram, without SIGPIPE.
pub(in crate::sys) fn send_to(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    address: SocketAddr,
) -> io::Result<usize> {
    let (start, raw) = (bytes.as_ptr().cast(), RawAddress::from(&address));
    let (to, length) = raw.as_ptr_and_length();
    // SAFETY: `bytes` is readable for its length, and so is `to` for `length` bytes.
    check_length(unsafe { ffi::sendto(fd, start, bytes.len(), ffi::MSG_NOSIGNAL, to, length) })
}

/// Sends one byte of urgent data (`tcp(7)`), which puts the urgent mark behind what was sent:
/// for tests, since nothing new should be built on it (RFC 6093).
///
/// # Errors
/// Those of `send(2)`.
#[cfg(any(test, feature = "fault"))]
pub fn send_urgent(fd: BorrowedFd<'_>, byte: u8) -> io::Result<()> {
    send_with(fd, &[byte], ffi::MSG_OOB | ffi::MSG_NOSIGNAL)?;
    Ok(())
}

/// Receives the byte of urgent data (`tcp(7)`); None if it will not come.
#[cfg(any(test, feature = "fault"))]
pub(in crate::sys) fn recv_urgent(fd: BorrowedFd<'_>) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let count = recv_with(fd, &mut byte, ffi::MSG_OOB)?;
    Ok((count > 0).then_some(byte[0]))
}

/// Whether what is received next stands at the urgent mark (`sockatmark(3)`).
#[cfg(any(test, feature = "fault"))]
pub(in crate::sys) fn is_at_mark(fd: BorrowedFd<'_>) -> io::Result<bool> {
    check(ffi::sockatmark(fd)).map(|at| at != 0)
}

/// As [`send`]: `writev(2)` could not keep SIGPIPE away.
pub(in crate::sys) fn send_vectored(
    fd: BorrowedFd<'_>,
    buffers: &[IoSlice<'_>],
) -> io::Result<usize> {
    let message = Msghdr {
        name: std::ptr::null_mut(),
        name_len: 0,
        parts: buffers.as_ptr().cast(),
        parts_len: buffers.len().min(PARTS_MAX),
        control: std::ptr::null_mut(),
        control_len: 0,
        flags: 0,
    };
    // SAFETY: `IoSlice` has the layout of `iovec` (std promises it), and each is readable.
    check_length(unsafe { ffi::sendmsg(fd, &raw const message, ffi::MSG_NOSIGNAL) })
}

pub(in crate::sys) fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => 0,
        Shutdown::Write => 1,
        Shutdown::Both => 2,
    };
    check(ffi::shutdown(fd, how)).map(drop)
}

pub(in crate::sys) fn local_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let mut raw = RawAddress::empty();
    let (address, length) = raw.as_mut_ptrs();
    // SAFETY: `address` has room for the `*length` bytes that the kernel may write.
    check(unsafe { ffi::getsockname(fd, address, length) })?;
    raw.decode()
}

pub(in crate::sys) fn peer_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let mut raw = RawAddress::empty();
    let (address, length) = raw.as_mut_ptrs();
    // SAFETY: `address` has room for the `*length` bytes that the kernel may write.
    check(unsafe { ffi::getpeername(fd, address, length) })?;
    raw.decode()
}

pub(in crate::sys) fn option(fd: BorrowedFd<'_>, option: SocketOption) -> io::Result<i32> {
    let (level, name) = option.level_and_name();
    get(fd, level, name)
}

pub(in crate::sys) fn set_option(
    fd: BorrowedFd<'_>,
    option: SocketOption,
    value: i32,
) -> io::Result<()> {
    let (level, name) = option.level_and_name();
    set(fd, level, name, value)
}

/// `SO_LINGER`: how long close waits for unsent data to go out; zero resets the connection.
pub(in crate::sys) fn linger(fd: BorrowedFd<'_>) -> io::Result<Option<Duration>> {
    let linger: Linger = get(fd, so::SOL_SOCKET, so::LINGER)?;
    let seconds = u64::try_from(linger.seconds).unwrap_or(0);
    Ok((linger.on != 0).then(|| Duration::from_secs(seconds)))
}

pub(in crate::sys) fn set_linger(fd: BorrowedFd<'_>, wait: Option<Duration>) -> io::Result<()> {
    let seconds = wait.map_or(0, |wait| {
        // A part of a second must not turn into a reset.
        let rounded = wait.as_secs().saturating_add((wait.subsec_nanos() > 0).into());
        c_int::try_from(rounded).unwrap_or(c_int::MAX)
    });
    let on = wait.is_some().into();
    set(fd, so::SOL_SOCKET, so::LINGER, Linger { on, seconds })
}

/// A value that options have: plain integers, which any bytes are a value of.
trait Plain: Copy + Default {}
impl Plain for c_int {}
impl Plain for Linger {}

fn get<T: Plain>(fd: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<T> {
    let mut value = T::default();
    let mut length = size_of::<T>() as u32;
    let start = (&raw mut value).cast();
    // SAFETY: `start` has room for `length` bytes, and any bytes are a valid `T: Plain`.
    check(unsafe { ffi::getsockopt(fd, level, name, start, &raw mut length) })?;
    Ok(value)
}

fn set<T: Plain>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: T) -> io::Result<()> {
    let start = (&raw const value).cast();
    // SAFETY: `start` is `size_of::<T>()` readable bytes.
    check(unsafe { ffi::setsockopt(fd, level, name, start, size_of::<T>() as u32) }).map(drop)
}

//! The seam: what a descriptor can be asked, and which kernel answers.
//!
//! ```text
//!   net, reactor, ...          hold a Descriptor, and ask it
//!        |
//!   Descriptor ---- Linux ---- socket.rs, epoll.rs, eventfd.rs: one system call each
//!        |
//!        `-- Hosted (feature `fault`) ---- dyn Kernel: a number on a kernel of somebody's own
//! ```
//!
//! Calls that create a descriptor ask a [`KernelHandle`]; all others, close included, ask the
//! descriptor itself, so that it outlives the runtime it was made under. Interrupted calls are
//! made again here, above the seam, so that a kernel below it can interrupt them.

use super::address::RawAddress;
use super::direct::Errno;
use super::epoll::{self, Control, EventBuffer};
use super::signal::{self, Signal};
use super::socket::{self, Connect, Family, SocketOption};
use super::{clock, eventfd, retry, unless_blocked};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(any(test, feature = "fault"))]
use std::sync::Arc;
use std::time::Duration;

/// An open descriptor of whichever kernel made it; dropping it closes it.
#[derive(Debug)]
pub struct Descriptor(Repr);

#[derive(Debug)]
enum Repr {
    Linux(OwnedFd),
    #[cfg(any(test, feature = "fault"))]
    Hosted(Hosted),
}

impl From<OwnedFd> for Descriptor {
    fn from(fd: OwnedFd) -> Descriptor {
        Descriptor(Repr::Linux(fd))
    }
}

impl Descriptor {
    /// Linux's descriptor itself.
    ///
    /// # Errors
    /// `Unsupported`, and the descriptor is closed, if another kernel made it.
    pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
        match self.0 {
            Repr::Linux(fd) => Ok(fd),
            #[cfg(any(test, feature = "fault"))]
            Repr::Hosted(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Repr::Linux(fd) => fd.as_fd(),
            #[cfg(any(test, feature = "fault"))]
            Repr::Hosted(hosted) => hosted.lent.as_fd(),
        }
    }
}

/// Every call there is on a descriptor, written once: as a method of [`Descriptor`], and as one of
/// [`Kernel`] for kernels that are not Linux. `retried` calls are made again when interrupted.
macro_rules! calls {
    (@ retried $call:expr) => { retry(move || $call) };
    (@ once $call:expr) => { $call };
    ($(
        $(#[$doc:meta])*
        $mode:ident fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty = $linux:path;
    )*) => {
        impl Descriptor {$(
            $(#[$doc])*
            #[inline]
            pub fn $name(&self, $($argument: $type),*) -> io::Result<$result> {
                match &self.0 {
                    Repr::Linux(fd) => calls!(@ $mode $linux(fd.as_fd(), $($argument),*)),
                    #[cfg(any(test, feature = "fault"))]
                    Repr::Hosted(hosted) => {
                        calls!(@ $mode hosted.kernel.$name(hosted.number, $($argument),*))
                    }
                }
            }
        )*}

        /// A kernel that a runtime can run on.
        ///
        /// Numbers are those that the kernel gave out in a [`Hosted`]; it is asked to `close` each
        /// exactly once. Errors are the system's own ([`io::Error::from_raw_os_error`]): a call
        /// that would block fails with EAGAIN, one that a signal interrupts with EINTR.
        #[cfg(any(test, feature = "fault"))]
        pub trait Kernel: Send + Sync + std::fmt::Debug {
            /// `epoll_create1(2)`.
            fn epoll(&self) -> io::Result<Hosted>;
            /// `eventfd(2)`.
            fn eventfd(&self) -> io::Result<Hosted>;
            /// `socket(2)`: an internet stream socket.
            fn socket(&self, family: Family) -> io::Result<Hosted>;
            /// `socket(2)`: an internet datagram socket.
            fn datagram_socket(&self, family: Family) -> io::Result<Hosted>;
            /// Takes over a descriptor of Linux's, as when a std type is converted.
            fn adopt(&self, fd: OwnedFd) -> io::Result<Hosted>;
            /// `accept4(2)`.
            fn accept(&self, number: i32) -> io::Result<(Hosted, SocketAddr)>;
            /// `close(2)`.
            fn close(&self, number: i32);
            /// `clock_gettime(2)` of the monotonic clock, in nanoseconds.
            fn now(&self) -> u64;
            /// `getaddrinfo(3)`; called where it may block.
            fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
            /// `recv(2)` of at most `bytes_max` into the spare capacity of `bytes`, which grows by
            /// what came; as [`Kernel::recv`], with the room zeroed first, unless a kernel does
            /// better.
            fn recv_into(
                &self,
                number: i32,
                bytes: &mut Vec<u8>,
                bytes_max: usize,
            ) -> io::Result<usize> {
                let start = bytes.len();
                let room = (bytes.capacity() - start).min(bytes_max);
                bytes.resize(start + room, 0);
                let received = self.recv(number, &mut bytes[start..]);
                bytes.truncate(start + received.as_ref().map_or(0, |count| *count));
                received
            }
            /// Runs `work`, which may block, where that keeps nobody waiting; gives it back to
            /// have it run on a thread of the pool of [`crate::blocking`].
            ///
            /// # Errors
            /// The work, if this kernel does nothing of its own about it.
            fn start(&self, work: Work) -> Result<(), Work> {
                Err(work)
            }
            /// Who has runtimes take turns here in place of threads of their own, by its number;
            /// None where they have threads.
            fn stepper(&self) -> Option<u64> {
                None
            }
            /// [`signal::watch`].
            fn watch_signal(&self, signal: Signal) -> io::Result<()> {
                signal::watch(signal)
            }
            /// [`signal::count`].
            fn signal_count(&self, signal: Signal) -> u64 {
                signal::count(signal)
            }
            /// [`signal::descriptor`].
            fn signal_descriptor(&self) -> io::Result<Hosted> {
                self.adopt(signal::descriptor()?)
            }
            $(
                $(#[$doc])*
                fn $name(&self, number: i32, $($argument: $type),*) -> io::Result<$result>;
            )*
        }
    };
}

calls! {
    /// `bind(2)`.
    retried fn bind(address: SocketAddr) -> () = socket::bind;
    /// `listen(2)`.
    retried fn listen(backlog: u32) -> () = socket::listen;
    /// `connect(2)`. Interrupted, the connection goes on by itself, and the call made again tells
    /// how it stands.
    retried fn connect(address: SocketAddr) -> Connect = socket::connect;
    /// `SO_ERROR` of socket(7).
    retried fn take_error() -> Option<io::Error> = socket::take_error;
    /// `recv(2)`.
    retried fn recv(buffer: &mut [u8]) -> usize = socket::recv;
    /// `recv(2)` with `MSG_PEEK`.
    retried fn peek(buffer: &mut [u8]) -> usize = socket::peek;
    /// `readv(2)`.
    retried fn recv_vectored(buffers: &mut [IoSliceMut<'_>]) -> usize = socket::recv_vectored;
    /// `send(2)` with `MSG_NOSIGNAL`.
    retried fn send(bytes: &[u8]) -> usize = socket::send;
    /// `sendmsg(2)` with `MSG_NOSIGNAL`.
    retried fn send_vectored(buffers: &[IoSlice<'_>]) -> usize = socket::send_vectored;
    /// `sendto(2)` with `MSG_NOSIGNAL`: a datagram, whole.
    retried fn send_to(bytes: &[u8], address: SocketAddr) -> usize = socket::send_to;
    /// `recvfrom(2)`: a datagram, and who sent it; what of it has no room in `buffer` is lost.
    retried fn recv_from(buffer: &mut [u8]) -> (usize, SocketAddr) = socket::recv_from;
    /// `send(2)` with `MSG_OOB`: a byte of urgent data.
    #[cfg(any(test, feature = "fault"))]
    retried fn send_urgent(byte: u8) -> () = socket::send_urgent;
    /// `recv(2)` with `MSG_OOB`: the byte of urgent data; None if it will not come.
    #[cfg(any(test, feature = "fault"))]
    retried fn recv_urgent() -> Option<u8> = socket::recv_urgent;
    /// `sockatmark(3)`: whether what is received next stands at the urgent mark.
    #[cfg(any(test, feature = "fault"))]
    retried fn is_at_mark() -> bool = socket::is_at_mark;
    /// `shutdown(2)`.
    retried fn shutdown(how: Shutdown) -> () = socket::shutdown;
    /// `getsockname(2)`.
    retried fn local_address() -> SocketAddr = socket::local_address;
    /// `getpeername(2)`.
    retried fn peer_address() -> SocketAddr = socket::peer_address;
    /// `getsockopt(2)`.
    retried fn option(option: SocketOption) -> i32 = socket::option;
    /// `setsockopt(2)`.
    retried fn set_option(option: SocketOption, value: i32) -> () = socket::set_option;
    /// `SO_LINGER` of socket(7).
    retried fn linger() -> Option<Duration> = socket::linger;
    /// Sets `SO_LINGER` of socket(7).
    retried fn set_linger(wait: Option<Duration>) -> () = socket::set_linger;
    /// Adds one to an eventfd's counter.
    retried fn raise() -> () = eventfd::raise;
    /// `epoll_ctl(2)`.
    retried fn epoll_ctl(change: Control, target: &Descriptor) -> () = control;
    /// `epoll_pwait2(2)`: how many events it wrote to `buffer`.
    once fn epoll_wait(buffer: &mut EventBuffer, timeout: Option<Duration>) -> usize = epoll::wait;
}

/// [`epoll::control`] on any two descriptors of Linux's.
#[inline]
fn control(fd: BorrowedFd<'_>, change: Control, target: &Descriptor) -> io::Result<()> {
    epoll::control(fd, change, target.as_fd())
}

impl Descriptor {
    /// `recv(2)` of at most `bytes_max` into the spare capacity of `bytes`, which is not zeroed
    /// first; what came is added to `bytes`.
    #[inline]
    pub fn recv_into(&self, bytes: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        match &self.0 {
            Repr::Linux(fd) => retry(|| Ok(socket::try_recv_into(fd.as_fd(), bytes, bytes_max)?)),
            #[cfg(any(test, feature = "fault"))]
            Repr::Hosted(hosted) => {
                retry(|| hosted.kernel.recv_into(hosted.number, bytes, bytes_max))
            }
        }
    }

    /// As [`Descriptor::recv_into`]; None if it would block.
    #[inline(always)]
    pub(crate) fn try_recv_into(
        &self,
        bytes: &mut Vec<u8>,
        bytes_max: usize,
    ) -> io::Result<Option<usize>> {
        match &self.0 {
            Repr::Linux(fd) => match socket::try_recv_into(fd.as_fd(), bytes, bytes_max) {
                Ok(count) => Ok(Some(count)),
                Err(Errno::AGAIN) => Ok(None),
                Err(errno) => unless_blocked(failed(errno, || self.recv_into(bytes, bytes_max))),
            },
            #[cfg(any(test, feature = "fault"))]
            Repr::Hosted(_) => unless_blocked(self.recv_into(bytes, bytes_max)),
        }
    }

    /// As [`Descriptor::recv`]; None if it would block.
    #[inline(always)]
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match &self.0 {
            Repr::Linux(fd) => match socket::try_recv(fd.as_fd(), buffer) {
                Ok(count) => Ok(Some(count)),
                Err(Errno::AGAIN) => Ok(None),
                Err(errno) => unless_blocked(failed(errno, || self.recv(buffer))),
            },
            #[cfg(any(test, feature = "fault"))]
            Repr::Hosted(_) => unless_blocked(self.recv(buffer)),
        }
    }

    /// As [`Descriptor::send`]; None if it would block.
    #[inline(always)]
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match &self.0 {
            Repr::Linux(fd) => match socket::try_send(fd.as_fd(), bytes) {
                Ok(count) => Ok(Some(count)),
                Err(Errno::AGAIN) => Ok(None),
                Err(errno) => unless_blocked(failed(errno, || self.send(bytes))),
            },
            #[cfg(any(test, feature = "fault"))]
            Repr::Hosted(_) => unless_blocked(self.send(bytes)),
        }
    }

    /// `accept4(2)`.
    pub fn accept(&self) -> io::Result<(Descriptor, SocketAddr)> {
        let mut peer = RawAddress::empty();
        let accepted = self.accept_from(&mut peer)?;
        Ok((accepted, peer.decode()?))
    }

    /// As [`Descriptor::connect`].
    #[inline]
    pub(crate) fn connect_to(&self, address: &RawAddress) -> io::Result<Connect> {
        match &self.0 {
            Repr::Linux(fd) => retry(|| socket::connect_to(fd.as_fd(), address)),
            #[cfg(any(test, feature = "fault"))]
            Repr::Hosted(_) => self.connect(address.decode()?),
        }
    }

    /// `accept4(2)`, which writes to `peer` from whom the connection is.
    #[inline]
    pub(crate) fn accept_from(&self, peer: &mut RawAddress) -> io::Result<Descriptor> {
        match &self.0 {
            Repr::Linux(fd) => retry(|| socket::accept(fd.as_fd(), peer)).map(Descriptor::from),
            #[cfg(any(test, feature = "fault"))]
            Repr::Hosted(hosted) => {
                let (accepted, from) = retry(|| hosted.kernel.accept(hosted.number))?;
                *peer = RawAddress::from(&from);
                Ok(accepted.into())
            }
        }
    }
}

/// What came of a call that failed: it is made again if a signal interrupted it.
#[cold]
#[inline(never)]
fn failed(errno: Errno, again: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
    match errno {
        Errno::INTERRUPTED => again(),
        errno => Err(errno.into()),
    }
}

/// Work for another thread.
#[cfg(any(test, feature = "fault"))]
pub type Work = Box<dyn FnOnce() + Send>;

/// The kernel that a runtime runs on; what is opened under the runtime is opened there.
#[derive(Clone, Debug, Default)]
pub struct KernelHandle {
    /// None stands for Linux.
    #[cfg(any(test, feature = "fault"))]
    hosted: Option<Arc<dyn Kernel>>,
}

/// `create` on the hosted kernel, if there is one; else on Linux.
macro_rules! create {
    ($handle:ident, $hosted:ident => $on_hosted:expr, $on_linux:expr) => {{
        #[cfg(any(test, feature = "fault"))]
        if let Some($hosted) = &$handle.hosted {
            return retry(|| $on_hosted).map(Descriptor::from);
        }
        retry(|| $on_linux).map(Descriptor::from)
    }};
}

impl KernelHandle {
    /// There is no other kernel in this build.
    pub(crate) const IS_ALWAYS_LINUX: bool = cfg!(not(any(test, feature = "fault")));

    /// Linux itself.
    #[must_use]
    pub const fn linux() -> KernelHandle {
        KernelHandle {
            #[cfg(any(test, feature = "fault"))]
            hosted: None,
        }
    }

    /// A kernel of the caller's.
    #[cfg(any(test, feature = "fault"))]
    pub fn hosted(kernel: Arc<dyn Kernel>) -> KernelHandle {
        KernelHandle { hosted: Some(kernel) }
    }

    pub(in crate::sys) fn epoll(&self) -> io::Result<Descriptor> {
        create!(self, hosted => hosted.epoll(), epoll::create())
    }

    pub(in crate::sys) fn eventfd(&self) -> io::Result<Descriptor> {
        create!(self, hosted => hosted.eventfd(), eventfd::create())
    }

    /// `socket(2)`: a non-blocking stream socket.
    #[inline]
    pub fn socket(&self, family: Family) -> io::Result<Descriptor> {
        create!(self, hosted => hosted.socket(family), socket::create(family))
    }

    /// `socket(2)`: a non-blocking datagram socket, udp(7).
    ///
    /// ```
    /// use whirligig::sys::{Family, KernelHandle};
    ///
    /// let socket = KernelHandle::linux().datagram_socket(Family::V4)?;
    /// socket.bind("127.0.0.1:0".parse().unwrap())?;
    /// let own = socket.local_address()?;
    /// assert_eq!(socket.send_to(b"to myself", own)?, 9);
    /// let mut buffer = [0; 16];
    /// assert_eq!(socket.recv_from(&mut buffer)?, (9, own));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn datagram_socket(&self, family: Family) -> io::Result<Descriptor> {
        create!(self, hosted => hosted.datagram_socket(family), socket::create_datagram(family))
    }

    /// A descriptor of Linux's, as one of this kernel's.
    #[cfg_attr(
        not(any(test, feature = "fault")),
        expect(clippy::unused_self, reason = "only a hosted kernel has anything to do")
    )]
    pub(crate) fn adopt(&self, fd: OwnedFd) -> io::Result<Descriptor> {
        #[cfg(any(test, feature = "fault"))]
        if let Some(hosted) = &self.hosted {
            return hosted.adopt(fd).map(Descriptor::from);
        }
        Ok(fd.into())
    }

    /// Nanoseconds on the monotonic clock.
    #[inline]
    #[must_use]
    pub fn now(&self) -> u64 {
        #[cfg(any(test, feature = "fault"))]
        if let Some(hosted) = &self.hosted {
            return hosted.now();
        }
        clock::monotonic()
    }

    /// The addresses of a host; may block for as long as the resolver likes.
    pub(crate) fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        #[cfg(any(test, feature = "fault"))]
        if let Some(hosted) = &self.hosted {
            return hosted.resolve(host, port);
        }
        Ok((host, port).to_socket_addrs()?.collect())
    }
}

#[cfg_attr(
    not(any(test, feature = "fault")),
    expect(clippy::unused_self, reason = "only a hosted kernel has anything to do")
)]
impl KernelHandle {
    /// Has the kernel run `work`, which may block, in its own way.
    ///
    /// # Errors
    /// The work, if it is for a thread.
    pub(crate) fn start(
        &self,
        work: Box<dyn FnOnce() + Send>,
    ) -> Result<(), Box<dyn FnOnce() + Send>> {
        #[cfg(any(test, feature = "fault"))]
        if let Some(hosted) = &self.hosted {
            return hosted.start(work);
        }
        Err(work)
    }

    /// Who has runtimes take turns here in place of threads of their own.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn stepper(&self) -> Option<u64> {
        self.hosted.as_ref()?.stepper()
    }

    /// [`signal::watch`].
    pub(crate) fn watch_signal(&self, signal: Signal) -> io::Result<()> {
        #[cfg(any(test, feature = "fault"))]
        if let Some(hosted) = &self.hosted {
            return hosted.watch_signal(signal);
        }
        signal::watch(signal)
    }

    /// [`signal::count`].
    pub(crate) fn signal_count(&self, signal: Signal) -> u64 {
        #[cfg(any(test, feature = "fault"))]
        if let Some(hosted) = &self.hosted {
            return hosted.signal_count(signal);
        }
        signal::count(signal)
    }

    /// [`signal::descriptor`].
    pub(crate) fn signal_descriptor(&self) -> io::Result<Descriptor> {
        #[cfg(any(test, feature = "fault"))]
        if let Some(hosted) = &self.hosted {
            return retry(|| hosted.signal_descriptor()).map(Descriptor::from);
        }
        signal::descriptor().map(Descriptor::from)
    }
}

/// A descriptor on a kernel that is not Linux.
#[cfg(any(test, feature = "fault"))]
#[derive(Debug)]
pub struct Hosted {
    /// Whom to ask.
    pub kernel: Arc<dyn Kernel>,
    /// What the kernel knows it by.
    pub number: i32,
    /// What [`AsFd`] lends.
    pub lent: Arc<OwnedFd>,
}

#[cfg(any(test, feature = "fault"))]
impl Drop for Hosted {
    fn drop(&mut self) {
        self.kernel.close(self.number);
    }
}

#[cfg(any(test, feature = "fault"))]
impl From<Hosted> for Descriptor {
    fn from(hosted: Hosted) -> Descriptor {
        Descriptor(Repr::Hosted(hosted))
    }
}

#[cfg(any(test, feature = "fault"))]
impl Descriptor {
    /// The number of a hosted descriptor; None for one of Linux's own.
    #[must_use]
    pub fn hosted_number(&self) -> Option<i32> {
        match &self.0 {
            Repr::Linux(_) => None,
            Repr::Hosted(hosted) => Some(hosted.number),
        }
    }
}

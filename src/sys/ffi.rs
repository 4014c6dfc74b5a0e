//! The C library's declarations, constants and structures: what the kernel's headers say, and
//! nothing else.
//!
//! Everything here is a fact about Linux on 64-bit architectures. Where architectures differ, the
//! difference is a `cfg` beside the common value, and sizes and offsets are asserted at compile
//! time. The signatures carry as much of the proof as they can: a borrowed descriptor goes in as
//! [`BorrowedFd`], a new one comes out as `Option<OwnedFd>`, whose niche is C's -1.

#![expect(unsafe_code, reason = "declares C functions")]

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::ffi::c_ulong;
use std::ffi::{c_int, c_long, c_uint, c_void};
use std::os::fd::{BorrowedFd, OwnedFd};

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("whirligig runs on 64-bit Linux only");

// MIPS and SPARC number these in their own way; all other architectures share one numbering
// (include/uapi/asm-generic of the kernel).
#[cfg(any(target_arch = "mips64", target_arch = "mips64r6"))]
mod numbers {
    use super::{c_int, c_long};
    pub(in crate::sys) const SOCK_STREAM: c_int = 2;
    pub(in crate::sys) const SOCK_DGRAM: c_int = 1;
    pub(in crate::sys) const NONBLOCK: c_int = 0x80;
    pub(in crate::sys) const CLOEXEC: c_int = 0x8_0000;
    pub(in crate::sys) const EINPROGRESS: c_int = 150;
    pub(in crate::sys) const EALREADY: c_int = 149;
    pub(in crate::sys) const ENOBUFS: c_int = 132;
    pub(in crate::sys) const ENONET: c_int = 64;
    pub(in crate::sys) const EHOSTDOWN: c_int = 147;
    pub(in crate::sys) const ENOPROTOOPT: c_int = 99;
    pub(in crate::sys) const ENOSYS: c_int = 89;
    pub(in crate::sys) const EPROTO: c_int = 71;
    pub(in crate::sys) const SYS_EPOLL_PWAIT2: c_long = 5441;
}
#[cfg(target_arch = "sparc64")]
mod numbers {
    use super::{c_int, c_long};
    pub(in crate::sys) const SOCK_STREAM: c_int = 1;
    pub(in crate::sys) const SOCK_DGRAM: c_int = 2;
    pub(in crate::sys) const NONBLOCK: c_int = 0x4000;
    pub(in crate::sys) const CLOEXEC: c_int = 0x40_0000;
    pub(in crate::sys) const EINPROGRESS: c_int = 36;
    pub(in crate::sys) const EALREADY: c_int = 37;
    pub(in crate::sys) const ENOBUFS: c_int = 55;
    pub(in crate::sys) const ENONET: c_int = 80;
    pub(in crate::sys) const EHOSTDOWN: c_int = 64;
    pub(in crate::sys) const ENOPROTOOPT: c_int = 42;
    pub(in crate::sys) const ENOSYS: c_int = 90;
    pub(in crate::sys) const EPROTO: c_int = 86;
    pub(in crate::sys) const SYS_EPOLL_PWAIT2: c_long = 441;
}
#[cfg(not(any(target_arch = "mips64", target_arch = "mips64r6", target_arch = "sparc64")))]
mod numbers {
    use super::{c_int, c_long};
    pub(in crate::sys) const SOCK_STREAM: c_int = 1;
    pub(in crate::sys) const SOCK_DGRAM: c_int = 2;
    pub(in crate::sys) const NONBLOCK: c_int = 0x800;
    pub(in crate::sys) const CLOEXEC: c_int = 0x8_0000;
    pub(in crate::sys) const EINPROGRESS: c_int = 115;
    pub(in crate::sys) const EALREADY: c_int = 114;
    pub(in crate::sys) const ENOBUFS: c_int = 105;
    pub(in crate::sys) const ENONET: c_int = 64;
    pub(in crate::sys) const EHOSTDOWN: c_int = 112;
    pub(in crate::sys) const ENOPROTOOPT: c_int = 92;
    pub(in crate::sys) const ENOSYS: c_int = 38;
    pub(in crate::sys) const EPROTO: c_int = 71;
    pub(in crate::sys) const SYS_EPOLL_PWAIT2: c_long = 441;
}
pub(in crate::sys) use numbers::*;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod stack;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(in crate::sys) use stack::*;

// errno(3); these have one number everywhere.
pub(in crate::sys) const EPERM: c_int = 1;
pub(in crate::sys) const EINTR: c_int = 4;
/// The same as EWOULDBLOCK on all architectures that Rust's standard library knows.
pub(in crate::sys) const EAGAIN: c_int = 11;
pub(in crate::sys) const ENOMEM: c_int = 12;
pub(in crate::sys) const ENFILE: c_int = 23;
pub(in crate::sys) const EMFILE: c_int = 24;
pub(in crate::sys) const ENOSPC: c_int = 28;

// epoll_ctl(2), <sys/epoll.h>. The event bits are in `crate::event`.
pub(in crate::sys) const EPOLL_CTL_ADD: c_int = 1;
pub(in crate::sys) const EPOLL_CTL_DEL: c_int = 2;
pub(in crate::sys) const EPOLL_CTL_MOD: c_int = 3;

// socket(7), ip(7), ipv6(7), tcp(7).
pub(in crate::sys) const AF_INET: u16 = 2;
pub(in crate::sys) const AF_INET6: u16 = 10;
#[cfg(any(test, feature = "fault"))]
pub(in crate::sys) const MSG_OOB: c_int = 1;
pub(in crate::sys) const MSG_PEEK: c_int = 2;
pub(in crate::sys) const MSG_NOSIGNAL: c_int = 0x4000;
pub(in crate::sys) const IPPROTO_IP: c_int = 0;
pub(in crate::sys) const IPPROTO_TCP: c_int = 6;
pub(in crate::sys) const IPPROTO_IPV6: c_int = 41;
pub(in crate::sys) const IP_TTL: c_int = 2;
pub(in crate::sys) const IPV6_UNICAST_HOPS: c_int = 16;
pub(in crate::sys) const IPV6_V6ONLY: c_int = 26;
pub(in crate::sys) const TCP_NODELAY: c_int = 1;

/// Options at the level of the socket itself: `SOL_SOCKET` and its numbers.
#[cfg(any(target_arch = "mips64", target_arch = "mips64r6", target_arch = "sparc64"))]
pub(in crate::sys) mod so {
    use super::c_int;
    pub(in crate::sys) const SOL_SOCKET: c_int = 0xffff;
    pub(in crate::sys) const REUSEADDR: c_int = 0x4;
    pub(in crate::sys) const KEEPALIVE: c_int = 0x8;
    pub(in crate::sys) const LINGER: c_int = 0x80;
    pub(in crate::sys) const OOBINLINE: c_int = 0x100;
    pub(in crate::sys) const REUSEPORT: c_int = 0x200;
    pub(in crate::sys) const SNDBUF: c_int = 0x1001;
    pub(in crate::sys) const RCVBUF: c_int = 0x1002;
    pub(in crate::sys) const ERROR: c_int = 0x1007;
}
#[cfg(not(any(target_arch = "mips64", target_arch = "mips64r6", target_arch = "sparc64")))]
pub(in crate::sys) mod so {
    use super::c_int;
    pub(in crate::sys) const SOL_SOCKET: c_int = 1;
    pub(in crate::sys) const REUSEADDR: c_int = 2;
    pub(in crate::sys) const ERROR: c_int = 4;
    pub(in crate::sys) const SNDBUF: c_int = 7;
    pub(in crate::sys) const RCVBUF: c_int = 8;
    pub(in crate::sys) const KEEPALIVE: c_int = 9;
    pub(in crate::sys) const OOBINLINE: c_int = 10;
    pub(in crate::sys) const LINGER: c_int = 13;
    pub(in crate::sys) const REUSEPORT: c_int = 15;
}

// clock_gettime(2), prctl(2), getrlimit(2), getrusage(2).
pub(in crate::sys) const RUSAGE_SELF: c_int = 0;
pub(in crate::sys) const CLOCK_MONOTONIC: c_int = 1;
pub(in crate::sys) const CLOCK_PROCESS_CPUTIME_ID: c_int = 2;
pub(in crate::sys) const PR_SET_TIMERSLACK: c_int = 29;
pub(in crate::sys) const PR_GET_TIMERSLACK: c_int = 30;
pub(in crate::sys) const RLIMIT_NOFILE: c_uint =
    if cfg!(any(target_arch = "mips64", target_arch = "mips64r6")) {
        5
    } else if cfg!(target_arch = "sparc64") {
        6
    } else {
        7
    };

/// `struct epoll_event`; the kernel packs it on x86-64 so that 32-bit programs share the layout.
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
pub(in crate::sys) struct EpollEvent {
    pub(in crate::sys) events: u32,
    pub(in crate::sys) data: u64,
}

const _: () = {
    let layout = crate::event::Layout::NATIVE;
    assert!(size_of::<EpollEvent>() == layout.size());
    assert!(std::mem::offset_of!(EpollEvent, events) == 0);
    assert!(std::mem::offset_of!(EpollEvent, data) == layout.size() - 8);
};

/// `struct timespec` of a 64-bit architecture, which is the kernel's `__kernel_timespec` too.
#[repr(C)]
pub(in crate::sys) struct Timespec {
    pub(in crate::sys) seconds: i64,
    pub(in crate::sys) nanoseconds: i64,
}
const _: () = assert!(size_of::<Timespec>() == 16);

/// `struct msghdr`, without ancillary data. The lengths are `size_t`, as in the kernel.
#[repr(C)]
pub(in crate::sys) struct Msghdr {
    pub(in crate::sys) name: *mut c_void,
    pub(in crate::sys) name_len: u32,
    pub(in crate::sys) parts: *const c_void,
    pub(in crate::sys) parts_len: usize,
    pub(in crate::sys) control: *mut c_void,
    pub(in crate::sys) control_len: usize,
    pub(in crate::sys) flags: c_int,
}
const _: () = {
    assert!(size_of::<Msghdr>() == 56);
    assert!(std::mem::offset_of!(Msghdr, parts) == 16);
    assert!(std::mem::offset_of!(Msghdr, flags) == 48);
};

/// `struct linger` of socket(7).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(in crate::sys) struct Linger {
    pub(in crate::sys) on: c_int,
    pub(in crate::sys) seconds: c_int,
}
const _: () = assert!(size_of::<Linger>() == 8);

/// `struct rlimit` of a 64-bit architecture.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(in crate::sys) struct Rlimit {
    pub(in crate::sys) soft: u64,
    pub(in crate::sys) hard: u64,
}
const _: () = assert!(size_of::<Rlimit>() == 16);

/// `struct rusage` of a 64-bit architecture.
#[repr(C)]
#[derive(Default)]
pub(in crate::sys) struct Rusage {
    user_time: [i64; 2],
    system_time: [i64; 2],
    /// Memory, page faults, blocks, messages and signals.
    others: [c_long; 12],
    pub(in crate::sys) voluntary_switches: c_long,
    involuntary_switches: c_long,
}
const _: () = assert!(size_of::<Rusage>() == 144);
const _: () = assert!(std::mem::offset_of!(Rusage, voluntary_switches) == 128);

/// What `signal(2)` takes: a function's address, or one of the constants below.
pub(in crate::sys) type Handler = usize;
pub(in crate::sys) const SIG_DFL: Handler = 0;
pub(in crate::sys) const SIG_ERR: Handler = usize::MAX;

// SAFETY: these are the C library's own declarations, as the manual pages of section 2 and 3 give
// them: `Option<OwnedFd>` has the layout of a descriptor whose -1 is `None`, and `BorrowedFd` that
// of an open descriptor. `safe` stands where no argument can break memory safety.
unsafe extern "C" {
    pub(in crate::sys) safe fn epoll_create1(flags: c_int) -> Option<OwnedFd>;
    pub(in crate::sys) fn epoll_ctl(
        epoll: BorrowedFd<'_>,
        operation: c_int,
        target: BorrowedFd<'_>,
        event: *mut EpollEvent,
    ) -> c_int;
    #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    pub(in crate::sys) fn epoll_wait(
        epoll: BorrowedFd<'_>,
        events: *mut c_void,
        events_max: c_int,
        timeout_ms: c_int,
    ) -> c_int;
    /// For `epoll_pwait2`, which older C libraries lack while the kernel has it.
    pub(in crate::sys) fn syscall(number: c_long, ...) -> c_long;

    pub(in crate::sys) safe fn socket(
        family: c_int,
        kind: c_int,
        protocol: c_int,
    ) -> Option<OwnedFd>;
    pub(in crate::sys) fn bind(fd: BorrowedFd<'_>, address: *const c_void, length: u32) -> c_int;
    pub(in crate::sys) safe fn listen(fd: BorrowedFd<'_>, backlog: c_int) -> c_int;
    pub(in crate::sys) fn accept4(
        fd: BorrowedFd<'_>,
        address: *mut c_void,
        length: *mut u32,
        flags: c_int,
    ) -> Option<OwnedFd>;
    pub(in crate::sys) fn connect(fd: BorrowedFd<'_>, address: *const c_void, length: u32)
    -> c_int;
    #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    pub(in crate::sys) fn recv(
        fd: BorrowedFd<'_>,
        buffer: *mut c_void,
        length: usize,
        flags: c_int,
    ) -> isize;
    pub(in crate::sys) fn recvfrom(
        fd: BorrowedFd<'_>,
        buffer: *mut c_void,
        length: usize,
        flags: c_int,
        address: *mut c_void,
        address_length: *mut u32,
    ) -> isize;
    pub(in crate::sys) fn readv(fd: BorrowedFd<'_>, parts: *const c_void, count: c_int) -> isize;
    #[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    pub(in crate::sys) fn send(
        fd: BorrowedFd<'_>,
        bytes: *const c_void,
        length: usize,
        flags: c_int,
    ) -> isize;
    pub(in crate::sys) fn sendto(
        fd: BorrowedFd<'_>,
        bytes: *const c_void,
        length: usize,
        flags: c_int,
        address: *const c_void,
        address_length: u32,
    ) -> isize;
    pub(in crate::sys) fn sendmsg(
        fd: BorrowedFd<'_>,
        message: *const Msghdr,
        flags: c_int,
    ) -> isize;
    #[cfg(any(test, feature = "fault"))]
    pub(in crate::sys) safe fn sockatmark(fd: BorrowedFd<'_>) -> c_int;
    pub(in crate::sys) safe fn shutdown(fd: BorrowedFd<'_>, how: c_int) -> c_int;
    pub(in crate::sys) fn getsockopt(
        fd: BorrowedFd<'_>,
        level: c_int,
        name: c_int,
        value: *mut c_void,
        length: *mut u32,
    ) -> c_int;
    pub(in crate::sys) fn setsockopt(
        fd: BorrowedFd<'_>,
        level: c_int,
        name: c_int,
        value: *const c_void,
        length: u32,
    ) -> c_int;
    pub(in crate::sys) fn getsockname(
        fd: BorrowedFd<'_>,
        address: *mut c_void,
        length: *mut u32,
    ) -> c_int;
    pub(in crate::sys) fn getpeername(
        fd: BorrowedFd<'_>,
        address: *mut c_void,
        length: *mut u32,
    ) -> c_int;

    pub(in crate::sys) safe fn eventfd(initial: c_uint, flags: c_int) -> Option<OwnedFd>;
    /// Takes the number rather than a borrow: a signal handler has nothing to borrow from.
    pub(in crate::sys) fn write(fd: c_int, bytes: *const c_void, length: usize) -> isize;

    pub(in crate::sys) fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
    pub(in crate::sys) fn prctl(option: c_int, ...) -> c_int;
    pub(in crate::sys) fn getrlimit(resource: c_uint, limit: *mut Rlimit) -> c_int;
    pub(in crate::sys) fn setrlimit(resource: c_uint, limit: *const Rlimit) -> c_int;
    pub(in crate::sys) fn getrusage(who: c_int, usage: *mut Rusage) -> c_int;

    /// BSD semantics in glibc and musl: the handler stays, interrupted calls restart.
    pub(in crate::sys) fn signal(number: c_int, handler: Handler) -> Handler;
    pub(in crate::sys) safe fn raise(number: c_int) -> c_int;
    pub(in crate::sys) safe fn __errno_location() -> *mut c_int;
}

//! The three system calls of every request, made without the C library.
//!
//! There `recv`, `send` and `epoll_wait` are points at which a thread may be cancelled
//! (`pthreads(7)`). In a process with several threads each call of them allows that before and
//! forbids it after, with locked instructions: some fifty instructions a call, for something that
//! Rust programs can't use. So a worker would pay more for each request than a runtime that is
//! alone.
//!
//! On architectures that have no call here, and where pointers have 32 bits (x32 has numbers of its
//! own), it is the C library's that is made.
#![expect(unsafe_code, reason = "makes system calls")]

use super::ffi;
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), target_pointer_width = "64"))]
use kernel::call;
#[cfg(not(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64"
)))]
use library::call;
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::BorrowedFd;

/// The number of the error with which a call failed, and no more than that: so what is expected of
/// a call, such as that it would block, is told apart without an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errno(c_int);

impl Errno {
    /// The call would block.
    pub(super) const AGAIN: Errno = Errno(ffi::EAGAIN);
    /// A signal interrupted it.
    pub(super) const INTERRUPTED: Errno = Errno(ffi::EINTR);
}

impl From<Errno> for io::Error {
    #[cold]
    #[inline(never)]
    fn from(Errno(number): Errno) -> io::Error {
        io::Error::from_raw_os_error(number)
    }
}

/// A call that is told of a descriptor, of memory, and of one number more.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// `recv(2)`; the number is its flags.
    Recv,
    /// `send(2)`; the number is its flags.
    Send,
    /// `epoll_wait(2)`; the memory is counted in events, and the number is its timeout.
    EpollWait,
}

/// `recv(2)`.
///
/// # Safety
/// `length` bytes from `start` on are writable.
#[inline(always)]
pub(super) unsafe fn recv(
    fd: BorrowedFd<'_>,
    start: *mut c_void,
    length: usize,
    flags: c_int,
) -> Result<usize, Errno> {
    // SAFETY: it writes there, as the caller allows.
    unsafe { call(Call::Recv, fd, start, length, flags) }
}

/// `send(2)`.
///
/// # Safety
/// `length` bytes from `start` on are readable.
#[inline(always)]
pub(super) unsafe fn send(
    fd: BorrowedFd<'_>,
    start: *const c_void,
    length: usize,
    flags: c_int,
) -> Result<usize, Errno> {
    // SAFETY: it reads there, as the caller allows, and writes nowhere.
    unsafe { call(Call::Send, fd, start.cast_mut(), length, flags) }
}

/// `epoll_wait(2)`; how many events it wrote.
///
/// # Safety
/// There is room for `events_max` events from `events` on.
#[inline(always)]
pub(super) unsafe fn epoll_wait(
    epoll: BorrowedFd<'_>,
    events: *mut c_void,
    events_max: usize,
    timeout_ms: c_int,
) -> Result<usize, Errno> {
    // SAFETY: it writes there, as the caller allows.
    unsafe { call(Call::EpollWait, epoll, events, events_max, timeout_ms) }
}

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), target_pointer_width = "64"))]
mod kernel {
    use super::{BorrowedFd, Call, Errno, c_int, c_void};
    use std::arch::asm;
    use std::os::fd::AsRawFd;

    impl Call {
        /// Its number; `recv` and `send` are `recvfrom(2)` and `sendto(2)` without an address.
        #[cfg(target_arch = "x86_64")]
        const fn number(self) -> usize {
            match self {
                Call::Recv => 45,
                Call::Send => 44,
                Call::EpollWait => 232,
            }
        }

        /// Its number; `recv` and `send` are `recvfrom(2)` and `sendto(2)` without an address, and
        /// `epoll_wait` is `epoll_pwait(2)` without a signal mask.
        #[cfg(target_arch = "aarch64")]
        const fn number(self) -> usize {
            match self {
                Call::Recv => 207,
                Call::Send => 206,
                Call::EpollWait => 22,
            }
        }
    }

    /// Has the kernel make a call.
    ///
    /// # Safety
    /// That call is sound, with this memory.
    #[inline(always)]
    pub(super) unsafe fn call(
        call: Call,
        fd: BorrowedFd<'_>,
        start: *mut c_void,
        length: usize,
        last: c_int,
    ) -> Result<usize, Errno> {
        // What comes back is a length, or the negative of an error's number (`syscall(2)`).
        let result: isize;
        // SAFETY: the registers are those of `syscall(2)`. The kernel changes rax, rcx and r11
        // alone, and touches memory only as the caller allows.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") call.number() => result,
                in("rdi") fd.as_raw_fd(),
                in("rsi") start,
                in("rdx") length,
                in("r10") last,
                in("r8") 0_usize,
                in("r9") 0_usize,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        // SAFETY: the registers are those of `syscall(2)`. The kernel changes x0, and what vector
        // registers have beyond 128 bits, and predicates ("Scalable Vector Extension support for
        // AArch64 Linux", section 3): no more than a C function may. It touches memory only as the
        // caller allows.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            asm!(
                "svc 0",
                in("x8") call.number(),
                inlateout("x0") fd.as_raw_fd() as isize => result,
                in("x1") start,
                in("x2") length,
                in("x3") last,
                in("x4") 0_usize,
                in("x5") 0_usize,
                clobber_abi("C"),
                options(nostack),
            );
        }
        if result < 0 { Err(Errno(-(result as c_int))) } else { Ok(result as usize) }
    }
}

#[cfg(any(
    test,
    not(all(any(target_arch = "x86_64", target_arch = "aarch64"), target_pointer_width = "64"))
))]
mod library {
    use super::{BorrowedFd, Call, Errno, c_int, c_void, ffi, io};

    /// Has the C library make a call.
    ///
    /// # Safety
    /// That call is sound, with this memory.
    pub(super) unsafe fn call(
        call: Call,
        fd: BorrowedFd<'_>,
        start: *mut c_void,
        length: usize,
        last: c_int,
    ) -> Result<usize, Errno> {
        let result = match call {
            // SAFETY: as the caller says.
            Call::Recv => unsafe { ffi::recv(fd, start, length, last) },
            // SAFETY: as the caller says.
            Call::Send => unsafe { ffi::send(fd, start, length, last) },
            // SAFETY: as the caller says.
            Call::EpollWait => unsafe {
                ffi::epoll_wait(fd, start, length as c_int, last) as isize
            },
        };
        let failure = || Errno(io::Error::last_os_error().raw_os_error().unwrap_or(0));
        usize::try_from(result).map_err(|_| failure())
    }
}

#[cfg(test)]
mod tests {
    use super::{BorrowedFd, Call, Errno, c_int, c_void, library};
    use crate::sys::ffi::{self, MSG_NOSIGNAL, MSG_PEEK};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    /// EINVAL and EPIPE.
    const INVALID: Errno = Errno(22);
    const BROKEN_PIPE: Errno = Errno(32);

    type Maker = unsafe fn(Call, BorrowedFd<'_>, *mut c_void, usize, c_int) -> Result<usize, Errno>;

    /// What the program has, and what that stands for.
    const MAKERS: [Maker; 2] = [super::call, library::call];

    fn recv(by: Maker, stream: &UnixStream, flags: c_int) -> Result<Vec<u8>, Errno> {
        let mut bytes = [0; 8];
        // SAFETY: that is an array of 8 bytes.
        let count = unsafe { by(Call::Recv, stream.as_fd(), bytes.as_mut_ptr().cast(), 8, flags) };
        count.map(|count| bytes[..count].to_vec())
    }

    fn send(by: Maker, stream: &UnixStream, bytes: &[u8]) -> Result<usize, Errno> {
        let (start, length) = (bytes.as_ptr().cast_mut().cast(), bytes.len());
        // SAFETY: these are the bytes of a slice, and only read.
        unsafe { by(Call::Send, stream.as_fd(), start, length, MSG_NOSIGNAL) }
    }

    fn wait(by: Maker, epoll: BorrowedFd<'_>, timeout_ms: c_int) -> Result<usize, Errno> {
        let mut events = [[0_u8; 16]; 2];
        let start = events.as_mut_ptr().cast();
        // SAFETY: that is room for two events in either layout.
        unsafe { by(Call::EpollWait, epoll, start, 2, timeout_ms) }
    }

    #[test]
    fn a_wait_made_directly_does_what_the_c_librarys_does() {
        let (here, there) = UnixStream::pair().unwrap();
        let epoll = ffi::epoll_create1(ffi::CLOEXEC).unwrap();
        let mut asked = ffi::EpollEvent { events: 1, data: 7 };
        // SAFETY: the kernel reads one `epoll_event`.
        let added = unsafe {
            ffi::epoll_ctl(epoll.as_fd(), ffi::EPOLL_CTL_ADD, there.as_fd(), &raw mut asked)
        };
        assert_eq!(added, 0);
        for maker in MAKERS {
            assert_eq!(wait(maker, epoll.as_fd(), 0), Ok(0));
            assert_eq!(send(library::call, &here, b"x"), Ok(1));
            assert_eq!(wait(maker, epoll.as_fd(), 0), Ok(1));
            assert_eq!(recv(library::call, &there, 0), Ok(b"x".to_vec()));
            assert_eq!(wait(maker, here.as_fd(), 0), Err(INVALID));
        }
    }

    #[test]
    fn a_call_made_directly_does_what_the_c_librarys_does() {
        for maker in MAKERS {
            let (here, there) = UnixStream::pair().unwrap();
            there.set_nonblocking(true).unwrap();
            assert_eq!(recv(maker, &there, 0), Err(Errno::AGAIN));
            assert_eq!(send(maker, &here, b"hello, you"), Ok(10));
            assert_eq!(recv(maker, &there, MSG_PEEK), Ok(b"hello, y".to_vec()));
            assert_eq!(recv(maker, &there, 0), Ok(b"hello, y".to_vec()));
            assert_eq!(recv(maker, &there, 0), Ok(b"ou".to_vec()));
            drop(here);
            assert_eq!(recv(maker, &there, 0), Ok(Vec::new()));
            assert_eq!(send(maker, &there, b"x"), Err(BROKEN_PIPE));
        }
    }
}

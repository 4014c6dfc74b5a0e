//! The three system calls of every request, made without the C library.
//!
//! There `recv`, `send` and `epoll_wait` are points at which a thread may be cancelled
//! (`pthreads(7)`). In a process with several threads each call of them allows that before and
//! forbids it after, with locked instructions: some fifty instructions a call, for something that
//! Rust programs can't use. So a worker would pay more for each request than a runtime that is
//! alone.
//!
//! On architectures that have no call here it is the C library's that is made.
#![expect(unsafe_code, reason = "makes system calls")]

#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
use super::check_length;
use super::ffi;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::io;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

/// `recv(2)`.
///
/// # Safety
/// `length` bytes from `start` on are writable.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline]
pub(super) unsafe fn recv(
    fd: BorrowedFd<'_>,
    start: *mut c_void,
    length: usize,
    flags: c_int,
) -> io::Result<usize> {
    // SAFETY: recvfrom(2) writes there, as the caller allows; it is told of no address.
    outcome(unsafe { call(RECVFROM, fd, start, length, flags) })
}

/// `send(2)`.
///
/// # Safety
/// `length` bytes from `start` on are readable.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline]
pub(super) unsafe fn send(
    fd: BorrowedFd<'_>,
    start: *const c_void,
    length: usize,
    flags: c_int,
) -> io::Result<usize> {
    // SAFETY: sendto(2) reads there, as the caller allows, and writes nowhere.
    outcome(unsafe { call(SENDTO, fd, start.cast_mut(), length, flags) })
}

/// `epoll_wait(2)`; how many events it wrote.
///
/// # Safety
/// There is room for `events_max` events from `events` on.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline]
pub(super) unsafe fn epoll_wait(
    epoll: BorrowedFd<'_>,
    events: *mut c_void,
    events_max: c_int,
    timeout_ms: c_int,
) -> io::Result<usize> {
    // SAFETY: epoll_wait(2) writes there, as the caller allows; epoll_pwait(2) does the same if it
    // is told of no signal mask.
    outcome(unsafe { call(EPOLL_WAIT, epoll, events, events_max as usize, timeout_ms) })
}

/// What the kernel returns: a length, or the negative of an error's number (`syscall(2)`).
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline]
fn outcome(result: isize) -> io::Result<usize> {
    // Told apart before there is an error, so that what was done makes none.
    if result < 0 { Err(failure(result)) } else { Ok(result as usize) }
}

/// The error whose number's negative this is. What would block is no failure, and all others are.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline]
fn failure(result: isize) -> io::Error {
    if result == -(ffi::EAGAIN as isize) {
        return io::Error::from_raw_os_error(ffi::EAGAIN);
    }
    other_failure(result)
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[cold]
#[inline(never)]
fn other_failure(result: isize) -> io::Error {
    io::Error::from_raw_os_error(-(result as i32))
}

#[cfg(target_arch = "x86_64")]
const RECVFROM: isize = 45;
#[cfg(target_arch = "x86_64")]
const SENDTO: isize = 44;
#[cfg(target_arch = "x86_64")]
const EPOLL_WAIT: isize = 232;

/// A call of `recvfrom(2)` or `sendto(2)` without an address, or of `EPOLL_WAIT`.
///
/// # Safety
/// That call is sound, with this memory.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn call(
    number: isize,
    fd: BorrowedFd<'_>,
    start: *mut c_void,
    length: usize,
    last: c_int,
) -> isize {
    let result;
    // SAFETY: the registers are those of `syscall(2)`. The kernel changes rax, rcx and r11 alone,
    // and touches memory only as the caller allows.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
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
    result
}

#[cfg(target_arch = "aarch64")]
const RECVFROM: isize = 207;
#[cfg(target_arch = "aarch64")]
const SENDTO: isize = 206;
/// `epoll_pwait(2)`: there is no other.
#[cfg(target_arch = "aarch64")]
const EPOLL_WAIT: isize = 22;

/// A call of `recvfrom(2)` or `sendto(2)` without an address, or of `EPOLL_WAIT`.
///
/// # Safety
/// That call is sound, with this memory.
#[cfg(target_arch = "aarch64")]
#[inline]
unsafe fn call(
    number: isize,
    fd: BorrowedFd<'_>,
    start: *mut c_void,
    length: usize,
    last: c_int,
) -> isize {
    let result;
    // SAFETY: the registers are those of `syscall(2)`. The kernel changes x0 alone, and touches
    // memory only as the caller allows.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") fd.as_raw_fd() as isize => result,
            in("x1") start,
            in("x2") length,
            in("x3") last,
            in("x4") 0_usize,
            in("x5") 0_usize,
            options(nostack),
        );
    }
    result
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) use library::{epoll_wait, recv, send};

/// The same by the C library.
#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod library {
    use super::{BorrowedFd, c_int, c_void, check_length, ffi, io};

    /// `recv(2)`.
    ///
    /// # Safety
    /// `length` bytes from `start` on are writable.
    pub(crate) unsafe fn recv(
        fd: BorrowedFd<'_>,
        start: *mut c_void,
        length: usize,
        flags: c_int,
    ) -> io::Result<usize> {
        // SAFETY: as the caller says.
        check_length(unsafe { ffi::recv(fd, start, length, flags) })
    }

    /// `send(2)`.
    ///
    /// # Safety
    /// `length` bytes from `start` on are readable.
    pub(crate) unsafe fn send(
        fd: BorrowedFd<'_>,
        start: *const c_void,
        length: usize,
        flags: c_int,
    ) -> io::Result<usize> {
        // SAFETY: as the caller says.
        check_length(unsafe { ffi::send(fd, start, length, flags) })
    }

    /// `epoll_wait(2)`; how many events it wrote.
    ///
    /// # Safety
    /// There is room for `events_max` events from `events` on.
    pub(crate) unsafe fn epoll_wait(
        epoll: BorrowedFd<'_>,
        events: *mut c_void,
        events_max: c_int,
        timeout_ms: c_int,
    ) -> io::Result<usize> {
        // SAFETY: as the caller says.
        check_length(unsafe { ffi::epoll_wait(epoll, events, events_max, timeout_ms) } as isize)
    }
}

#[cfg(test)]
mod tests {
    use super::{c_int, c_void, io, library};
    use crate::sys::ffi::{self, MSG_PEEK};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;

    type Recv = unsafe fn(BorrowedFd<'_>, *mut c_void, usize, c_int) -> io::Result<usize>;
    type Send = unsafe fn(BorrowedFd<'_>, *const c_void, usize, c_int) -> io::Result<usize>;

    fn recv(by: Recv, stream: &UnixStream, flags: c_int) -> Result<Vec<u8>, io::ErrorKind> {
        let mut bytes = [0; 8];
        // SAFETY: that is an array of 8 bytes.
        let count = unsafe { by(stream.as_fd(), bytes.as_mut_ptr().cast(), 8, flags) };
        count.map(|count| bytes[..count].to_vec()).map_err(|error| error.kind())
    }

    fn send(by: Send, stream: &UnixStream, bytes: &[u8]) -> Result<usize, io::ErrorKind> {
        // SAFETY: these are the bytes of a slice.
        let count = unsafe { by(stream.as_fd(), bytes.as_ptr().cast(), bytes.len(), 0x4000) };
        count.map_err(|error| error.kind())
    }

    type Wait = unsafe fn(BorrowedFd<'_>, *mut c_void, c_int, c_int) -> io::Result<usize>;

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
        for by_wait in [super::epoll_wait as Wait, library::epoll_wait] {
            let wait = |fd: BorrowedFd<'_>| {
                let mut events = [[0_u8; 16]; 2];
                // SAFETY: that is room for two events in either layout.
                let count = unsafe { by_wait(fd, events.as_mut_ptr().cast(), 2, 0) };
                count.map_err(|error| error.kind())
            };
            assert_eq!(wait(epoll.as_fd()), Ok(0));
            // SAFETY: these are the bytes of a slice.
            unsafe { library::send(here.as_fd(), b"x".as_ptr().cast(), 1, 0) }.unwrap();
            assert_eq!(wait(epoll.as_fd()), Ok(1));
            assert_eq!(recv(library::recv, &there, 0), Ok(b"x".to_vec()));
            assert_eq!(wait(here.as_fd()), Err(io::ErrorKind::InvalidInput));
        }
    }

    #[test]
    fn a_call_made_directly_does_what_the_c_librarys_does() {
        for (by_recv, by_send) in
            [(super::recv as Recv, super::send as Send), (library::recv, library::send)]
        {
            let (here, there) = UnixStream::pair().unwrap();
            there.set_nonblocking(true).unwrap();
            assert_eq!(recv(by_recv, &there, 0), Err(io::ErrorKind::WouldBlock));
            assert_eq!(send(by_send, &here, b"hello, you"), Ok(10));
            assert_eq!(recv(by_recv, &there, MSG_PEEK), Ok(b"hello, y".to_vec()));
            assert_eq!(recv(by_recv, &there, 0), Ok(b"hello, y".to_vec()));
            assert_eq!(recv(by_recv, &there, 0), Ok(b"ou".to_vec()));
            drop(here);
            assert_eq!(recv(by_recv, &there, 0), Ok(Vec::new()));
            assert_eq!(send(by_send, &there, b"x"), Err(io::ErrorKind::BrokenPipe));
        }
    }
}

//! The two system calls of every request, made without the C library.
//!
//! There `recv` and `send` are points at which a thread may be cancelled (`pthreads(7)`). In a
//! process with several threads each call of them allows that before and forbids it after, with
//! locked instructions: some fifty instructions a call, for something that Rust programs can't use.
//! So a worker would pay more for each request than a runtime that is alone.
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
    outcome(unsafe { socket_call(RECVFROM, fd, start, length, flags) })
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
    outcome(unsafe { socket_call(SENDTO, fd, start.cast_mut(), length, flags) })
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

/// A call of `recvfrom(2)` or `sendto(2)` without an address.
///
/// # Safety
/// That call is sound, with this memory.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn socket_call(
    number: isize,
    fd: BorrowedFd<'_>,
    start: *mut c_void,
    length: usize,
    flags: c_int,
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
            in("r10") flags,
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

/// A call of `recvfrom(2)` or `sendto(2)` without an address.
///
/// # Safety
/// That call is sound, with this memory.
#[cfg(target_arch = "aarch64")]
#[inline]
unsafe fn socket_call(
    number: isize,
    fd: BorrowedFd<'_>,
    start: *mut c_void,
    length: usize,
    flags: c_int,
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
            in("x3") flags,
            in("x4") 0_usize,
            in("x5") 0_usize,
            options(nostack),
        );
    }
    result
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) use library::{recv, send};

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
}

#[cfg(test)]
mod tests {
    use super::{c_int, c_void, io, library};
    use crate::sys::ffi::MSG_PEEK;
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

//! eventfd(2): a counter that makes an epoll instance wake.
#![expect(unsafe_code, reason = "a descriptor's number is written to from where no borrow can be")]

use super::kernel::{Descriptor, KernelHandle};
use super::{check_length, ffi};
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Wakes whoever watches it for readability with edge-triggered epoll, from any thread.
///
/// It is never read: each write is an edge of its own, and the counter, which a write raises by
/// one, would take centuries to overflow.
#[derive(Debug)]
pub struct Notifier(Descriptor);

impl Notifier {
    /// Makes one on `kernel`.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn on(kernel: &KernelHandle) -> io::Result<Notifier> {
        kernel.eventfd().map(Notifier)
    }

    /// What epoll is to watch.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.0
    }

    /// Wakes the watcher, now or at its next wait.
    ///
    /// # Errors
    /// None on Linux.
    pub fn notify(&self) -> io::Result<()> {
        self.0.raise()
    }
}

pub(in crate::sys) fn create() -> io::Result<OwnedFd> {
    ffi::eventfd(0, ffi::CLOEXEC | ffi::NONBLOCK).ok_or_else(io::Error::last_os_error)
}

pub(in crate::sys) fn raise(fd: BorrowedFd<'_>) -> io::Result<()> {
    raise_number(fd.as_raw_fd())
}

/// Adds one to the counter of the eventfd with this number, which the caller has to keep open; safe
/// in a signal handler (`write(2)` is async-signal-safe).
pub(in crate::sys) fn raise_number(number: c_int) -> io::Result<()> {
    let one = 1u64.to_ne_bytes();
    // SAFETY: `one` is eight readable bytes. Both callers hold an eventfd of this number open: one
    // a borrow of it, the signal handler a static that is never dropped.
    check_length(unsafe { ffi::write(number, one.as_ptr().cast(), one.len()) })?;
    Ok(())
}

//! Direct bindings to the system calls that the runtime stands on, in safe wrappers.
//!
//! [`Epoll`] and [`Descriptor`] are enough to write an event loop by hand, together with
//! [`crate::event`] and [`crate::timer`]; the reactor is written on the same. Every call returns
//! [`io::Result`], an interrupted call is made again, and a call that would block fails with
//! [`io::ErrorKind::WouldBlock`]: descriptors that are opened here are non-blocking and close on
//! exec, and those that are taken over should be.
//!
//! Calls that decide how a program behaves go through one seam, [`Descriptor`] and
//! [`KernelHandle`], where another kernel can be put below the runtime (feature `fault`). In a
//! build without that feature a descriptor is an [`OwnedFd`](std::os::fd::OwnedFd) and nothing
//! more.

mod address;
mod clock;
mod direct;
mod epoll;
mod eventfd;
#[cfg(any(test, feature = "fault"))]
pub mod fault;
mod ffi;
mod kernel;
mod limit;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod overflow;
pub mod signal;
mod slack;
mod socket;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod stack;
mod usage;

pub(crate) use address::RawAddress;
pub use clock::process_time;
pub use epoll::{Control, Epoll, EventBuffer};
pub use eventfd::Notifier;
pub use kernel::{Descriptor, KernelHandle};
#[cfg(any(test, feature = "fault"))]
pub use kernel::{Hosted, Kernel, Work};
pub use limit::raise_descriptor_limit;
pub(crate) use slack::ExactWaits;
pub(crate) use socket::PARTS_MAX;
pub use socket::{Connect, Family, SocketOption};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use stack::StackMemory;
pub use usage::voluntary_switches;

use std::ffi::c_int;
use std::io;

/// The result of a C function that returns -1 and sets `errno` when it fails.
#[inline]
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The same for functions that return a length.
#[inline]
fn check_length(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Makes a call again for as long as a signal interrupts it (`signal(7)`, "Interruption of system
/// calls"). Only for calls that may be made again: most are wholly undone when interrupted.
#[inline(always)]
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match call() {
        Err(error) if is_interruption(&error) => retry_interrupted(call),
        result => result,
    }
}

#[cold]
#[inline(never)]
fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if is_interruption(&error) => {}
            result => return result,
        }
    }
}

fn is_interruption(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ffi::EINTR)
}

/// Whether `error` says that the process or the machine is out of descriptors or memory, so that
/// the same call may succeed later (`accept(2)`: EMFILE, ENFILE, ENOBUFS, ENOMEM; `epoll_ctl(2)`:
/// ENOSPC).
///
/// It may be the system's error or one that has it as its source, such as those that say which call
/// failed.
#[must_use]
pub fn is_exhaustion(error: &io::Error) -> bool {
    const NUMBERS: [c_int; 5] = [ffi::EMFILE, ffi::ENFILE, ffi::ENOBUFS, ffi::ENOMEM, ffi::ENOSPC];
    let within = || std::error::Error::source(error)?.downcast_ref::<io::Error>()?.raw_os_error();
    error.raw_os_error().or_else(within).is_some_and(|number| NUMBERS.contains(&number))
}

/// Whether `error` says that a call would block.
#[inline]
pub(crate) fn would_block(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(number) => number == ffi::EAGAIN,
        None => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// The result of a call that does not wait: None if it would block.
#[inline]
pub(crate) fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(result) => Ok(Some(result)),
        Err(error) if would_block(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether `error`, which `accept(2)` returned, concerns only the connection that was to be
/// accepted: the next one may be fine ("Error handling" there).
pub(crate) fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, HostUnreachable, NetworkDown, NetworkUnreachable};
    let kinds = [ConnectionAborted, HostUnreachable, NetworkDown, NetworkUnreachable];
    let numbers = [ffi::EPROTO, ffi::ENOPROTOOPT, ffi::EHOSTDOWN, ffi::ENONET];
    kinds.contains(&error.kind()) || error.raw_os_error().is_some_and(|n| numbers.contains(&n))
}

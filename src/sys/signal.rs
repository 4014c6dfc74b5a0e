//! signal(7): asynchronous signals as counters and an eventfd.
//!
//! A handler may do very little (`signal-safety(7)`): this one adds to an atomic counter and writes
//! to an eventfd, which wakes every reactor that watches it.
#![expect(unsafe_code, reason = "installs signal handlers")]

use super::ffi::{self, Handler, SIG_DFL, SIG_ERR};
use super::{check, eventfd};
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The signals that a program can ask to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGHUP: the terminal is gone, or by custom: read the configuration anew.
    Hangup,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGQUIT: Ctrl-\.
    Quit,
    /// SIGTERM: the polite request to end.
    Terminate,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGPIPE: a write to a pipe or socket that nobody reads any more.
    Pipe,
}

impl Signal {
    fn number(self) -> c_int {
        let mips = cfg!(any(target_arch = "mips64", target_arch = "mips64r6"));
        let sparc = cfg!(target_arch = "sparc64");
        match self {
            Signal::Hangup => 1,
            Signal::Interrupt => 2,
            Signal::Quit => 3,
            Signal::Pipe => 13,
            Signal::Terminate => 15,
            Signal::User1 if mips => 16,
            Signal::User1 if sparc => 30,
            Signal::User1 => 10,
            Signal::User2 if mips => 17,
            Signal::User2 if sparc => 31,
            Signal::User2 => 12,
        }
    }
}

/// How often each signal came since its handler was installed; by number.
static COUNTS: [AtomicU64; 32] = [const { AtomicU64::new(0) }; 32];

/// What the handler writes to. Never closed, so that a late signal can't write to a descriptor
/// that took its number.
static EVENTFD: OnceLock<OwnedFd> = OnceLock::new();

extern "C" fn on_signal(number: c_int) {
    // `errno` belongs to the code that was interrupted.
    let errno = ffi::__errno_location();
    // SAFETY: the C library's pointer to the calling thread's `errno` is always valid.
    let saved = unsafe { errno.read() };
    if let Some(count) = usize::try_from(number).ok().and_then(|number| COUNTS.get(number)) {
        count.fetch_add(1, Ordering::Release);
    }
    // `OnceLock::get` is one atomic load, and so safe here. The handler is installed after
    // it is set.
    if let Some(fd) = EVENTFD.get() {
        // It can't fail but for a counter at its end, and then the watchers are awake anyway.
        let _ = eventfd::raise_number(fd.as_raw_fd());
    }
    // SAFETY: as above.
    unsafe { errno.write(saved) };
}

/// Installs the handler for `signal`, for the rest of the process's life; the default action no
/// longer happens. Doing it again changes nothing.
///
/// # Errors
/// Out of descriptors at the first call; those of `signal(2)`.
pub fn watch(signal: Signal) -> io::Result<()> {
    if EVENTFD.get().is_none() {
        let fd = eventfd::create()?;
        // Another thread may have been faster: then this one is closed.
        let _ = EVENTFD.set(fd);
    }
    let handler = on_signal as extern "C" fn(c_int);
    // SAFETY: `on_signal` does only what `signal-safety(7)` allows, and lives for ever.
    set_handler(signal, handler as Handler)
}

/// Gives `signal` back its default action; for SIGPIPE, which Rust programs start out ignoring,
/// that is to end the process.
///
/// # Errors
/// Those of `signal(2)`.
pub fn set_default(signal: Signal) -> io::Result<()> {
    set_handler(signal, SIG_DFL)
}

fn set_handler(signal: Signal, handler: Handler) -> io::Result<()> {
    // SAFETY: `handler` is SIG_DFL or the address of `on_signal`, as the two callers see to.
    let before = unsafe { ffi::signal(signal.number(), handler) };
    if before == SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends `signal` to the calling thread (`raise(3)`); its handler has run when this returns.
///
/// # Errors
/// None.
pub fn raise(signal: Signal) -> io::Result<()> {
    check(ffi::raise(signal.number())).map(drop)
}

/// How often `signal` came while it was watched.
#[must_use]
pub fn count(signal: Signal) -> u64 {
    let index = usize::try_from(signal.number()).unwrap_or(0);
    COUNTS[index].load(Ordering::Acquire)
}

/// A descriptor of the caller's own that becomes readable, as an edge, with every signal that is
/// watched.
///
/// # Errors
/// `NotConnected` before the first [`watch`]; out of descriptors.
pub fn descriptor() -> io::Result<OwnedFd> {
    match EVENTFD.get() {
        Some(fd) => fd.as_fd().try_clone_to_owned(),
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}

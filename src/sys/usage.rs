//! getrusage(2): what the process has used.
#![expect(unsafe_code, reason = "calls getrusage")]

use super::ffi::{self, RUSAGE_SELF, Rusage};

/// How often a thread of this process has given its processor up by itself, mostly to wait: the
/// voluntary context switches of all threads, also of those that have ended.
///
/// ```
/// use whirligig::sys::voluntary_switches;
///
/// let before = voluntary_switches();
/// std::thread::sleep(std::time::Duration::from_millis(1));
/// assert!(voluntary_switches() > before);
/// ```
#[must_use]
pub fn voluntary_switches() -> u64 {
    let mut usage = Rusage::default();
    // SAFETY: `usage` is a writable `rusage`. The call fails for bad arguments only, and these are
    // good; were it to, the count would stand at zero.
    let _ = unsafe { ffi::getrusage(RUSAGE_SELF, &raw mut usage) };
    u64::try_from(usage.voluntary_switches).unwrap_or_default()
}

//! clock_gettime(2): the monotonic clock, and the processor time that the process has had.
#![expect(unsafe_code, reason = "calls clock_gettime")]

use super::ffi::{self, Timespec};
use std::ffi::c_int;
use std::time::Duration;

/// Nanoseconds on `CLOCK_MONOTONIC`, which never goes back and does not count suspension.
#[inline]
pub(in crate::sys) fn monotonic() -> u64 {
    let time = read(ffi::CLOCK_MONOTONIC);
    (time.seconds as u64).wrapping_mul(1_000_000_000).wrapping_add(time.nanoseconds as u64)
}

/// The processor time, user and system, that all threads of the process have had
/// (`CLOCK_PROCESS_CPUTIME_ID`).
///
/// ```
/// use whirligig::sys::process_time;
///
/// let before = process_time();
/// assert!(process_time() >= before);
/// ```
#[must_use]
pub fn process_time() -> Duration {
    let time = read(ffi::CLOCK_PROCESS_CPUTIME_ID);
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}

#[inline]
fn read(clock: c_int) -> Timespec {
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: `time` is writable, and the clocks that are read here exist on every Linux, so the
    // call can't fail (`clock_gettime(2)`); were it to, time would stand at zero.
    let _ = unsafe { ffi::clock_gettime(clock, &raw mut time) };
    time
}

//! clock_gettime(2): the monotonic clock.
#![expect(unsafe_code, reason = "calls clock_gettime")]

use super::ffi::{self, Timespec};

/// Nanoseconds on `CLOCK_MONOTONIC`, which never goes back and does not count suspension.
#[inline]
pub(in crate::sys) fn monotonic() -> u64 {
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: `time` is writable, and this clock exists on every Linux, so the call can't fail
    // (`clock_gettime(2)`); were it to, time would stand at zero.
    let _ = unsafe { ffi::clock_gettime(ffi::CLOCK_MONOTONIC, &raw mut time) };
    (time.seconds as u64).wrapping_mul(1_000_000_000).wrapping_add(time.nanoseconds as u64)
}

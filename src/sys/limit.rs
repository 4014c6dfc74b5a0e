//! getrlimit(2): how many descriptors the process may have.
#![expect(unsafe_code, reason = "calls getrlimit and setrlimit")]

use super::check;
use super::ffi::{self, RLIMIT_NOFILE, Rlimit};
use std::io;

/// Raises the limit of open descriptors as far as the process may itself, and returns it.
///
/// # Errors
/// Those of `setrlimit(2)`; the old limit then still holds.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = Rlimit::default();
    // SAFETY: `limit` is a writable `rlimit`.
    check(unsafe { ffi::getrlimit(RLIMIT_NOFILE, &raw mut limit) })?;
    if limit.soft < limit.hard {
        limit.soft = limit.hard;
        // SAFETY: `limit` is a readable `rlimit`.
        check(unsafe { ffi::setrlimit(RLIMIT_NOFILE, &raw const limit) })?;
    }
    Ok(limit.soft)
}

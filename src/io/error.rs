//! Errors that say which call failed, and on what.

use std::fmt::{self, Display};
use std::io;

/// What failed: a call, on something, with the system's error.
///
/// It is inside the [`io::Error`]s of calls that name an address or a host;
/// [`os_error`] finds the system's number in them.
#[derive(Debug)]
pub struct CallError {
    call: &'static str,
    on: String,
    error: io::Error,
}

impl CallError {
    /// The call that failed, as the manual names it.
    #[must_use]
    pub fn call(&self) -> &'static str {
        self.call
    }
}

impl Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.call, self.on, self.error)
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Says of an error which call it came from; its kind stays.
#[cold]
pub(crate) fn during(call: &'static str, on: impl Display, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), CallError { call, on: on.to_string(), error })
}

/// The system's error number (`errno(3)`), also of errors that say which call they came from.
#[must_use]
pub fn os_error(error: &io::Error) -> Option<i32> {
    let inner = || error.get_ref()?.downcast_ref::<CallError>()?.error.raw_os_error();
    error.raw_os_error().or_else(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_failed_and_keeps_its_number() {
        let error = during("connect", "127.0.0.1:1", io::Error::from_raw_os_error(111));
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(os_error(&error), Some(111));
        assert!(error.to_string().starts_with("connect 127.0.0.1:1: "), "{error}");
        assert_eq!(os_error(&io::ErrorKind::Other.into()), None);
    }
}

//! What came of a call, as a line of the trace has it.

use crate::sys::Connect;
use std::net::SocketAddr;
use std::time::Duration;

/// A result as the trace has it: a count, or an error's number, negative.
pub(super) trait Outcome {
    fn outcome(&self) -> i64;
}

impl Outcome for () {
    fn outcome(&self) -> i64 {
        0
    }
}

impl Outcome for usize {
    fn outcome(&self) -> i64 {
        *self as i64
    }
}

impl Outcome for i32 {
    fn outcome(&self) -> i64 {
        (*self).into()
    }
}

impl Outcome for Connect {
    fn outcome(&self) -> i64 {
        (*self == Connect::InProgress).into()
    }
}

impl Outcome for Option<i32> {
    fn outcome(&self) -> i64 {
        self.unwrap_or(0).into()
    }
}

impl Outcome for Option<Duration> {
    fn outcome(&self) -> i64 {
        self.map_or(-1, |time| time.as_secs() as i64)
    }
}

impl Outcome for SocketAddr {
    fn outcome(&self) -> i64 {
        self.port().into()
    }
}

impl Outcome for (i32, SocketAddr) {
    fn outcome(&self) -> i64 {
        self.0.into()
    }
}

impl Outcome for (usize, SocketAddr) {
    fn outcome(&self) -> i64 {
        self.0 as i64
    }
}

impl Outcome for Option<u8> {
    fn outcome(&self) -> i64 {
        self.map_or(-1, i64::from)
    }
}

impl Outcome for bool {
    fn outcome(&self) -> i64 {
        (*self).into()
    }
}

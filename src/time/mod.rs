//! Time: a monotonic clock, sleeps, timeouts and intervals.
//!
//! Deadlines have nanosecond resolution, and nothing here ends early. How late it ends is up to
//! how fast the kernel wakes a thread, which [`Runtime::block_on`](crate::Runtime::block_on) asks
//! for as exactly as can be, and to how busy the runtime is. Any [`Duration`] will do,
//! [`Duration::MAX`] too, which never ends.

mod interval;
mod sleep;
mod timeout;

pub use crate::instant::Instant;
pub(crate) use interval::next_after;
pub use interval::{Interval, interval, interval_at};
pub use sleep::{Sleep, sleep, sleep_until};
pub use std::time::Duration;
pub use timeout::{Elapsed, timeout, timeout_at};

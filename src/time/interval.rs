//! Doing something again and again.

use super::{Instant, sleep_until};
use std::time::Duration;

/// Ticks at once, and then every `period`.
///
/// # Panics
/// If `period` is zero.
#[must_use]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks at `start`, and then every `period`.
///
/// # Panics
/// If `period` is zero.
#[must_use]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval without a length would tick without end");
    Interval { next: start, period }
}

/// A clock that ticks; see [`interval`].
///
/// Ticks lie on a fixed grid: one that comes late does not shift those after it, and those that
/// were missed meanwhile are left out.
#[derive(Clone, Debug)]
pub struct Interval {
    next: Instant,
    period: Duration,
}

impl Interval {
    /// Waits for the next tick, and returns the time that it stands for.
    ///
    /// Cancel safety: a tick that was not waited for to its end is there for the next call.
    pub async fn tick(&mut self) -> Instant {
        let tick = self.next;
        sleep_until(tick).await;
        let late = Instant::now() - tick;
        // Both in nanoseconds: a period that long has at most one tick.
        let missed = late.as_nanos() / self.period.as_nanos();
        let step = u32::try_from(missed + 1).ok().and_then(|count| self.period.checked_mul(count));
        self.next = tick + step.unwrap_or(late + self.period);
        tick
    }

    /// The time between two ticks.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

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
        self.next = next_after(tick, Instant::now(), self.period);
        tick
    }

    /// The time between two ticks.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

/// The first point after `now` of the grid on which `tick` lies, which is not after `now`.
pub(crate) fn next_after(tick: Instant, now: Instant, period: Duration) -> Instant {
    // As wide as it takes: any number of the shortest periods, and one of the longest.
    let period = period.as_nanos();
    let missed = (now - tick).as_nanos() / period;
    let ahead = u64::try_from((missed + 1).saturating_mul(period)).unwrap_or(u64::MAX);
    Instant::from_nanos(tick.as_nanos().saturating_add(ahead))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_tick_is_the_first_of_the_grid_that_is_yet_to_come() {
        let at = Instant::from_nanos;
        let next = |tick, now, period| next_after(at(tick), at(now), Duration::from_nanos(period));
        assert_eq!(next(100, 100, 10), at(110));
        assert_eq!(next(100, 109, 10), at(110));
        assert_eq!(next(100, 110, 10), at(120));
        assert_eq!(next(100, 137, 10), at(140));
        assert_eq!(next(0, 1 << 60, 3), at((1u64 << 60) / 3 * 3 + 3), "4e17 periods late");
        assert_eq!(next_after(at(5), at(7), Duration::MAX), Instant::FAR_FUTURE);
    }
}

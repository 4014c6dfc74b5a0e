//! A point on the runtime's clock.

use crate::reactor;
use crate::sys::KernelHandle;
use crate::timer;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point on the monotonic clock of the current runtime's kernel; outside of a runtime, Linux's.
///
/// It is what [`std::time::Instant`] is, but for a kernel whose time is not that of the machine,
/// and it never overflows: what lies beyond the clock's range (584 years) is the far future, which
/// never comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The time that never comes.
    pub const FAR_FUTURE: Instant = Instant(timer::NEVER);

    /// Now.
    #[must_use]
    pub fn now() -> Instant {
        Instant(reactor::now())
    }

    pub(crate) const fn from_nanos(nanoseconds: u64) -> Instant {
        Instant(nanoseconds)
    }

    pub(crate) const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago this was; zero if it is yet to come.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Instant::now() - self
    }

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This time on [`std::time::Instant`]'s clock.
    ///
    /// It is told from the present on both clocks, and so as exact as their readings lie apart;
    /// None if it lies outside the other clock's range.
    #[must_use]
    pub fn to_std(self) -> Option<std::time::Instant> {
        let (now, std_now) = (KernelHandle::linux().now(), std::time::Instant::now());
        match self.0.checked_sub(now) {
            Some(ahead) => std_now.checked_add(Duration::from_nanos(ahead)),
            None => std_now.checked_sub(Duration::from_nanos(now - self.0)),
        }
    }
}

impl From<std::time::Instant> for Instant {
    /// The same time on this clock, told from the present on both.
    fn from(instant: std::time::Instant) -> Instant {
        let (now, std_now) = (Instant(KernelHandle::linux().now()), std::time::Instant::now());
        match instant.checked_duration_since(std_now) {
            Some(ahead) => now + ahead,
            None => Instant(now.0.saturating_sub(nanoseconds(std_now - instant))),
        }
    }
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at [`Instant::FAR_FUTURE`].
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(nanoseconds(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// As [`Instant::saturating_duration_since`].
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_beyond_the_clock_are_the_far_future() {
        assert_eq!(Instant::now() + Duration::MAX, Instant::FAR_FUTURE);
        assert_eq!(Instant::FAR_FUTURE + Duration::from_secs(1), Instant::FAR_FUTURE);
        assert_eq!(Instant(5) - Instant(7), Duration::ZERO);
    }

    #[test]
    fn a_time_goes_to_the_standard_clock_and_back() {
        let there = Instant::now() + Duration::from_secs(5);
        let back = Instant::from(there.to_std().unwrap());
        let apart = (back - there).max(there - back);
        assert!(apart < Duration::from_secs(5), "{apart:?}");
    }
}

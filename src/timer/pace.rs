//! How often to wake for timers: at each deadline while they are sparse, less often when dense.

/// Wakes before this many more than the pace allows are still exact.
const BURST: u64 = 8;

/// Says when to wake for timers so that dense ones share wakes.
///
/// A wake costs ten times what firing a timer does. So when timers follow each other closely for
/// longer, the wakes for them are kept apart, and each fires all that became due meanwhile. A timer
/// is late by at most the *slack* for this, and never early. As long as wakes are sparse, or come
/// in short bursts, every one is exact.
///
/// ```text
///   deadlines      |   |      |  |||| || ||| | || |||| |  ||| || |||           |
///   wakes          ^   ^      ^  ^^^^    ^    ^    ^    ^    ^    ^            ^
///                  exact: sparse, then   kept apart by seven eighths      exact again
///                  a short burst         of the slack
/// ```
///
/// It is the generic cell rate algorithm (ITU-T I.371) in its form of virtual scheduling: the state
/// is the time at which the next wake would be due if all came at the pace, and wakes may be ahead
/// of that by a bounded number. It reads no clock; times are nanoseconds, as in
/// [`Timers`](super::Timers).
///
/// ```
/// use whirligig::timer::Pace;
///
/// let mut pace = Pace::new(200_000);
/// assert_eq!(pace.wake_at(5_000), 5_000, "a timer that is alone is exact");
/// for now in (5_000..40_000).step_by(1_000) {
///     pace.woke(now);
/// }
/// assert!((40_001..=240_000).contains(&pace.wake_at(40_000)), "one of many may have to wait");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    slack: u64,
    /// What the wakes are kept apart by. Less than the slack, so that a wake that itself comes late
    /// is not too late.
    apart: u64,
    /// When a next wake would be due at the pace.
    due: u64,
}

impl Pace {
    /// A pace at which no timer is late by more than `slack` nanoseconds; zero keeps all exact.
    #[must_use]
    pub const fn new(slack: u64) -> Pace {
        Pace { slack, apart: slack - slack / 8, due: 0 }
    }

    /// The slack, in nanoseconds.
    #[must_use]
    pub const fn slack(&self) -> u64 {
        self.slack
    }

    /// When to wake if the first deadline is `deadline`: not before it, and at most the slack
    /// after.
    #[must_use]
    pub fn wake_at(&self, deadline: u64) -> u64 {
        let allowed = self.due.saturating_sub(BURST * self.apart.min(u64::MAX / BURST));
        deadline.max(allowed.min(deadline.saturating_add(self.slack)))
    }

    /// Notes that at `now` there was a wake for timers, and for nothing else.
    pub fn woke(&mut self, now: u64) {
        let latest = now.saturating_add(BURST.saturating_mul(self.apart));
        self.due = self.due.clamp(now, latest).saturating_add(self.apart);
    }
}

/// When to fire a timer that may be late by `slack`, so that it is likely to share its wake: the
/// roundest time, in binary, of those it may fire at.
///
/// ```
/// use whirligig::timer::coalesced;
///
/// assert_eq!(coalesced(1_000, 0), 1_000);
/// assert_eq!(coalesced(1_000, 100), 1_024);
/// assert_eq!(coalesced(1_000, 2_000), 2_048);
/// ```
#[must_use]
pub const fn coalesced(deadline: u64, slack: u64) -> u64 {
    let latest = deadline.saturating_add(slack);
    if latest == u64::MAX || deadline == 0 {
        return deadline;
    }
    // Below the highest bit in which the two ends differ, all may be zero: and with that bit from
    // the later end the result lies between them.
    let differing = (deadline - 1) ^ latest;
    let highest = differing.ilog2();
    latest >> highest << highest
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLACK: u64 = 1_000;

    /// Fires timers with these deadlines, each wake `latency` late; how late each was, and how many
    /// wakes that took.
    fn fire(pace: &mut Pace, deadlines: &[u64], latency: u64) -> (Vec<u64>, usize) {
        let (mut late, mut wakes, mut next) = (Vec::new(), 0, 0);
        while next < deadlines.len() {
            let at = pace.wake_at(deadlines[next]);
            assert!(at >= deadlines[next], "never early");
            let now = at + latency;
            while deadlines.get(next).is_some_and(|deadline| *deadline <= now) {
                late.push(now - deadlines[next]);
                next += 1;
            }
            pace.woke(now);
            wakes += 1;
        }
        (late, wakes)
    }

    #[test]
    fn sparse_timers_are_exact() {
        let mut pace = Pace::new(SLACK);
        let deadlines: Vec<u64> = (1..1_000).map(|n| n * SLACK).collect();
        assert_eq!(fire(&mut pace, &deadlines, 3), (vec![3; 999], 999));
    }

    #[test]
    fn a_short_burst_is_exact() {
        let mut pace = Pace::new(SLACK);
        for start in (1..20).map(|n| n * 100 * SLACK) {
            let deadlines: Vec<u64> = (0..BURST).map(|n| start + n * 10).collect();
            assert_eq!(fire(&mut pace, &deadlines, 0), (vec![0; BURST as usize], BURST as usize));
        }
    }

    #[test]
    fn dense_timers_share_wakes_and_none_is_later_than_the_slack() {
        for latency in [0, 1, SLACK / 16, SLACK / 8] {
            let mut pace = Pace::new(SLACK);
            let deadlines: Vec<u64> = (0..100_000).map(|n| 7 * n).collect();
            let (late, wakes) = fire(&mut pace, &deadlines, latency);
            assert!(late.iter().all(|late| *late <= SLACK));
            let span = 700_000 / (SLACK * 7 / 8);
            assert!(wakes <= (span + BURST) as usize + 2, "{wakes} wakes");
        }
    }

    #[test]
    fn no_history_and_no_numbers_make_a_wake_early_or_later_than_the_slack() {
        let edges = [0, 1, 5, SLACK, 1 << 40, u64::MAX - SLACK, u64::MAX - 1, u64::MAX];
        for slack in edges {
            for woke in edges {
                for deadline in edges {
                    let mut pace = Pace::new(slack);
                    for _ in 0..20 {
                        pace.woke(woke);
                        let at = pace.wake_at(deadline);
                        assert!(at >= deadline && at - deadline <= slack);
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_dense_long_ago_makes_no_timer_late() {
        let mut pace = Pace::new(SLACK);
        for _ in 0..1_000 {
            pace.woke(50);
        }
        assert!(pace.wake_at(60) > 60);
        let later = 50 + SLACK;
        assert_eq!(pace.wake_at(later), later);
    }

    #[test]
    fn without_slack_all_is_exact() {
        let mut pace = Pace::new(0);
        let deadlines: Vec<u64> = (0..1_000).collect();
        assert_eq!(fire(&mut pace, &deadlines, 0), (vec![0; 1_000], 1_000));
    }

    #[test]
    fn a_timer_with_slack_fires_within_it_at_the_roundest_time() {
        for deadline in 0..300_u64 {
            for slack in 0..300 {
                let at = coalesced(deadline, slack);
                assert!((deadline..=deadline + slack).contains(&at), "{deadline} {slack} {at}");
                let zeros = |time: u64| time.trailing_zeros();
                let roundest = (deadline.max(1)..=deadline + slack).map(zeros).max();
                assert!(deadline == 0 || Some(zeros(at)) == roundest, "{deadline} {slack} {at}");
            }
        }
        assert_eq!(coalesced(u64::MAX, 7), u64::MAX);
        assert_eq!(coalesced(u64::MAX - 3, u64::MAX), u64::MAX - 3);
    }
}

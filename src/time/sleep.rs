//! Waiting for a time.

use super::Instant;
use crate::instant::nanoseconds;
use crate::reactor::{Slack, TimerQueue};
use crate::timer::Key;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Waits for as long as `duration` from now: from this call, not from the first poll.
///
/// Cancel safety: dropping it cancels the timer, and nothing is lost.
///
/// ```
/// use std::time::Duration;
/// use whirligig::time::{Instant, sleep};
///
/// whirligig::run(async {
///     let start = Instant::now();
///     sleep(Duration::from_micros(1300)).await;
///     assert!(start.elapsed() >= Duration::from_micros(1300));
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

/// Waits until `deadline`. One that has passed is waited for until the runtime next looks at its
/// timers, and [`Instant::FAR_FUTURE`] for ever.
///
/// Cancel safety: as for [`sleep`].
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, timer: None, slack: NO_SLACK, over: false }
}

/// Waits for as long as `duration`, which counts from the end of the running batch if it is a long
/// one: then no clock is read for it, also not if it is dropped before.
#[inline]
pub(super) fn sleep_for_about(duration: Duration) -> Sleep {
    let nanos = nanoseconds(duration);
    let queue = if nanos >= LONG_NS { TimerQueue::current() } else { None };
    let Some(queue) = queue else { return sleep(duration) };
    let key = queue.insert_unstarted(nanos);
    // Nobody else gets hold of this sleep, so nobody asks it for its deadline.
    Sleep {
        deadline: Instant::from_nanos(nanos),
        timer: Some((queue, key)),
        slack: COUNTS_LATER,
        over: false,
    }
}

/// What counts as long for [`sleep_for_about`].
const LONG_NS: u64 = 1_000_000_000;

/// In the place of a slack of its own: the runtime's.
const NO_SLACK: u32 = u32::MAX;
/// As `NO_SLACK`, and in the place of the deadline there is the duration.
const COUNTS_LATER: u32 = NO_SLACK - 1;
/// The longest slack of its own.
const SLACK_MAX: u32 = NO_SLACK - 2;
/// A slack's unit is 2 to the power of this, in nanoseconds.
const UNIT_BITS: u32 = 10;

/// The future of [`sleep`] and [`sleep_until`].
///
/// It ends at its deadline if timers are sparse. Where many end soon after one another they share
/// wakes, and it may end later by the runtime's slack, 0.24 ms unless it was set, or by one of its
/// own ([`Sleep::with_slack`]).
///
/// # Panics
/// If it is polled outside of a runtime's turn.
#[derive(Debug)]
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Instant,
    /// The timer, and whose it is.
    timer: Option<(Rc<TimerQueue>, Key)>,
    /// Its own slack, in units of 1024 ns, or `NO_SLACK`.
    slack: u32,
    over: bool,
}

impl Sleep {
    /// When it ends.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Gives it a slack of its own, in place of the runtime's: it ends at most so much after its
    /// deadline on account of sharing its wake with others, and never before.
    ///
    /// Zero makes it exact, however dense other timers are. A long one saves wakes: the time at
    /// which it ends is chosen so that others with slack likely end then too. Slacks count in
    /// units of 1.024 us, rounded down, and 73 minutes are the longest.
    ///
    /// ```
    /// use std::time::Duration;
    /// use whirligig::time::{Instant, sleep};
    ///
    /// whirligig::run(async {
    ///     let start = Instant::now();
    ///     sleep(Duration::from_millis(2)).with_slack(Duration::from_millis(1)).await;
    ///     assert!(start.elapsed() >= Duration::from_millis(2));
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_slack(mut self, slack: Duration) -> Sleep {
        self.cancel();
        let units = nanoseconds(slack) >> UNIT_BITS;
        self.slack = u32::try_from(units).unwrap_or(SLACK_MAX).min(SLACK_MAX);
        self
    }

    /// Makes it end at another time; one that is over begins anew.
    ///
    /// The task is not woken by this: the next poll sees the new deadline.
    pub fn reset(&mut self, deadline: Instant) {
        self.cancel();
        self.deadline = deadline;
        self.over = false;
    }

    #[inline]
    fn cancel(&mut self) {
        if let Some((queue, key)) = self.timer.take() {
            queue.remove(self.slack_kind(), key);
        }
    }

    #[inline]
    fn slack_kind(&self) -> Slack {
        if self.slack > SLACK_MAX { Slack::Shared } else { Slack::Own }
    }

    /// All but waiting on for a timer that is set.
    #[inline(never)]
    fn advance(&mut self, waker: &Waker) -> Poll<()> {
        if self.over {
            return Poll::Ready(());
        }
        match &self.timer {
            Some((queue, key)) if queue.is_current() => {
                if !queue.renew(self.slack_kind(), *key, waker) {
                    self.timer = None;
                    self.over = true;
                    return Poll::Ready(());
                }
            }
            // Another runtime's timer is of no use here: it would wake this task, but nothing says
            // that the other will ever have its turn again.
            _ => {
                self.cancel();
                self.set_timer(waker);
            }
        }
        Poll::Pending
    }

    fn set_timer(&mut self, waker: &Waker) {
        let queue = TimerQueue::current().expect("a sleep takes a runtime's turn");
        if self.slack == COUNTS_LATER {
            // It comes from another runtime, and all that is left of it is how long it was to be.
            self.deadline = Instant::now() + Duration::from_nanos(self.deadline.as_nanos());
            self.slack = NO_SLACK;
        }
        let (deadline, waker) = (self.deadline.as_nanos(), waker.clone());
        let key = match self.slack_kind() {
            Slack::Shared => queue.insert(deadline, waker),
            Slack::Own => queue.insert_own(deadline, u64::from(self.slack) << UNIT_BITS, waker),
        };
        self.timer = Some((queue, key));
    }
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((queue, key)) = &self.timer {
            if queue.is_current() {
                match queue.is_set_for(self.slack_kind(), *key, cx.waker()) {
                    Some(true) => return Poll::Pending,
                    Some(false) => {}
                    None => {
                        self.timer = None;
                        self.over = true;
                        return Poll::Ready(());
                    }
                }
            }
        }
        self.advance(cx.waker())
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        self.cancel();
    }
}

//! Waiting for a time.

use super::Instant;
use crate::reactor::Reactor;
use crate::timer::Key;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
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
    Sleep { deadline, set: None, over: false }
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// # Panics
/// If it is polled outside of a runtime's turn.
#[derive(Debug)]
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Instant,
    /// The timer, and whose it is.
    set: Option<(Weak<Reactor>, Key)>,
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

    /// Makes it end at another time; one that is over begins anew.
    ///
    /// The task is not woken by this: the next poll sees the new deadline.
    pub fn reset(&mut self, deadline: Instant) {
        self.cancel();
        self.deadline = deadline;
        self.over = false;
    }

    fn cancel(&mut self) {
        if let Some((reactor, key)) = self.set.take() {
            if let Some(reactor) = reactor.upgrade() {
                reactor.remove_timer(key);
            }
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.over {
            return Poll::Ready(());
        }
        let current = Reactor::current().expect("a sleep takes a runtime's turn");
        match &self.set {
            // Another runtime's timer is of no use here: it would wake this task, but nothing says
            // that the other will ever have its turn again.
            Some((reactor, _)) if !Reactor::is_current(reactor) => {
                self.cancel();
            }
            Some((_, key)) if current.renew_timer(*key, cx.waker()) => return Poll::Pending,
            Some(_) => {
                self.set = None;
                self.over = true;
                return Poll::Ready(());
            }
            None => {}
        }
        let key = current.insert_timer(self.deadline.as_nanos(), cx.waker().clone());
        self.set = Some((Rc::downgrade(&current), key));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

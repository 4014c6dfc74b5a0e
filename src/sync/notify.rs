//! Notifications without a value.

use super::line::{Line, Place};
use super::waiting::{Offer, Woken, poll_with_waker};
use crate::budget::poll_proceed;
use crate::contain::contain;
use crate::lock::lock;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker, ready};

/// Tells tasks that something happened.
///
/// A notification that nobody waits for is kept, one at most, so it does not matter which comes
/// first: `notify_one` or the wait.
///
/// ```
/// use whirligig::sync::Notify;
///
/// let changed = Notify::new();
/// changed.notify_one();
/// whirligig::run(changed.notified())?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Notify {
    state: Mutex<State>,
}

/// Who waits, and what is kept for who comes: pure, and used under a lock or a borrow. Nobody waits
/// while a notification is stored.
pub(super) struct State {
    stored: bool,
    /// How often all were notified.
    rounds: u64,
    /// What is served here is a notification that is meant for one waiter alone.
    line: Line,
}

/// A wait, from its making until it is done or dropped.
#[derive(Debug)]
pub(super) struct Wait {
    /// How often all had been notified when it began.
    rounds: u64,
    place: Option<Place>,
    done: bool,
}

impl State {
    pub(super) const fn new() -> State {
        State { stored: false, rounds: 0, line: Line::new() }
    }

    pub(super) fn notify_one(&mut self, woken: &mut Woken) {
        if self.line.serve_first(1, woken).is_none() {
            self.stored = true;
        }
    }

    pub(super) fn notify_waiters(&mut self, woken: &mut Woken) {
        self.rounds = self.rounds.wrapping_add(1);
        self.line.dismiss(woken);
    }

    pub(super) fn begin(&self) -> Wait {
        Wait { rounds: self.rounds, place: None, done: false }
    }

    pub(super) fn poll(&mut self, wait: &mut Wait, offer: &mut Offer<'_>) -> Poll<()> {
        let own = wait.place.is_some_and(|place| self.line.fetch(place).is_some());
        let is_over = own
            || self.rounds != wait.rounds
            || wait.place.is_none() && mem::take(&mut self.stored);
        if is_over {
            (wait.place, wait.done) = (None, true);
            return Poll::Ready(());
        }
        match wait.place {
            // It is in the line: neither notified alone nor with all others.
            Some(place) => drop(self.line.renew(place, offer)),
            None => wait.place = self.line.join(1, offer),
        }
        Poll::Pending
    }

    /// Gives a wait up. A notification that was meant for it alone goes to the next.
    pub(super) fn leave(&mut self, wait: &Wait, woken: &mut Woken) -> Option<Waker> {
        let place = wait.place?;
        if self.line.fetch(place).is_some() {
            self.notify_one(woken);
        }
        self.line.leave(place)
    }

    #[cfg(test)]
    pub(super) fn waiters(&self) -> usize {
        self.line.len()
    }
}

impl Wait {
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether there is something to [`State::leave`].
    pub(super) fn has_place(&self) -> bool {
        self.place.is_some()
    }
}

impl Notify {
    /// Makes one without a notification.
    #[must_use]
    pub const fn new() -> Notify {
        Notify { state: Mutex::new(State::new()) }
    }

    /// Notifies the one who waits longest, or else the next to come.
    ///
    /// Notifications that nobody waits for do not add up: one is kept.
    pub fn notify_one(&self) {
        let mut woken = Woken::default();
        let mut state = lock(&self.state);
        state.notify_one(&mut woken);
        woken.wake(state);
    }

    /// Notifies all for whom [`Notify::notified`] was called by now, whether polled yet or not.
    /// Nothing is kept for those who come later.
    pub fn notify_waiters(&self) {
        let mut woken = Woken::default();
        let mut state = lock(&self.state);
        state.notify_waiters(&mut woken);
        woken.wake(state);
    }

    /// Waits for a notification.
    ///
    /// Cancel safety: dropping it gives up the place in line; a notification of
    /// [`Notify::notify_one`] that was meant for it goes to the next.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, wait: lock(&self.state).begin() }
    }

    #[cfg(test)]
    pub(super) fn waiters(&self) -> usize {
        lock(&self.state).waiters()
    }
}

impl Default for Notify {
    fn default() -> Notify {
        Notify::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").finish_non_exhaustive()
    }
}

/// The future of [`Notify::notified`].
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct Notified<'a> {
    notify: &'a Notify,
    wait: Wait,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Notified { notify, wait } = self.get_mut();
        if wait.is_done() {
            return Poll::Ready(());
        }
        ready!(poll_proceed(cx));
        poll_with_waker(cx, |offer| lock(&notify.state).poll(wait, offer))
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        if self.wait.has_place() {
            let mut woken = Woken::default();
            let mut state = lock(&self.notify.state);
            let own = state.leave(&self.wait, &mut woken);
            woken.wake(state);
            contain(|| drop(own));
        }
    }
}

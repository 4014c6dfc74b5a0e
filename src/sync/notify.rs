//! Notifications without a value.

use super::waiting::{Offer, Woken, lock, poll_with_waker};
use crate::budget::poll_proceed;
use std::collections::{BTreeMap, BTreeSet};
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

/// Nobody waits in the queue while a notification is stored.
struct State {
    stored: bool,
    /// How often all were notified.
    rounds: u64,
    next: u64,
    queue: BTreeMap<u64, Waker>,
    /// Places whose waiter has yet to fetch the notification that is meant for it alone.
    notified: BTreeSet<u64>,
}

impl State {
    fn notify_one(&mut self, woken: &mut Woken) {
        match self.queue.pop_first() {
            Some((place, waker)) => {
                self.notified.insert(place);
                woken.push(waker);
            }
            None => self.stored = true,
        }
    }
}

impl Notify {
    /// Makes one without a notification.
    #[must_use]
    pub const fn new() -> Notify {
        let queue = BTreeMap::new();
        let notified = BTreeSet::new();
        Notify { state: Mutex::new(State { stored: false, rounds: 0, next: 0, queue, notified }) }
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
        state.rounds = state.rounds.wrapping_add(1);
        woken.extend(mem::take(&mut state.queue).into_values());
        woken.wake(state);
    }

    /// Waits for a notification.
    ///
    /// Cancel safety: dropping it gives up the place in line; a notification of
    /// [`Notify::notify_one`] that was meant for it goes to the next.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, rounds: lock(&self.state).rounds, place: None, done: false }
    }

    #[cfg(test)]
    pub(super) fn waiters(&self) -> usize {
        let state = lock(&self.state);
        state.queue.len() + state.notified.len()
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
    rounds: u64,
    place: Option<u64>,
    done: bool,
}

impl Notified<'_> {
    fn attempt(&mut self, offer: &mut Offer<'_>) -> Poll<()> {
        let mut state = lock(&self.notify.state);
        if let Some(place) = self.place {
            if state.notified.remove(&place) || state.rounds != self.rounds {
                self.place = None;
                return Poll::Ready(());
            }
            if let Some(own) = state.queue.get_mut(&place) {
                offer.leave(own);
            }
            return Poll::Pending;
        }
        if state.rounds != self.rounds || mem::take(&mut state.stored) {
            return Poll::Ready(());
        }
        if let Some(waker) = offer.take() {
            let place = state.next;
            state.next += 1;
            state.queue.insert(place, waker);
            self.place = Some(place);
        }
        Poll::Pending
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.done {
            return Poll::Ready(());
        }
        ready!(poll_proceed(cx));
        ready!(poll_with_waker(cx, |offer| self.attempt(offer)));
        self.done = true;
        Poll::Ready(())
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let mut woken = Woken::default();
            let mut state = lock(&self.notify.state);
            let own = state.queue.remove(&place);
            if state.notified.remove(&place) {
                state.notify_one(&mut woken);
            }
            woken.wake(state);
            drop(own);
        }
    }
}

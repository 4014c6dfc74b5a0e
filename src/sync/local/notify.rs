//! Notifications without a value, on one thread.

use crate::budget::poll_proceed;
use crate::contain::contain;
use crate::sync::notify::{State, Wait};
use crate::sync::waiting::{Woken, poll_with_waker};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Tells the tasks of one thread that something happened.
///
/// A notification that nobody waits for is kept, one at most, so it does not matter which comes
/// first: `notify_one` or the wait.
///
/// ```
/// use whirligig::sync::local::Notify;
///
/// let changed = Notify::new();
/// changed.notify_one();
/// whirligig::run(changed.notified())?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Notify {
    /// Borrowed only where no waker runs.
    state: RefCell<State>,
}

impl Notify {
    /// Makes one without a notification.
    #[must_use]
    pub const fn new() -> Notify {
        Notify { state: RefCell::new(State::new()) }
    }

    /// Notifies the one who waits longest, or else the next to come.
    ///
    /// Notifications that nobody waits for do not add up: one is kept.
    pub fn notify_one(&self) {
        let mut woken = Woken::default();
        let mut state = self.state.borrow_mut();
        state.notify_one(&mut woken);
        woken.wake(state);
    }

    /// Notifies all for whom [`Notify::notified`] was called by now, whether polled yet or not.
    /// Nothing is kept for those who come later.
    pub fn notify_waiters(&self) {
        let mut woken = Woken::default();
        let mut state = self.state.borrow_mut();
        state.notify_waiters(&mut woken);
        woken.wake(state);
    }

    /// Waits for a notification.
    ///
    /// Cancel safety: dropping it gives up the place in line; a notification of
    /// [`Notify::notify_one`] that was meant for it goes to the next.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, wait: self.state.borrow().begin() }
    }

    #[cfg(test)]
    pub(in crate::sync) fn waiters(&self) -> usize {
        self.state.borrow().waiters()
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
        poll_with_waker(cx, |offer| notify.state.borrow_mut().poll(wait, offer))
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        if self.wait.has_place() {
            let mut woken = Woken::default();
            let mut state = self.notify.state.borrow_mut();
            let own = state.leave(&self.wait, &mut woken);
            woken.wake(state);
            contain(|| drop(own));
        }
    }
}

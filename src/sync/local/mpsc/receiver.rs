//! The receiving side.

use super::{Shared, Slot, TryRecvError};
use crate::budget;
use crate::contain::contain;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Receives the values, in the order in which they were sent.
///
/// Dropped, it closes the channel and drops the values that are in it.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Rc<Shared<T>>) -> Receiver<T> {
        Receiver { shared }
    }

    /// Waits for a value; None when there are none left and none can come.
    ///
    /// Cancel safety: dropping it before it is done loses no value, and takes its waker out. When
    /// it is done the waker stays for the next wait, until the receiver is dropped.
    #[inline]
    pub fn recv(&mut self) -> Receiving<'_, T> {
        Receiving { shared: &self.shared, waits: false }
    }

    /// Polls for a value; wakes only the last task that polled.
    ///
    /// The waker stays with the channel until another takes its place or the receiver is dropped.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        poll_recv(&self.shared, cx)
    }

    /// Takes a value if there is one.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`] if there is none yet, [`TryRecvError::Closed`] if none can come.
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        pop(&self.shared)
    }

    /// Refuses further values; those that were sent can still be received.
    ///
    /// Who waits for room gets its value back, also where room was granted that it has not used.
    pub fn close(&mut self) {
        self.shared.close();
    }

    /// Whether no further values can come: closed, or all senders were dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.senders.get() == 0 || self.shared.is_closed()
    }

    /// How many values are there to be received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether no value is there to be received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values the channel holds at most:
    /// [`Semaphore::PERMITS_MAX`](crate::sync::Semaphore::PERMITS_MAX) if it has no bound.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }
}

#[inline(always)]
fn poll_recv<T>(shared: &Shared<T>, cx: &Context<'_>) -> Poll<Option<T>> {
    match shared.slot.replace(Slot::Empty) {
        Slot::One(value) => {
            if !budget::take_one() {
                shared.slot.set(Slot::One(value));
                return budget::give_way(cx);
            }
            Poll::Ready(Some(value))
        }
        Slot::Empty | Slot::Awaited => {
            if !shared.receiver.holds(cx.waker()) {
                return wait_anew(shared, cx);
            }
            shared.slot.set(Slot::Awaited);
            Poll::Pending
        }
        Slot::Many => poll_many(shared, cx),
    }
}

#[inline(never)]
fn poll_many<T>(shared: &Shared<T>, cx: &Context<'_>) -> Poll<Option<T>> {
    shared.slot.set(Slot::Many);
    ready!(budget::poll_proceed(cx));
    match pop(shared) {
        Ok(value) => Poll::Ready(Some(value)),
        Err(TryRecvError::Closed) => Poll::Ready(None),
        Err(TryRecvError::Empty) => wait_anew(shared, cx),
    }
}

/// Waits with a new waker. Its clone and the drop of the last are foreign code, after which things
/// may be different.
#[cold]
fn wait_anew<T>(shared: &Shared<T>, cx: &Context<'_>) -> Poll<Option<T>> {
    let before = shared.receiver.replace(cx.waker().clone());
    contain(|| drop(before));
    match pop(shared) {
        Ok(value) => Poll::Ready(Some(value)),
        Err(TryRecvError::Closed) => Poll::Ready(None),
        Err(TryRecvError::Empty) => {
            let mut many = shared.open_many();
            many.awaited = true;
            shared.settle(many);
            Poll::Pending
        }
    }
}

#[inline(always)]
fn pop<T>(shared: &Shared<T>) -> Result<T, TryRecvError> {
    match shared.slot.replace(Slot::Empty) {
        Slot::One(value) => Ok(value),
        Slot::Empty => Err(TryRecvError::Empty),
        Slot::Awaited => {
            shared.slot.set(Slot::Awaited);
            Err(TryRecvError::Empty)
        }
        Slot::Many => {
            shared.slot.set(Slot::Many);
            shared.pop_many()
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.end_wait();
        let left = self.shared.open_many().queue.take_values();
        drop(left);
    }
}

/// The future of [`Receiver::recv`].
#[must_use = "futures do nothing unless awaited"]
pub struct Receiving<'a, T> {
    shared: &'a Shared<T>,
    /// To be ended when it is given up.
    waits: bool,
}

impl<T> Future for Receiving<'_, T> {
    type Output = Option<T>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        let polled = poll_recv(this.shared, cx);
        this.waits = polled.is_pending();
        polled
    }
}

impl<T> Drop for Receiving<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.waits {
            self.shared.end_wait();
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiving<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").finish_non_exhaustive()
    }
}

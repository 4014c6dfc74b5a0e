//! The receiving side.

use super::{Shared, State, TryRecvError};
use crate::budget::poll_proceed;
use crate::contain::contain;
use crate::sync::waiting::{Woken, block_on, poll_with_waker};
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Receives the values, in the order in which they were sent.
///
/// Dropped, it closes the channel and drops the values that are in it.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> State<T> {
    fn pop(&mut self, woken: &mut Woken) -> Result<T, TryRecvError> {
        match self.queue.pop(woken) {
            Some(value) => Ok(value),
            None if self.is_ended() => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Nothing more is sent.
    fn is_ended(&self) -> bool {
        self.senders == 0 || self.queue.is_closed()
    }
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Receiver<T> {
        Receiver { shared }
    }

    /// Waits for a value; None when there are none left and none can come.
    ///
    /// Cancel safety: dropping it before it is done loses no value.
    pub async fn recv(&mut self) -> Option<T> {
        let mut waiting = Waiting { receiver: self, waits: false };
        poll_fn(|cx| waiting.poll_recv(cx)).await
    }

    /// Polls for a value; wakes only the last task that polled.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(poll_proceed(cx));
        poll_with_waker(cx, |offer| {
            let mut woken = Woken::default();
            let mut state = self.shared.state();
            let popped = state.pop(&mut woken);
            if let Err(TryRecvError::Empty) = popped {
                offer.leave_in(&mut state.receiver);
                return Poll::Pending;
            }
            woken.wake(state);
            Poll::Ready(popped.ok())
        })
    }

    /// Takes a value if there is one.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`] if there is none yet, [`TryRecvError::Closed`] if none can come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut woken = Woken::default();
        let mut state = self.shared.state();
        let popped = state.pop(&mut woken);
        woken.wake(state);
        popped
    }

    /// Waits for a value by blocking the thread; None when none are left and none can come.
    ///
    /// # Panics
    /// Inside a runtime's turn, which would wait for itself.
    pub fn blocking_recv(&mut self) -> Option<T> {
        block_on(self.recv())
    }

    /// Refuses further values; those that were sent can still be received.
    ///
    /// Who waits for room gets its value back, also where room was granted that it has not used.
    pub fn close(&mut self) {
        let mut woken = Woken::default();
        let mut state = self.shared.state();
        state.queue.close(&mut woken);
        woken.wake(state);
    }

    /// Whether no further values can come: closed, or all senders were dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.state().is_ended()
    }

    /// How many values are there to be received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.state().queue.len()
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

    fn forget_waker(&self) {
        let waker = self.shared.state().receiver.take();
        contain(|| drop(waker));
    }
}

/// Takes the receiver's waker out when its wait is given up.
struct Waiting<'a, T> {
    receiver: &'a mut Receiver<T>,
    waits: bool,
}

impl<T> Waiting<'_, T> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        // Whoever sends takes the waker out, so a wait that is over left none.
        let polled = self.receiver.poll_recv(cx);
        self.waits = polled.is_pending();
        polled
    }
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if self.waits {
            self.receiver.forget_waker();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        self.forget_waker();
        let left = self.shared.state().queue.take_values();
        drop(left);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish_non_exhaustive()
    }
}

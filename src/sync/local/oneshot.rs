//! A channel for one value, from one sender to one receiver, on one thread.
//!
//! It is as [that for any thread](crate::sync::oneshot), and shares its errors.

pub use crate::sync::oneshot::{RecvError, SendError, TryRecvError};

use crate::budget::poll_proceed;
use crate::contain::contain;
use crate::sync::oneshot::State;
use crate::sync::waiting::{Woken, poll_with_waker};
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Makes a channel for one value.
///
/// ```
/// use whirligig::sync::local::oneshot;
///
/// let (sender, receiver) = oneshot::channel();
/// let received = whirligig::run(async {
///     whirligig::spawn(async { sender.send("from another task") });
///     receiver.await
/// })?;
/// assert_eq!(received, Ok("from another task"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(RefCell::new(State::new()));
    (Sender(Rc::clone(&shared)), Receiver(shared))
}

/// Sends the value.
///
/// Dropped without, it makes the receiver end with [`RecvError`].
pub struct Sender<T>(Rc<RefCell<State<T>>>);

/// A future that ends with the value.
///
/// Cancel safety: dropping a `&mut` to it that was awaited loses nothing; dropping the receiver
/// itself closes the channel and drops the value, if there is one. Once it gave the value it gives
/// [`RecvError`].
///
/// # Errors
/// [`RecvError`] if the sender was dropped without sending, or the channel closed before it sent.
#[must_use = "a dropped receiver closes the channel"]
pub struct Receiver<T>(Rc<RefCell<State<T>>>);

impl<T> Sender<T> {
    /// Sends `value`; never waits.
    ///
    /// # Errors
    /// [`SendError`], with the value, if the receiver was dropped or closed.
    pub fn send(self, value: T) -> Result<(), SendError<T>> {
        // The drop of `self` ends the channel, and wakes who waits.
        self.0.borrow_mut().put(value)
    }

    /// Whether the receiver was dropped or closed, so that nothing can be sent.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.borrow().is_closed()
    }

    /// Waits until the receiver is dropped or closed.
    ///
    /// Cancel safety: dropping it loses nothing.
    pub async fn closed(&mut self) {
        let waiting = SenderWaits(&self.0);
        poll_fn(|cx| poll_closed(waiting.0, cx)).await;
    }

    /// Polls for the receiver to be dropped or closed; wakes only the last task that polled.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        poll_closed(&self.0, cx)
    }
}

fn poll_closed<T>(shared: &RefCell<State<T>>, cx: &Context<'_>) -> Poll<()> {
    ready!(poll_proceed(cx));
    poll_with_waker(cx, |offer| shared.borrow_mut().poll_closed(offer))
}

/// Takes the sender's waker out when its wait is over or given up.
struct SenderWaits<'a, T>(&'a RefCell<State<T>>);

impl<T> Drop for SenderWaits<'_, T> {
    fn drop(&mut self) {
        let waker = self.0.borrow_mut().end_wait_of_sender();
        contain(|| drop(waker));
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut woken = Woken::default();
        let mut state = self.0.borrow_mut();
        let own = state.end_sender(&mut woken);
        woken.wake(state);
        contain(|| drop(own));
    }
}

impl<T> Receiver<T> {
    /// Takes the value if it was sent; never waits.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`] if it may yet be sent, [`TryRecvError::Closed`] if not.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.0.borrow_mut().take()
    }

    /// Refuses a value that was not sent by now; one that was can still be received.
    pub fn close(&mut self) {
        let mut woken = Woken::default();
        let mut state = self.0.borrow_mut();
        state.close(&mut woken);
        woken.wake(state);
    }

    /// Whether nothing can come but what was sent by now: closed, or the sender is through.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.borrow().is_ended()
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(poll_proceed(cx));
        poll_with_waker(cx, |offer| self.0.borrow_mut().poll_take(offer))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut woken = Woken::default();
        let mut state = self.0.borrow_mut();
        let (left, own) = state.end_receiver(&mut woken);
        woken.wake(state);
        contain(|| drop(own));
        drop(left);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("closed", &self.is_closed()).finish()
    }
}

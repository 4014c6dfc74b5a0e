//! A channel for one value, from one sender to one receiver.

use super::waiting::{Offer, Woken, block_on, poll_with_waker};
use crate::budget::poll_proceed;
use crate::contain::contain;
use crate::lock::lock;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

/// Makes a channel for one value.
///
/// ```
/// use whirligig::sync::oneshot;
///
/// let (sender, receiver) = oneshot::channel();
/// std::thread::spawn(move || sender.send("from another thread"));
/// assert_eq!(whirligig::run(receiver)?, Ok("from another thread"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Mutex::new(State::new()));
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

/// What both sides see: pure, and used under a lock or a borrow.
pub(super) struct State<T> {
    value: Option<T>,
    /// The sender has sent, or was dropped: nothing comes any more.
    sent_or_gone: bool,
    /// The receiver takes nothing that was not sent by now.
    closed: bool,
    /// Waits for the value.
    receiver: Option<Waker>,
    /// Waits for the receiver to close.
    sender: Option<Waker>,
}

impl<T> State<T> {
    pub(super) fn new() -> State<T> {
        State { value: None, sent_or_gone: false, closed: false, receiver: None, sender: None }
    }

    /// The receiver takes nothing more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Nothing can come but what is there.
    pub(super) fn is_ended(&self) -> bool {
        self.closed || self.sent_or_gone
    }

    /// Puts the value in, if it is still wanted. [`State::end_sender`] has to follow.
    pub(super) fn put(&mut self, value: T) -> Result<(), SendError<T>> {
        if self.closed {
            return Err(SendError(value));
        }
        self.value = Some(value);
        Ok(())
    }

    pub(super) fn take(&mut self) -> Result<T, TryRecvError> {
        match self.value.take() {
            Some(value) => Ok(value),
            None if self.is_ended() => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    pub(super) fn poll_take(&mut self, offer: &mut Offer<'_>) -> Poll<Result<T, RecvError>> {
        match self.take() {
            Ok(value) => Poll::Ready(Ok(value)),
            Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError)),
            Err(TryRecvError::Empty) => {
                offer.leave_in(&mut self.receiver);
                Poll::Pending
            }
        }
    }

    pub(super) fn poll_closed(&mut self, offer: &mut Offer<'_>) -> Poll<()> {
        if self.closed {
            return Poll::Ready(());
        }
        offer.leave_in(&mut self.sender);
        Poll::Pending
    }

    /// Takes out what the sender left behind in a wait.
    pub(super) fn end_wait_of_sender(&mut self) -> Option<Waker> {
        self.sender.take()
    }

    /// Ends the sending side. What is returned is to be dropped free of the lock.
    pub(super) fn end_sender(&mut self, woken: &mut Woken) -> Option<Waker> {
        self.sent_or_gone = true;
        woken.extend(self.receiver.take());
        self.sender.take()
    }

    pub(super) fn close(&mut self, woken: &mut Woken) {
        self.closed = true;
        woken.extend(self.sender.take());
    }

    /// Ends the receiving side. What is returned is to be dropped free of the lock.
    pub(super) fn end_receiver(&mut self, woken: &mut Woken) -> (Option<T>, Option<Waker>) {
        self.close(woken);
        (self.value.take(), self.receiver.take())
    }
}

/// Sends the value.
///
/// Dropped without, it makes the receiver end with [`RecvError`].
pub struct Sender<T>(Arc<Mutex<State<T>>>);

/// A future that ends with the value.
///
/// Cancel safety: dropping a `&mut` to it that was awaited loses nothing; dropping the receiver
/// itself closes the channel and drops the value, if there is one. Once it gave the value it gives
/// [`RecvError`].
///
/// # Errors
/// [`RecvError`] if the sender was dropped without sending, or the channel closed before it sent.
#[must_use = "a dropped receiver closes the channel"]
pub struct Receiver<T>(Arc<Mutex<State<T>>>);

impl<T> Sender<T> {
    /// Sends `value`; never waits.
    ///
    /// # Errors
    /// [`SendError`], with the value, if the receiver was dropped or closed.
    pub fn send(self, value: T) -> Result<(), SendError<T>> {
        // The drop of `self` ends the channel, and wakes who waits.
        lock(&self.0).put(value)
    }

    /// Whether the receiver was dropped or closed, so that nothing can be sent.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.0).is_closed()
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

fn poll_closed<T>(shared: &Mutex<State<T>>, cx: &Context<'_>) -> Poll<()> {
    ready!(poll_proceed(cx));
    poll_with_waker(cx, |offer| lock(shared).poll_closed(offer))
}

/// Takes the sender's waker out when its wait is over or given up.
struct SenderWaits<'a, T>(&'a Mutex<State<T>>);

impl<T> Drop for SenderWaits<'_, T> {
    fn drop(&mut self) {
        let waker = lock(self.0).end_wait_of_sender();
        contain(|| drop(waker));
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut woken = Woken::default();
        let mut state = lock(&self.0);
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
        lock(&self.0).take()
    }

    /// Waits for the value by blocking the thread.
    ///
    /// # Errors
    /// [`RecvError`] if none comes.
    ///
    /// # Panics
    /// Inside a runtime's turn, which would wait for itself.
    pub fn blocking_recv(self) -> Result<T, RecvError> {
        block_on(self)
    }

    /// Refuses a value that was not sent by now; one that was can still be received.
    pub fn close(&mut self) {
        let mut woken = Woken::default();
        let mut state = lock(&self.0);
        state.close(&mut woken);
        woken.wake(state);
    }

    /// Whether nothing can come but what was sent by now: closed, or the sender is through.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.0).is_ended()
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(poll_proceed(cx));
        poll_with_waker(cx, |offer| lock(&self.0).poll_take(offer))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut woken = Woken::default();
        let mut state = lock(&self.0);
        let (left, own) = state.end_receiver(&mut woken);
        woken.wake(state);
        contain(|| drop(own));
        drop(left);
    }
}

/// The receiver was dropped or closed; this is the value that was not sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// The sender was dropped without sending, or the channel was closed before it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// It may yet be sent.
    Empty,
    /// It can not be sent any more, or was received.
    Closed,
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the receiver is gone or closed")
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sender was dropped, or the channel closed, before it sent")
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "nothing was sent yet",
            TryRecvError::Closed => "nothing can be sent any more",
        })
    }
}

impl<T> std::error::Error for SendError<T> {}
impl std::error::Error for RecvError {}
impl std::error::Error for TryRecvError {}

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

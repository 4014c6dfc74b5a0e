//! Channels for many values, from many senders to one receiver.

use super::permits::{PERMITS_MAX, Permits, Place, Refused};
use super::waiting::{Woken, block_on, lock, poll_with_waker};
use crate::budget::poll_proceed;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

/// Makes a channel that holds at most `capacity` values; senders wait for room, in order.
///
/// Memory is taken as values come, so the largest capacity there is,
/// [`Semaphore::PERMITS_MAX`](super::Semaphore::PERMITS_MAX), makes a channel without a bound.
///
/// ```
/// use whirligig::sync::mpsc;
///
/// let (sender, mut receiver) = mpsc::channel(2);
/// whirligig::run(async move {
///     whirligig::spawn(async move {
///         for number in 1..=4 {
///             sender.send(number).await?;
///         }
///         Ok::<(), mpsc::SendError<i32>>(())
///     });
///     let mut sum = 0;
///     while let Some(number) = receiver.recv().await {
///         sum += number;
///     }
///     assert_eq!(sum, 10);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// If `capacity` is 0, or more than [`Semaphore::PERMITS_MAX`](super::Semaphore::PERMITS_MAX).
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let fits = (1..=PERMITS_MAX).contains(&capacity);
    assert!(fits, "a channel has room for 1 to `Semaphore::PERMITS_MAX` values");
    let room = Permits::new(capacity);
    let state = State { values: VecDeque::new(), room, receiver: None, senders: 1, closed: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), capacity });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

struct Shared<T> {
    state: Mutex<State<T>>,
    capacity: usize,
}

/// Free room, room granted to senders, and values make up the capacity.
struct State<T> {
    values: VecDeque<T>,
    room: Permits,
    /// Waits for a value.
    receiver: Option<Waker>,
    senders: usize,
    closed: bool,
}

impl<T> State<T> {
    /// Into room that was taken.
    fn push(&mut self, value: T, woken: &mut Woken) {
        self.values.push_back(value);
        woken.extend(self.receiver.take());
    }

    fn pop(&mut self, woken: &mut Woken) -> Result<T, TryRecvError> {
        match self.values.pop_front() {
            Some(value) => {
                self.room.put(1, woken);
                Ok(value)
            }
            None if self.closed || self.senders == 0 => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }
}

/// Sends values; clones send to the same receiver.
///
/// When the last one is dropped, the receiver ends after the values that were sent.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.shared.state)
    }

    /// Sends `value`, after a wait for room if there is none.
    ///
    /// Cancel safety: dropping it before it is done sends nothing and drops the value. Its place
    /// in line is given up, and room that was meant for it goes to the next.
    ///
    /// # Errors
    /// [`SendError`], with the value, if the receiver is or gets dropped or closed.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut value = Some(value);
        let mut waiting = Waiting { shared: &self.shared, place: None };
        poll_fn(|cx| waiting.poll_send(&mut value, cx)).await;
        // What could not be sent is still there.
        value.map_or(Ok(()), |value| Err(SendError(value)))
    }

    /// Sends `value` if there is room and nobody waits for it.
    ///
    /// # Errors
    /// [`TrySendError::Full`] if not, [`TrySendError::Closed`] if the receiver is dropped or
    /// closed; both with the value.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut woken = Woken::default();
        let mut state = self.state();
        let taken = state.room.try_take(1);
        match taken {
            Ok(()) => {
                state.push(value, &mut woken);
                woken.wake(state);
                Ok(())
            }
            Err(Refused::Later) => Err(TrySendError::Full(value)),
            Err(Refused::Closed) => Err(TrySendError::Closed(value)),
        }
    }

    /// Sends `value`, blocking the thread while there is no room.
    ///
    /// # Errors
    /// [`SendError`], with the value, if the receiver is or gets dropped or closed.
    ///
    /// # Panics
    /// Inside a runtime's turn, which would wait for itself.
    pub fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        block_on(self.send(value))
    }

    /// Whether the receiver was dropped or closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// How many values the channel holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.state().senders += 1;
        Sender { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut woken = Woken::default();
        let mut state = self.state();
        state.senders -= 1;
        if state.senders == 0 {
            woken.extend(state.receiver.take());
        }
        woken.wake(state);
    }
}

/// Leaves its place in line when the wait is over or given up.
struct Waiting<'a, T> {
    shared: &'a Shared<T>,
    place: Option<Place>,
}

impl<T> Waiting<'_, T> {
    /// Takes the value if it sends it, and leaves it if the channel is closed.
    fn poll_send(&mut self, value: &mut Option<T>, cx: &Context<'_>) -> Poll<()> {
        ready!(poll_proceed(cx));
        poll_with_waker(cx, |waker| {
            let mut woken = Woken::default();
            let mut state = lock(&self.shared.state);
            // Room that was granted before is of no use then: the receiver may be through.
            if state.closed {
                return Poll::Ready(());
            }
            if ready!(state.room.poll_take(1, &mut self.place, waker)) {
                if let Some(value) = value.take() {
                    state.push(value, &mut woken);
                }
            }
            woken.wake(state);
            Poll::Ready(())
        })
    }
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let mut woken = Woken::default();
            let mut state = lock(&self.shared.state);
            let own = state.room.leave(place, &mut woken);
            woken.wake(state);
            drop(own);
        }
    }
}

/// Receives the values, in the order in which they were sent.
///
/// Dropped, it closes the channel and drops the values that are in it.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Receiver<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.shared.state)
    }

    /// Waits for a value; None when there are none left and none can come.
    ///
    /// Cancel safety: dropping it before it is done loses no value.
    pub async fn recv(&mut self) -> Option<T> {
        let waiting = ReceiverWaits(self);
        poll_fn(|cx| waiting.0.poll_recv(cx)).await
    }

    /// Polls for a value; wakes only the last task that polled.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(poll_proceed(cx));
        poll_with_waker(cx, |waker| {
            let mut woken = Woken::default();
            let mut state = self.state();
            let popped = state.pop(&mut woken);
            if waker.is_some() && matches!(popped, Err(TryRecvError::Empty)) {
                mem::swap(&mut state.receiver, waker);
            }
            woken.wake(state);
            match popped {
                Ok(value) => Poll::Ready(Some(value)),
                Err(TryRecvError::Closed) => Poll::Ready(None),
                Err(TryRecvError::Empty) => Poll::Pending,
            }
        })
    }

    /// Takes a value if there is one.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`] if there is none yet, [`TryRecvError::Closed`] if none can come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut woken = Woken::default();
        let mut state = self.state();
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
    pub fn close(&mut self) {
        let mut woken = Woken::default();
        let mut state = self.state();
        state.closed = true;
        state.room.close(&mut woken);
        woken.wake(state);
    }

    /// Whether no further values can come: closed, or all senders were dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let state = self.state();
        state.closed || state.senders == 0
    }

    /// How many values are there to be received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().values.len()
    }

    /// Whether no value is there to be received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values the channel holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }
}

/// Takes the receiver's waker out when its wait is over or given up.
struct ReceiverWaits<'a, T>(&'a mut Receiver<T>);

impl<T> Drop for ReceiverWaits<'_, T> {
    fn drop(&mut self) {
        let waker = self.0.state().receiver.take();
        drop(waker);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        let mut state = self.state();
        let left = (mem::take(&mut state.values), state.receiver.take());
        drop(state);
        drop(left);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The receiver was dropped or closed; this is the value that was not sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// Why the value that it carries was not sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// There is no room, or others wait for it.
    Full(T),
    /// The receiver was dropped or closed.
    Closed(T),
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// One may yet be sent.
    Empty,
    /// None can be sent any more.
    Closed,
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").finish_non_exhaustive()
    }
}

impl<T> TrySendError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(value) | TrySendError::Closed(value) => value,
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "Full(..)",
            TrySendError::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the receiver is gone or closed")
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "the channel is full",
            TrySendError::Closed(_) => "the receiver is gone or closed",
        })
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "no value is there yet",
            TryRecvError::Closed => "no value can come any more",
        })
    }
}

impl<T> std::error::Error for SendError<T> {}
impl<T> std::error::Error for TrySendError<T> {}
impl std::error::Error for TryRecvError {}

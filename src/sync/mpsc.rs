//! Channels for many values, from many senders to one receiver.
//!
//! They work between tasks of any runtime, and threads, of which those without a runtime block. For
//! the tasks of one thread [`local::mpsc`](super::local::mpsc) is cheaper.
//!
//! Values wait in the channel until they are received; those that are still there when the
//! receiver is dropped are dropped then, on the receiver's thread. Closing by [`Receiver::close`]
//! keeps them, so that a receiver can close, receive what is left, and lose nothing.

mod error;
mod receiver;

pub use error::{SendError, TryRecvError, TrySendError};
pub use receiver::Receiver;

use super::line::Place;
use super::permits::PERMITS_MAX;
use super::queue::Queue;
use super::waiting::{Woken, block_on, poll_with_waker};
use crate::budget::poll_proceed;
use crate::contain::contain;
use crate::lock::lock;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

/// Makes a channel that holds at most `capacity` values; senders wait for room, in order.
///
/// Memory is taken as values come, and kept for the next.
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
    let state = State { queue: Queue::new(capacity), receiver: None, senders: 1 };
    let shared = Arc::new(Shared { state: Mutex::new(state), capacity });
    (Sender { shared: Arc::clone(&shared) }, Receiver::new(shared))
}

/// Makes a channel without a bound: sending never waits, and needs neither a task nor a runtime.
///
/// Nothing but the receiver's diligence bounds its memory. Where senders may be faster for long, a
/// [`channel`] has them wait.
///
/// ```
/// use whirligig::sync::mpsc;
///
/// let (sender, mut receiver) = mpsc::unbounded();
/// let thread = std::thread::spawn(move || sender.send("from another thread"));
/// assert_eq!(whirligig::run(receiver.recv())?, Some("from another thread"));
/// # thread.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unbounded<T>() -> (UnboundedSender<T>, Receiver<T>) {
    let (sender, receiver) = channel(PERMITS_MAX);
    (UnboundedSender(sender), receiver)
}

struct Shared<T> {
    state: Mutex<State<T>>,
    capacity: usize,
}

struct State<T> {
    queue: Queue<T>,
    /// Waits for a value.
    receiver: Option<Waker>,
    senders: usize,
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }
}

/// Sends values; clones send to the same receiver.
///
/// When the last one is dropped, the receiver ends after the values that were sent.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
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
        let mut state = self.shared.state();
        let sent = state.queue.try_push(value);
        if sent.is_ok() {
            woken.extend(state.receiver.take());
        }
        woken.wake(state);
        sent
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
        self.shared.state().queue.is_closed()
    }

    /// How many values the channel holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.state().senders += 1;
        Sender { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut woken = Woken::default();
        let mut state = self.shared.state();
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
        poll_with_waker(cx, |offer| {
            let mut woken = Woken::default();
            let mut state = self.shared.state();
            ready!(state.queue.poll_push(value, &mut self.place, offer));
            if value.is_none() {
                woken.extend(state.receiver.take());
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
            let mut state = self.shared.state();
            let own = state.queue.leave(place, &mut woken);
            woken.wake(state);
            contain(|| drop(own));
        }
    }
}

/// Sends values without a wait; clones send to the same receiver.
///
/// When the last one is dropped, the receiver ends after the values that were sent.
pub struct UnboundedSender<T>(Sender<T>);

impl<T> UnboundedSender<T> {
    /// Sends `value`; never waits.
    ///
    /// # Errors
    /// [`SendError`], with the value, if the receiver was dropped or closed.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.try_send(value).map_err(|refused| SendError(refused.into_inner()))
    }

    /// Whether the receiver was dropped or closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T> Clone for UnboundedSender<T> {
    fn clone(&self) -> UnboundedSender<T> {
        UnboundedSender(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for UnboundedSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnboundedSender").finish_non_exhaustive()
    }
}

//! Channels for many values, from many senders to one receiver, on one thread.

pub use super::super::mpsc::{SendError, TryRecvError, TrySendError};

use super::super::permits::{PERMITS_MAX, Permits, Place, Refused};
use super::super::waiting::{Woken, poll_with_waker};
use crate::budget::poll_proceed;
use crate::contain::contain;
use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// Makes a channel that holds at most `capacity` values; senders wait for room, in order.
///
/// Memory is taken as values come.
///
/// ```
/// use whirligig::sync::local::mpsc;
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
/// If `capacity` is 0, or more than
/// [`Semaphore::PERMITS_MAX`](crate::sync::Semaphore::PERMITS_MAX).
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let fits = (1..=PERMITS_MAX).contains(&capacity);
    assert!(fits, "a channel has room for 1 to `Semaphore::PERMITS_MAX` values");
    let state = State {
        values: VecDeque::new(),
        room: Permits::new(capacity),
        wait: Wait::None,
        receiver: None,
        senders: 1,
        closed: false,
    };
    let shared = Rc::new(Shared { state: RefCell::new(state), capacity });
    (Sender { shared: Rc::clone(&shared) }, Receiver { shared })
}

/// Makes a channel without a bound: sending never waits, and nothing but the receiver's diligence
/// keeps memory from growing.
///
/// ```
/// use whirligig::sync::local::mpsc;
///
/// let (sender, mut receiver) = mpsc::unbounded();
/// for number in 1..=3 {
///     sender.send(number)?;
/// }
/// drop(sender);
/// whirligig::run(async move {
///     assert_eq!(receiver.recv().await, Some(1));
///     assert_eq!(receiver.recv().await, Some(2));
///     assert_eq!(receiver.recv().await, Some(3));
///     assert_eq!(receiver.recv().await, None);
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unbounded<T>() -> (UnboundedSender<T>, Receiver<T>) {
    let (sender, receiver) = channel(PERMITS_MAX);
    (UnboundedSender(sender), receiver)
}

struct Shared<T> {
    /// Borrowed only where no foreign code runs: no waker's, and no value's drop.
    state: RefCell<State<T>>,
    capacity: usize,
}

/// Free room, room granted to senders, and values make up the capacity.
struct State<T> {
    values: VecDeque<T>,
    room: Permits,
    wait: Wait,
    /// Of the receiver's last wait. It is kept when that is over, since the next is mostly the same
    /// task's, and then needs no clone.
    receiver: Option<Waker>,
    senders: usize,
    closed: bool,
}

/// ```text
///              poll_recv                 push, close
///   (nobody) ------------> for a value -------------> out to be woken
///      ^                        |                           |
///      '---- given up ----------+------ woken, given up ----'
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    None,
    /// The receiver is to be woken by the next value.
    ForValue,
    /// Its waker is being woken, and goes back to its place if nothing happens meanwhile.
    Out,
}

impl<T> Shared<T> {
    #[inline]
    fn state(&self) -> RefMut<'_, State<T>> {
        self.state.borrow_mut()
    }

    /// Puts a value into room that was taken, and wakes who waits for it.
    #[inline]
    fn push(&self, mut state: RefMut<'_, State<T>>, value: T) {
        state.values.push_back(value);
        self.wake_receiver(state);
    }

    #[inline]
    fn wake_receiver(&self, mut state: RefMut<'_, State<T>>) {
        if state.wait == Wait::ForValue {
            state.wait = Wait::Out;
            let waker = state.receiver.take();
            drop(state);
            if let Some(waker) = waker {
                contain(|| waker.wake_by_ref());
                self.put_back(waker);
            }
        }
    }

    #[inline]
    fn put_back(&self, waker: Waker) {
        let mut state = self.state();
        if state.wait == Wait::Out {
            state.wait = Wait::None;
            state.receiver = Some(waker);
        }
    }

    /// Takes a value out; its room goes to who waits for it.
    #[inline]
    fn pop(&self) -> Result<T, TryRecvError> {
        let mut state = self.state();
        match state.values.pop_front() {
            Some(value) => {
                if !state.room.put_free(1) {
                    self.pass_room_on(state);
                }
                Ok(value)
            }
            None if state.closed || state.senders == 0 => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    #[cold]
    fn pass_room_on(&self, mut state: RefMut<'_, State<T>>) {
        let mut woken = Woken::default();
        state.room.put(1, &mut woken);
        woken.wake(state);
    }

    /// Ends the receiver's wait if it is given up.
    #[cold]
    fn end_wait(&self) {
        let mut state = self.state();
        state.wait = Wait::None;
        let waker = state.receiver.take();
        drop(state);
        contain(|| drop(waker));
    }

    #[cold]
    fn close(&self) {
        let mut woken = Woken::default();
        let mut state = self.state();
        state.closed = true;
        state.room.close(&mut woken);
        woken.wake(state);
    }
}

/// Sends values; clones send to the same receiver.
///
/// When the last one is dropped, the receiver ends after the values that were sent.
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends `value`, after a wait for room if there is none.
    ///
    /// Cancel safety: dropping it before it is done sends nothing and drops the value. Its place
    /// in line is given up, and room that was meant for it goes to the next.
    ///
    /// # Errors
    /// [`SendError`], with the value, if the receiver is or gets dropped or closed.
    #[inline]
    pub fn send(&self, value: T) -> Sending<'_, T> {
        Sending { shared: &self.shared, value: Some(value), place: None }
    }

    /// Sends `value` if there is room and nobody waits for it.
    ///
    /// # Errors
    /// [`TrySendError::Full`] if not, [`TrySendError::Closed`] if the receiver is dropped or
    /// closed; both with the value.
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut state = self.shared.state();
        match state.room.try_take(1) {
            Ok(()) => {
                self.shared.push(state, value);
                Ok(())
            }
            Err(Refused::Later) => Err(TrySendError::Full(value)),
            Err(Refused::Closed) => Err(TrySendError::Closed(value)),
        }
    }

    /// Whether the receiver was dropped or closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.state().closed
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
        Sender { shared: Rc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.senders -= 1;
        if state.senders == 0 {
            self.shared.wake_receiver(state);
        }
    }
}

/// The future of [`Sender::send`].
///
/// Once it is done it sends nothing more: polled again it gives `Ok`.
#[must_use = "futures do nothing unless awaited"]
pub struct Sending<'a, T> {
    shared: &'a Shared<T>,
    value: Option<T>,
    /// To be left when the wait is given up.
    place: Option<Place>,
}

/// The value is moved through, never pinned.
impl<T> Unpin for Sending<'_, T> {}

impl<T> Sending<'_, T> {
    /// The rest of a poll, if there is no room or a place in line.
    #[cold]
    fn poll_in_line(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let Sending { shared, value, place } = self;
        poll_with_waker(cx, |waker| {
            let mut state = shared.state();
            // Room that was granted before is of no use then: the receiver may be through.
            let open = !state.closed && ready!(state.room.poll_take(1, place, waker));
            Poll::Ready(match value.take() {
                Some(value) if open => {
                    shared.push(state, value);
                    Ok(())
                }
                Some(value) => Err(SendError(value)),
                None => Ok(()),
            })
        })
    }
}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        ready!(poll_proceed(cx));
        if this.place.is_some() {
            return this.poll_in_line(cx);
        }
        let Some(value) = this.value.take() else { return Poll::Ready(Ok(())) };
        let mut state = this.shared.state();
        if state.room.try_take(1).is_ok() {
            this.shared.push(state, value);
            return Poll::Ready(Ok(()));
        }
        drop(state);
        this.value = Some(value);
        this.poll_in_line(cx)
    }
}

impl<T> Drop for Sending<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(place) = self.place {
            leave(self.shared, place);
        }
    }
}

#[cold]
fn leave<T>(shared: &Shared<T>, place: Place) {
    let mut woken = Woken::default();
    let mut state = shared.state();
    let own = state.room.leave(place, &mut woken);
    woken.wake(state);
    contain(|| drop(own));
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
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.try_send(value).map_err(|refused| match refused {
            TrySendError::Full(value) | TrySendError::Closed(value) => SendError(value),
        })
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

/// Receives the values, in the order in which they were sent.
///
/// Dropped, it closes the channel and drops the values that are in it.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// Waits for a value; None when there are none left and none can come.
    ///
    /// Cancel safety: dropping it before it is done loses no value.
    #[inline]
    pub fn recv(&mut self) -> Receiving<'_, T> {
        Receiving { receiver: self, waits: false }
    }

    /// Polls for a value; wakes only the last task that polled.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(poll_proceed(cx));
        match self.shared.pop() {
            Ok(value) => Poll::Ready(Some(value)),
            Err(TryRecvError::Closed) => Poll::Ready(None),
            Err(TryRecvError::Empty) => {
                let mut state = self.shared.state();
                match &state.receiver {
                    Some(waker) if waker.will_wake(cx.waker()) => {
                        state.wait = Wait::ForValue;
                        Poll::Pending
                    }
                    _ => {
                        drop(state);
                        self.wait_anew(cx)
                    }
                }
            }
        }
    }

    /// Leaves a new waker behind. Its clone is foreign code, after which things may be different.
    #[cold]
    fn wait_anew(&mut self, cx: &Context<'_>) -> Poll<Option<T>> {
        let waker = cx.waker().clone();
        match self.shared.pop() {
            Ok(value) => Poll::Ready(Some(value)),
            Err(TryRecvError::Closed) => Poll::Ready(None),
            Err(TryRecvError::Empty) => {
                let mut state = self.shared.state();
                state.wait = Wait::ForValue;
                let before = state.receiver.replace(waker);
                drop(state);
                contain(|| drop(before));
                Poll::Pending
            }
        }
    }

    /// Takes a value if there is one.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`] if there is none yet, [`TryRecvError::Closed`] if none can come.
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.shared.pop()
    }

    /// Refuses further values; those that were sent can still be received.
    pub fn close(&mut self) {
        self.shared.close();
    }

    /// Whether no further values can come: closed, or all senders were dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let state = self.shared.state();
        state.closed || state.senders == 0
    }

    /// How many values are there to be received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.state().values.len()
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

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.end_wait();
        let left = mem::take(&mut self.shared.state().values);
        drop(left);
    }
}

/// The future of [`Receiver::recv`].
#[must_use = "futures do nothing unless awaited"]
pub struct Receiving<'a, T> {
    receiver: &'a mut Receiver<T>,
    /// To be ended when it is given up.
    waits: bool,
}

impl<T> Future for Receiving<'_, T> {
    type Output = Option<T>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        let polled = this.receiver.poll_recv(cx);
        this.waits = polled.is_pending();
        polled
    }
}

impl<T> Drop for Receiving<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.waits {
            self.receiver.shared.end_wait();
        }
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

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiving<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").finish_non_exhaustive()
    }
}

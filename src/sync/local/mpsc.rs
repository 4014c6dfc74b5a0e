//! Channels for many values, from many senders to one receiver, on one thread.
//!
//! They are as [those for any thread](crate::sync::mpsc), and share their errors.

mod receiver;

pub use crate::sync::mpsc::{SendError, TryRecvError, TrySendError};
pub use receiver::{Receiver, Receiving};

use crate::budget;
use crate::contain::contain;
use crate::sync::line::Place;
use crate::sync::permits::PERMITS_MAX;
use crate::sync::queue::Queue;
use crate::sync::waiting::{Woken, poll_with_waker};
use crate::task::WakerSlot;
use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

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
    let shared = Rc::new(Shared {
        slot: Cell::new(Slot::Empty),
        receiver: WakerSlot::new(),
        senders: Cell::new(1),
        many: RefCell::new(Many { queue: Queue::new(capacity), awaited: false }),
        capacity,
    });
    (Sender { shared: Rc::clone(&shared) }, Receiver::new(shared))
}

/// Makes a channel without a bound: sending never waits.
///
/// Nothing but the receiver's diligence bounds its memory. Where senders may be faster for long, a
/// [`channel`] has them wait.
///
/// ```
/// use whirligig::sync::local::mpsc;
///
/// let (sender, mut receiver) = mpsc::unbounded();
/// sender.send(1)?;
/// sender.send(2)?;
/// drop(sender);
/// whirligig::run(async move {
///     assert_eq!(receiver.recv().await, Some(1));
///     assert_eq!(receiver.recv().await, Some(2));
///     assert_eq!(receiver.recv().await, None);
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unbounded<T>() -> (UnboundedSender<T>, Receiver<T>) {
    let (sender, receiver) = channel(PERMITS_MAX);
    (UnboundedSender(sender), receiver)
}

/// Two tasks that send to and fro mostly find the channel empty, or with one value in it. While it
/// is no more than that, the slot has all there is, and `many` is not looked at.
///
/// ```text
///                          push_one
///            .----------------------------------.
///            v     push_one                     |
///           One <------------- Empty        Awaited
///            |  -------------> |  ^  ------> |  ^
///            |  poll_recv      |  | poll_recv|  |
///            |                 |  |          |  |
///  open_many |       open_many v  | settle   v  | settle
///            '-----------------> Many <---------'
/// ```
///
/// No waker runs and no value is dropped while `many` is borrowed. What is in a cell needs no
/// borrow, and is replaced before what was in it is dropped.
struct Shared<T> {
    slot: Cell<Slot<T>>,
    /// Of the receiver's last wait. It stays when it was woken, since the next wait is mostly the
    /// same task's, and then needs no clone.
    receiver: WakerSlot,
    senders: Cell<usize>,
    many: RefCell<Many<T>>,
    capacity: usize,
}

enum Slot<T> {
    /// As `Empty`, but the receiver waits.
    Awaited,
    /// Open and empty; no sender waits or was granted room, and neither does the receiver wait.
    Empty,
    /// As `Empty`, but for one value.
    One(T),
    /// Anything else, of which `many` tells.
    Many,
}

struct Many<T> {
    queue: Queue<T>,
    /// The receiver waits.
    awaited: bool,
}

impl<T> Shared<T> {
    fn is_closed(&self) -> bool {
        self.peek(|slot| matches!(slot, Slot::Many)) && self.many.borrow().queue.is_closed()
    }

    fn len(&self) -> usize {
        self.peek(|slot| match slot {
            Slot::Empty | Slot::Awaited => 0,
            Slot::One(_) => 1,
            Slot::Many => self.many.borrow().queue.len(),
        })
    }

    fn peek<R>(&self, look: impl FnOnce(&Slot<T>) -> R) -> R {
        let slot = self.slot.replace(Slot::Many);
        let seen = look(&slot);
        self.slot.set(slot);
        seen
    }

    /// Puts all there is into `many`; to be undone by [`Shared::settle`] once that is possible.
    fn open_many(&self) -> RefMut<'_, Many<T>> {
        let mut many = self.many.borrow_mut();
        match self.slot.replace(Slot::Many) {
            Slot::Empty | Slot::Many => {}
            Slot::Awaited => many.awaited = true,
            Slot::One(value) => {
                // There is room: the queue was empty, and open.
                let sent = many.queue.try_push(value);
                debug_assert!(sent.is_ok(), "the slot stands for the whole queue");
            }
        }
        many
    }

    /// Leaves [`Slot::Many`] if the slot can have all again.
    fn settle(&self, mut many: RefMut<'_, Many<T>>) {
        let idle = many.queue.free() == self.capacity && !many.queue.is_closed();
        if idle && self.senders.get() > 0 {
            let awaited = mem::take(&mut many.awaited);
            self.slot.set(if awaited { Slot::Awaited } else { Slot::Empty });
        }
    }

    /// Puts a value into an empty channel, or gives it back if the channel is anything else.
    #[inline(always)]
    fn push_one(&self, value: T) -> Result<(), T> {
        match self.slot.replace(Slot::One(value)) {
            Slot::Awaited => self.receiver.wake(),
            Slot::Empty => {}
            other => return Err(self.put_back(other)),
        }
        Ok(())
    }

    /// Puts back what was in the slot, and returns what came instead.
    #[inline(never)]
    fn put_back(&self, other: Slot<T>) -> T {
        match self.slot.replace(other) {
            Slot::One(value) => value,
            _ => unreachable!("a value was put there just now"),
        }
    }

    #[inline(never)]
    fn try_push_many(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut many = self.open_many();
        let sent = many.queue.try_push(value);
        let awaited = sent.is_ok() && mem::take(&mut many.awaited);
        self.settle(many);
        if awaited {
            self.receiver.wake();
        }
        sent
    }

    #[inline(never)]
    fn pop_many(&self) -> Result<T, TryRecvError> {
        let mut woken = Woken::default();
        let mut many = self.open_many();
        let value = many.queue.pop(&mut woken);
        let ended = many.queue.is_closed() || self.senders.get() == 0;
        self.settle(many);
        woken.wake(());
        match value {
            Some(value) => Ok(value),
            None if ended => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Takes out what [`Receiver::poll_recv`] left behind.
    #[cold]
    fn end_wait(&self) {
        let mut many = self.open_many();
        many.awaited = false;
        self.settle(many);
        let before = self.receiver.clear();
        contain(|| drop(before));
    }

    fn close(&self) {
        let mut woken = Woken::default();
        let mut many = self.open_many();
        many.queue.close(&mut woken);
        drop(many);
        woken.wake(());
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
        self.shared.push_one(value).or_else(|value| self.shared.try_push_many(value))
    }

    /// Whether the receiver was dropped or closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// How many values the channel holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.senders.set(self.shared.senders.get() + 1);
        Sender { shared: Rc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let senders = self.shared.senders.get() - 1;
        self.shared.senders.set(senders);
        if senders == 0 {
            let awaited = mem::take(&mut self.shared.open_many().awaited);
            if awaited {
                self.shared.receiver.wake();
            }
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
    /// The rest of a poll, if the channel is neither empty nor open.
    #[inline(never)]
    fn poll_many(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError<T>>> {
        let Sending { shared, value, place } = self;
        let mut awaited = false;
        let polled = poll_with_waker(cx, |offer| {
            let mut many = shared.open_many();
            let polled = many.queue.poll_push(value, place, offer);
            awaited = value.is_none() && mem::take(&mut many.awaited);
            shared.settle(many);
            polled
        });
        if awaited {
            shared.receiver.wake();
        }
        // What could not be sent is still there.
        polled.map(|()| value.take().map_or(Ok(()), |value| Err(SendError(value))))
    }
}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let Some(value) = this.value.take() else { return Poll::Ready(Ok(())) };
        if !budget::take_one() {
            this.value = Some(value);
            return budget::give_way(cx);
        }
        // While it has a place in line, nobody finds the channel empty: it sends in its turn.
        let Err(value) = this.shared.push_one(value) else {
            // As it is: where this is inlined, it is known then that there is nothing to leave.
            debug_assert!(this.place.is_none());
            this.place = None;
            return Poll::Ready(Ok(()));
        };
        this.value = Some(value);
        this.poll_many(cx)
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
    let mut many = shared.open_many();
    let own = many.queue.leave(place, &mut woken);
    shared.settle(many);
    woken.wake(());
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

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

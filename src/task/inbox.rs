//! The inbox: where messages from other threads and other runtimes arrive.
//!
//! ```text
//!               notify                        notify: unpark!
//!    AWAKE ----------------> NOTIFIED <------------------------ PARKED
//!      ^  \                    |    ^                           ^ |
//!      |   `-------------------|----|----- park ----------------' |
//!      +------ take -----------+    `- park fails                 |
//!      +---------------------- unpark ----------------------------+
//! ```

#[cfg(test)]
mod tests;

use super::cell::Task;
use super::state::Remote;
use crate::contain::contain;
use crate::lock;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::Waker;

/// What the runtime's thread is at, or is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
enum Parking {
    /// It looks at the inbox, if at all, for no reason.
    Awake,
    /// It is to look at the inbox before it waits.
    Notified,
    /// It waits, or is about to.
    Parked,
}

impl Parking {
    const fn from_bits(bits: u8) -> Parking {
        match bits {
            0 => Parking::Awake,
            1 => Parking::Notified,
            _ => Parking::Parked,
        }
    }

    /// Something has arrived; true if its thread has to be unparked.
    const fn notify(self) -> (Parking, bool) {
        (Parking::Notified, matches!(self, Parking::Parked))
    }

    /// At home, before it looks at what arrived.
    const fn take(self) -> (Parking, ()) {
        (Parking::Awake, ())
    }

    /// At home, before it waits; false if it must not.
    #[cfg(test)]
    const fn park(self) -> (Parking, bool) {
        match self {
            Parking::Awake => (Parking::Parked, true),
            Parking::Notified | Parking::Parked => (self, false),
        }
    }

    /// At home, after it waited. A notification stays.
    #[cfg(test)]
    const fn unpark(self) -> (Parking, ()) {
        match self {
            Parking::Parked => (Parking::Awake, ()),
            Parking::Awake | Parking::Notified => (self, ()),
        }
    }
}

/// What others have for a home. Each comes with a reference.
pub(super) enum Message {
    /// The task is to be taken in.
    New(Task),
    /// The task is woken, or aborted.
    Woken(Task),
    /// The reference was counted at home.
    Released(Task),
    /// The join handle is gone.
    Detached(Task),
    /// The join handle waits.
    Joining(Task, Waker),
}

pub(crate) struct Inbox {
    /// A [`Parking`].
    state: AtomicU8,
    messages: Mutex<Messages>,
    unpark: Box<dyn Fn() + Send + Sync>,
}

struct Messages {
    list: Vec<Message>,
    /// Home is ending its tasks, and takes no new ones.
    ending: bool,
    /// Home is gone.
    closed: bool,
}

impl Inbox {
    pub(super) fn new(unpark: Box<dyn Fn() + Send + Sync>) -> Inbox {
        Inbox {
            state: AtomicU8::new(Parking::Awake as u8),
            messages: Mutex::new(Messages { list: Vec::new(), ending: false, closed: false }),
            unpark,
        }
    }

    /// Nothing that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Messages> {
        lock::lock(&self.messages)
    }

    /// Takes one step, atomically. It is written also if it changes nothing: who notifies an inbox
    /// that is notified publishes what came before, and the `take` to come must see that.
    fn step<R>(&self, step: fn(Parking) -> (Parking, R)) -> R {
        let mut now = self.state.load(Ordering::Acquire);
        loop {
            let (next, result) = step(Parking::from_bits(now));
            let next = next as u8;
            match self.state.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return result,
                Err(changed) => now = changed,
            }
        }
    }

    /// Adds a message and sees to it that home finds it.
    pub(super) fn push(&self, message: Message) -> Result<(), Message> {
        let mut messages = self.lock();
        if messages.closed || messages.ending && matches!(message, Message::New(_)) {
            return Err(message);
        }
        messages.list.push(message);
        drop(messages);
        self.notify();
        Ok(())
    }

    /// The same for a joiner's waker, which takes the place of an earlier one of the same handle:
    /// however often that is polled, at most one is in the list. Holding the lock is the right to
    /// change the note that it is.
    pub(super) fn push_joining(&self, task: Task, waker: Waker) -> Result<(), Message> {
        let mut messages = self.lock();
        if messages.closed {
            return Err(Message::Joining(task, waker));
        }
        let is_earlier =
            |other: &&mut Message| matches!(other, Message::Joining(it, _) if it.is_same(&task));
        let earlier = match task.header().step(Remote::join) {
            true => messages.list.iter_mut().rev().find(is_earlier),
            false => None,
        };
        let Some(earlier) = earlier else {
            messages.list.push(Message::Joining(task, waker));
            drop(messages);
            self.notify();
            return Ok(());
        };
        let earlier = std::mem::replace(earlier, Message::Joining(task, waker));
        drop(messages);
        // A waker is foreign code: it goes once the lock is free.
        contain(|| drop(earlier));
        Ok(())
    }

    /// Makes the runtime look around: at once if it is parked, else before it parks.
    pub(crate) fn notify(&self) {
        if self.step(Parking::notify) {
            (self.unpark)();
        }
    }

    #[inline]
    pub(crate) fn is_notified(&self) -> bool {
        self.state.load(Ordering::Acquire) == Parking::Notified as u8
    }

    /// Whether home waits, or is about to.
    pub(crate) fn is_parked(&self) -> bool {
        self.state.load(Ordering::Acquire) == Parking::Parked as u8
    }

    /// Adds what arrived to `arrived`. The state is reset first: what comes after that notifies
    /// anew.
    pub(super) fn take(&self, arrived: &mut VecDeque<Message>) {
        self.step(Parking::take);
        let mut messages = self.lock();
        arrived.extend(messages.list.drain(..).inspect(|message| {
            if let Message::Joining(task, _) = message {
                task.header().step(Remote::leave_list);
            }
        }));
    }

    /// From awake to parked; false if notified.
    #[inline]
    pub(crate) fn park(&self) -> bool {
        self.change(Parking::Awake, Parking::Parked)
    }

    /// From parked to awake; a notification stays.
    #[inline]
    pub(crate) fn unpark(&self) {
        self.change(Parking::Parked, Parking::Awake);
    }

    /// `Parking::park` and `unpark`, which change one state only, in one attempt. A state that they
    /// leave need not be published: home, who asks, has nothing to tell.
    #[inline]
    fn change(&self, from: Parking, to: Parking) -> bool {
        let (from, to) = (from as u8, to as u8);
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Refuses new tasks from now on: while others spawned them faster than home ends them, there
    /// would be no end. All other messages are of tasks that are there, and so are bounded.
    pub(super) fn refuse_tasks(&self) {
        self.lock().ending = true;
    }

    /// Refuses messages from now on; false, and nothing is changed, if some are there.
    pub(super) fn close(&self) -> bool {
        let mut messages = self.lock();
        messages.closed = messages.list.is_empty();
        messages.closed
    }
}

//! The inbox: where wakes from other threads and other runtimes arrive.
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

use crate::task::Task;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    const fn park(self) -> (Parking, bool) {
        match self {
            Parking::Awake => (Parking::Parked, true),
            Parking::Notified | Parking::Parked => (self, false),
        }
    }

    /// At home, after it waited. A notification stays.
    const fn unpark(self) -> (Parking, ()) {
        match self {
            Parking::Parked => (Parking::Awake, ()),
            Parking::Awake | Parking::Notified => (self, ()),
        }
    }
}

pub(crate) struct Inbox {
    /// A [`Parking`].
    state: AtomicU8,
    tasks: Mutex<Tasks>,
    unpark: Box<dyn Fn() + Send + Sync>,
}

struct Tasks {
    list: Vec<Task>,
    /// The runtime is gone.
    closed: bool,
}

impl Inbox {
    pub(super) fn new(unpark: Box<dyn Fn() + Send + Sync>) -> Inbox {
        Inbox {
            state: AtomicU8::new(Parking::Awake as u8),
            tasks: Mutex::new(Tasks { list: Vec::new(), closed: false }),
            unpark,
        }
    }

    /// Nothing that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Adds a task and sees to it that the runtime finds it.
    pub(super) fn push(&self, task: Task) -> Result<(), Task> {
        let mut tasks = self.lock();
        if tasks.closed {
            return Err(task);
        }
        tasks.list.push(task);
        drop(tasks);
        self.notify();
        Ok(())
    }

    /// Makes the runtime look around: at once if it is parked, else before it parks.
    pub(crate) fn notify(&self) {
        if self.step(Parking::notify) {
            (self.unpark)();
        }
    }

    #[inline]
    pub(super) fn is_notified(&self) -> bool {
        self.state.load(Ordering::Acquire) == Parking::Notified as u8
    }

    /// What arrived. The state is reset first: what comes after that notifies anew.
    pub(super) fn take(&self) -> Vec<Task> {
        self.step(Parking::take);
        std::mem::take(&mut self.lock().list)
    }

    /// From awake to parked; false if notified.
    pub(super) fn park(&self) -> bool {
        self.step(Parking::park)
    }

    /// From parked to awake; a notification stays.
    pub(super) fn unpark(&self) {
        self.step(Parking::unpark);
    }

    /// Refuses tasks from now on; false, and nothing is changed, if some are waiting.
    pub(super) fn close(&self) -> bool {
        let mut tasks = self.lock();
        tasks.closed = tasks.list.is_empty();
        tasks.closed
    }
}

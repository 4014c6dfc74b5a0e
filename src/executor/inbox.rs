//! The inbox: where wakes from other threads and other runtimes arrive.
//!
//! ```text
//!               notify                        notify: unpark!
//!    AWAKE ----------------> NOTIFIED <------------------------ PARKED
//!      ^  \                    |    ^                           ^ |
//!      |   `-------------------|----|----- park ----------------' |
//!      +------ take, unpark ---+    `- park fails                 |
//!      +---------------------- unpark ----------------------------+
//! ```

use crate::task::Task;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const AWAKE: u8 = 0;
const NOTIFIED: u8 = 1;
const PARKED: u8 = 2;

pub(crate) struct Inbox {
    /// What the runtime's thread is at, or is to do.
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
            state: AtomicU8::new(AWAKE),
            tasks: Mutex::new(Tasks { list: Vec::new(), closed: false }),
            unpark,
        }
    }

    /// Nothing that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
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
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED {
            (self.unpark)();
        }
    }

    #[inline]
    pub(super) fn is_notified(&self) -> bool {
        self.state.load(Ordering::Acquire) == NOTIFIED
    }

    /// What arrived. The state is reset first: what comes after that notifies anew.
    pub(super) fn take(&self) -> Vec<Task> {
        self.state.swap(AWAKE, Ordering::AcqRel);
        std::mem::take(&mut self.lock().list)
    }

    /// From awake to parked; false if notified.
    pub(super) fn park(&self) -> bool {
        self.state.compare_exchange(AWAKE, PARKED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// From parked to awake; a notification stays.
    pub(super) fn unpark(&self) {
        let _ = self.state.compare_exchange(PARKED, AWAKE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Refuses tasks from now on; false, and nothing is changed, if some are waiting.
    pub(super) fn close(&self) -> bool {
        let mut tasks = self.lock();
        tasks.closed = tasks.list.is_empty();
        tasks.closed
    }
}

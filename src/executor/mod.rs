//! The executor: a run queue of tasks on one thread, and an inbox for wakes from elsewhere.
//!
//! ```text
//!   wake, inside this runtime ---> queue ------.
//!                                              +--> run_batch: polls, each task once
//!   wake, from anywhere else ----> inbox ------'
//!                                    `--> unpark, if the runtime is parked
//! ```
//!
//! The executor knows no reactor. Whoever waits for it calls [`Executor::prepare_to_park`] first,
//! and is woken through the `unpark` function given to [`Executor::new`].

mod inbox;

use crate::budget;
use crate::slab::Slab;
use crate::task::{Home, Id, JoinHandle, Ran, Schedule, Task};
pub(crate) use inbox::Inbox;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Polls in one batch, before the runtime looks at the kernel again.
pub(crate) const BATCH_MAX: usize = 128;

/// Task names are given out once in a process.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The executor whose turn it is on this thread. Without a destructor: a runtime that is itself
    /// in a thread-local is dropped when those with one may be gone. `Entered` empties it.
    static CURRENT: RefCell<ManuallyDrop<Option<Rc<Executor>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

pub(crate) struct Executor {
    home: Home<Inbox>,
    queue: RefCell<VecDeque<Task>>,
    /// A reference to every task that is not over.
    tasks: RefCell<Slab<Option<Task>>>,
    /// No task is run any more, and none kept.
    closed: Cell<bool>,
}

impl Executor {
    /// `unpark` ends the wait that a successful [`Executor::prepare_to_park`] announced, from any
    /// thread.
    pub(crate) fn new(unpark: impl Fn() + Send + Sync + 'static) -> Rc<Executor> {
        Rc::new(Executor {
            home: Home::new(Inbox::new(Box::new(unpark))),
            queue: RefCell::new(VecDeque::new()),
            tasks: RefCell::new(Slab::new()),
            closed: Cell::new(false),
        })
    }

    /// The executor whose turn it is on this thread.
    pub(crate) fn current() -> Option<Rc<Executor>> {
        CURRENT.with(|current| Option::clone(&current.borrow()))
    }

    /// Makes this the thread's current executor until the guard is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        Entered(exchange(Some(Rc::clone(self))))
    }

    /// Spawns a task; it is first polled in a batch to come. After [`Executor::close`] it is ended
    /// at once.
    pub(crate) fn spawn<F: Future + 'static>(
        self: &Rc<Self>,
        future: F,
        spawned_at: &'static Location<'static>,
    ) -> JoinHandle<F::Output> {
        let id = Id(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        let key = self.tasks.borrow_mut().insert_with(|_| None);
        let (queued, kept, handle) = self.home.task(future, id, key, spawned_at);
        if self.closed.get() {
            // Only the drop of a waker or of a future can spawn so late. Nobody would come back to
            // this task, and whoever held its last reference would drop the future, anywhere.
            self.tasks.borrow_mut().remove(key);
            self.home.cancel(&kept);
            return handle;
        }
        if let Some(place) = self.tasks.borrow_mut().get_mut(key) {
            *place = Some(kept);
        }
        self.queue.borrow_mut().push_back(queued);
        handle
    }

    /// How many tasks are not over.
    pub(crate) fn task_count(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Whether a task is to be polled, as far as this thread knows.
    pub(crate) fn has_work(&self) -> bool {
        !self.queue.borrow().is_empty() || self.inbox().is_notified()
    }

    /// Polls what is queued, up to [`BATCH_MAX`] tasks; returns how many that were. What becomes
    /// ready meanwhile waits for the next batch.
    pub(crate) fn run_batch(&self) -> usize {
        if self.inbox().is_notified() {
            self.queue.borrow_mut().extend(self.inbox().take());
        }
        let batch = self.queue.borrow().len().min(BATCH_MAX);
        for _ in 0..batch {
            let Some(task) = self.queue.borrow_mut().pop_front() else {
                break;
            };
            self.run(task);
        }
        batch
    }

    fn run(&self, task: Task) {
        budget::renew();
        match self.home.run(task) {
            Ran::Again(task) => self.queue.borrow_mut().push_back(task),
            Ran::Pending => {}
            Ran::Over(key) => {
                let kept = self.tasks.borrow_mut().remove(key);
                drop(kept);
            }
        }
    }

    /// Announces a wait: from now on a wake from elsewhere unparks. False if there is something to
    /// do already; then there is nothing to undo.
    pub(crate) fn prepare_to_park(&self) -> bool {
        self.queue.borrow().is_empty() && self.inbox().park()
    }

    /// Ends what [`Executor::prepare_to_park`] began.
    pub(crate) fn unpark(&self) {
        self.inbox().unpark();
    }

    /// What wakes the runtime without naming a task.
    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        self.home.schedule()
    }

    /// Ends every task without polling it again, also those that are spawned by the drops of
    /// others, and refuses wakes and tasks from then on.
    pub(crate) fn close(&self) {
        loop {
            let keys = self.tasks.borrow().keys();
            for key in keys {
                let task = self.tasks.borrow_mut().remove(key).flatten();
                if let Some(task) = task {
                    self.home.cancel(&task);
                }
            }
            self.queue.borrow_mut().extend(self.inbox().take());
            if self.queue.borrow().is_empty() {
                if self.tasks.borrow().is_empty() && self.inbox().close() {
                    self.closed.set(true);
                    return;
                }
                continue;
            }
            let queued = std::mem::take(&mut *self.queue.borrow_mut());
            for task in queued {
                self.home.cancel(&task);
                // Over, so this polls nothing: it drops an output that came back to die.
                let _ = self.home.run(task);
            }
        }
    }
}

/// Leaves the current executor when dropped, also when a panic passes.
pub(crate) struct Entered(Option<Rc<Executor>>);

impl Drop for Entered {
    fn drop(&mut self) {
        if self.0.is_none() {
            budget::lift();
        }
        drop(exchange(self.0.take()));
    }
}

fn exchange(executor: Option<Rc<Executor>>) -> Option<Rc<Executor>> {
    let before = CURRENT.with(|current| current.replace(ManuallyDrop::new(executor)));
    ManuallyDrop::into_inner(before)
}

impl Schedule for Inbox {
    fn schedule(&self, task: Task) -> Result<(), Task> {
        let mut task = Some(task);
        CURRENT.with(|current| {
            if let Some(executor) = &**current.borrow() {
                if std::ptr::eq(Arc::as_ptr(executor.inbox()), self) {
                    executor.queue.borrow_mut().extend(task.take());
                }
            }
        });
        task.map_or(Ok(()), |task| self.push(task))
    }

    fn is_current(&self) -> bool {
        let is_own = |executor: &Rc<Executor>| std::ptr::eq(Arc::as_ptr(executor.inbox()), self);
        CURRENT.with(|current| current.borrow().as_ref().is_some_and(is_own))
    }
}

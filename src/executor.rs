//! The executor: runs the tasks of one home in batches, and goes to wait when none is queued.
//!
//! The executor knows no reactor. Whoever waits for it calls [`Here::prepare_to_park`] first,
//! and is woken through the `unpark` function given to [`Executor::new`].

use crate::task::{AtHome, Home, JoinHandle, Shared};
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

/// Polls in one batch, before the runtime looks at the kernel again.
pub(crate) const BATCH_MAX: usize = 128;

pub(crate) struct Executor {
    home: Home,
}

/// Spawns a task on the executor whose turn it is on this thread; None, and the future is gone, if
/// there is none.
#[inline]
pub(crate) fn spawn<F: Future + 'static>(
    future: F,
    spawned_at: &'static Location<'static>,
) -> Option<JoinHandle<F::Output>> {
    AtHome::current(|home| home.spawn(future, spawned_at))
}

/// Whether an executor has its turn on this thread.
pub(crate) fn is_in_turn() -> bool {
    AtHome::current(|_| ()).is_some()
}

/// Does `work` in nobody's turn, as if on another thread.
#[cfg(any(test, feature = "sim"))]
pub(crate) fn outside<R>(work: impl FnOnce() -> R) -> R {
    crate::task::outside(work)
}

impl Executor {
    /// `unpark` ends the wait that a successful [`Here::prepare_to_park`] announced, from any
    /// thread.
    pub(crate) fn new(unpark: impl Fn() + Send + Sync + 'static) -> Executor {
        Executor { home: Home::new(unpark) }
    }

    /// Makes it this thread's turn of this executor, as long as `turn` runs.
    pub(crate) fn enter<R>(&self, turn: impl FnOnce() -> R) -> R {
        self.home.enter(|_| turn())
    }

    /// Spawns a task; it is first polled in a batch to come.
    pub(crate) fn spawn<F: Future + 'static>(
        &self,
        future: F,
        spawned_at: &'static Location<'static>,
    ) -> JoinHandle<F::Output> {
        self.home.here().spawn(future, spawned_at)
    }

    /// How many tasks are not over.
    pub(crate) fn task_count(&self) -> usize {
        self.home.here().task_count()
    }

    /// Whether a task is to be polled, as far as this thread knows.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        let home = self.home.here();
        home.has_queued() || home.inbox().is_notified()
    }

    /// Polls what is queued now, each task once, up to [`BATCH_MAX`].
    pub(crate) fn run_batch(&self) {
        self.receive();
        self.home.here().run(BATCH_MAX, true);
    }

    /// Takes in what came from elsewhere. While there is anything the executor does not park.
    #[inline]
    pub(crate) fn receive(&self) {
        let home = self.home.here();
        if home.inbox().is_notified() {
            home.receive();
        }
    }

    /// This executor, for a loop that looks it up once.
    #[inline]
    pub(crate) fn here(&self) -> Here<'_> {
        Here(self.home.here())
    }

    /// What wakes the runtime without naming a task.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.home.shared()
    }

    /// Ends every task without polling it again, also those that are spawned by the drops of
    /// others, in a turn.
    pub(crate) fn end_tasks(&self) {
        self.home.here().end_tasks();
    }

    /// Ends what is there, and refuses wakes and tasks from then on; false if something came in
    /// between. In nobody's turn.
    pub(crate) fn close(&self) -> bool {
        self.home.close()
    }
}

/// An executor, for whoever has it: that is on its thread. All of it is part of its user's loop.
#[derive(Clone, Copy)]
pub(crate) struct Here<'a>(AtHome<'a>);

impl Here<'_> {
    /// Polls what is queued, and what is queued meanwhile, up to `polls_max` times in all; returns
    /// how many of these are left.
    #[inline(always)]
    pub(crate) fn run(self, polls_max: usize) -> usize {
        self.0.run(polls_max, false)
    }

    /// Whether a task is in the run queue.
    #[inline(always)]
    pub(crate) fn has_queued(self) -> bool {
        self.0.has_queued()
    }

    /// Wakes a task by reference, if `waker` is that of one of this executor's: then no other code
    /// is run. Else this does nothing, and returns false. In its turn.
    #[inline(always)]
    pub(crate) fn wake_own(self, waker: &Waker) -> bool {
        self.0.wake_own(waker)
    }

    /// Announces a wait, when no task is queued: from now on a wake from elsewhere unparks. False
    /// if there is something to do already; then there is nothing to undo.
    #[inline(always)]
    pub(crate) fn prepare_to_park(self) -> bool {
        debug_assert!(!self.has_queued());
        self.0.inbox().park()
    }

    /// Ends what [`Here::prepare_to_park`] began.
    #[inline(always)]
    pub(crate) fn unpark(self) {
        self.0.inbox().unpark();
    }

    /// Notes that the kernel is looked at: while that goes on, the executor does not hang.
    #[inline(always)]
    pub(crate) fn note_look(self) {
        self.0.note_look();
    }
}

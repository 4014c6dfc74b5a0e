//! The runtime: the one place where executor and reactor meet.
//!
//! ```text
//!   block_on:  .--> the future itself, if woken
//!              |    a batch of tasks                (executor)
//!              |    a look at the kernel            (reactor): without waiting after a full
//!              |                                    batch, else until an event or a deadline
//!              `--- until the future is done
//! ```
//!
//! A runtime lives on the thread that made it. More cores are more runtimes.

mod builder;
mod handle;
mod looks;
#[cfg(any(test, feature = "sim"))]
pub(crate) mod stepped;
#[cfg(test)]
mod tests;

pub use builder::Builder;
pub use handle::Handle;

use crate::budget;
use crate::executor::{self, BATCH_MAX, Executor, Here};
use crate::instant::Instant;
#[cfg(any(test, feature = "sim"))]
use crate::reactor;
use crate::reactor::{Reactor, Wait};
use crate::sys::{EventBuffer, ExactWaits, KernelHandle};
use crate::task::{JoinHandle, Shared};
use looks::Looks;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Makes a runtime and runs `future` on it to its end.
///
/// Tasks that are still there when the future is done are dropped.
///
/// ```
/// let answer = whirligig::run(async {
///     let task = whirligig::spawn(async { 6 * 7 });
///     task.await
/// })?;
/// assert_eq!(answer.unwrap(), 42);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// If the runtime can't be made: out of descriptors or memory.
///
/// # Panics
/// As [`Runtime::block_on`].
pub fn run<F: Future>(future: F) -> io::Result<F::Output> {
    Ok(Runtime::new()?.block_on(future))
}

/// Spawns a task on the runtime whose turn it is on this thread.
///
/// The future need not be `Send`: it stays on this thread. It is first polled in a batch to come.
///
/// # Panics
/// If no runtime has its turn on this thread.
#[inline]
#[track_caller]
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    executor::spawn(future, Location::caller())
        .expect("`spawn` takes a runtime's turn: see `Runtime`")
}

/// Gives way once: the other tasks that are ready are polled before this one goes on.
///
/// Cancel safety: nothing is lost if it is dropped.
pub fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// An executor and a reactor on one thread.
///
/// [`block_on`](Runtime::block_on) runs it until a future is done. [`turn`](Runtime::turn) runs it
/// step by step, without ever waiting, for those who have a loop of their own.
///
/// Dropping it drops its tasks, where they stand; awaiting one of them then gives a
/// [`JoinError`](crate::task::JoinError). That ends when no task is left: one whose drop spawns
/// another, and so on without end, keeps it from ending. Wakers, join handles and sockets may
/// outlive it.
pub struct Runtime {
    executor: Executor,
    reactor: Rc<Reactor>,
    /// Polls that are left until the next look at the kernel.
    polls_left: Cell<usize>,
    /// Which full batches are followed by a look.
    looks: Cell<Looks>,
    /// In a turn, or in `block_on`.
    running: Cell<bool>,
}

/// What a turn came to.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more to do at once.
    Ready,
    /// All tasks wait: for an event, for a wake, or for a time.
    Idle {
        /// When to take the next turn at the latest, if a timer is set. A lower bound: a turn at
        /// that time may find nothing due yet.
        until: Option<Instant>,
    },
    /// There are no tasks.
    Done,
}

impl Runtime {
    /// Makes a runtime on Linux.
    ///
    /// # Errors
    /// Out of descriptors (it takes two) or memory.
    pub fn new() -> io::Result<Runtime> {
        Runtime::on(KernelHandle::linux())
    }

    /// Makes a runtime on a kernel of the caller's choice.
    ///
    /// # Errors
    /// As for [`Runtime::new`].
    pub fn on(kernel: KernelHandle) -> io::Result<Runtime> {
        let reactor = Reactor::new(kernel)?;
        let notifier = reactor.notifier();
        // Raising a counter fails only if it would overflow, and then the loop is awake.
        let executor = Executor::new(move || drop(notifier.notify()));
        let (polls_left, running) = (Cell::new(BATCH_MAX), Cell::new(false));
        Ok(Runtime { executor, reactor, polls_left, looks: Cell::default(), running })
    }

    /// Spawns a task; it is polled in the turns to come.
    #[track_caller]
    pub fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        if !self.running.get() {
            // A loop that waits on the descriptor after an idle turn has to hear of it.
            self.executor.shared().inbox().notify();
        }
        self.executor.spawn(future, Location::caller())
    }

    /// Runs the runtime until `future` is done, waiting for the kernel when there is nothing to do.
    ///
    /// Other tasks that are not done then stay, and go on with the next call. Meanwhile the
    /// thread's timer slack is as small as can be (`PR_SET_TIMERSLACK`): timers end exactly.
    ///
    /// # Panics
    /// Inside another `block_on` or a turn on the same thread, which would wait for itself. If the
    /// future panics. If the kernel refuses to wait for events, which it does for bad arguments
    /// only.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        assert!(
            !executor::is_in_turn(),
            "`block_on` inside a runtime's turn would wait for itself: await the future instead"
        );
        let _running = self.run_guard();
        let _exact = ExactWaits::begin();
        self.enter(|| self.reactor.with_buffer(|buffer| self.run_until(pin!(future), buffer)))
    }

    fn run_until<F: Future>(&self, mut future: Pin<&mut F>, buffer: &mut EventBuffer) -> F::Output {
        let woken = Arc::new(MainWaker {
            woken: AtomicBool::new(true),
            home: Arc::clone(self.executor.shared()),
        });
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        loop {
            if woken.take() {
                budget::renew();
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return output;
                }
            }
            self.work(&woken, buffer);
        }
    }

    /// Runs tasks, and waits when there is none to run, until the future of `block_on` is woken.
    fn work(&self, woken: &MainWaker, buffer: &mut EventBuffer) {
        let here = self.executor.here();
        let mut polls_left = self.polls_left.get();
        loop {
            polls_left = here.run(polls_left);
            if woken.is_woken() {
                return self.polls_left.set(self.go_on(here, polls_left, buffer));
            }
            // With polls left the queue is empty.
            if (polls_left > 0 || !here.has_queued()) && here.prepare_to_park() {
                self.look(here, buffer, Wait::UntilEvent);
                here.unpark();
                polls_left = BATCH_MAX;
            } else {
                polls_left = self.go_on(here, polls_left, buffer);
            }
        }
    }

    /// Does what is due when there is no time to wait: takes in what came from elsewhere, and if no
    /// more polls are left looks at the kernel, unless it just did. How many are left from now on.
    #[inline(never)]
    fn go_on(&self, here: Here<'_>, polls_left: usize, buffer: &mut EventBuffer) -> usize {
        self.executor.receive();
        // The future itself counts as a poll, or it could keep the sockets waiting alone.
        if polls_left > 1 {
            return polls_left - 1;
        }
        let mut looks = self.looks.get();
        let is_due = looks.is_due(self.reactor.kernel().now());
        self.looks.set(looks);
        if is_due {
            self.look(here, buffer, Wait::No);
        }
        BATCH_MAX
    }

    /// Looks at the kernel without waiting, polls one batch of tasks, and says how things stand.
    ///
    /// So an event takes one turn: what the look finds is done in its batch. What comes during the
    /// batch leaves the epoll descriptor readable.
    ///
    /// Before waiting for the time that [`Turn::Idle`] tells, remember that a wake from another
    /// thread, or an event, may come earlier: a loop of one's own that waits on
    /// [`as_fd`](std::os::fd::AsFd::as_fd) is woken by both.
    ///
    /// # Errors
    /// None that a caller can cause.
    ///
    /// # Panics
    /// Inside a turn of the same runtime.
    pub fn turn(&self) -> io::Result<Turn> {
        let _running = self.run_guard();
        self.enter(|| {
            let here = self.executor.here();
            let looked = self.reactor.look(Wait::No, |waker| here.wake_own(waker));
            self.executor.run_batch();
            self.polls_left.set(BATCH_MAX);
            looked
        })?;
        if self.executor.has_work() {
            return Ok(Turn::Ready);
        }
        // Whoever waits on the epoll descriptor is woken from now on.
        if !self.executor.here().prepare_to_park() {
            return Ok(Turn::Ready);
        }
        if self.executor.task_count() == 0 {
            return Ok(Turn::Done);
        }
        let until = self.reactor.next_deadline().map(Instant::from_nanos);
        Ok(Turn::Idle { until })
    }

    /// How many tasks are not over.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.executor.task_count()
    }

    /// How many descriptors are registered with the kernel, and how many timers are set.
    #[must_use]
    pub fn source_and_timer_counts(&self) -> (usize, usize) {
        (self.reactor.source_count(), self.reactor.timer_count())
    }

    /// Whether a task is to be polled.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn has_work(&self) -> bool {
        self.executor.has_work()
    }

    /// [`Reactor::awaited`].
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn awaited(&self, tell: impl FnMut(u64, u32)) -> Option<i32> {
        self.reactor.awaited(tell)
    }

    /// The number of its epoll instance on a kernel that is not Linux.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn hosted_number(&self) -> Option<i32> {
        self.reactor.hosted_number()
    }

    /// What lives as long as one of its tasks, wakers and join handles does, or itself.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn remains(&self) -> std::sync::Weak<Shared> {
        Arc::downgrade(self.executor.shared())
    }

    #[inline(always)]
    fn look(&self, here: Here<'_>, buffer: &mut EventBuffer, wait: Wait) {
        here.note_look();
        if let Err(error) = self.reactor.look_with(buffer, wait, |waker| here.wake_own(waker)) {
            cannot_wait(&error);
        }
    }

    fn run_guard(&self) -> Restore<'_> {
        assert!(!self.running.get(), "a runtime's turn does not go inside another of its own");
        // A turn that ended idle left it parked.
        self.executor.here().unpark();
        Restore::set(&self.running)
    }

    fn enter<R>(&self, turn: impl FnOnce() -> R) -> R {
        let _entered = self.reactor.enter();
        self.executor.enter(turn)
    }
}

impl std::os::fd::AsFd for Runtime {
    /// The epoll descriptor: readable when a turn would find something.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.reactor.as_fd()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _entered = self.reactor.enter();
        loop {
            // The drops of either may give the other something to end.
            self.executor.enter(|| {
                self.executor.end_tasks();
                self.reactor.close();
            });
            if self.executor.close() {
                return;
            }
        }
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sources, timers) = self.source_and_timer_counts();
        f.debug_struct("Runtime")
            .field("tasks", &self.task_count())
            .field("sources", &sources)
            .field("timers", &timers)
            .finish()
    }
}

#[cold]
fn cannot_wait(error: &io::Error) -> ! {
    panic!("epoll_wait failed, which it does for bad arguments only: {error}");
}

/// Does `work` in no runtime's turn, as if on another thread.
#[cfg(any(test, feature = "sim"))]
pub(crate) fn outside<R>(work: impl FnOnce() -> R) -> R {
    let _left = reactor::leave();
    executor::outside(work)
}

/// Sets a flag, and resets it when dropped, also when a panic passes.
struct Restore<'a>(&'a Cell<bool>);

impl<'a> Restore<'a> {
    fn set(flag: &'a Cell<bool>) -> Restore<'a> {
        flag.set(true);
        Restore(flag)
    }
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Wakes the future of a `block_on`, which is no task.
struct MainWaker {
    woken: AtomicBool,
    home: Arc<Shared>,
}

impl MainWaker {
    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Whether it was woken, which is then over. The load alone is cheaper, and mostly enough.
    fn take(&self) -> bool {
        self.is_woken() && self.woken.swap(false, Ordering::AcqRel)
    }
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Woken from within, as by every event that the future waits for, it needs no notice:
        // `block_on` looks at the flag before it waits, and a runtime that is parked in a look
        // would wake itself through the kernel.
        if !self.woken.swap(true, Ordering::AcqRel) && !self.home.is_here() {
            self.home.inbox().notify();
        }
    }
}

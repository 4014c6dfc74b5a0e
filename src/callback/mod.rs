//! Callbacks: an event loop that calls functions when something happens.
//!
//! ```
//! use std::time::Duration;
//! use whirligig::callback;
//!
//! callback::run(|event_loop| {
//!     event_loop.set_timeout(Duration::from_millis(2), |_| println!("then"));
//!     event_loop.next_tick(|_| println!("first"));
//!     Ok(())
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! It is in the manner of libuv and of JavaScript's loop, and it stands on the same reactor and
//! wakers as all else here: [`EventLoop::run`] is a future, of which one poll is one turn of the
//! loop. So callbacks, tasks and whatever else is polled mix on one thread. A callback may spawn a
//! task, and a task that has the loop in an [`Rc`] may set a timer or close a handle.
//!
//! [`Rc`]: std::rc::Rc
//!
//! # A turn
//!
//! ```text
//!        .------------> posted     what other threads posted, in their order
//!        |              timers     that are due, by deadline, and then as they were set
//!        |              sources    that are readable or writable, in the order of the reports
//!        |              closing    what was closed, in that order: functions and sources
//!        |                 |       are dropped, closing callbacks run
//!        |                 v
//!        `------- anything left to do? else wait: for an event, a deadline or a post
//!                          |
//!                          `--> nothing is active: `run` is done
//! ```
//!
//! After each callback, before any other, those run that were given to [`EventLoop::next_tick`],
//! and those that they add. A turn runs no more than 1,000 of these: the rest begins the next turn,
//! so that ticks which add ticks without end keep neither the timers nor the sources waiting. What
//! becomes due or ready during a turn, or is closed by a closing callback, waits for the next.
//!
//! # Handles
//!
//! A timer and a source that is watched have a handle: a small value that can be copied into any
//! callback. Through it they can be changed and closed at any time, from any callback, also their
//! own.
//!
//! - **A closed handle's callback never runs again**, even if its event came in the same turn.
//!   What it held is dropped in the turn's last phase, when nothing of it runs any more.
//! - Closing twice, or closing a one-shot timer that fired, is harmless: it says that there was
//!   nothing to close. A handle is never taken for another's, nor for one of another loop.
//! - A callback that is replaced while it runs ends first; from then on the new one runs.
//!
//! # How long it runs
//!
//! Until nothing is active: no timer is set, no source has a callback, no [`Poster`] is left, and
//! nothing is to be run or closed. [`EventLoop::keep_alive`] takes a handle out of this count, as
//! `uv_unref` does. [`EventLoop::stop`] ends it after the callback that is running. All stays as it
//! is then, and `run` may be called again.
//!
//! # Errors and panics
//!
//! An error that the callback of a source returns, other than
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock), closes the handle and is what `run` returns;
//! others say [`EventLoop::fail`]. A panic passes out of `run` as well: to the join handle, if the
//! loop runs in a task. The handle of the callback that panicked is closed then. Either way nothing
//! else is lost, and `run` may be called again to go on.
//!
//! Dropping the loop drops all that it holds, without running any of it.

mod handle;
mod shared;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod turn;

pub use handle::{Handle, Timer, Watch};
pub use shared::{Closed, Poster};
pub use turn::Run;

use crate::contain::contain;
use crate::reactor::Direction;
use crate::time::{Duration, Instant};
use handle::next_loop;
use shared::Shared;
use source::Source;
use state::{Job, SourceCallback, State, TimerCallback};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Makes a loop and a runtime, lets `setup` give the loop something to do, and runs it until
/// nothing is active.
///
/// # Errors
/// If the runtime can't be made; those of `setup` and of [`EventLoop::run`].
///
/// # Panics
/// As [`Runtime::block_on`](crate::Runtime::block_on); if a callback panics.
pub fn run(setup: impl FnOnce(&EventLoop) -> io::Result<()>) -> io::Result<()> {
    crate::run(async move {
        let event_loop = EventLoop::new();
        setup(&event_loop)?;
        event_loop.run().await
    })?
}

/// An event loop; see the [module](self).
///
/// Every callback gets a reference to it. One that captures an [`Rc`](std::rc::Rc) of its loop
/// instead keeps it alive for as long as the loop keeps the callback: close its handle, or the two
/// never go.
pub struct EventLoop {
    number: u64,
    shared: Arc<Shared>,
    /// Never borrowed while foreign code runs.
    state: RefCell<State>,
}

impl EventLoop {
    /// Makes a loop with nothing to do.
    #[must_use]
    pub fn new() -> EventLoop {
        EventLoop { number: next_loop(), shared: Arc::default(), state: RefCell::default() }
    }

    /// Runs the loop until nothing is active, or until it is stopped.
    ///
    /// Each poll is one turn, so between turns other tasks have theirs.
    ///
    /// Cancel safety: nothing is lost. All stays as it is, and can be run again.
    ///
    /// # Errors
    /// If it runs already; what a callback returned, or gave to [`EventLoop::fail`]; those of
    /// `epoll_ctl(2)`.
    ///
    /// # Panics
    /// If a callback panics, or a drop of what was closed. If it is polled outside of a runtime's
    /// turn with a timer set.
    pub fn run(&self) -> Run<'_> {
        Run::new(self)
    }

    /// Ends the run that is under way, after the callback that is running. What it had yet to do
    /// stays for the next run, which this does not stop.
    pub fn stop(&self) {
        self.state.borrow_mut().stop(None);
        self.changed();
    }

    /// Ends the run that is under way, after the callback that is running, with an error. If there
    /// is one already, that stays.
    pub fn fail(&self, error: io::Error) {
        self.state.borrow_mut().stop(Some(error));
        self.changed();
    }

    /// Runs `callback` after the one that is running, before any other; outside of the callbacks,
    /// at the beginning of the next turn. They run in the order in which they were given.
    pub fn next_tick(&self, callback: impl FnOnce(&EventLoop) + 'static) {
        self.state.borrow_mut().push_tick(Box::new(callback));
        self.changed();
    }

    /// Runs `callback` once, as long as `after` from now at the earliest. The handle is closed when
    /// that begins.
    pub fn set_timeout(
        &self,
        after: Duration,
        callback: impl FnOnce(&EventLoop) + 'static,
    ) -> Timer {
        let deadline = Instant::now() + after;
        self.set_timer(deadline, None, TimerCallback::Once(Box::new(callback)))
    }

    /// Runs `callback` again and again, the first time as long as `period` from now.
    ///
    /// Its times lie on a fixed grid: one that comes late does not shift those after it, and those
    /// that were missed meanwhile are left out.
    ///
    /// # Panics
    /// If `period` is zero.
    pub fn set_interval(
        &self,
        period: Duration,
        callback: impl FnMut(&EventLoop, Timer) + 'static,
    ) -> Timer {
        assert!(!period.is_zero(), "an interval without a length would fire without end");
        let deadline = Instant::now() + period;
        self.set_timer(deadline, Some(period), TimerCallback::Many(Box::new(callback)))
    }

    fn set_timer(
        &self,
        deadline: Instant,
        period: Option<Duration>,
        callback: TimerCallback,
    ) -> Timer {
        let key = self.state.borrow_mut().insert_timer(deadline, period, callback);
        self.changed();
        Timer(Handle::new(self.number, key))
    }

    /// Makes a timer fire as long as `after` from now instead, and then as before; false if it is
    /// closed or has fired for the last time.
    pub fn reset(&self, timer: Timer, after: Duration) -> bool {
        let Some(key) = timer.0.key_in(self.number) else { return false };
        let reset = self.state.borrow_mut().reset_timer(key, Instant::now() + after);
        self.changed();
        reset
    }

    /// Puts `callback` in the place of a timer's; false if it is closed or has fired for the last
    /// time.
    pub fn replace(&self, timer: Timer, callback: impl FnMut(&EventLoop, Timer) + 'static) -> bool {
        let Some(key) = timer.0.key_in(self.number) else { return false };
        let callback = TimerCallback::Many(Box::new(callback));
        let old = self.state.borrow_mut().replace_timer_callback(key, callback);
        // Its drop is foreign code, so the borrow is over by now.
        old.is_ok()
    }

    /// Takes over `source` to watch it. It counts as active once it has a callback.
    ///
    /// What is watched is a duplicate of its descriptor, so that nothing can take that away; a
    /// [`Descriptor`](crate::sys::Descriptor) is watched itself. Set it to non-blocking where it
    /// can be.
    ///
    /// # Errors
    /// Out of descriptors. `Unsupported` under a kernel that is not Linux, except for one of its
    /// own descriptors.
    pub fn watch<F: AsFd + 'static>(&self, source: F) -> io::Result<Watch<F>> {
        let source = Source::of(source)?;
        let key = self.state.borrow_mut().insert_source(source);
        Ok(Watch::new(Handle::new(self.number, key)))
    }

    /// Runs `callback` whenever the source is readable: bytes, the end of the stream or an error
    /// are there to read. It replaces the one before.
    ///
    /// The callback runs turn after turn for as long as the source is readable, as in libuv
    /// (level-triggered). It need not read all, but should read something. When it returns
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), as `?` on a read that found nothing does, the
    /// loop knows that it read all, and is spared one system call to ask. Now and then a source
    /// is not readable after all, as when another callback read from it first.
    ///
    /// # Errors
    /// Outside of a runtime's turn, or of that under which it was first watched; `NotFound` if the
    /// handle is closed; those of `epoll_ctl(2)`, such as `PermissionDenied` for a file on a disk.
    pub fn on_readable<F: AsFd + 'static>(
        &self,
        watch: Watch<F>,
        callback: impl FnMut(&EventLoop, Watch<F>, &F) -> io::Result<()> + 'static,
    ) -> io::Result<()> {
        self.set_callback(watch, Direction::Read, callback)
    }

    /// Runs `callback` whenever the source is writable: a write would succeed in part, or give an
    /// error. It replaces the one before; else as [`EventLoop::on_readable`]. Most sources are
    /// writable most of the time: take it away with [`EventLoop::off_writable`] when there is
    /// nothing to write.
    ///
    /// # Errors
    /// As [`EventLoop::on_readable`].
    pub fn on_writable<F: AsFd + 'static>(
        &self,
        watch: Watch<F>,
        callback: impl FnMut(&EventLoop, Watch<F>, &F) -> io::Result<()> + 'static,
    ) -> io::Result<()> {
        self.set_callback(watch, Direction::Write, callback)
    }

    /// Takes the callback of [`EventLoop::on_readable`] away; false if there was none.
    pub fn off_readable<F>(&self, watch: Watch<F>) -> bool {
        self.take_callback(watch.handle, Direction::Read)
    }

    /// Takes the callback of [`EventLoop::on_writable`] away; false if there was none.
    pub fn off_writable<F>(&self, watch: Watch<F>) -> bool {
        self.take_callback(watch.handle, Direction::Write)
    }

    fn set_callback<F: AsFd + 'static>(
        &self,
        watch: Watch<F>,
        direction: Direction,
        mut callback: impl FnMut(&EventLoop, Watch<F>, &F) -> io::Result<()> + 'static,
    ) -> io::Result<()> {
        let closed = || io::Error::new(io::ErrorKind::NotFound, "the handle is closed");
        let key = watch.handle.key_in(self.number).ok_or_else(closed)?;
        let source = self.state.borrow().source(key).ok_or_else(closed)?;
        let lent = source.clone();
        let callback: SourceCallback = Box::new(move |event_loop| match lent.lend::<F>() {
            Some(source) => callback(event_loop, watch, source),
            None => Ok(()),
        });
        let (old, to_wait) = self.state.borrow_mut().set_source_callback(key, direction, callback);
        drop(old);
        if to_wait {
            // What is known of a source that was watched before may be old.
            let asked = source.watched().report_anew(direction);
            if let Err(error) = asked.and_then(|()| self.wait_for(key, direction, &source)) {
                self.take_callback(watch.handle, direction);
                return Err(error);
            }
        }
        self.changed();
        Ok(())
    }

    fn take_callback(&self, handle: Handle, direction: Direction) -> bool {
        let Some(key) = handle.key_in(self.number) else { return false };
        let (old, had) = self.state.borrow_mut().take_source_callback(key, direction);
        drop(old);
        self.changed();
        had
    }

    /// Whether `handle` keeps the loop running while it is active, which it does unless told
    /// otherwise (`uv_unref`, `uv_ref`). False if it is closed.
    pub fn keep_alive(&self, handle: impl Into<Handle>, keep: bool) -> bool {
        let Some(key) = handle.into().key_in(self.number) else { return false };
        let known = self.state.borrow_mut().keep_alive(key, keep);
        self.changed();
        known
    }

    /// Closes a handle: its callbacks never run again. In the last phase of the turn they are
    /// dropped, and so is the source. False if it is closed already.
    pub fn close(&self, handle: impl Into<Handle>) -> bool {
        self.close_with(handle.into(), None)
    }

    /// Closes a handle, and runs `callback` in the last phase of the turn, when all that it held is
    /// dropped. False, and `callback` is dropped, if it is closed already.
    pub fn close_then(
        &self,
        handle: impl Into<Handle>,
        callback: impl FnOnce(&EventLoop) + 'static,
    ) -> bool {
        self.close_with(
            handle.into(),
            Some(Box::new(|event_loop, source| {
                drop(source);
                callback(event_loop);
            })),
        )
    }

    /// Closes a handle, and gives the source back to `callback` in the last phase of the turn.
    /// False, and `callback` is dropped, if it is closed already.
    pub fn release<F: AsFd + 'static>(
        &self,
        watch: Watch<F>,
        callback: impl FnOnce(&EventLoop, F) + 'static,
    ) -> bool {
        self.close_with(
            watch.handle,
            Some(Box::new(|event_loop, source| {
                if let Some(source) = source.and_then(Source::into_inner::<F>) {
                    callback(event_loop, source);
                }
            })),
        )
    }

    fn close_with(&self, handle: Handle, then: Option<state::ClosingCallback>) -> bool {
        let Some(key) = handle.key_in(self.number) else { return false };
        let closed = self.state.borrow_mut().close(key, then);
        self.changed();
        // On an error the callback comes back, to be dropped here: it is foreign code.
        closed.is_ok()
    }

    /// A way to run callbacks on this loop from any thread. The loop runs on while it or a clone of
    /// it is there, unless [`Poster::unref`] says otherwise.
    #[must_use]
    pub fn poster(&self) -> Poster {
        Poster::new(&self.shared)
    }

    /// How many handles are not closed.
    #[must_use]
    pub fn handle_count(&self) -> usize {
        self.state.borrow().handle_count()
    }

    /// Outside of the loop's turn: has it take one, since what it waits for may have changed.
    fn changed(&self) {
        if !self.state.borrow().is_in_turn() {
            self.shared.wake();
        }
    }
}

impl Default for EventLoop {
    fn default() -> EventLoop {
        EventLoop::new()
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop").field("handles", &self.handle_count()).finish_non_exhaustive()
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        // One by one, so that a panic of one keeps no other from being dropped.
        let mut jobs: Vec<Job> = self.shared.close().into_iter().map(Job::Call).collect();
        jobs.extend(self.state.get_mut().drain());
        for job in jobs {
            contain(|| drop(job));
        }
    }
}

//! The turns of a loop: what runs when.

use super::EventLoop;
use super::handle::{Handle, Timer};
use super::shared::{Waited, Wakeup};
use super::source::Source;
use super::state::{AfterRun, Closing, Job, SourceCallback, TimerCallback};
use crate::event::Readiness;
use crate::reactor::Direction;
use crate::slab::Key;
use crate::time::{Instant, Sleep, sleep_until};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Ticks that one turn runs at most.
pub(super) const TICKS_MAX: u32 = 1000;

/// The future of [`EventLoop::run`].
#[must_use = "a loop does nothing unless it is run"]
pub struct Run<'a> {
    event_loop: &'a EventLoop,
    begun: bool,
    /// Until the first deadline of the loop's timers.
    sleep: Option<Sleep>,
}

impl<'a> Run<'a> {
    pub(super) fn new(event_loop: &'a EventLoop) -> Run<'a> {
        Run { event_loop, begun: false, sleep: None }
    }

    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.event_loop.state.borrow().next_deadline();
        if self.sleep.as_ref().map(Sleep::deadline) != deadline {
            self.sleep = deadline.map(sleep_until);
        }
        match &mut self.sleep {
            Some(sleep) => Pin::new(sleep).poll(cx),
            None => Poll::Pending,
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.begun) {
            self.event_loop.state.borrow_mut().end_run();
            self.event_loop.shared.forget_waker();
        }
        self.sleep = None;
    }
}

impl Future for Run<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let event_loop = this.event_loop;
        if !this.begun {
            if !event_loop.state.borrow_mut().begin_run() {
                return Poll::Ready(Err(io::Error::other("the event loop runs already")));
            }
            this.begun = true;
        }
        event_loop.turn();
        let state = &event_loop.state;
        if state.borrow().is_stopping() {
            this.end();
            let failure = state.borrow_mut().take_failure();
            return Poll::Ready(failure.map_or(Ok(()), Err));
        }
        let has_work = state.borrow().has_work();
        if has_work || this.poll_sleep(cx).is_ready() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let active = state.borrow().is_active();
        match event_loop.shared.wait(cx.waker().clone(), active) {
            Waited::Waits => Poll::Pending,
            Waited::Arrived(waker) => {
                waker.wake();
                Poll::Pending
            }
            Waited::Over => {
                this.end();
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends a turn when dropped, also when a panic passes.
struct InTurn<'a>(&'a EventLoop);

impl Drop for InTurn<'_> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().end_turn();
    }
}

/// Closes a handle when dropped: its callback panicked, unless it is disarmed before.
struct ClosedByPanic<'a>(&'a EventLoop, Key);

impl ClosedByPanic<'_> {
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for ClosedByPanic<'_> {
    fn drop(&mut self) {
        // It may be closed already; there is no callback that could come back.
        let _ = self.0.state.borrow_mut().close(self.1, None);
    }
}

impl EventLoop {
    /// Runs what there is to do, each phase once.
    fn turn(&self) {
        let now = Instant::now();
        let arrived = self.shared.take();
        self.state.borrow_mut().begin_turn(arrived, now);
        let _in_turn = InTurn(self);
        self.run_ticks();
        while !self.state.borrow().is_stopping() {
            let job = self.state.borrow_mut().next_job(now);
            let Some(job) = job else { break };
            self.run_job(job);
            self.run_ticks();
        }
    }

    fn run_ticks(&self) {
        while !self.state.borrow().is_stopping() {
            let tick = self.state.borrow_mut().next_tick();
            let Some(tick) = tick else { break };
            self.run_job(tick);
        }
    }

    fn run_job(&self, job: Job) {
        match job {
            Job::Tick(callback) => callback(self),
            Job::Call(callback) => callback(self),
            Job::Timer { key, callback } => self.run_timer(key, callback),
            Job::Source { key, direction, callback } => {
                if let Err(error) = self.run_source(key, direction, callback) {
                    // Closed already, if the callback did that itself.
                    let _ = self.state.borrow_mut().close(key, None);
                    self.state.borrow_mut().stop(Some(error));
                }
            }
            Job::Closing(closing) => self.run_closing(closing),
        }
    }

    fn run_timer(&self, key: Key, callback: TimerCallback) {
        match callback {
            TimerCallback::Once(callback) => callback(self),
            TimerCallback::Many(mut callback) => {
                let guard = ClosedByPanic(self, key);
                callback(self, Timer(Handle::new(self.number, key)));
                guard.disarm();
                let back = TimerCallback::Many(callback);
                let unwanted = self.state.borrow_mut().timer_ran(key, back);
                drop(unwanted);
            }
        }
    }

    fn run_source(
        &self,
        key: Key,
        direction: Direction,
        mut callback: SourceCallback,
    ) -> io::Result<()> {
        let guard = ClosedByPanic(self, key);
        let result = callback(self);
        guard.disarm();
        let (after, unwanted) = self.state.borrow_mut().source_ran(key, direction, callback);
        drop(unwanted);
        let would_block = match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            result => result.map(|()| false)?,
        };
        let AfterRun::Wait(source) = after else { return Ok(()) };
        match would_block {
            true => source.watched().clear_readiness(direction),
            // It may be ready still, or not: only the kernel knows.
            false => source.watched().report_anew(direction)?,
        }
        self.wait_for(key, direction, &source)
    }

    /// Leaves a waker with the reactor, or notes that the source is ready.
    pub(super) fn wait_for(
        &self,
        key: Key,
        direction: Direction,
        source: &Source,
    ) -> io::Result<()> {
        let make = || {
            let shared = Arc::clone(&self.shared);
            Waker::from(Arc::new(Wakeup { shared, key, direction }))
        };
        // None: a drop of the old callback closed the handle.
        let waker = self.state.borrow_mut().side_waker(key, direction, make);
        let Some(waker) = waker else { return Ok(()) };
        let wanted = match direction {
            Direction::Read => Readiness::READABLE,
            Direction::Write => Readiness::WRITABLE,
        };
        let cx = Context::from_waker(&waker);
        if let Poll::Ready(result) = source.watched().poll_readiness(&cx, direction, wanted) {
            result?;
            self.state.borrow_mut().side_is_ready(key, direction);
        }
        Ok(())
    }

    fn run_closing(&self, closing: Closing) {
        let (source, then) = closing.into_parts();
        match then {
            Some(callback) => callback(self, source),
            None => drop(source),
        }
    }
}

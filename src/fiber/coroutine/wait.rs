//! Waiting in a fiber: polls with its context, and the suspensions in between.
#![expect(unsafe_code, reason = "uses the context that the fiber's poll has lent")]

use super::{Control, no_way_out};
use crate::innermost;
use std::ptr;
use std::task::{Context, Poll, Waker};
use std::thread;

/// Polls within the running fiber until that is ready, each time with the context that the fiber
/// was resumed with last, and suspends the fiber in between. Unwinds if the fiber is dropped.
///
/// # Errors
/// Where no fiber can wait.
#[inline(always)]
pub(in crate::fiber) fn wait_in_fiber<P>(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<P>,
) -> Result<P, Misplaced> {
    // SAFETY: null, or a coroutine that runs: it has its control on a stack that stands as long as
    // it runs, and this frame is on top of it.
    let mut fiber = match unsafe { innermost::get().cast::<Control>().as_ref() } {
        Some(fiber) if fiber.is_fiber => fiber,
        innermost => return once(poll, |poll| wait_on_top(innermost, poll)),
    };
    let mut context = fiber.context.replace(ptr::null_mut());
    loop {
        if context.is_null() {
            return once(poll, |poll| fiber.wait_without_context(poll));
        }
        if let Poll::Ready(output) = fiber.lend(context, &mut poll) {
            return Ok(output);
        }
        if thread::panicking() {
            no_way_out();
        }
        (fiber, context) = fiber.switch_out();
    }
}

/// Has one of the rarer ways of waiting poll: these are compiled once, not for each future anew.
#[cold]
fn once<P>(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<P>,
    wait: impl FnOnce(&mut PollOnce<'_>) -> Result<(), Misplaced>,
) -> Result<P, Misplaced> {
    let mut output = None;
    let waited = wait(&mut |cx| poll(cx).map(|ready| output = Some(ready)));
    waited.map(|()| output.expect("a wait ends when the poll is ready"))
}

/// Polls something, and keeps its output when it is ready.
type PollOnce<'p> = dyn FnMut(&mut Context<'_>) -> Poll<()> + 'p;

/// The same on the stack of a generator that runs on top of a fiber: they are suspended together.
#[cold]
fn wait_on_top(innermost: Option<&Control>, poll: &mut PollOnce<'_>) -> Result<(), Misplaced> {
    // It stays the innermost fiber for as long as this frame stands: generators on top of it are
    // suspended with it, or can't be.
    let (innermost, fiber) = match innermost.map(|innermost| (innermost, innermost.fiber())) {
        Some((innermost, Some(fiber))) => (innermost, fiber),
        _ => return Err(Misplaced::OutsideOfFiber),
    };
    let mut context = fiber.context.replace(ptr::null_mut());
    loop {
        if context.is_null() {
            return fiber.wait_without_context(poll);
        }
        let polls = PollsOn { fiber, before: fiber.polled_on.replace(innermost) };
        let polled = fiber.lend(context, &mut *poll);
        drop(polls);
        if polled.is_ready() {
            return Ok(());
        }
        if thread::panicking() {
            no_way_out();
        }
        fiber.innermost.set(innermost);
        (_, context) = fiber.switch_out();
        fiber.innermost.set(fiber);
    }
}

impl Control {
    /// Polls with the fiber's context, which was taken out for it.
    #[inline(always)]
    fn lend<P>(
        &self,
        context: *mut Context<'static>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<P>,
    ) -> Poll<P> {
        let lent = Lent { fiber: self, context };
        // SAFETY: `Coroutine::poll` lent it with this resume and is still below us: the fiber
        // can't suspend before the poll is over, as that takes another call of this, which finds
        // null, and a generator on top of it refuses to. For the same reason nobody else uses it
        // meanwhile.
        let polled = poll(unsafe { &mut *context });
        if polled.is_pending() {
            // The next resume brings one of its own, with the switch.
            std::mem::forget(lent);
        }
        polled
    }

    /// What is left to a fiber that was dropped: within destructors, what is ready at once.
    #[cold]
    fn wait_without_context(&self, poll: &mut PollOnce<'_>) -> Result<(), Misplaced> {
        if !self.cancelled.get() {
            return Err(Misplaced::InsidePoll);
        }
        self.go_on_unless_cancelled();
        match poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(()) => Ok(()),
            Poll::Pending => no_way_out(),
        }
    }
}

/// Why no fiber can wait.
#[derive(Clone, Copy, Debug)]
pub(in crate::fiber) enum Misplaced {
    OutsideOfFiber,
    InsidePoll,
}

/// A fiber's context, lent to a poll; put back when that is over, also when a panic passes.
struct Lent<'c> {
    fiber: &'c Control,
    context: *mut Context<'static>,
}

impl Drop for Lent<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.fiber.context.set(self.context);
    }
}

/// That a future is being polled on a generator's stack; over also when a panic passes.
struct PollsOn<'c> {
    fiber: &'c Control,
    before: *const Control,
}

impl Drop for PollsOn<'_> {
    fn drop(&mut self) {
        self.fiber.polled_on.set(self.before);
    }
}

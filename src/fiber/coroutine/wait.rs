//! Waiting in a fiber: polls with its context, and the suspensions in between.
#![expect(unsafe_code, reason = "uses the context that the fiber's poll has lent")]

use super::{CURRENT, Control, no_way_out};
use crate::fiber::switch::{ControlWords, Side};
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
    let innermost = unsafe { CURRENT.get().as_ref() };
    // It stays the innermost fiber for as long as this frame stands: generators on top of it are
    // suspended with it, or can't be.
    let (innermost, fiber) = match innermost.map(|innermost| (innermost, innermost.fiber())) {
        Some((innermost, Some(fiber))) => (innermost, fiber),
        _ => return Err(Misplaced::OutsideOfFiber),
    };
    loop {
        let context = fiber.context.replace(ptr::null_mut());
        if context.is_null() {
            return fiber.wait_without_context(poll);
        }
        fiber.polled_on.set(innermost);
        let lent = Lent { fiber, context };
        // SAFETY: `Coroutine::poll` lent it with this resume and is still below us: the fiber
        // can't suspend before the poll is over, as that takes another call of this, which finds
        // null, and a generator on top of it refuses to. For the same reason nobody else uses it
        // meanwhile.
        let polled = poll(unsafe { &mut *context });
        if let Poll::Ready(output) = polled {
            return Ok(output);
        }
        // The next resume brings one of its own.
        std::mem::forget(lent);
        if thread::panicking() {
            no_way_out();
        }
        // SAFETY: the link stands, and this frame is on top of it.
        unsafe { ControlWords::save(fiber.link.get(), Side::Coroutine) };
        fiber.switch_out(innermost);
        // SAFETY: as above.
        unsafe { ControlWords::load(fiber.link.get(), Side::Coroutine) };
    }
}

impl Control {
    /// What is left to a fiber that was dropped: within destructors, what is ready at once.
    #[cold]
    fn wait_without_context<P>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<P>,
    ) -> Result<P, Misplaced> {
        if !self.cancelled.get() {
            return Err(Misplaced::InsidePoll);
        }
        self.go_on_unless_cancelled();
        match poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Ok(output),
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

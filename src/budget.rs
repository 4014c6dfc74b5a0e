//! The allowance of one poll: how much may succeed before a task has to give way.
//!
//! A future whose every call succeeds at once never returns `Pending` by itself, and would keep the
//! thread. Operations that can go on so take one unit here first.

use std::cell::Cell;
use std::task::{Context, Poll};

/// Operations that may succeed in one poll.
const OPERATIONS_MAX: i32 = 128;

/// Outside of a runtime's turn nobody renews the allowance, so there is no bound: what may be used
/// on other runtimes would wake itself for ever once it was used up.
const UNBOUNDED: i32 = i32::MIN / 2;

thread_local! {
    /// What is left of the running poll's allowance.
    static OPERATIONS: Cell<i32> = const { Cell::new(UNBOUNDED) };
}

/// Gives the poll to come its whole allowance.
#[inline]
pub(crate) fn renew() {
    OPERATIONS.set(OPERATIONS_MAX);
}

/// Ends the bound, when the thread leaves its last runtime's turn.
pub(crate) fn lift() {
    OPERATIONS.set(UNBOUNDED);
}

/// Takes one operation out of the running poll's allowance. When it is used up this returns
/// `Pending`, with the task woken already.
#[inline]
pub(crate) fn poll_proceed(cx: &Context<'_>) -> Poll<()> {
    if take_one() { Poll::Ready(()) } else { give_way(cx) }
}

/// Takes one operation out of the running poll's allowance. When it is used up this returns false,
/// and the caller has to [`give_way`].
#[inline]
pub(crate) fn take_one() -> bool {
    // Taken before it is known whether there is one: so it is two instructions.
    let left = OPERATIONS.get() - 1;
    OPERATIONS.set(left);
    left >= 0 || put_back()
}

/// Puts back what was not there to be taken; whether nobody counts.
#[cold]
#[inline(never)]
fn put_back() -> bool {
    let is_unbounded = OPERATIONS.get() < UNBOUNDED;
    OPERATIONS.set(if is_unbounded { UNBOUNDED } else { 0 });
    is_unbounded
}

/// Wakes the task, for it to go on after others.
#[cold]
pub(crate) fn give_way<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_poll_may_do_so_much_and_then_gives_way() {
        renew();
        let cx = Context::from_waker(Waker::noop());
        for _ in 0..OPERATIONS_MAX {
            assert!(poll_proceed(&cx).is_ready());
        }
        assert!(poll_proceed(&cx).is_pending());
        renew();
        assert!(poll_proceed(&cx).is_ready());
    }

    #[test]
    fn outside_of_a_runtime_nothing_is_bounded() {
        let cx = Context::from_waker(Waker::noop());
        let all_proceed = || (0..=OPERATIONS_MAX).all(|_| poll_proceed(&cx).is_ready());
        assert!(all_proceed());
        crate::run(async {}).unwrap();
        assert!(all_proceed());
    }
}

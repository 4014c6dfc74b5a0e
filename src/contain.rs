//! Running code of somebody else's without letting its panics out.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs foreign code (a waker, a drop) whose panic must not take the loop down. The panic hook has
/// told of it by then.
#[inline]
pub(crate) fn contain(code: impl FnOnce()) {
    // Whatever the code left half done is its own: nothing of ours is lent to it.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(code)) {
        drop_payload(payload);
    }
}

/// Drops a panic's payload, which may itself panic when dropped.
#[cold]
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Its payload might do the same without end: let that one leak.
        std::mem::forget(again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_panic_nor_that_of_its_payload_gets_out() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("the payload panics when dropped");
            }
        }
        contain(|| std::panic::panic_any(Bomb));
    }
}

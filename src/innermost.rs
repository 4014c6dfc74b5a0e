//! Which coroutine runs innermost on this thread, and where none may be left.
//!
//! What is the thread's for as long as a call lasts, such as whose turn it is, is put back when the
//! call ends, and relies on calls to end in the order in which they began, backwards. A coroutine
//! that were suspended within such a call would break that order: others would go on with what is
//! not theirs, and what it puts back in the end might be gone by then. So such a call hides the
//! coroutine in which it is made: until it is over that one can't be suspended.

use std::cell::Cell;
use std::ptr;

thread_local! {
    /// The innermost coroutine's address; null if none runs, or if it is hidden.
    static INNERMOST: Cell<*const ()> = const { Cell::new(ptr::null()) };
}

/// The one that was set last: null if that is hidden.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(crate) fn get() -> *const () {
    INNERMOST.get()
}

/// Notes who runs from now on.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(crate) fn set(coroutine: *const ()) {
    INNERMOST.set(coroutine);
}

/// Hides it until this is dropped. Those that are resumed meanwhile are not hidden.
pub(crate) struct Hidden(*const ());

#[inline]
pub(crate) fn hide() -> Hidden {
    Hidden(INNERMOST.replace(ptr::null()))
}

impl Drop for Hidden {
    #[inline]
    fn drop(&mut self) {
        INNERMOST.set(self.0);
    }
}

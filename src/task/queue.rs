//! The run queue.
#![expect(unsafe_code, reason = "links cells that their home keeps live")]

use super::header::Header;
use std::cell::Cell;
use std::ptr::NonNull;

/// A link of the run queue.
pub(super) type Next = Cell<Option<NonNull<Header>>>;

/// The run queue: first in, first out.
///
/// ```text
///   head --> cell.next --> cell.next --> cell.next --> (none)
///                                             ^
///   tail -------------------------------------'
/// ```
pub(super) struct Queue {
    head: Next,
    /// The last cell; what it says is of no meaning while the queue is empty.
    tail: Cell<NonNull<Header>>,
}

impl Queue {
    pub(super) const fn new() -> Queue {
        Queue { head: Cell::new(None), tail: Cell::new(NonNull::dangling()) }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    /// The cell that was pushed last.
    pub(super) fn last(&self) -> Option<NonNull<Header>> {
        if self.is_empty() { None } else { Some(self.tail.get()) }
    }

    /// # Safety
    /// A live cell, which stays live until it is popped, and is in no queue.
    #[inline]
    pub(super) unsafe fn push(&self, header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        unsafe { header.as_ref() }.next.set(None);
        let last = self.tail.replace(header);
        if self.is_empty() {
            self.head.set(Some(header));
        } else {
            // SAFETY: while the queue is not empty its last cell is live.
            unsafe { last.as_ref() }.next.set(Some(header));
        }
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<NonNull<Header>> {
        let header = self.head.get()?;
        // SAFETY: what is in the queue is live.
        self.head.set(unsafe { header.as_ref() }.next.get());
        Some(header)
    }
}

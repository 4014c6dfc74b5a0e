//! Task cells in rows: the run queue, and all tasks that are not over.
#![expect(unsafe_code, reason = "links cells that their home keeps live")]

use super::header::Header;
use std::cell::Cell;
use std::mem::offset_of;
use std::ptr::{self, NonNull};

/// A link of the run queue, or of a list of free blocks.
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

/// All tasks that are not over, in a ring that this closes: so neither insertion nor removal has a
/// special case at the ends. It stays where it is once it is [closed](Ring::close).
pub(super) struct Ring(Links);

/// What links a cell to its neighbours in a [`Ring`]. Of no meaning while it is in none.
pub(super) struct Links {
    previous: Cell<*const Links>,
    next: Cell<*const Links>,
}

impl Links {
    pub(super) const fn new() -> Links {
        Links { previous: Cell::new(ptr::null()), next: Cell::new(ptr::null()) }
    }
}

impl Ring {
    pub(super) const fn new() -> Ring {
        Ring(Links::new())
    }

    /// Makes it an empty ring, at the place where it stays.
    pub(super) fn close(&self) {
        self.0.previous.set(&raw const self.0);
        self.0.next.set(&raw const self.0);
    }

    /// # Safety
    /// The ring is closed; a live cell, which stays live until it is removed, and is in no ring.
    #[inline]
    pub(super) unsafe fn insert(&self, header: NonNull<Header>) {
        // SAFETY: the cell is live; no reference is formed, only the field's address.
        let links = unsafe { &raw const (*header.as_ptr()).links };
        let last = self.0.previous.replace(links);
        // SAFETY: as above.
        let this = unsafe { &*links };
        this.previous.set(last);
        this.next.set(&raw const self.0);
        // SAFETY: the ring is closed: what it names is itself or a live cell's.
        unsafe { &*last }.next.set(links);
    }

    /// # Safety
    /// The cell is in a ring.
    #[inline]
    pub(super) unsafe fn remove(header: NonNull<Header>) {
        // SAFETY: the caller's promise: it is live.
        let links = unsafe { &header.as_ref().links };
        let (previous, next) = (links.previous.get(), links.next.get());
        // SAFETY: the neighbours in a ring are live, or the ring itself.
        unsafe { &*previous }.next.set(next);
        // SAFETY: as above.
        unsafe { &*next }.previous.set(previous);
    }

    /// The cell that was inserted last.
    pub(super) fn last(&self) -> Option<NonNull<Header>> {
        let links = self.0.previous.get();
        if ptr::eq(links, &raw const self.0) {
            return None;
        }
        // SAFETY: every link but the ring's own is part of a header, and was made of a pointer to
        // the whole cell.
        let header = unsafe { links.byte_sub(offset_of!(Header, links)) };
        NonNull::new(header.cast_mut().cast())
    }
}

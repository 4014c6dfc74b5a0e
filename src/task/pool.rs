//! Where the cells of a home's tasks come from, and where they go.
//!
//! Cells of one size share chunks, and are used again by tasks of their size. The vacant ones of
//! the current chunk are taken out all at once, and those that come back meanwhile wait there for
//! the next time. Large ones, and those of tasks that are spawned elsewhere, are each in a chunk of
//! its own.
//!
//! ```text
//!                              put, of the last cell in use
//!        .------------------------------------------------------> freed
//!        |                      |                    |
//!    CURRENT ---------------> FULL ---------------> ROOM
//!      of its size:  take     ^        put           |
//!      cells come from here   `----- (CURRENT) <-----'
//!                                                 take, when the current one is full
//! ```
//!
//! While there is a home, a chunk is touched there only. Elsewhere a cell whose last reference goes
//! is put into a list under a lock, from where home takes it when it is short of cells. Who finds
//! that list closed has no home any more: from then on that lock is the right to touch the chunks
//! of that home that are left, and the last cell takes its chunk along.
#![expect(unsafe_code, reason = "owns the chunks of a home")]

use super::chunk::{CLASSES, Chunk, Kind, NONE, NOWHERE, OnPut, Row, cell_at};
use super::header::Header;
use super::home::{AtHome, Shared};
use crate::lock::lock;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

/// The chunks of a home, on its thread.
pub(super) struct Pool {
    classes: [Class; CLASSES],
    /// All chunks. One that goes leaves its place to the last.
    chunks: RefCell<Vec<Chunk>>,
    /// Chunks of all classes that have no cell in use.
    spare: Cell<usize>,
    /// Home ends its tasks: no chunk goes any more.
    ending: Cell<bool>,
}

/// Chunks without a cell in use that are kept, beside one of each size that is current.
const SPARE_MAX: usize = 4;

/// The chunks of one size of cells.
struct Class {
    /// The next vacant cell to be used, which names others; or [`NONE`].
    vacant: Cell<*mut Header>,
    /// Where those are taken out of, as its user. Not among the others.
    current: Cell<Option<Chunk>>,
    /// Others that have room.
    others: Row,
}

/// Where cells are put elsewhere than at home.
pub(super) struct Returned(Mutex<List>);

struct List {
    cells: Vec<Vacant>,
    /// There is no home any more.
    closed: bool,
}

/// A cell to which nobody refers.
struct Vacant(NonNull<Header>);

// SAFETY: all that is left of it is memory.
unsafe impl Send for Vacant {}

/// How far somebody went through all chunks, from the last to the first.
pub(super) struct Walk {
    /// The chunks before this were not looked at.
    position: usize,
    /// Nor were so many cells of the one that is there.
    cells: u32,
}

impl Pool {
    pub(super) const fn new() -> Pool {
        let classes = [const { Class::new() }; CLASSES];
        Pool {
            classes,
            chunks: RefCell::new(Vec::new()),
            spare: Cell::new(0),
            ending: Cell::new(false),
        }
    }

    /// A vacant cell, if there is one at hand.
    #[inline]
    pub(super) fn take(&self, kind: &Kind) -> Option<NonNull<Header>> {
        self.classes.get(kind.class)?.take()
    }

    /// A vacant cell, wherever it has to come from.
    #[cold]
    #[inline(never)]
    pub(super) fn make(&self, kind: &Kind, home: AtHome<'_>) -> NonNull<Header> {
        let Some(class) = self.classes.get(kind.class) else {
            let header = single(kind, home.shared());
            // SAFETY: it was made just now.
            self.add(unsafe { Chunk::of(header) });
            return header;
        };
        loop {
            let found =
                class.current.get().and_then(|chunk| chunk.take_all().or_else(|| chunk.carve()));
            if let Some(first) = found {
                class.vacant.set(first.as_ptr());
            }
            if let Some(header) = class.take() {
                return header;
            }
            self.find_room(class, kind, home);
        }
    }

    /// Sees to it that the current chunk has room: for a cell that was put in elsewhere, or it is
    /// another.
    #[cold]
    #[inline(never)]
    fn find_room(&self, class: &Class, kind: &Kind, home: AtHome<'_>) {
        self.take_back(home.returned());
        if !class.current.get().is_some_and(Chunk::has_vacant) {
            self.next_chunk(class, kind, home);
        }
    }

    /// Goes over to another chunk: the current one, if there is one, is full.
    fn next_chunk(&self, class: &Class, kind: &Kind, home: AtHome<'_>) {
        if let Some(full) = class.current.take() {
            full.end_full();
        }
        let chunk = match class.others.last() {
            Some(chunk) => {
                class.others.remove(chunk);
                self.spare.set(self.spare.get() - usize::from(chunk.is_empty()));
                chunk
            }
            None => {
                let chunk = Chunk::allocate(kind, home.shared());
                self.add(chunk);
                chunk
            }
        };
        chunk.begin();
        class.current.set(Some(chunk));
    }

    /// Notes that a chunk, which may come from elsewhere, is this home's.
    pub(super) fn add(&self, chunk: Chunk) {
        let mut chunks = self.chunks.borrow_mut();
        chunk.index.set(chunks.len());
        chunks.push(chunk);
    }

    /// Puts a cell back.
    ///
    /// # Safety
    /// A cell of this home's, to which nobody refers.
    #[inline]
    pub(super) unsafe fn put(&self, header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        let chunk = unsafe { Chunk::of(header) };
        // SAFETY: as above; it has a home.
        if unsafe { chunk.put(header) } {
            // SAFETY: `put` says so.
            unsafe { self.put_seldom(chunk, header) };
        }
    }

    /// # Safety
    /// The cell was put into this chunk last, which says that there is more to do.
    #[cold]
    unsafe fn put_seldom(&self, chunk: Chunk, header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        let OnPut { was_full, is_empty } = unsafe { chunk.settle(header) };
        let class = self.classes.get(chunk.class());
        if let Some(class) = class.filter(|_| was_full) {
            class.others.insert(chunk);
        }
        let index = chunk.index.get();
        if !is_empty {
            return;
        }
        let stays = self.ending.get() && index != NOWHERE;
        match class {
            Some(_) if stays || self.spare.get() < SPARE_MAX => {
                return self.spare.set(self.spare.get() + 1);
            }
            // It has room, and is not current.
            Some(class) => class.others.remove(chunk),
            None if stays => return,
            None => {}
        }
        if index != NOWHERE {
            self.remove(index);
        }
        // SAFETY: nobody uses it, and nothing names it any more.
        unsafe { chunk.free() };
    }

    /// Forgets a chunk.
    fn remove(&self, index: usize) {
        let mut chunks = self.chunks.borrow_mut();
        chunks.swap_remove(index);
        if let Some(moved) = chunks.get(index) {
            moved.index.set(index);
        }
    }

    /// Puts back what was put elsewhere.
    pub(super) fn take_back(&self, returned: &Returned) {
        let cells = std::mem::take(&mut lock(&returned.0).cells);
        for Vacant(header) in cells {
            // SAFETY: a cell, of which nobody else knows.
            unsafe { header.as_ref() }.reset_counts();
            // SAFETY: such a cell is of this home's, whose list this is.
            unsafe { self.put(header) };
        }
    }

    /// Frees all chunks of which no cell is in use, and leaves the others to whoever uses them.
    pub(super) fn close(&self, returned: &Returned) {
        let mut list = lock(&returned.0);
        for Vacant(header) in list.cells.drain(..) {
            // SAFETY: such a cell is of this home's, whose list this is.
            unsafe { self.put(header) };
        }
        for class in &self.classes {
            if let Some(current) = class.current.take() {
                current.leave(class.vacant.replace(NONE));
                current.end();
            }
        }
        for chunk in self.chunks.take() {
            chunk.orphan();
            if chunk.is_empty() {
                // SAFETY: nobody uses it, and this is the last time that it is looked at.
                unsafe { chunk.free() };
            }
        }
        list.closed = true;
    }

    /// The next waiting task, if there is one: none is left out that waits all the time. No more
    /// chunks go from now on, so that each has its place.
    pub(super) fn next_waiting(&self, walk: &mut Walk) -> Option<NonNull<Header>> {
        self.ending.set(true);
        let chunks = self.chunks.borrow();
        loop {
            let position = walk.position.min(chunks.len()).checked_sub(1)?;
            if let Some((header, before)) = chunks[position].last_waiting(walk.cells) {
                *walk = Walk { position: position + 1, cells: before };
                return Some(header);
            }
            *walk = Walk { position, cells: u32::MAX };
        }
    }
}

impl Class {
    const fn new() -> Class {
        Class { vacant: Cell::new(NONE), current: Cell::new(None), others: Row::new() }
    }

    /// A vacant cell, if there is one at hand.
    #[inline]
    fn take(&self) -> Option<NonNull<Header>> {
        let header = cell_at(self.vacant.get())?;
        // SAFETY: a vacant cell names the next.
        self.vacant.set(unsafe { Header::vacant_link(header) });
        Some(header)
    }
}

impl Walk {
    pub(super) const fn new() -> Walk {
        Walk { position: usize::MAX, cells: u32::MAX }
    }
}

impl Returned {
    pub(super) const fn new() -> Returned {
        Returned(Mutex::new(List { cells: Vec::new(), closed: false }))
    }

    /// Puts a cell back elsewhere than at home; its chunk, if there is no home any more and that
    /// was the last cell in use: the caller frees it.
    ///
    /// # Safety
    /// A cell of this list's home, to which nobody refers.
    pub(super) unsafe fn put(&self, header: NonNull<Header>) -> Option<Chunk> {
        let mut list = lock(&self.0);
        if !list.closed {
            list.cells.push(Vacant(header));
            return None;
        }
        // SAFETY: the caller's promise.
        let chunk = unsafe { Chunk::of(header) };
        // Who has the lock, and found the list closed, may change it.
        chunk.release().then_some(chunk)
    }
}

/// A vacant cell in a chunk of its own.
pub(super) fn single(kind: &Kind, home: Arc<Shared>) -> NonNull<Header> {
    let chunk = Chunk::allocate(kind, home);
    chunk.begin();
    let header = chunk.carve().expect("a new chunk has room");
    chunk.end_full();
    header
}

//! Chunks: the memory that task cells are carved out of.
//!
//! ```text
//!          .------ chunk_offset ------.
//!          v                          |
//!     +---------+--------+--------+--------+--------+-------------------+
//!     | Head    | cell 0 | cell 1 | cell 2 | cell 3 | not carved yet    |
//!     +---------+--------+--------+--------+--------+-------------------+
//!       | free               ^        task     |
//!       `--------------------|-----------------'   each vacant cell names the next
//!                      vacant cells
//! ```
//!
//! All cells of a chunk are of one size. It belongs to one home, and is that home's alone while
//! there is one; [`Pool`](super::pool::Pool) says who may touch it then.
#![expect(unsafe_code, reason = "allocates and frees the memory that cells are written to")]

use super::header::Header;
use super::home::Shared;
use super::state::Place;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Cells differ in size by multiples of this.
const UNIT: usize = 8;
/// What chunks are aligned to, and cells at most.
const ALIGN: usize = 16;
/// A chunk's size. Together with what the C library puts before it, it is no more than 64 KiB.
const BYTES: usize = (64 << 10) - ALIGN;
/// How many cells are made of a chunk's memory when there is none left.
const CARVED_AT_ONCE: u32 = 16;
/// Cells larger than this are in chunks of their own.
const SHARED_SIZE_MAX: usize = 1024;
/// Sizes of cells that share chunks.
pub(super) const CLASSES: usize = SHARED_SIZE_MAX / UNIT + 1;

/// What kind of memory a type of cell is in.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// The whole chunk's.
    chunk: Layout,
    /// Where in the chunk its first cell is.
    first: u32,
    /// From one cell to the next.
    stride: u32,
    cells_max: u32,
    /// Which size that is; `CLASSES` if it has chunks of its own.
    pub(super) class: usize,
}

impl Kind {
    /// For cells with such a stage.
    ///
    /// # Panics
    /// At compile time, for types that no memory can hold.
    pub(super) const fn of(stage: Layout) -> Kind {
        // Stages lie a stride apart: if one is aligned they all are.
        let unit = if stage.align() > UNIT { stage.align() } else { UNIT };
        let stride = (HEADER + stage_size(stage)).next_multiple_of(unit);
        if stage.align() > ALIGN || stride > SHARED_SIZE_MAX {
            return Kind::single(stage);
        }
        let first = first(ALIGN);
        let Ok(chunk) = Layout::from_size_align(BYTES, ALIGN) else { panic!("a chunk is small") };
        let cells_max = (BYTES - first) / stride;
        Kind {
            chunk,
            first: first as u32,
            stride: stride as u32,
            cells_max: cells_max as u32,
            class: stride / UNIT,
        }
    }

    /// The same, in a chunk of its own.
    pub(super) const fn single(stage: Layout) -> Kind {
        let align = if stage.align() > ALIGN { stage.align() } else { ALIGN };
        let first = first(align);
        assert!(first <= u32::MAX as usize, "an alignment that no memory has");
        let Some(size) = (first + HEADER).checked_add(stage_size(stage)) else {
            panic!("a future that no memory can hold")
        };
        match Layout::from_size_align(size, align) {
            Ok(chunk) => {
                Kind { chunk, first: first as u32, stride: 0, cells_max: 1, class: CLASSES }
            }
            Err(_) => panic!("a future that no memory can hold"),
        }
    }
}

const HEADER: usize = size_of::<Header>();

/// Where a chunk's first cell is, so that the stage behind its header is aligned so.
const fn first(align: usize) -> usize {
    (size_of::<Head>() + HEADER).next_multiple_of(align) - HEADER
}

/// A vacant cell names another where the stage is.
const fn stage_size(stage: Layout) -> usize {
    let link = size_of::<*mut Header>();
    if stage.size() > link { stage.size() } else { link }
}

// Headers are aligned where a stage behind them is.
const _: () = assert!(HEADER % UNIT == 0 && align_of::<Header>() <= UNIT && UNIT <= ALIGN);
const _: () = assert!(align_of::<Head>() <= ALIGN);

/// A chunk, as long as it is not freed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk(NonNull<Head>);

/// What stands at the start of a chunk.
#[repr(C)]
pub(super) struct Head {
    /// Its neighbours among those of its size that have room: see [`Row`].
    previous: Cell<Option<Chunk>>,
    next: Cell<Option<Chunk>>,
    /// A vacant cell, or one of the two below.
    free: Cell<*mut Header>,
    /// How many cells are in use, or what makes it 0 when there is more to do: see below.
    used: Cell<u32>,
    /// How many cells were made of its memory.
    carved: Cell<u32>,
    /// Its place among all of its home's, or [`NOWHERE`].
    pub(super) index: Cell<usize>,
    /// An `Arc`'s, of which this owns a reference.
    home: *const Shared,
    kind: Kind,
}

/// In the place of an index: home does not know it, as its task came too late or is on its way.
pub(super) const NOWHERE: usize = usize::MAX;

/// In the place of a vacant cell: there is none, and none left to carve. `used` is 1 then, as the
/// next cell that is put in makes a difference.
const FULL: *mut Header = ptr::null_mut();
/// There is none now. While cells are taken out of it `used` is one more than that, so that it does
/// not come to 0; those that were taken out and are still vacant count as used.
pub(super) const NONE: *mut Header = ptr::without_provenance_mut(1);

/// The vacant cell that this names, if it is none of the two above.
#[inline]
pub(super) fn cell_at(vacant: *mut Header) -> Option<NonNull<Header>> {
    if vacant.addr() > NONE.addr() { NonNull::new(vacant) } else { None }
}

/// What a cell that was put in made of its chunk.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OnPut {
    /// There was no room before.
    pub(super) was_full: bool,
    /// No cell is in use any more.
    pub(super) is_empty: bool,
}

impl Deref for Chunk {
    type Target = Head;

    #[inline]
    fn deref(&self) -> &Head {
        // SAFETY: whoever frees a chunk sees to it that nobody uses it any more.
        unsafe { self.0.as_ref() }
    }
}

impl Chunk {
    /// A new one of a home's, without cells.
    pub(super) fn allocate(kind: &Kind, home: Arc<Shared>) -> Chunk {
        // SAFETY: a chunk holds what stands at its start, so its size is not zero.
        let start = unsafe { alloc(kind.chunk) };
        let Some(start) = NonNull::new(start.cast()) else { handle_alloc_error(kind.chunk) };
        let head = Head {
            previous: Cell::new(None),
            next: Cell::new(None),
            free: Cell::new(NONE),
            used: Cell::new(0),
            carved: Cell::new(0),
            index: Cell::new(NOWHERE),
            home: Arc::into_raw(home),
            kind: *kind,
        };
        // SAFETY: there is room for it, and nobody else knows it.
        unsafe { start.write(head) };
        Chunk(start)
    }

    /// Frees it, and gives up its reference to its home.
    ///
    /// # Safety
    /// Nobody uses it any more, nor any of its cells.
    pub(super) unsafe fn free(self) {
        let (layout, home) = (self.kind.chunk, self.home);
        // SAFETY: it was allocated so.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) };
        // SAFETY: the chunk's reference.
        drop(unsafe { Arc::from_raw(home) });
    }

    /// The chunk that a cell is in.
    ///
    /// # Safety
    /// A cell that was carved.
    #[inline]
    pub(super) unsafe fn of(header: NonNull<Header>) -> Chunk {
        // SAFETY: the caller's promise; its header was written when it was carved.
        let offset = unsafe { header.as_ref() }.chunk_offset;
        // SAFETY: so far behind its chunk's start it was carved, out of the same block of memory.
        Chunk(unsafe { header.byte_sub(offset as usize) }.cast())
    }

    pub(super) fn class(self) -> usize {
        self.kind.class
    }

    /// Whether no cell is in use. Not while cells are taken out of it.
    pub(super) fn is_empty(self) -> bool {
        self.used.get() == 0
    }

    /// Cells are taken out of it from now on.
    pub(super) fn begin(self) {
        self.used.set(self.used.get() + 1);
    }

    /// No more cells are taken out of it, although it may have room.
    pub(super) fn end(self) {
        self.used.set(self.used.get() - 1);
    }

    /// No more cells are taken out of it, since all are in use.
    pub(super) fn end_full(self) {
        debug_assert_eq!(self.used.get(), self.kind.cells_max + 1, "all are in use");
        self.free.set(FULL);
        self.used.set(1);
    }

    /// Home is gone, and puts no more cells in: from now on they are only counted.
    pub(super) fn orphan(self) {
        if self.free.get() == FULL {
            self.used.set(self.kind.cells_max);
        }
    }

    /// One of an orphan's cells is in use no longer; true if that was the last.
    pub(super) fn release(self) -> bool {
        self.used.set(self.used.get() - 1);
        self.is_empty()
    }

    /// Takes all vacant cells out, if there are any: the first, which names the others. While cells
    /// are taken out of it.
    pub(super) fn take_all(self) -> Option<NonNull<Header>> {
        let first = cell_at(self.free.get())?;
        self.free.set(NONE);
        self.used.set(self.carved.get() + 1);
        Some(first)
    }

    /// So many of those that were taken out are not in use.
    pub(super) fn leave(self, first: *mut Header) {
        let mut next = first;
        while let Some(header) = cell_at(next) {
            // SAFETY: a vacant cell names the next.
            next = unsafe { Header::vacant_link(header) };
            self.used.set(self.used.get() - 1);
        }
    }

    /// Whether it has a vacant cell.
    pub(super) fn has_vacant(self) -> bool {
        cell_at(self.free.get()).is_some()
    }

    /// Takes a cell in; true if that makes a difference, which [`Chunk::settle`] tells.
    ///
    /// # Safety
    /// A cell that was carved out of this, and is not used any more; this is no orphan.
    #[inline]
    pub(super) unsafe fn put(self, header: NonNull<Header>) -> bool {
        let next = self.free.replace(header.as_ptr());
        // SAFETY: the caller's promise: it is vacant now.
        unsafe { Header::set_vacant_link(header, next) };
        self.used.set(self.used.get() - 1);
        self.used.get() == 0
    }

    /// What the cell that was put in last made of it.
    ///
    /// # Safety
    /// So it is, and `put` said that there is a difference.
    pub(super) unsafe fn settle(self, header: NonNull<Header>) -> OnPut {
        // SAFETY: the caller's promise: it is vacant.
        let was_full = unsafe { Header::vacant_link(header) } == FULL;
        if was_full {
            // SAFETY: as above.
            unsafe { Header::set_vacant_link(header, NONE) };
            self.used.set(self.kind.cells_max - 1);
        }
        OnPut { was_full, is_empty: self.is_empty() }
    }

    /// Makes new cells of the chunk's memory, if there is some left, and takes them out as
    /// [`Chunk::take_all`] does. There is no vacant one.
    pub(super) fn carve(self) -> Option<NonNull<Header>> {
        let first = self.carved.get();
        let end = self.kind.cells_max.min(first + CARVED_AT_ONCE);
        self.carved.set(end);
        // In the order of their addresses they are taken out.
        for index in (first..end).rev() {
            let header = self.cell(index);
            // SAFETY: an `Arc`'s pointer is not null.
            let home = unsafe { NonNull::new_unchecked(self.home.cast_mut()) };
            // SAFETY: the memory is nobody else's, and so far behind the chunk's start.
            unsafe { header.write(Header::vacant(home, self.offset(index))) };
            let next = self.free.replace(header.as_ptr());
            // SAFETY: it is vacant.
            unsafe { Header::set_vacant_link(header, next) };
        }
        self.take_all()
    }

    /// How far behind its start one of its cells is.
    fn offset(self, index: u32) -> u32 {
        self.kind.first + index * self.kind.stride
    }

    /// One of the cells that were carved.
    fn cell(self, index: u32) -> NonNull<Header> {
        debug_assert!(index < self.carved.get());
        // SAFETY: the chunk has room for all cells that are carved.
        unsafe { self.0.byte_add(self.offset(index) as usize) }.cast()
    }

    /// The last of its first `count` cells in which a task waits, and how many are before it. At
    /// home.
    pub(super) fn last_waiting(self, count: u32) -> Option<(NonNull<Header>, u32)> {
        let cells = (0..count.min(self.carved.get())).rev().map(|index| (self.cell(index), index));
        // SAFETY: a cell that was carved has a place, also while it is vacant.
        cells.into_iter().find(|cell| unsafe { cell.0.as_ref() }.place.get() == Place::Waiting)
    }
}

/// Chunks in a row.
pub(super) struct Row(Cell<Option<Chunk>>);

impl Row {
    pub(super) const fn new() -> Row {
        Row(Cell::new(None))
    }

    /// The one that was inserted last.
    pub(super) fn last(&self) -> Option<Chunk> {
        self.0.get()
    }

    /// Inserts one that is in no row.
    pub(super) fn insert(&self, chunk: Chunk) {
        let last = self.0.replace(Some(chunk));
        chunk.previous.set(last);
        chunk.next.set(None);
        if let Some(last) = last {
            last.next.set(Some(chunk));
        }
    }

    /// Removes one that is in this row.
    pub(super) fn remove(&self, chunk: Chunk) {
        let (previous, next) = (chunk.previous.get(), chunk.next.get());
        match next {
            Some(next) => next.previous.set(previous),
            None => self.0.set(previous),
        }
        if let Some(previous) = previous {
            previous.next.set(next);
        }
    }
}

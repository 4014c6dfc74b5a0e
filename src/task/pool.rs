//! Blocks of memory for task cells, used again: most tasks are made of one that was there before.
#![expect(unsafe_code, reason = "allocates and frees the blocks that cells are written to")]

use super::header::Header;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

/// Blocks differ in size by multiples of this, as they do in the C library, and are aligned to it.
const UNIT: usize = 16;
/// What the C library puts before each block, so that a block of a multiple of `UNIT` less this
/// wastes nothing.
const LIBRARY_HEAD: usize = size_of::<usize>();
/// Larger cells are not kept.
const KEPT_SIZE_MAX: usize = 1024;
const CLASSES: usize = KEPT_SIZE_MAX / UNIT + 1;
/// Bytes that are kept at most, in blocks of all sizes together.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// Free blocks, by size; those of a size are linked by `Header::next`.
///
/// A block that is kept still owns its reference to the home whose pool this is.
pub(super) struct Pool {
    free: [Cell<Option<NonNull<Header>>>; CLASSES],
    bytes: Cell<usize>,
}

/// What kind of block a cell is in.
#[derive(Clone, Copy)]
pub(super) struct Block {
    layout: Layout,
    /// Its place among the lists of free blocks; `CLASSES` if it is not kept.
    class: usize,
}

impl Block {
    /// The block for a cell of this layout.
    pub(super) const fn of(cell: Layout) -> Block {
        let align = if cell.align() > UNIT { cell.align() } else { UNIT };
        let class = if align == UNIT && cell.size() <= KEPT_SIZE_MAX {
            (cell.size() + LIBRARY_HEAD - 1) / UNIT
        } else {
            CLASSES
        };
        let size = (cell.size() + LIBRARY_HEAD).next_multiple_of(UNIT) - LIBRARY_HEAD;
        match Layout::from_size_align(size, align) {
            Ok(layout) => Block { layout, class },
            // Only for the largest sizes of all, which are multiples of the alignment then.
            Err(_) => Block { layout: cell, class },
        }
    }
}

impl Pool {
    pub(super) const fn new() -> Pool {
        Pool { free: [const { Cell::new(None) }; CLASSES], bytes: Cell::new(0) }
    }

    /// A block that was used before, which still refers to its home.
    #[inline]
    pub(super) fn take(&self, block: &Block) -> Option<NonNull<Header>> {
        let free = self.free.get(block.class)?;
        let header = free.get()?;
        // SAFETY: a free block holds the header of its last cell, whose `next` is ours.
        let next = unsafe { header.as_ref() }.next.get();
        free.set(next);
        self.bytes.set(self.bytes.get() - block.layout.size());
        Some(header)
    }

    /// Keeps a block whose cell is gone; false if that is not to be kept.
    ///
    /// # Safety
    /// The block came from [`allocate`], holds a header, and is the caller's.
    #[inline]
    pub(super) unsafe fn put(&self, header: NonNull<Header>) -> bool {
        // SAFETY: the caller's promise.
        let this = unsafe { header.as_ref() };
        let block = &this.vtable.block;
        let bytes = self.bytes.get() + block.layout.size();
        let Some(free) = self.free.get(block.class).filter(|_| bytes <= KEPT_BYTES_MAX) else {
            return false;
        };
        this.next.set(free.replace(Some(header)));
        self.bytes.set(bytes);
        true
    }

    /// Takes any block out.
    pub(super) fn take_any(&self) -> Option<NonNull<Header>> {
        let free = self.free.iter().find(|free| free.get().is_some())?;
        // SAFETY: a free block holds the header of its last cell.
        let block = unsafe { free.get()?.as_ref() }.vtable.block;
        self.take(&block)
    }
}

/// A new block.
#[cold]
pub(super) fn allocate(block: &Block) -> NonNull<Header> {
    // SAFETY: a cell holds a header, so its size is not zero.
    let start = unsafe { alloc(block.layout) };
    NonNull::new(start.cast()).unwrap_or_else(|| handle_alloc_error(block.layout))
}

/// Frees a block.
///
/// # Safety
/// It came from [`allocate`] for a block of this kind, and is the caller's.
pub(super) unsafe fn free(header: NonNull<Header>, block: &Block) {
    // SAFETY: the caller's promise.
    unsafe { dealloc(header.as_ptr().cast(), block.layout) };
}

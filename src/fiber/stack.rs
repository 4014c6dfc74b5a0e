//! Stacks, and the pool from which they are taken again.

use super::switch::valgrind_request;
use crate::io::during;
use crate::sys::StackMemory;
use std::cell::RefCell;
use std::io;
use std::panic::Location;

/// A fiber's stack, where nothing else is said. It is address space: memory is what is touched.
pub(crate) const STACK_BYTES: usize = 256 * 1024;

/// Smaller stacks are made as large as this: a panic has to be told of, even in a debug build.
pub(super) const STACK_BYTES_MIN: usize = 32 * 1024;

/// How many unused stacks a thread keeps, where nothing else is said.
const POOLED_MAX: usize = 256;

/// Memory for a stack, known to valgrind, which would else take a switch for a very large frame.
#[derive(Debug)]
pub(super) struct Stack {
    memory: StackMemory,
    valgrind: usize,
}

// <valgrind/valgrind.h>, `VG_USERREQ__STACK_REGISTER` and the one after it.
const STACK_REGISTER: usize = 0x1501;
const STACK_DEREGISTER: usize = 0x1502;

impl Stack {
    fn map(bytes: usize) -> io::Result<Stack> {
        let memory = StackMemory::map(bytes).map_err(|error| {
            during("mmap", format_args!("a fiber's stack of {bytes} bytes"), error)
        })?;
        let (bottom, top) = (memory.bottom().addr(), memory.top().addr());
        let valgrind = valgrind_request([STACK_REGISTER, bottom, top, 0, 0, 0]);
        Ok(Stack { memory, valgrind })
    }

    pub(super) fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    pub(super) fn top(&self) -> *mut u8 {
        self.memory.top()
    }

    #[cfg(whirligig_asan)]
    pub(super) fn bottom(&self) -> *mut u8 {
        self.memory.bottom()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        valgrind_request([STACK_DEREGISTER, self.valgrind, 0, 0, 0, 0]);
    }
}

/// Unused stacks of one thread: those of fibers that ended.
struct Pool {
    /// The last one is the one that was used last, so that its memory is likely in a cache.
    stacks: Vec<Stack>,
    stacks_max: usize,
}

thread_local! {
    static POOL: RefCell<Pool> =
        const { RefCell::new(Pool { stacks: Vec::new(), stacks_max: POOLED_MAX }) };
}

/// A stack of at least `bytes` bytes, a used one if there is one of that size.
///
/// # Errors
/// As for [`StackMemory::map`].
#[inline]
pub(super) fn take(bytes: usize, made_at: &'static Location<'static>) -> io::Result<Stack> {
    // While the thread ends, its pool may be gone already: then there are only new ones.
    let used = POOL.try_with(|pool| pool.borrow_mut().take(bytes)).ok().flatten();
    let stack = match used {
        Some(stack) => stack,
        None => Stack::map(bytes.max(STACK_BYTES_MIN))?,
    };
    stack.memory.set_made_at(made_at);
    Ok(stack)
}

/// Keeps a stack for another fiber, or unmaps it if there are enough.
#[inline]
pub(super) fn give_back(stack: Stack) {
    // The pool's refusal is dropped here, after the borrow.
    let refused = POOL.try_with(|pool| pool.borrow_mut().give_back(stack));
    drop(refused);
}

/// How many unused stacks this thread keeps at most, from now on; 256 at first.
///
/// Each keeps the memory that its fibers have touched. Those beyond the new bound are unmapped now.
pub fn set_pooled_stacks_max(stacks_max: usize) {
    let surplus = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        pool.stacks_max = stacks_max;
        let kept = pool.stacks.len().min(stacks_max);
        pool.stacks.split_off(kept)
    });
    drop(surplus);
}

/// How many unused stacks this thread keeps for fibers to come.
#[must_use]
pub fn pooled_stack_count() -> usize {
    POOL.try_with(|pool| pool.borrow().stacks.len()).unwrap_or(0)
}

impl Pool {
    fn take(&mut self, bytes: usize) -> Option<Stack> {
        let fits = |stack: &Stack| {
            // Not a much larger one: it was asked for by somebody who will come back for it.
            let spare = stack.bytes().checked_sub(bytes.max(STACK_BYTES_MIN));
            spare.is_some_and(|spare| spare < PAGE_BYTES_MAX)
        };
        if self.stacks.last().is_some_and(fits) {
            return self.stacks.pop();
        }
        let index = self.stacks.iter().rposition(fits)?;
        Some(self.stacks.remove(index))
    }

    /// The stack itself, if there is no room for it.
    fn give_back(&mut self, stack: Stack) -> Option<Stack> {
        if self.stacks.len() >= self.stacks_max {
            return Some(stack);
        }
        self.stacks.push(stack);
        None
    }
}

/// No page is larger (AArch64 may have them so). A stack is larger than asked by less than a page.
const PAGE_BYTES_MAX: usize = 64 * 1024;

//! mmap(2): the memory of a fiber's stack.
//!
//! ```text
//!   high  +--------------------+ <- top: the stack begins here, and grows down
//!         |   read and write   |    a page is backed by memory once it was touched
//!         ~                    ~
//!         |                    |
//!         +--------------------+ <- bottom
//!         |       guard        |    whoever touches it gets SIGSEGV, and `overflow` says why
//!   low   +--------------------+ <- what mmap returned
//! ```
#![expect(unsafe_code, reason = "maps memory")]

use super::overflow::{self, Entry};
use super::{check, ffi};
use std::io;
use std::panic::Location;
use std::ptr::{self, NonNull};

/// Inaccessible memory below a stack. One page would do for Rust code, whose large frames touch
/// each of their pages in order. C code mostly does not: it may step over a small guard, and into
/// whatever lies below. Guards take address space, but no memory.
const GUARD_BYTES: usize = 64 * 1024;

/// Memory for a stack, with a guard below it, known to the handler for overflows.
#[derive(Debug)]
pub(crate) struct StackMemory {
    /// Where the mapping begins, with the guard.
    base: NonNull<u8>,
    guard_bytes: usize,
    /// Without the guard.
    bytes: usize,
    entry: &'static Entry,
}

impl StackMemory {
    /// Maps at least `bytes_min` bytes; whole pages.
    ///
    /// # Errors
    /// `InvalidInput` if no address space is as large. Out of memory, or of mappings
    /// (`vm.max_map_count`; a stack takes two). Those of `sigaction(2)` and `sigaltstack(2)`.
    pub(crate) fn map(bytes_min: usize) -> io::Result<StackMemory> {
        overflow::prepare()?;
        let page_bytes = page_bytes();
        let too_large = || io::Error::from(io::ErrorKind::InvalidInput);
        let bytes = bytes_min.checked_next_multiple_of(page_bytes).ok_or_else(too_large)?;
        let guard_bytes = GUARD_BYTES.next_multiple_of(page_bytes);
        let whole = bytes.checked_add(guard_bytes).ok_or_else(too_large)?;
        // MAP_NORESERVE: most of a stack is never touched. MAP_STACK: no huge pages (since Linux
        // 6.7), of which one would back what should cost a page.
        let flags = ffi::MAP_PRIVATE | ffi::MAP_ANONYMOUS | ffi::MAP_NORESERVE | ffi::MAP_STACK;
        let access = ffi::PROT_READ | ffi::PROT_WRITE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other.
        let base = unsafe { ffi::mmap(ptr::null_mut(), whole, access, flags, -1, 0) };
        if base.addr() == ffi::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the guard is the lower part of the mapping, which nobody uses yet.
        let protected = check(unsafe { ffi::mprotect(base, guard_bytes, ffi::PROT_NONE) });
        // The null page can't be mapped without a fixed address.
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        if let Err(error) = protected {
            // SAFETY: mapped above with this length, and nobody has a pointer to it.
            unsafe { unmap(base, whole) };
            return Err(error);
        }
        let low = base.as_ptr().addr();
        let entry = overflow::insert(low, low + guard_bytes, low + whole);
        Ok(StackMemory { base, guard_bytes, bytes, entry })
    }

    /// How many bytes there are, without the guard.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The lowest byte above the guard.
    pub(crate) fn bottom(&self) -> *mut u8 {
        self.base.as_ptr().wrapping_add(self.guard_bytes)
    }

    /// The end: one past the highest byte, a multiple of the page's size.
    pub(crate) fn top(&self) -> *mut u8 {
        self.bottom().wrapping_add(self.bytes)
    }

    /// Notes for whom the stack is, so that an overflow can be told of by that name.
    #[inline]
    pub(crate) fn set_made_at(&self, made_at: &'static Location<'static>) {
        self.entry.set_made_at(made_at);
    }
}

impl Drop for StackMemory {
    fn drop(&mut self) {
        overflow::remove(self.entry);
        // SAFETY: mapped in `map` with this length. That nobody uses it any more is up to the
        // owner, who alone knows who got `top`.
        unsafe { unmap(self.base, self.guard_bytes + self.bytes) };
    }
}

/// Unmaps what `map` mapped.
///
/// # Safety
/// The mapping is whole, and nobody uses it any more.
unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's. Unmapping can fail only where it would have to split a mapping and
    // there is no room for another; whole ones never do, but if it did the memory is just kept.
    let _ = unsafe { ffi::munmap(base.as_ptr().cast(), bytes) };
}

pub(in crate::sys) fn page_bytes() -> usize {
    // The kernel always says (`getauxval(3)`); 64 KiB is a multiple of every size there is.
    match ffi::getauxval(ffi::AT_PAGESZ) {
        0 => 64 * 1024,
        bytes => bytes as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The lines of the process's memory map that lie within the range, as (start, end, access).
    fn maps(low: usize, high: usize) -> Vec<(usize, usize, String)> {
        let text = fs::read_to_string("/proc/self/maps").unwrap();
        let parse = |line: &str| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let number = |text| usize::from_str_radix(text, 16).unwrap();
            (number(start), number(end), rest[..4].to_owned())
        };
        text.lines().map(parse).filter(|(start, end, _)| *start < high && *end > low).collect()
    }

    #[test]
    fn a_stack_is_mapped_with_a_guard_below_it_and_goes_with_its_owner() {
        let stack = StackMemory::map(100_000).unwrap();
        let (bottom, top) = (stack.bottom().addr(), stack.top().addr());
        assert!(stack.bytes() >= 100_000 && stack.bytes() % page_bytes() == 0);
        assert_eq!(top - bottom, stack.bytes());
        assert_eq!(top % page_bytes(), 0);
        let guard = maps(bottom - 1, bottom);
        assert_eq!(guard[0].2, "---p", "{guard:?}");
        assert!(guard[0].0 <= bottom - GUARD_BYTES, "{guard:?}");
        let usable = maps(bottom, top);
        assert!(usable.iter().all(|(_, _, access)| access == "rw-p"), "{usable:?}");
        assert!(usable[0].0 == bottom && usable.last().unwrap().1 >= top, "{usable:?}");
        drop(stack);
        // Another thread may have mapped something there since, but no guard.
        assert!(maps(bottom - GUARD_BYTES, bottom).iter().all(|(_, _, access)| access != "---p"));
    }

    #[test]
    fn a_stack_larger_than_the_address_space_is_refused() {
        for bytes in [usize::MAX, usize::MAX - 10_000] {
            assert_eq!(StackMemory::map(bytes).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        let error = StackMemory::map(1 << 60).unwrap_err();
        assert!(super::super::is_exhaustion(&error), "{error}");
    }
}

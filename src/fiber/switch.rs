//! Leaving one stack and going on with another.
//!
//! What differs between architectures is in a file for each: the switch itself, the first frame of
//! a stack. All of them offer the same:
//!
//! | | |
//! | --- | --- |
//! | `start` | the first frame: calls what `prepare` left on the new stack |
//! | `resume` | from the stack below to the coroutine's, until that suspends |
//! | `suspend` | from the coroutine's stack back to the one below, until it is resumed |
//! | `valgrind_request` | tells valgrind, if it is there, where a stack is |
//!
//! **Which registers are saved.** To the compiler a switch is a call of an ordinary function: so it
//! keeps nothing in registers that such a function may change. Those that a function has to
//! preserve are declared to the compiler as changed, too, so that it saves those of them that it
//! uses, once for as many switches as a function makes. The few that can't be declared, as LLVM
//! reserves them, are saved here by hand, with the stack pointer and the address to go on at.
//! Nothing else of a thread is in registers: the thread pointer (`fs`, `tpidr_el0`) is the same on
//! all stacks of a thread, and a coroutine stays on its thread.
//!
//! **The floating-point control words** (rounding, exceptions that trap, denormals that are
//! flushed) are to be preserved by functions as well, and are not saved here: on both sides of a
//! switch they are the same. Both are Rust code, which is compiled for the words that a thread
//! begins with; to change them around Rust code, a function of C that calls back included, is
//! undefined behaviour (as `_mm_setcsr` in [`std::arch`] says, and the rules for inline assembly in
//! the Rust reference). So who changes them puts them back before a switch can come. Saving them
//! would guard a program that is lost already, and cost more than all the rest: 9 ns of 13 on one
//! machine.
#![expect(unsafe_code, reason = "switches stacks")]

#[cfg(target_arch = "aarch64")]
#[path = "switch/aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "switch/x86_64.rs"]
mod arch;
#[cfg(whirligig_asan)]
#[path = "switch/asan.rs"]
pub(super) mod asan;

pub(super) use arch::{resume, suspend, valgrind_request};

use std::ptr;

/// Where both sides of a switch go on. The offsets are known to the assembly.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Link {
    /// The coroutine's stack pointer while it is suspended.
    stack: *mut u8,
    /// Where the coroutine goes on when it is resumed.
    code: *const (),
    /// The resumer's stack pointer while the coroutine runs.
    resumer_stack: *mut u8,
    /// Where the resumer goes on, where that is not on its stack (AArch64).
    resumer_code: *const (),
}

const _: () = {
    assert!(std::mem::offset_of!(Link, stack) == 0);
    assert!(std::mem::offset_of!(Link, code) == 8);
    assert!(std::mem::offset_of!(Link, resumer_stack) == 16);
    assert!(std::mem::offset_of!(Link, resumer_code) == 24);
};

/// What a stack begins with. It is given the link's address and the argument of the first `resume`,
/// and leaves by the last `suspend`.
pub(super) type Entry = extern "C" fn(*mut Link, *mut ()) -> !;

/// Stacks are aligned so wherever a function is called, on both architectures.
pub(super) const STACK_ALIGN: usize = 16;

impl Link {
    /// Prepares a stack so that the first `resume` calls `entry` on it.
    ///
    /// ```text
    ///          |  what the caller put there  |
    ///          +-----------------------------+ <- top, a multiple of 16
    ///          |  unused                     |
    ///          |  entry                      | <- Link::stack; Link::code is `start`
    ///          +-----------------------------+
    ///          |  the frame of `entry` ...   |
    /// ```
    ///
    /// # Safety
    /// The 16 bytes below `top` may be written, and `top` is a multiple of 16.
    pub(super) unsafe fn prepare(top: *mut u8, entry: Entry) -> Link {
        let stack = top.wrapping_sub(STACK_ALIGN);
        // SAFETY: the caller's: within the 16 bytes below `top`, and aligned.
        unsafe { stack.cast::<Entry>().write(entry) };
        let code = arch::start as *const ();
        let (resumer_stack, resumer_code) = (ptr::null_mut(), ptr::null());
        Link { stack, code, resumer_stack, resumer_code }
    }
}

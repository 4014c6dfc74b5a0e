//! The switch on AArch64, under its procedure call standard (AAPCS64).
//!
//! A function preserves x19 to x29, sp, and the lower halves of v8 to v15; the link register x30
//! tells it where to return to. So does the control register of floating-point numbers stay as it
//! is, with which all Rust code of a thread agrees (see [`switch`](super)). LLVM keeps x19 and x29,
//! the frame pointer, to itself: an `asm!` block can't declare that it changes them. So these two
//! are stored. All else is declared as changed. x18 belongs to the platform, and is not touched.
//!
//! ```text
//!   the resumer, while the coroutine runs      the coroutine, while it is suspended
//!
//!        |  ...                |                    |  ...                |
//!        |  x29                |                    |  x29                |
//!        |  x19                | <- Link::          |  x19                | <- Link::stack
//!        +---------------------+    resumer_stack   +---------------------+
//!          where to go on is in                       where to go on is in
//!          Link::resumer_code                         Link::code
//! ```
//!
//! `resume` leaves by a `blr` and `suspend` by a `ret`: so the processor, which predicts where a
//! `ret` goes by the calls before it, is right each time.

use super::Link;
use std::arch::{asm, global_asm};

// The first frame of a stack. `resume` gets here by its `blr`, with the link in x2 and the argument
// in x1, where the entry has it, too.
//
// Here a backtrace ends: what called this frame is on another stack, and changes. `undefined` says
// so to all that read unwinding tables (DWARF 5, 6.4.4), and the zero in x29 to those who follow
// frame pointers: the function that is called stores it.
global_asm!(
    ".balign 16",
    ".globl {start}",
    ".hidden {start}",
    ".type {start}, @function",
    "{start}:",
    ".cfi_startproc",
    ".cfi_undefined x30",
    "mov x9, sp",
    "stp x9, x30, [x2, #16]", // Link::resumer_stack, Link::resumer_code
    "ldr x9, [x2]",           // Link::stack; there is the entry's address
    "mov sp, x9",
    "mov x29, #0",
    "mov x0, x2",
    "ldr x9, [sp]",
    "blr x9",
    "brk #1", // it does not return
    ".cfi_endproc",
    ".size {start}, . - {start}",
    start = sym start,
);

// SAFETY: defined above. It has no signature that Rust could call; only its address is used.
unsafe extern "C" {
    // With the version: a program may hold several, and they may differ.
    #[link_name = concat!("whirligig_fiber_start_", env!("CARGO_PKG_VERSION"))]
    pub(super) fn start();
}

/// Runs the coroutine until it suspends; `argument` is what it sees. Returns the link: it is in its
/// register again, so that the compiler need not keep it anywhere else.
///
/// # Safety
/// `link` was made by [`Link::prepare`], whose stack still stands, and the coroutine is suspended.
#[inline(always)]
pub(in crate::fiber) unsafe fn resume(mut link: *mut Link, argument: *mut ()) -> *mut Link {
    // SAFETY: the caller's: the coroutine goes on where it stopped, and comes back by `suspend`
    // with sp, x19 and x29 as they were, and the same link in x2: only what is given this link
    // takes `resumer_stack` from it. Everything else that it may change is declared.
    unsafe {
        asm!(
            "stp x19, x29, [sp, #-16]!",
            "ldr x9, [x2, #8]", // Link::code: `start`, or the label in `suspend`
            "blr x9",
            "ldp x19, x29, [sp], #16",
            inlateout("x2") link,
            inlateout("x1") argument => _,
            lateout("x20") _, lateout("x21") _, lateout("x22") _, lateout("x23") _,
            lateout("x24") _, lateout("x25") _, lateout("x26") _, lateout("x27") _,
            lateout("x28") _,
            clobber_abi("C"), // with all of v0 to v31
        )
    }
    link
}

/// Goes back to who resumed the coroutine, until it is resumed again. Returns the link, as `resume`
/// does, and the argument of that resume.
///
/// # Safety
/// The coroutine of `link` runs, and everything that was resumed on top of it is left suspended.
#[inline(always)]
pub(in crate::fiber) unsafe fn suspend(mut link: *mut Link) -> (*mut Link, *mut ()) {
    let argument;
    // SAFETY: the caller's: the resumer's place was written by the switch that got us here. It goes
    // on behind its `blr`. When we are resumed, by this link, which is then in x2, we are at
    // label 2 with sp as it was.
    unsafe {
        asm!(
            "stp x19, x29, [sp, #-16]!",
            "mov x9, sp",
            "adr x10, 2f",
            "stp x9, x10, [x2]",       // Link::stack, Link::code
            "ldp x9, x30, [x2, #16]",  // Link::resumer_stack, Link::resumer_code
            "mov sp, x9",
            "ret",                     // to the `ldp` of `resume`
            "2:",
            "mov x9, sp",
            "stp x9, x30, [x2, #16]",
            "ldr x9, [x2]",
            "mov sp, x9",
            "ldp x19, x29, [sp], #16",
            inlateout("x2") link,
            lateout("x1") argument,
            lateout("x20") _, lateout("x21") _, lateout("x22") _, lateout("x23") _,
            lateout("x24") _, lateout("x25") _, lateout("x26") _, lateout("x27") _,
            lateout("x28") _,
            clobber_abi("C"),
        )
    }
    (link, argument)
}

/// Makes a request of valgrind, by instructions that do nothing without it ("The Client Request
/// mechanism" in its manual, and `valgrind.h`). Returns its answer, or 0.
pub(in crate::fiber) fn valgrind_request(request: [usize; 6]) -> usize {
    let answer;
    // SAFETY: these rotate x12 by 128 bits in all, and move x10 to itself: nothing changes.
    // Valgrind, which sees the pattern, reads the request and answers in x3.
    unsafe {
        asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            inout("x12") 0usize => _,
            in("x4") &request,
            inlateout("x3") 0usize => answer,
            options(nostack),
        );
    }
    answer
}

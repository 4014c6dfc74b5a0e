//! The switch on x86-64, under the System V ABI.
//!
//! A function preserves rbx, rbp, rsp and r12 to r15; the control bits of MXCSR and of the x87
//! control word, too, with which all Rust code of a thread agrees (see [`switch`](super)). LLVM
//! keeps rbx and rbp to itself: an `asm!` block can't declare that it changes them. So these two
//! are pushed. All else is declared as changed.
//!
//! ```text
//!   the resumer, while the coroutine runs      the coroutine, while it is suspended
//!
//!        |  ...                |                    |  ...                |
//!        |  rbx                |                    |  rbx                |
//!        |  rbp                |                    |  rbp                | <- Link::stack
//!        |  where to go on     | <- Link::          +---------------------+
//!        +---------------------+   resumer_stack      where to go on is in Link::code
//! ```
//!
//! `resume` leaves by a `call` and `suspend` by a `ret`: so the processor, which predicts where a
//! `ret` goes by the calls before it, is right each time. Only the `call` is indirect.
//!
//! Shadow stacks (CET) are not switched. A program that has them on can't use fibers; neither the
//! Rust compiler nor the C library turns them on by itself.

use super::Link;
use std::arch::{asm, global_asm};

// The first frame of a stack. `resume` gets here by its `call`, with the link in rdx and
// the argument in rsi, where the entry has it, too.
//
// Here a backtrace ends: what called this frame is on another stack, and changes. `undefined` says
// so to all that read unwinding tables (DWARF 5, 6.4.4), and the zero in rbp to those who follow
// frame pointers: the function that is called pushes it.
global_asm!(
    ".balign 16",
    ".globl {start}",
    ".hidden {start}",
    ".type {start}, @function",
    "{start}:",
    ".cfi_startproc",
    ".cfi_undefined rip",
    "mov [rdx + 16], rsp", // Link::resumer_stack
    "mov rsp, [rdx]",      // Link::stack; there is the entry's address
    "xor ebp, ebp",
    "mov rdi, rdx",
    "call [rsp]", // rsp is a multiple of 16, as the ABI has it before a call
    "ud2",        // it does not return
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
    // with rsp, rbx and rbp as they were, and the same link in rdx: only what is given this link
    // takes `resumer_stack` from it. Everything else that it may change is declared.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "call [rdx + 8]", // Link::code: `start`, or the label in `suspend`
            "pop rbp",
            "pop rbx",
            inlateout("rdx") link,
            inlateout("rsi") argument => _,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
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
    // SAFETY: the caller's: `resumer_stack` was written by the switch that got us here. The resumer
    // goes on behind its `call`. When we are resumed, by this link, which is then in rdx, we are at
    // label 2 with rsp as it was.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "lea rax, [rip + 2f]",
            "mov [rdx + 8], rax",  // Link::code
            "mov [rdx], rsp",      // Link::stack
            "mov rsp, [rdx + 16]", // Link::resumer_stack
            "ret",                 // to the `pop rbp` of `resume`
            "2:",
            "mov [rdx + 16], rsp",
            "mov rsp, [rdx]",
            "pop rbp",
            "pop rbx",
            inlateout("rdx") link,
            lateout("rsi") argument,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
        )
    }
    (link, argument)
}

/// Makes a request of valgrind, by instructions that do nothing without it ("The Client Request
/// mechanism" in its manual, and `valgrind.h`). Returns its answer, or 0.
pub(in crate::fiber) fn valgrind_request(request: [usize; 6]) -> usize {
    let answer;
    // SAFETY: these rotate rdi by 128 bits in all, and exchange rbx with itself: nothing changes.
    // Valgrind, which sees the pattern, reads the request and answers in rdx.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            inout("rdi") 0usize => _,
            in("rax") &request,
            inlateout("rdx") 0usize => answer,
            options(nostack),
        );
    }
    answer
}

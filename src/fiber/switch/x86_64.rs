//! The switch on x86-64, under the System V ABI.
//!
//! A function preserves rbx, rbp, rsp and r12 to r15, and the control bits of MXCSR and of the x87
//! control word. LLVM keeps rbx and rbp to itself: an `asm!` block can't declare that it changes
//! them. So these two are pushed. All else is declared as changed.
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

// The first frame of a stack. `resume` gets here by its `call`, with the link in rdx.
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

/// Runs the coroutine until it suspends.
///
/// # Safety
/// `link` was made by [`Link::prepare`], whose stack still stands, and the coroutine is suspended.
#[inline(always)]
pub(in crate::fiber) unsafe fn resume(link: *mut Link) {
    // SAFETY: the caller's: the coroutine goes on where it stopped, and comes back by `suspend`
    // with rsp, rbx and rbp as they were. Everything else that it may change is declared.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "call [rdx + 8]", // Link::code: `start`, or the label in `suspend`
            "pop rbp",
            "pop rbx",
            inlateout("rdx") link => _,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
        )
    }
}

/// Goes back to who resumed the coroutine, until it is resumed again.
///
/// # Safety
/// The coroutine of `link` runs, and everything that was resumed on top of it is left suspended.
#[inline(always)]
pub(in crate::fiber) unsafe fn suspend(link: *mut Link) {
    // SAFETY: the caller's: `resumer_stack` was written by the switch that got us here. The resumer
    // goes on behind its `call`. When it resumes us we are at label 2 with rsp as it was.
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
            inlateout("rdx") link => _,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
        )
    }
}

/// How the thread calculates with floating-point numbers: rounding, and which exceptions trap.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fiber) struct ControlWords {
    /// Of SSE. It holds the status flags, too, which are nobody's to preserve.
    mxcsr: u32,
    /// Of the x87.
    x87: u16,
}

impl Default for ControlWords {
    /// What a process starts with (System V ABI, 3.4.1).
    fn default() -> ControlWords {
        ControlWords { mxcsr: 0x1f80, x87: 0x37f }
    }
}

impl ControlWords {
    /// Saves the thread's words at so many bytes from the link's beginning: so no register is
    /// needed but the one that holds the link anyway.
    ///
    /// # Safety
    /// There are control words.
    #[inline(always)]
    pub(super) unsafe fn save_at<const OFFSET: usize>(link: *mut Link) {
        // SAFETY: the caller's: these write four bytes and two, into the fields.
        unsafe {
            asm!(
                "stmxcsr [{link} + {offset}]",
                "fnstcw [{link} + {offset} + 4]",
                link = in(reg) link,
                offset = const OFFSET,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Makes those that were saved there the thread's.
    ///
    /// # Safety
    /// There are control words.
    #[inline(always)]
    pub(super) unsafe fn load_at<const OFFSET: usize>(link: *mut Link) {
        // SAFETY: the caller's: these read four bytes and two. They are the default, or were read
        // from the registers, so they are valid; and whoever goes on now calculated with them.
        unsafe {
            asm!(
                "ldmxcsr [{link} + {offset}]",
                "fldcw [{link} + {offset} + 4]",
                link = in(reg) link,
                offset = const OFFSET,
                options(nostack, readonly, preserves_flags),
            );
        }
    }
}

#[cfg(test)]
impl ControlWords {
    pub(in crate::fiber) fn read() -> ControlWords {
        let mut words = ControlWords::default();
        // SAFETY: with no offset the link is the words themselves.
        unsafe { ControlWords::save_at::<0>((&raw mut words).cast()) };
        words
    }

    pub(in crate::fiber) fn write(mut self) {
        // SAFETY: as above.
        unsafe { ControlWords::load_at::<0>((&raw mut self).cast()) };
    }

    /// Rounding towards positive infinity: 2 in the two bits of either word.
    pub(in crate::fiber) fn rounding_up(self) -> ControlWords {
        ControlWords { mxcsr: self.mxcsr & !0x6000 | 0x4000, x87: self.x87 & !0xc00 | 0x800 }
    }

    pub(in crate::fiber) fn without_status(self) -> ControlWords {
        ControlWords { mxcsr: self.mxcsr & !0x3f, ..self }
    }
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

//! What the stacks of fibers need: memory maps, and the signal that tells of an overflow.
//!
//! The layouts are those of glibc and musl on x86-64 and AArch64, which agree.

#![expect(unsafe_code, reason = "declares C functions")]

use super::{Handler, c_int, c_long, c_ulong, c_void};

// mmap(2), sysconf(3), getauxval(3).
pub(in crate::sys) const PROT_NONE: c_int = 0;
pub(in crate::sys) const PROT_READ: c_int = 1;
pub(in crate::sys) const PROT_WRITE: c_int = 2;
pub(in crate::sys) const MAP_PRIVATE: c_int = 0x2;
pub(in crate::sys) const MAP_ANONYMOUS: c_int = 0x20;
pub(in crate::sys) const MAP_NORESERVE: c_int = 0x4000;
pub(in crate::sys) const MAP_STACK: c_int = 0x2_0000;
/// What `mmap` returns when it fails.
pub(in crate::sys) const MAP_FAILED: usize = usize::MAX;
pub(in crate::sys) const AT_PAGESZ: c_ulong = 6;
pub(in crate::sys) const AT_MINSIGSTKSZ: c_ulong = 51;

// sigaction(2), sigaltstack(2).
pub(in crate::sys) const SIGSEGV: c_int = 11;
pub(in crate::sys) const SIG_IGN: Handler = 1;
pub(in crate::sys) const SA_SIGINFO: c_int = 4;
pub(in crate::sys) const SA_ONSTACK: c_int = 0x800_0000;
pub(in crate::sys) const SS_DISABLE: c_int = 2;
pub(in crate::sys) const STDERR: c_int = 2;

/// `struct sigaction`, as the C library has it; the kernel's own is another.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(in crate::sys) struct Sigaction {
    pub(in crate::sys) handler: Handler,
    /// `sigset_t`: 1024 signals.
    pub(in crate::sys) mask: [u64; 16],
    pub(in crate::sys) flags: c_int,
    /// The C library's own.
    pub(in crate::sys) restorer: usize,
}
const _: () = {
    assert!(size_of::<Sigaction>() == 152);
    assert!(std::mem::offset_of!(Sigaction, flags) == 136);
};

impl Sigaction {
    pub(in crate::sys) const fn new(handler: Handler, flags: c_int) -> Sigaction {
        Sigaction { handler, mask: [0; 16], flags, restorer: 0 }
    }
}

/// The beginning of `siginfo_t`, as far as SIGSEGV fills it in.
#[repr(C)]
pub(in crate::sys) struct Siginfo {
    pub(in crate::sys) number: c_int,
    pub(in crate::sys) errno: c_int,
    /// Positive if the kernel itself found the fault; else some process sent the signal.
    pub(in crate::sys) code: c_int,
    /// Where the fault is, if the kernel found one.
    pub(in crate::sys) address: usize,
}
const _: () = assert!(std::mem::offset_of!(Siginfo, address) == 16);

/// `stack_t`.
#[repr(C)]
pub(in crate::sys) struct SignalStack {
    pub(in crate::sys) base: *mut c_void,
    pub(in crate::sys) flags: c_int,
    pub(in crate::sys) bytes: usize,
}
const _: () = assert!(size_of::<SignalStack>() == 24);

// SAFETY: the C library's own declarations, as the manual pages give them. `getauxval` looks a
// number up in a table, `raise` sends a signal: nothing can go wrong with either.
unsafe extern "C" {
    pub(in crate::sys) fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: c_long,
    ) -> *mut c_void;
    pub(in crate::sys) fn mprotect(address: *mut c_void, length: usize, protection: c_int)
    -> c_int;
    pub(in crate::sys) fn munmap(address: *mut c_void, length: usize) -> c_int;
    pub(in crate::sys) safe fn getauxval(kind: c_ulong) -> c_ulong;
    pub(in crate::sys) fn sigaction(
        number: c_int,
        new: *const Sigaction,
        old: *mut Sigaction,
    ) -> c_int;
    pub(in crate::sys) fn sigaltstack(new: *const SignalStack, old: *mut SignalStack) -> c_int;
}

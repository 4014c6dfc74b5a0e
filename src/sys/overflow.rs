//! SIGSEGV in the guard of a fiber's stack: said, and the end of the process.
//!
//! ```text
//!    fault ---> on_fault ---> in the guard of a known stack? --yes--> say which, abort
//!                                  |
//!                                  no
//!                                  v
//!                             the handler that was there before: std's own for the stacks of
//!                             threads, a sanitizer's, a crash reporter's; or the default
//! ```
//!
//! The handler runs on an alternate stack (`sigaltstack(2)`), as the one that overflowed has no
//! room. Threads of the standard library have one; any other gets one of ours.
#![expect(unsafe_code, reason = "installs a signal handler and an alternate stack")]

use super::ffi::{self, Handler, Sigaction, Siginfo, SignalStack};
use super::{check, stack};
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::fmt::{self, Write};
use std::io;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What the handler knows of a stack.
///
/// Entries are never freed: a handler on another thread may be looking through them at any time.
/// Those that are not in use are used again, so there are as many as there were stacks at once.
#[derive(Debug)]
pub(in crate::sys) struct Entry {
    /// Where the guard begins; 0 if the entry is not in use. Written last, and cleared first.
    guard: AtomicUsize,
    /// Where the guard ends and the stack begins.
    bottom: AtomicUsize,
    top: AtomicUsize,
    /// Who was given the stack; null if nobody yet.
    made_at: AtomicPtr<Location<'static>>,
    /// The entry that was made before this one. Set before this one is published.
    next: Option<&'static Entry>,
}

/// The entry that was made last; from here all can be found.
static NEWEST: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());

/// Entries that are not in use. The handler does not touch it.
static UNUSED: Mutex<Vec<&'static Entry>> = Mutex::new(Vec::new());

/// What SIGSEGV did before.
static BEFORE: OnceLock<Sigaction> = OnceLock::new();

impl Entry {
    pub(in crate::sys) fn set_made_at(&self, made_at: &'static Location<'static>) {
        // The handler that needs it runs on this thread.
        self.made_at.store(ptr::from_ref(made_at).cast_mut(), Ordering::Relaxed);
    }
}

/// Makes a stack known to the handler.
pub(in crate::sys) fn insert(guard: usize, bottom: usize, top: usize) -> &'static Entry {
    let mut unused = UNUSED.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = unused.pop().unwrap_or_else(|| {
        let newest = NEWEST.load(Ordering::Acquire);
        // SAFETY: null, or an entry that was leaked below, and so lives for ever.
        let next = unsafe { newest.as_ref() };
        let entry: &'static Entry = Box::leak(Box::new(Entry {
            guard: AtomicUsize::new(0),
            bottom: AtomicUsize::new(0),
            top: AtomicUsize::new(0),
            made_at: AtomicPtr::new(ptr::null_mut()),
            next,
        }));
        // Under the lock, so nobody else has put one there in between.
        NEWEST.store(ptr::from_ref(entry).cast_mut(), Ordering::Release);
        entry
    });
    entry.made_at.store(ptr::null_mut(), Ordering::Relaxed);
    entry.bottom.store(bottom, Ordering::Relaxed);
    entry.top.store(top, Ordering::Relaxed);
    entry.guard.store(guard, Ordering::Release);
    entry
}

/// Takes a stack from the handler's knowledge, before it is unmapped.
pub(in crate::sys) fn remove(entry: &'static Entry) {
    entry.guard.store(0, Ordering::Release);
    UNUSED.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
}

/// The stack in whose guard the address is. Callable in a signal handler: it only loads atomics.
fn find(address: usize) -> Option<&'static Entry> {
    let newest = NEWEST.load(Ordering::Acquire);
    // SAFETY: null, or an entry that lives for ever.
    let mut next = unsafe { newest.as_ref() };
    while let Some(entry) = next {
        let guard = entry.guard.load(Ordering::Acquire);
        // An entry that changes meanwhile is that of another thread's stack, on which this
        // thread can't have faulted.
        if guard != 0 && (guard..entry.bottom.load(Ordering::Relaxed)).contains(&address) {
            return Some(entry);
        }
        next = entry.next;
    }
    None
}

/// Sees to it that an overflow on this thread is told of.
///
/// # Errors
/// Those of `sigaction(2)` and `sigaltstack(2)`: out of memory.
pub(in crate::sys) fn prepare() -> io::Result<()> {
    thread_local! {
        static PREPARED: Cell<bool> = const { Cell::new(false) };
    }
    if PREPARED.get() {
        return Ok(());
    }
    install()?;
    provide_stack()?;
    PREPARED.set(true);
    Ok(())
}

/// Installs the handler, once in the process's life.
fn install() -> io::Result<()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if BEFORE.get().is_some() {
        return Ok(());
    }
    let mut before = Sigaction::new(ffi::SIG_DFL, 0);
    // SAFETY: with a null pointer for the new action this only writes to `before`.
    check(unsafe { ffi::sigaction(ffi::SIGSEGV, ptr::null(), &mut before) })?;
    // First, so that the handler finds it from its first call on.
    let _ = BEFORE.set(before);
    let handler = on_fault as extern "C" fn(c_int, *const Siginfo, *mut c_void);
    let ours = Sigaction::new(handler as Handler, ffi::SA_SIGINFO | ffi::SA_ONSTACK);
    // SAFETY: `on_fault` has the signature that SA_SIGINFO asks for, does only what
    // signal-safety(7) allows, and lives for ever.
    check(unsafe { ffi::sigaction(ffi::SIGSEGV, &ours, ptr::null_mut()) })?;
    Ok(())
}

extern "C" fn on_fault(number: c_int, info: *const Siginfo, context: *mut c_void) {
    // SAFETY: the kernel passes a `siginfo_t` that lives as long as this call, as SA_SIGINFO says.
    let &Siginfo { code, address, .. } = unsafe { &*info };
    // A signal that a process sent has no address, but other things in that place.
    if let Some(entry) = find(address).filter(|_| code > 0) {
        entry.report();
        std::process::abort();
    }
    let before = BEFORE.get().copied().unwrap_or(Sigaction::new(ffi::SIG_DFL, 0));
    match before.handler {
        ffi::SIG_DFL | ffi::SIG_IGN => {
            let default = Sigaction::new(ffi::SIG_DFL, 0);
            // SAFETY: the default action runs no code of anybody's.
            let _ = unsafe { ffi::sigaction(number, &default, ptr::null_mut()) };
            // Returning makes the faulting instruction fault again, and that ends the process
            // with the right address in its core. A signal that was sent has to be sent again.
            if code <= 0 {
                let _ = ffi::raise(number);
            }
        }
        handler if before.flags & ffi::SA_SIGINFO != 0 => {
            // SAFETY: whoever installed it said by SA_SIGINFO that it has this signature.
            let handler = unsafe {
                std::mem::transmute::<Handler, extern "C" fn(c_int, *const Siginfo, *mut c_void)>(
                    handler,
                )
            };
            handler(number, info, context);
        }
        handler => {
            // SAFETY: without SA_SIGINFO a handler has this signature.
            let handler = unsafe { std::mem::transmute::<Handler, extern "C" fn(c_int)>(handler) };
            handler(number);
        }
    }
}

impl Entry {
    /// Writes to standard error, without allocating, whose stack overflowed.
    fn report(&self) {
        let mut line = Line { bytes: [0; 400], length: 0 };
        let (bottom, top) = (self.bottom.load(Ordering::Relaxed), self.top.load(Ordering::Relaxed));
        // SAFETY: null, or from a `&'static`.
        let made_at = unsafe { self.made_at.load(Ordering::Relaxed).as_ref() };
        // `Line` takes what fits and never fails.
        let _ = line.write_str("\nthe stack of the fiber made ");
        let _ = match made_at {
            Some(made_at) => write!(line, "at {made_at}"),
            None => line.write_str("at an unknown place"),
        };
        let bytes = top - bottom;
        let _ = writeln!(line, " has overflowed: {bytes} bytes at {bottom:#x}-{top:#x}");
        // SAFETY: the pointer and the length are those of initialized bytes. write(2) may be
        // called in a signal handler; that it fails changes nothing, as the process ends.
        let _ = unsafe { ffi::write(ffi::STDERR, line.bytes.as_ptr().cast(), line.length) };
    }
}

/// Text of a bounded length; what is too much is cut off.
struct Line {
    bytes: [u8; 400],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..];
        let taken = text.len().min(room.len());
        room[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        Ok(())
    }
}

/// Memory that signal handlers of this thread run on, given back when the thread ends.
struct AlternateStack {
    base: NonNull<c_void>,
    bytes: usize,
}

/// Gives the thread a stack for signal handlers, unless it has one.
fn provide_stack() -> io::Result<()> {
    thread_local! {
        static OWN: RefCell<Option<AlternateStack>> = const { RefCell::new(None) };
    }
    let mut now = SignalStack { base: ptr::null_mut(), flags: 0, bytes: 0 };
    // SAFETY: with a null pointer for the new stack this only writes to `now`.
    check(unsafe { ffi::sigaltstack(ptr::null(), &mut now) })?;
    if now.flags & ffi::SS_DISABLE == 0 {
        return Ok(());
    }
    let own = AlternateStack::new()?;
    // A thread that is ending anyway, whose thread-locals are gone, goes without.
    let _ = OWN.try_with(|place| place.replace(Some(own)));
    Ok(())
}

impl AlternateStack {
    fn new() -> io::Result<AlternateStack> {
        // What the kernel puts there itself grows with the processor's registers.
        let needed = ffi::getauxval(ffi::AT_MINSIGSTKSZ) as usize + 64 * 1024;
        let bytes = needed.next_multiple_of(stack::page_bytes());
        let flags = ffi::MAP_PRIVATE | ffi::MAP_ANONYMOUS | ffi::MAP_STACK;
        let access = ffi::PROT_READ | ffi::PROT_WRITE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other.
        let base = unsafe { ffi::mmap(ptr::null_mut(), bytes, access, flags, -1, 0) };
        if base.addr() == ffi::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?;
        // From here on its drop unmaps it.
        let own = AlternateStack { base, bytes };
        let new = SignalStack { base: base.as_ptr(), flags: 0, bytes };
        // SAFETY: the memory is mapped, nobody else's, and stays until `drop` takes it back.
        check(unsafe { ffi::sigaltstack(&new, ptr::null_mut()) })?;
        Ok(own)
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        let none = SignalStack { base: ptr::null_mut(), flags: ffi::SS_DISABLE, bytes: 0 };
        // SAFETY: taking the stack away touches no memory; a handler that ran on it can't be
        // running any more, as this is not one.
        let _ = unsafe { ffi::sigaltstack(&none, ptr::null_mut()) };
        // SAFETY: mapped in `new` with this length, and no longer the kernel's to use.
        let _ = unsafe { ffi::munmap(self.base.as_ptr(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_found_by_its_guard_alone_and_only_while_it_is_known() {
        // Addresses of the kernel's half, where no mapping of a test can be.
        let guard = usize::MAX - 0xffff;
        let entry = insert(guard, guard + 0x1000, guard + 0x9000);
        let found = |address| find(address).is_some_and(|found| ptr::eq(found, entry));
        assert!(found(guard) && found(guard + 0xfff));
        assert!(!found(guard - 1) && !found(guard + 0x1000) && !found(0));
        remove(entry);
        assert!(!found(guard));
    }

    #[test]
    fn what_does_not_fit_on_the_line_is_cut_off() {
        let mut line = Line { bytes: [0; 400], length: 0 };
        for _ in 0..50 {
            line.write_str("0123456789").unwrap();
        }
        assert_eq!(line.length, 400);
    }
}

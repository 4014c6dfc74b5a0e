//! The reactor whose runtime's turn it is on this thread.

use super::{Reactor, TimerQueue};
use crate::innermost::{self, Hidden};
use crate::sys::KernelHandle;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::ptr;
use std::rc::Rc;

thread_local! {
    /// The reactor itself. Without a destructor: a runtime that is itself in a thread-local is
    /// dropped when those with one may be gone. `Entered` empties it.
    static CURRENT: RefCell<ManuallyDrop<Option<Rc<Reactor>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
    /// Its address, which most only want to compare with another; null without one.
    static ADDRESS: Cell<*const Reactor> = const { Cell::new(ptr::null()) };
    /// The address of its timers.
    static TIMERS: Cell<*const TimerQueue> = const { Cell::new(ptr::null()) };
}

/// Whether there is one.
#[inline]
pub(super) fn is_there() -> bool {
    !ADDRESS.get().is_null()
}

/// Whether it is the one at this address, which is not null.
#[inline]
pub(super) fn is_at(address: *const Reactor) -> bool {
    ptr::eq(address, ADDRESS.get())
}

impl TimerQueue {
    /// That of the reactor whose runtime's turn it is on this thread.
    #[inline]
    pub(crate) fn current() -> Option<Rc<TimerQueue>> {
        Reactor::with_current(|reactor| Rc::clone(reactor.timers()))
    }

    /// Whether it is that one.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        ptr::eq(self, TIMERS.get())
    }
}

impl Reactor {
    /// The reactor whose runtime's turn it is on this thread.
    pub(crate) fn current() -> Option<Rc<Reactor>> {
        CURRENT.with(|current| Option::clone(&current.borrow()))
    }

    /// Lends it out, to code of our own only: a waker, say, could enter another meanwhile.
    #[inline]
    pub(crate) fn with_current<T>(code: impl FnOnce(&Rc<Reactor>) -> T) -> Option<T> {
        CURRENT.with(|current| current.borrow().as_ref().map(code))
    }

    /// Makes this the thread's current reactor until the guard is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        Entered::new(Some(Rc::clone(self)))
    }
}

/// Leaves the current reactor when dropped, also when a panic passes.
pub(crate) struct Entered {
    before: Option<Rc<Reactor>>,
    /// What is entered is left in the order in which it was entered, backwards.
    _ordered: Hidden,
}

impl Entered {
    fn new(reactor: Option<Rc<Reactor>>) -> Entered {
        Entered { before: exchange(reactor), _ordered: innermost::hide() }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(exchange(self.before.take()));
    }
}

/// Leaves it until the guard is dropped: what is done meanwhile is done as on another thread.
#[cfg(any(test, feature = "sim"))]
pub(crate) fn leave() -> Entered {
    Entered::new(None)
}

fn exchange(reactor: Option<Rc<Reactor>>) -> Option<Rc<Reactor>> {
    TIMERS.set(reactor.as_ref().map_or(ptr::null(), |reactor| Rc::as_ptr(reactor.timers())));
    ADDRESS.set(reactor.as_ref().map_or(ptr::null(), Rc::as_ptr));
    let before = CURRENT.with(|current| current.replace(ManuallyDrop::new(reactor)));
    ManuallyDrop::into_inner(before)
}

/// The kernel of the runtime whose turn it is, or Linux outside of any.
#[inline]
pub(crate) fn current_kernel() -> KernelHandle {
    if KernelHandle::IS_ALWAYS_LINUX {
        return KernelHandle::linux();
    }
    Reactor::with_current(|reactor| reactor.kernel().clone()).unwrap_or(KernelHandle::linux())
}

/// Nanoseconds on the clock of that kernel.
#[inline]
pub(crate) fn now() -> u64 {
    current_kernel().now()
}

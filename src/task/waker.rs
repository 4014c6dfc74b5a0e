//! The waker of a task: its data is the header's address, and it owns one reference.
#![expect(unsafe_code, reason = "a raw waker is made of raw pointers")]

use super::cell::Task;
use super::header::Header;
use super::home::{AtHome, Shared};
use super::inbox::Message;
use super::state::{OnRemoteWake, Remote};
use crate::contain::contain;
use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::task::{RawWaker, RawWakerVTable, Waker};

static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);

/// A waker that does not own a reference.
///
/// # Safety
/// `header` is that of a cell that stays live for as long as the waker is used.
#[inline]
pub(super) unsafe fn borrowed(header: NonNull<Header>) -> ManuallyDrop<Waker> {
    let data = header.as_ptr().cast_const().cast();
    // SAFETY: the functions of `WAKER` keep the contract of `RawWaker` for a header's pointer; no
    // reference is dropped with the result, and the caller keeps the cell live.
    ManuallyDrop::new(unsafe { Waker::new(data, &WAKER) })
}

/// # Safety
/// `data` is that of a waker made here.
#[inline]
unsafe fn header_of(data: *const ()) -> NonNull<Header> {
    // SAFETY: `borrowed` and `clone` make the data of a non-null pointer.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the contract of `RawWaker`.
    let header = unsafe { header_of(data) };
    // SAFETY: the waker keeps its cell live.
    unsafe { header.as_ref() }.share();
    RawWaker::new(data, &WAKER)
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the contract of `RawWaker`.
    let header = unsafe { header_of(data) };
    // SAFETY: the waker keeps its cell live.
    match AtHome::of(unsafe { header.as_ref() }) {
        // SAFETY: the waker keeps its cell live.
        Some(home) => unsafe { home.wake(header) },
        // SAFETY: the waker keeps its cell live.
        None => unsafe { wake_remote(header) },
    }
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the contract of `RawWaker`.
    let header = unsafe { header_of(data) };
    // SAFETY: the waker keeps its cell live until its reference is given up below.
    match AtHome::of(unsafe { header.as_ref() }) {
        Some(home) => {
            // SAFETY: the waker keeps its cell live.
            unsafe { home.wake(header) };
            // SAFETY: the waker's reference is given up.
            unsafe { Header::release(header) };
        }
        // SAFETY: the waker's reference is given up.
        None => send_wake(unsafe { Task::from_header(header) }),
    }
}

unsafe fn release(data: *const ()) {
    // SAFETY: the contract of `RawWaker`.
    let header = unsafe { header_of(data) };
    // SAFETY: the waker's reference is given up.
    unsafe { Header::release(header) };
}

/// A wake from elsewhere, by reference.
///
/// # Safety
/// `header` is that of a live cell.
#[cold]
unsafe fn wake_remote(header: NonNull<Header>) {
    // SAFETY: the caller's promise.
    let this = unsafe { header.as_ref() };
    if !this.status().is_done() && this.step(Remote::wake_by_ref) == OnRemoteWake::Send {
        // SAFETY: the step counted a reference for the message.
        send(unsafe { Task::from_header(header) });
    }
}

/// A wake from elsewhere, by value.
#[cold]
fn send_wake(task: Task) {
    let header = task.header();
    if !header.status().is_done() && header.step(Remote::wake) == OnRemoteWake::Send {
        send(task);
    }
}

fn send(task: Task) {
    let home = Shared::of(&task);
    // If it comes back its home is gone, and the task over.
    drop(home.inbox().push(Message::Woken(task)));
}

impl AtHome<'_> {
    /// Wakes a task by reference, if `waker` is that of one of this home's: then no other code is
    /// run. Else this does nothing, and returns false.
    #[inline(always)]
    pub(crate) fn wake_own(self, waker: &Waker) -> bool {
        if !ptr::eq(waker.vtable(), &raw const WAKER) {
            return false;
        }
        // SAFETY: a waker with that table was made here.
        let header = unsafe { header_of(waker.data()) };
        // SAFETY: the waker keeps its cell live.
        if !self.is_home_of(unsafe { header.as_ref() }) {
            return false;
        }
        // SAFETY: the waker keeps its cell live.
        unsafe { self.wake(header) };
        true
    }
}

impl Task {
    /// Asks the task's home to drop the future.
    pub(super) fn abort(&self) {
        let header = self.header();
        if let Some(home) = AtHome::of(header) {
            // SAFETY: this reference keeps the cell live.
            unsafe { home.abort(self.as_ptr()) };
        } else if !header.status().is_done() && header.step(Remote::abort) == OnRemoteWake::Send {
            // SAFETY: the step counted a reference for the message.
            send(unsafe { Task::from_header(self.as_ptr()) });
        }
    }
}

/// A place for a waker that is woken again and again, on one thread.
///
/// Mostly it is a task's of the home that has its turn: that one is woken where it is. With any
/// other, foreign code runs, and meanwhile the place has one that does nothing, as when it is
/// empty: what is in it is never borrowed while it may be replaced.
pub(crate) struct WakerSlot(UnsafeCell<Waker>);

impl WakerSlot {
    pub(crate) const fn new() -> WakerSlot {
        WakerSlot(UnsafeCell::new(NO_WAKER))
    }

    /// Puts another in; what was there.
    pub(crate) fn replace(&self, waker: Waker) -> Waker {
        // SAFETY: `UnsafeCell` keeps this on one thread, and no borrow of what is in it is left.
        unsafe { self.0.get().replace(waker) }
    }

    /// Takes out what is in it. One that is just being woken does not come back.
    pub(crate) fn clear(&self) -> Waker {
        self.replace(Waker::noop().clone())
    }

    /// Whether `waker` wakes what that in it does.
    #[inline(always)]
    pub(crate) fn holds(&self, waker: &Waker) -> bool {
        // SAFETY: as above; until it ends nothing is called that could put another in.
        unsafe { &*self.0.get() }.will_wake(waker)
    }

    /// Wakes what is in it. That stays, unless another comes meanwhile.
    #[inline(always)]
    pub(crate) fn wake(&self) {
        // SAFETY: as in `holds`: to wake a task at its home is to queue it.
        if !wake_at_home(unsafe { &*self.0.get() }) {
            self.wake_elsewhere();
        }
    }

    /// Wakes one that is foreign, or of a task that is at home elsewhere.
    #[cold]
    #[inline(never)]
    fn wake_elsewhere(&self) {
        let waker = self.replace(NO_WAKER);
        contain(|| waker.wake_by_ref());
        let newer = self.replace(waker);
        if !newer.will_wake(&NO_WAKER) {
            let older = self.replace(newer);
            contain(|| drop(older));
        }
    }
}

/// A waker that does nothing.
// SAFETY: functions that do nothing keep the contract of `RawWaker` with any data.
const NO_WAKER: Waker = unsafe { Waker::new(ptr::null(), &NOTHING) };

static NOTHING: RawWakerVTable =
    RawWakerVTable::new(|data| RawWaker::new(data, &NOTHING), |_| (), |_| (), |_| ());

/// Wakes a task by reference, if `waker` is that of one whose home has its turn: then no other code
/// is run. Else this does nothing, and returns false.
#[inline(always)]
fn wake_at_home(waker: &Waker) -> bool {
    if !ptr::eq(waker.vtable(), &raw const WAKER) {
        return false;
    }
    // SAFETY: a waker with that table was made here.
    let header = unsafe { header_of(waker.data()) };
    // SAFETY: the waker keeps its cell live.
    let Some(home) = AtHome::of(unsafe { header.as_ref() }) else { return false };
    // SAFETY: the waker keeps its cell live.
    unsafe { home.wake(header) };
    true
}

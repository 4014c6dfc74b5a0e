//! What is the same for every task, and the counting of references.
#![expect(unsafe_code, reason = "ends cells when their last reference goes")]

use super::Id;
use super::cell::{Task, VACANT, Vtable};
use super::home::{AtHome, FIRST_REFERENCES, Shared};
use super::inbox::Message;
use super::queue::Next;
use super::state::{OnRelease, Place, Remote, Status};
use crate::lock::lock;
use std::cell::Cell;
use std::mem;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::Waker;

/// References that home counts at most; more are counted in the remote word. Both together fit in
/// that.
pub(super) const LOCAL_MAX: u32 = 1 << 26;

/// What every task has, before its future.
///
/// `Cell`s are home's alone, and so is writing to `local` and `status`, which are atomic since
/// others read the status at any time, and both after home is gone. `remote` is everyone's. Seat,
/// vtable, name and place of origin are never written to while there are references, and so may be
/// read by all who have one.
pub(super) struct Header {
    /// The references that home counts; 0 once the counts are merged.
    pub(super) local: AtomicU32,
    /// A [`Remote`].
    pub(super) remote: AtomicU32,
    /// A [`Status`].
    pub(super) status: AtomicU8,
    pub(super) place: Cell<Place>,
    /// How far behind the start of its chunk the cell is.
    pub(super) chunk_offset: u32,
    pub(super) vtable: Cell<&'static Vtable>,
    /// The home. The chunk owns a reference to it.
    pub(super) home: NonNull<Shared>,
    pub(super) id: Cell<Id>,
    pub(super) spawned_at: Cell<&'static Location<'static>>,
    /// The next in the run queue, if it is in there.
    pub(super) next: Next,
    /// Whom to wake at the end.
    pub(super) join_waker: Cell<Option<Waker>>,
}

/// How a task begins.
pub(super) struct First {
    pub(super) id: Id,
    pub(super) spawned_at: &'static Location<'static>,
}

/// Takes one step on a remote word, atomically.
///
/// A step that changes nothing is written all the same. A wake that finds a message under way
/// must publish what its caller wrote before it, or the poll to come may miss that: a plain
/// load could even be answered from before the message arrived.
///
/// It borrows the word and no more, which all is atomic: when the step gives a reference up, others
/// may free the cell before this returns, and a borrow of the plain parts must not last so long.
fn step_on<R>(remote: &AtomicU32, step: impl Fn(Remote) -> (Remote, R)) -> R {
    let mut now = remote.load(Ordering::Acquire);
    loop {
        let (next, result) = step(Remote::from_bits(now));
        let next = next.bits();
        match remote.compare_exchange_weak(now, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return result,
            Err(changed) => now = changed,
        }
    }
}

/// Held by who merges the counts of a task whose home is gone.
static MERGING: Mutex<()> = Mutex::new(());

impl Header {
    /// A vacant cell's, so far behind its chunk's start. It looks like that of a task that is over.
    pub(super) fn vacant(home: NonNull<Shared>, chunk_offset: u32) -> Header {
        Header {
            local: AtomicU32::new(FIRST_REFERENCES),
            remote: AtomicU32::new(Remote::NEW.bits()),
            status: AtomicU8::new(0),
            place: Cell::new(Place::Over),
            chunk_offset,
            vtable: Cell::new(&VACANT),
            home,
            id: Cell::new(Id(0)),
            spawned_at: Cell::new(Location::caller()),
            next: Cell::new(None),
            join_waker: Cell::new(None),
        }
    }

    /// Makes a vacant cell's a new task's, which is queued. Its seat is as it was, the counts are
    /// as the last task left them, nobody waits for the end of either, and the queue says itself
    /// what is next.
    #[inline]
    pub(super) fn begin(&self, vtable: &'static Vtable, first: First) {
        debug_assert_eq!(self.place.get(), Place::Over);
        debug_assert_eq!(self.local.load(Ordering::Relaxed), FIRST_REFERENCES);
        debug_assert_eq!(self.remote.load(Ordering::Relaxed), Remote::NEW.bits());
        debug_assert!(self.join_waker.take().is_none(), "the last task's joiner was told");
        self.status.store(Status::NEW.bits(), Ordering::Relaxed);
        self.place.set(Place::Queued);
        self.vtable.set(vtable);
        self.id.set(first.id);
        self.spawned_at.set(first.spawned_at);
    }

    /// What a vacant cell names, and nothing else does. It is behind the header, of which parts are
    /// still needed.
    ///
    /// # Safety
    /// A vacant cell, in which that was written.
    #[inline]
    pub(super) unsafe fn vacant_link(header: NonNull<Header>) -> *mut Header {
        // SAFETY: a cell has room for it, as `Cell::write` has it.
        let link = unsafe { header.add(1) }.cast();
        // SAFETY: the caller's promise.
        unsafe { link.read() }
    }

    /// # Safety
    /// A vacant cell, which is the caller's.
    #[inline]
    pub(super) unsafe fn set_vacant_link(header: NonNull<Header>, other: *mut Header) {
        // SAFETY: a cell has room for it, as `Cell::write` has it.
        let link = unsafe { header.add(1) }.cast();
        // SAFETY: the caller's promise.
        unsafe { link.write(other) };
    }

    /// The counts of a task to come, in a cell to which nobody refers.
    pub(super) fn reset_counts(&self) {
        self.local.store(FIRST_REFERENCES, Ordering::Relaxed);
        self.remote.store(Remote::NEW.bits(), Ordering::Relaxed);
    }

    pub(super) fn status(&self) -> Status {
        // What was done before the task was over is seen by who sees it over.
        Status::from_bits(self.status.load(Ordering::Acquire))
    }

    /// At home: what nobody else writes is read without ordering.
    #[inline]
    pub(super) fn status_at_home(&self) -> Status {
        Status::from_bits(self.status.load(Ordering::Relaxed))
    }

    /// At home.
    #[inline]
    pub(super) fn set_status(&self, status: Status) {
        self.status.store(status.bits(), Ordering::Release);
    }

    /// Takes one step on the remote word, as [`step_on`].
    pub(super) fn step<R>(&self, step: impl Fn(Remote) -> (Remote, R)) -> R {
        step_on(&self.remote, step)
    }

    /// One reference more.
    #[inline]
    pub(super) fn share(&self) {
        if AtHome::of(self).is_some() {
            let local = self.local.load(Ordering::Relaxed);
            // Neither merged, nor as many as there may be.
            if local.wrapping_sub(1) < LOCAL_MAX - 1 {
                self.local.store(local + 1, Ordering::Relaxed);
                return;
            }
        }
        self.share_remote();
    }

    #[cold]
    fn share_remote(&self) {
        self.step(|remote| (remote.share(), ()));
    }

    /// One reference fewer.
    ///
    /// # Safety
    /// `header` is that of a live cell, and the caller owns a reference and gives it up.
    #[inline]
    pub(super) unsafe fn release(header: NonNull<Header>) {
        // SAFETY: the caller's reference keeps the cell live.
        match AtHome::of(unsafe { header.as_ref() }) {
            // SAFETY: the caller's promise.
            Some(home) => unsafe { Header::release_at(home, header) },
            // SAFETY: the caller's promise.
            None => unsafe { Header::release_remote(header) },
        }
    }

    /// The same at the task's home.
    ///
    /// # Safety
    /// As [`Header::release`].
    #[inline]
    pub(super) unsafe fn release_at(home: AtHome<'_>, header: NonNull<Header>) {
        // SAFETY: the caller's reference keeps the cell live.
        let this = unsafe { header.as_ref() };
        let is_first = this.local.load(Ordering::Relaxed) == FIRST_REFERENCES;
        // Without an atomic instruction: the head of `state` says why the past is enough.
        if is_first && this.remote.load(Ordering::Acquire) == Remote::NEW.bits() {
            // The counts stay as a new task's are.
            // SAFETY: that was the last reference.
            unsafe { home.put(header) };
        } else {
            // SAFETY: the caller's promise.
            unsafe { Header::release_one(home, header) };
        }
    }

    /// At home, where there are or were more.
    ///
    /// # Safety
    /// As [`Header::release`], at home.
    #[inline(never)]
    unsafe fn release_one(home: AtHome<'_>, header: NonNull<Header>) {
        // SAFETY: the caller's reference keeps the cell live.
        let this = unsafe { header.as_ref() };
        let local = this.local.load(Ordering::Relaxed);
        if local > 1 {
            return this.local.store(local - 1, Ordering::Relaxed);
        }
        let remote = Remote::from_bits(this.remote.load(Ordering::Acquire));
        let last = if local == 1 && remote.references() == 0 {
            true
        } else if local == 1 {
            this.local.store(0, Ordering::Relaxed);
            step_on(&this.remote, |remote| remote.merge(0))
        } else {
            step_on(&this.remote, Remote::release) == OnRelease::Free
        };
        if last {
            this.reset_counts();
            // SAFETY: that was the last reference.
            unsafe { home.put(header) };
        }
    }

    /// Elsewhere than at home.
    ///
    /// # Safety
    /// As [`Header::release`].
    #[cold]
    unsafe fn release_remote(header: NonNull<Header>) {
        // SAFETY: the caller's reference keeps the cell live.
        let this = unsafe { header.as_ref() };
        match step_on(&this.remote, Remote::release) {
            OnRelease::Nothing => {}
            // SAFETY: that was the last reference.
            OnRelease::Free => unsafe { Shared::put(header) },
            OnRelease::SendHome => {
                // SAFETY: the caller gives up a reference, which goes with the message.
                let task = unsafe { Task::from_header(header) };
                let home = Shared::of(&task);
                if let Err(message) = home.inbox().push(Message::Released(task)) {
                    // Home is gone, and counts no more. The reference is still the caller's.
                    mem::forget(message);
                    this.merge();
                    if step_on(&this.remote, Remote::release) == OnRelease::Free {
                        // SAFETY: that was the last reference.
                        unsafe { Shared::put(header) };
                    }
                }
            }
        }
    }

    /// Adds home's count to the remote one, in its place: home is gone.
    fn merge(&self) {
        let _merging = lock(&MERGING);
        if !Remote::from_bits(self.remote.load(Ordering::Acquire)).is_merged() {
            // Who found the inbox closed sees all that home did before it closed it.
            let local = self.local.swap(0, Ordering::Relaxed);
            // Not zero: the caller's reference is among them.
            let _last = self.step(|remote| remote.merge(local));
        }
    }
}

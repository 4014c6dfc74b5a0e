//! The task cell: header, future and output in one block of memory, behind counted references.
//!
//! ```text
//!   Task, Waker, JoinHandle, AbortHandle          each one reference
//!        |
//!        v
//!   +-- Header --------------------------------------+-- the rest of Cell<F> -----+
//!   | counts | status | vtable | home | id           | stage: future,             |
//!   | spawned at | place, next: home's | join waker  | or output, or empty        |
//!   +------------------------------------------------+----------------------------+
//! ```
//!
//! The header is the same for all tasks; what lies behind it only the vtable's functions know.
//! No `&mut` to a cell is ever formed: others look at the header at any time. `state` says who may
//! do what when. The stage belongs to home until the task is over; then to the join handle, until
//! that is detached, and to home again.
#![expect(unsafe_code, reason = "the cell is shared between threads under the state's rules")]

use super::Id;
use super::chunk::Kind;
use super::header::{First, Header};
use super::join::JoinError;
use super::waker;
use crate::contain::{contain, drop_payload};
use std::alloc::Layout;
use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll};

/// One task: `F` is its future. A header, and directly behind it the stage, whatever that is
/// aligned to: so the output is found without knowing `F`.
pub(super) struct Cell<F: Future>(PhantomData<F>);

/// What stands behind the header: the future until the task is over, then the output. Both begin
/// where this begins, as `repr(C)` has it.
#[repr(C)]
union Stage<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Output<F::Output>>,
}

/// Whoever owns it takes it or drops it, and then nobody does.
type Output<T> = Result<T, JoinError>;

/// What lies behind a header. The functions take a pointer to the header of a live cell of their
/// own type.
pub(super) struct Vtable {
    /// Polls the future. True if it is over: then it is dropped, and the output in place.
    /// At home only, before the task is over, and with a reference that lasts until after it.
    pub(super) poll: unsafe fn(NonNull<Header>) -> bool,
    /// Drops the future and puts an output in its place that says so. By who has the future.
    pub(super) cancel: unsafe fn(NonNull<Header>),
    /// Drops the output. The output's owner only, who has not taken it.
    pub(super) drop_output: unsafe fn(NonNull<Header>),
}

impl<F: Future + 'static> Cell<F> {
    pub(super) const KIND: Kind = Kind::of(Layout::new::<Stage<F>>());

    /// For tasks that are spawned elsewhere.
    pub(super) const SINGLE: Kind = Kind::single(Layout::new::<Stage<F>>());

    const VTABLE: Vtable =
        Vtable { poll: Self::poll, cancel: Self::cancel, drop_output: Self::drop_output };

    /// Makes a vacant cell a task's.
    ///
    /// # Safety
    /// It is the caller's, and this type's.
    #[inline]
    pub(super) unsafe fn write(vacant: NonNull<Header>, first: First, future: F) {
        // SAFETY: the caller's promise.
        unsafe { vacant.as_ref() }.begin(&Self::VTABLE, first);
        let stage = Self::stage(vacant);
        // SAFETY: as above.
        unsafe { stage.write(Stage { future: ManuallyDrop::new(future) }) };
    }

    /// Where its stage is.
    #[inline]
    fn stage(header: NonNull<Header>) -> *mut Stage<F> {
        header.as_ptr().wrapping_add(1).cast()
    }

    /// # Safety
    /// As [`Vtable::poll`].
    unsafe fn poll(header: NonNull<Header>) -> bool {
        let stage = Self::stage(header);
        // Made here, where the future's type is known: what it does with its waker is then compiled
        // as a call of the function that the waker stands for.
        // SAFETY: the caller's reference keeps the cell live for longer.
        let waker = unsafe { waker::borrowed(header) };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: before the task is over the stage holds its future, and home alone has it.
            let future = unsafe { &mut *stage.cast::<F>() };
            // SAFETY: the future never moves: the cell stays where it is, and `put` drops it in
            // place.
            unsafe { Pin::new_unchecked(future) }.poll(&mut Context::from_waker(&waker))
        }));
        match polled {
            Ok(Poll::Pending) => false,
            Ok(Poll::Ready(output)) => {
                // SAFETY: as for the future above, which is done with.
                unsafe { Self::put(stage, Ok(output)) };
                true
            }
            Err(payload) => {
                // SAFETY: as above.
                unsafe { Self::put_panic(stage, payload) };
                true
            }
        }
    }

    /// # Safety
    /// As [`Cell::put`].
    #[cold]
    unsafe fn put_panic(stage: *mut Stage<F>, payload: Payload) {
        // SAFETY: the caller's promise.
        unsafe { Self::put(stage, Err(JoinError::panicked(payload))) };
    }

    /// # Safety
    /// As [`Vtable::cancel`].
    unsafe fn cancel(header: NonNull<Header>) {
        let stage = Self::stage(header);
        // SAFETY: the caller has the future, and with it the stage.
        unsafe { Self::put(stage, Err(JoinError::aborted())) };
    }

    /// Drops the future where it stands, then puts the output in its place. If the drop panics,
    /// that is the output, unless there is a value: a value that was ready wins.
    ///
    /// # Safety
    /// The stage is the caller's alone, and holds the future.
    #[inline]
    unsafe fn put(stage: *mut Stage<F>, output: Result<F::Output, JoinError>) {
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the caller's promise; a place whose drop panics counts as dropped.
            unsafe { ptr::drop_in_place(stage.cast::<F>()) };
        }));
        let output = match dropped {
            Ok(()) => output,
            Err(payload) => late_panic(output, payload),
        };
        // SAFETY: writable, and what was there is dropped.
        unsafe { stage.write(Stage { output: ManuallyDrop::new(output) }) };
    }

    /// # Safety
    /// As [`Vtable::drop_output`].
    unsafe fn drop_output(header: NonNull<Header>) {
        let stage = Self::stage(header);
        // SAFETY: the caller owns the output, which is in the stage once the task is over.
        let output = unsafe { stage.cast::<Output<F::Output>>().read() };
        contain(|| drop(output));
    }
}

/// What the drop of a future that panics makes of the output. A value that was ready wins.
#[cold]
fn late_panic<T>(output: Result<T, JoinError>, payload: Payload) -> Result<T, JoinError> {
    match output {
        Err(error) if error.is_aborted() => Err(JoinError::panicked(payload)),
        output => {
            drop_payload(payload);
            output
        }
    }
}

/// One reference to a task.
pub(crate) struct Task(NonNull<Header>);

// SAFETY: what a task's methods do elsewhere than at home goes through the atomic remote word and
// the inbox; the future is touched at home only, and the output by whom the state names its owner.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}

impl Task {
    /// # Safety
    /// `header` is that of a live cell, and the caller owns a reference and gives it up to this.
    #[inline]
    pub(super) const unsafe fn from_header(header: NonNull<Header>) -> Task {
        Task(header)
    }

    #[inline]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: this reference keeps the cell live, and only shared references are formed to it.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> NonNull<Header> {
        self.0
    }

    /// Whether both refer to one task.
    pub(super) fn is_same(&self, other: &Task) -> bool {
        self.0 == other.0
    }

    pub(crate) fn id(&self) -> Id {
        self.header().id.get()
    }

    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        self.header().spawned_at.get()
    }

    /// Moves the output out.
    ///
    /// # Safety
    /// The task is over, the output is the caller's until now, and `T` its type.
    #[inline]
    pub(super) unsafe fn take_output<T>(&self) -> Output<T> {
        let output = self.0.as_ptr().wrapping_add(1).cast::<Output<T>>();
        // SAFETY: there the output lies, in the same cell. The caller owned it: nobody else touches
        // the stage, now or later.
        unsafe { output.read() }
    }

    /// Drops the output.
    ///
    /// # Safety
    /// The task is over, the output is the caller's until now, and it may be dropped on this
    /// thread.
    pub(super) unsafe fn drop_output(&self) {
        // SAFETY: the caller's promise.
        unsafe { (self.header().vtable.get().drop_output)(self.0) };
    }
}

impl Clone for Task {
    #[inline]
    fn clone(&self) -> Task {
        self.header().share();
        Task(self.0)
    }
}

impl Drop for Task {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this is a reference, and it is gone now.
        unsafe { Header::release(self.0) };
    }
}

/// The payload of a panic, as a join error carries it.
pub(super) type Payload = Box<dyn Any + Send>;

/// What stands in the place of a task's functions in a vacant cell, and is not called.
pub(super) static VACANT: Vtable = Vtable { poll: |_| false, cancel: |_| (), drop_output: |_| () };

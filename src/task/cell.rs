//! The task cell: header, future and output in one allocation, behind counted references.
//!
//! ```text
//!   Task, Waker, JoinHandle, AbortHandle          each one reference
//!        |
//!        v
//!   +-- Header -------------------------------+-- the rest of Cell<F, S> ------+
//!   | state | vtable | id | spawned at | key  | schedule | stage: future,      |
//!   |       |        |    |            |      |          | or output, or empty |
//!   | join waker                              |          |                     |
//!   +-----------------------------------------+--------------------------------+
//! ```
//!
//! The header is the same for all tasks; what lies behind it only the vtable's functions know.
//! No `&mut` to a cell is ever formed: other threads look at the header at any time. Parts that
//! change without atomics are in `UnsafeCell`s, and `state` says who may touch them when.
#![expect(unsafe_code, reason = "the cell is shared between threads under the state's rules")]

use super::join::{JoinError, JoinHandle};
use super::state::{OnComplete, OnPend, OnRun, OnWake, Snapshot, State};
use super::{Id, Schedule};
use crate::contain::{contain, drop_payload};
use crate::slab::Key;
use std::any::Any;
use std::cell::UnsafeCell;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

/// What is the same for every task.
pub(super) struct Header {
    pub(super) state: State,
    vtable: &'static Vtable,
    pub(super) id: Id,
    pub(super) spawned_at: &'static Location<'static>,
    /// Where the executor keeps its own reference.
    key: Key,
    /// The handle's while the state says not `WAITING`, then the completing side's.
    pub(super) join_waker: UnsafeCell<Option<Waker>>,
}

/// One task: `F` is its future, `S` how it is scheduled.
#[repr(C)]
struct Cell<F: Future, S> {
    header: Header,
    schedule: Arc<S>,
    /// Home's until `DONE`; after that the output's owner's.
    stage: UnsafeCell<Stage<F>>,
}

enum Stage<F: Future> {
    Future(F),
    Output(Result<F::Output, JoinError>),
    Empty,
}

/// The functions that know what lies behind a header. Each takes a pointer to the header of a live
/// cell of its own type.
pub(super) struct Vtable {
    /// Polls the future. True if it is over: then it is dropped, and the output in place.
    /// At home only, between `run` and `pend` or `complete`.
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    /// Drops the future and puts an output in its place that says so. At home only, while the
    /// future is home's to touch.
    cancel: unsafe fn(NonNull<Header>),
    /// Moves the output to a `*mut Option<Result<F::Output, JoinError>>`. The output's owner only.
    take_output: unsafe fn(NonNull<Header>, *mut ()),
    /// Drops the output, if there is one. The output's owner only.
    drop_output: unsafe fn(NonNull<Header>),
    /// Hands one reference to the scheduler; null, or the same again if the runtime is gone.
    schedule: unsafe fn(NonNull<Header>) -> *mut Header,
    /// Whether the calling thread is in the task's runtime.
    is_home: unsafe fn(NonNull<Header>) -> bool,
    /// Whether the pointer is to the task's own scheduler.
    is_scheduled_by: unsafe fn(NonNull<Header>, *const ()) -> bool,
    /// Frees the cell, which nobody refers to.
    free: unsafe fn(NonNull<Header>),
}

impl<F: Future + 'static, S: Schedule> Cell<F, S> {
    const VTABLE: Vtable = Vtable {
        poll: Self::poll,
        cancel: Self::cancel,
        take_output: Self::take_output,
        drop_output: Self::drop_output,
        schedule: Self::schedule,
        is_home: Self::is_home,
        is_scheduled_by: Self::is_scheduled_by,
        free: Self::free,
    };

    /// # Safety
    /// `header` is that of a live `Cell<F, S>`.
    unsafe fn stage(header: NonNull<Header>) -> *mut Stage<F> {
        let cell = header.cast::<Self>().as_ptr();
        // SAFETY: the cell is live; no reference is formed, only the field's address.
        let stage = unsafe { &raw const (*cell).stage };
        UnsafeCell::raw_get(stage)
    }

    /// # Safety
    /// As [`Vtable::poll`].
    unsafe fn poll(header: NonNull<Header>, cx: &mut Context<'_>) -> bool {
        // SAFETY: the caller's promise.
        let stage = unsafe { Self::stage(header) };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: before `DONE` the stage is home's alone, and only `RUNNING` code is here.
            let Stage::Future(future) = (unsafe { &mut *stage }) else {
                unreachable!("a task that is run holds its future")
            };
            // SAFETY: the future never moves: the cell stays where it is, and `replace` drops it
            // in place.
            unsafe { Pin::new_unchecked(future) }.poll(cx)
        }));
        let output = match polled {
            Ok(std::task::Poll::Pending) => return false,
            Ok(std::task::Poll::Ready(output)) => Ok(output),
            Err(payload) => Err(JoinError::panicked(payload)),
        };
        // SAFETY: as for the stage above; the future is done with.
        unsafe { Self::replace(stage, output) };
        true
    }

    /// # Safety
    /// As [`Vtable::cancel`].
    unsafe fn cancel(header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        let stage = unsafe { Self::stage(header) };
        // SAFETY: the caller says that the future is home's to touch, and this is home.
        unsafe { Self::replace(stage, Err(JoinError::aborted())) };
    }

    /// Drops the future where it stands, then puts the output in its place. If the drop panics,
    /// that is the output, unless there is a value: a value that was ready wins.
    ///
    /// # Safety
    /// The stage is the caller's alone.
    unsafe fn replace(stage: *mut Stage<F>, output: Result<F::Output, JoinError>) {
        // SAFETY: the stage is the caller's alone; a place whose drop panics counts as dropped.
        let drop = || unsafe { std::ptr::drop_in_place(stage) };
        let output = match (catch_unwind(AssertUnwindSafe(drop)), output) {
            (Err(payload), Err(error)) if error.is_aborted() => Err(JoinError::panicked(payload)),
            (Err(payload), output) => {
                drop_payload(payload);
                output
            }
            (Ok(()), output) => output,
        };
        // SAFETY: writable, and what was there is dropped.
        unsafe { stage.write(Stage::Output(output)) };
    }

    /// # Safety
    /// As [`Vtable::take_output`].
    unsafe fn take_output(header: NonNull<Header>, into: *mut ()) {
        // SAFETY: the caller's promise.
        let stage = unsafe { Self::stage(header) };
        // SAFETY: the caller owns the output, and with it the stage.
        let taken = mem::replace(unsafe { &mut *stage }, Stage::Empty);
        if let Stage::Output(output) = taken {
            let into = into.cast::<Option<Result<F::Output, JoinError>>>();
            // SAFETY: the caller says that `into` is of this type and its own.
            unsafe { *into = Some(output) };
        }
    }

    /// # Safety
    /// As [`Vtable::drop_output`].
    unsafe fn drop_output(header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        let stage = unsafe { Self::stage(header) };
        // SAFETY: the caller owns the output, and with it the stage.
        let taken = mem::replace(unsafe { &mut *stage }, Stage::Empty);
        contain(|| drop(taken));
    }

    /// # Safety
    /// As [`Vtable::schedule`].
    unsafe fn schedule(header: NonNull<Header>) -> *mut Header {
        let cell = header.cast::<Self>().as_ptr();
        // SAFETY: the cell is live; `schedule` is set once and only read. The count is raised since
        // the reference that is handed over may free the cell while the scheduler is at work.
        let schedule = unsafe { Arc::clone(&(*cell).schedule) };
        match schedule.schedule(Task(header)) {
            Ok(()) => std::ptr::null_mut(),
            Err(task) => ManuallyDrop::new(task).0.as_ptr(),
        }
    }

    /// # Safety
    /// As [`Vtable::is_home`].
    unsafe fn is_home(header: NonNull<Header>) -> bool {
        let cell = header.cast::<Self>().as_ptr();
        // SAFETY: the cell is live; `schedule` is set once and only read.
        unsafe { &(*cell).schedule }.is_current()
    }

    /// # Safety
    /// As [`Vtable::is_scheduled_by`].
    unsafe fn is_scheduled_by(header: NonNull<Header>, schedule: *const ()) -> bool {
        let cell = header.cast::<Self>().as_ptr();
        // SAFETY: the cell is live; `schedule` is set once and only read.
        Arc::as_ptr(unsafe { &(*cell).schedule }).cast() == schedule
    }

    /// # Safety
    /// As [`Vtable::free`].
    unsafe fn free(header: NonNull<Header>) {
        // SAFETY: the cell is live.
        if !unsafe { header.as_ref() }.state.load().is_done() {
            // Its home forgot it. The future may be dropped there only, and this may be anywhere.
            return;
        }
        // SAFETY: the cell came from `Box::into_raw`, and nobody refers to it any more.
        drop(unsafe { Box::from_raw(header.cast::<Self>().as_ptr()) });
    }
}

/// The right to run the tasks of one scheduler. There is one for each, and it stays on its thread.
pub(crate) struct Home<S> {
    schedule: Arc<S>,
    /// Not `Send`: futures that are not either are polled and dropped where this is.
    stays: PhantomData<*const ()>,
}

impl<S: Schedule> Home<S> {
    /// Takes the scheduler itself, so that no second home can have it.
    pub(crate) fn new(schedule: S) -> Home<S> {
        Home { schedule: Arc::new(schedule), stays: PhantomData }
    }

    pub(crate) fn schedule(&self) -> &Arc<S> {
        &self.schedule
    }

    /// A new task, queued by its state: the caller puts one of the two references into the run
    /// queue and keeps the other under `key`, until the task is over.
    pub(crate) fn task<F: Future + 'static>(
        &self,
        future: F,
        id: Id,
        key: Key,
        spawned_at: &'static Location<'static>,
    ) -> (Task, Task, JoinHandle<F::Output>) {
        let cell = Box::new(Cell {
            header: Header {
                state: State::new(Snapshot::new(3)),
                vtable: &Cell::<F, S>::VTABLE,
                id,
                spawned_at,
                key,
                join_waker: UnsafeCell::new(None),
            },
            schedule: Arc::clone(&self.schedule),
            stage: UnsafeCell::new(Stage::Future(future)),
        });
        // SAFETY: a box is never null.
        let header = unsafe { NonNull::new_unchecked(Box::into_raw(cell)) }.cast();
        (Task(header), Task(header), JoinHandle::new(Task(header)))
    }

    /// Runs a task that was taken out of the run queue.
    #[inline]
    pub(crate) fn run(&self, task: Task) -> Ran {
        self.assert_own(&task);
        let header = task.header();
        match header.state.step(Snapshot::run) {
            OnRun::Poll => {
                let waker = task.borrowed_waker();
                // SAFETY: this is home (`assert_own`), and `run` gave the right to poll.
                if !unsafe { (header.vtable.poll)(task.0, &mut Context::from_waker(&waker)) } {
                    return match header.state.step(Snapshot::pend) {
                        OnPend::Enqueue => Ran::Again(task),
                        OnPend::Idle => Ran::Pending,
                    };
                }
                self.complete(&task);
                Ran::Over(header.key)
            }
            OnRun::Cancel => {
                // SAFETY: this is home, and `run` gave the right to the future.
                unsafe { (header.vtable.cancel)(task.0) };
                self.complete(&task);
                Ran::Over(header.key)
            }
            OnRun::DropOutput => {
                // SAFETY: this is home, and with `JOIN` clear after `DONE` the output is home's.
                unsafe { (header.vtable.drop_output)(task.0) };
                Ran::Pending
            }
            OnRun::Nothing => Ran::Pending,
        }
    }

    /// Ends a task wherever it stands, if it is not over yet.
    ///
    /// # Panics
    /// If it is being polled.
    pub(crate) fn cancel(&self, task: &Task) {
        self.assert_own(task);
        let state = task.header().state.load();
        assert!(!state.is_running(), "a task is not ended from inside its own poll");
        if !state.is_done() {
            // SAFETY: this is home, before `DONE` the future is home's, and no poll has it.
            unsafe { (task.header().vtable.cancel)(task.0) };
            self.complete(task);
        }
    }

    fn complete(&self, task: &Task) {
        let header = task.header();
        let OnComplete { drop_output, wake_joiner } = header.state.step(|state| state.complete());
        if drop_output {
            // SAFETY: without a join handle the output is home's.
            unsafe { (header.vtable.drop_output)(task.0) };
        }
        if wake_joiner {
            // SAFETY: `WAITING` and then `DONE`: the waker is this side's.
            let waker = unsafe { (*header.join_waker.get()).take() };
            contain(|| {
                if let Some(waker) = waker {
                    waker.wake();
                }
            });
        }
    }

    /// Futures may be `!Send`, so no home but theirs may run them.
    #[inline]
    fn assert_own(&self, task: &Task) {
        let schedule = Arc::as_ptr(&self.schedule).cast();
        // SAFETY: the task's reference keeps its cell live.
        let own = unsafe { (task.header().vtable.is_scheduled_by)(task.0, schedule) };
        assert!(own, "a task is run by its own runtime only");
    }
}

/// What came of running a task.
#[must_use]
pub(crate) enum Ran {
    /// It was woken while it ran, and is to be queued again.
    Again(Task),
    /// It waits, or was over before.
    Pending,
    /// It is over now: the executor drops the reference that it keeps under this key.
    Over(Key),
}

/// One reference to a task.
pub(crate) struct Task(NonNull<Header>);

// SAFETY: what a task's methods do from any thread goes through the atomic state; the future is
// touched only through `Home`, which stays on its thread, and the output and the join waker only by
// whom the state names their owner.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}

impl Task {
    #[inline]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: this reference keeps the cell live, and only shared references are formed to it.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn id(&self) -> Id {
        self.header().id
    }

    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        self.header().spawned_at
    }

    /// Asks the task's home to drop the future.
    pub(super) fn abort(&self) {
        if let OnWake::Enqueue = self.header().state.step(Snapshot::abort) {
            // SAFETY: the abort made the reference that is handed over.
            unsafe { enqueue(self.0) };
        }
    }

    /// Moves the output out.
    ///
    /// # Safety
    /// The task is over, the output is the caller's, and `T` its type.
    pub(super) unsafe fn take_output<T>(&self) -> Option<Result<T, JoinError>> {
        let mut output: Option<Result<T, JoinError>> = None;
        // SAFETY: the caller's promise.
        unsafe { (self.header().vtable.take_output)(self.0, (&raw mut output).cast()) };
        output
    }

    /// Drops the output of a task that is over, at home if there is one; takes the reference.
    ///
    /// # Safety
    /// The output is the caller's, and may be dropped on this thread.
    pub(super) unsafe fn disclaim_output(self) {
        let vtable = self.header().vtable;
        // SAFETY: this reference keeps the cell live.
        if unsafe { (vtable.is_home)(self.0) } {
            // SAFETY: the output is the caller's.
            unsafe { (vtable.drop_output)(self.0) };
            return;
        }
        self.header().state.step(|state| (state.disclaim(), ()));
        let header = ManuallyDrop::new(self).0;
        // SAFETY: one reference is handed over.
        if let Some(back) = NonNull::new(unsafe { (vtable.schedule)(header) }) {
            let task = Task(back);
            // SAFETY: the runtime is gone, and looks at no output any more.
            unsafe { (vtable.drop_output)(task.0) };
        }
    }

    /// A waker that does not own a reference: the caller's stands for it.
    #[inline]
    fn borrowed_waker(&self) -> ManuallyDrop<Waker> {
        let data = self.0.as_ptr().cast_const().cast();
        // SAFETY: the functions of `WAKER` keep the contract of `RawWaker` for a header's pointer;
        // no reference is dropped with the result, and the caller's outlives it.
        ManuallyDrop::new(unsafe { Waker::new(data, &WAKER) })
    }
}

impl Clone for Task {
    #[inline]
    fn clone(&self) -> Task {
        self.header().state.share();
        Task(self.0)
    }
}

impl Drop for Task {
    #[inline]
    fn drop(&mut self) {
        if self.header().state.release() {
            let free = self.header().vtable.free;
            // SAFETY: that was the last reference.
            unsafe { free(self.0) };
        }
    }
}

/// Hands one reference to the task's scheduler.
///
/// # Safety
/// `header` is that of a live cell, and the caller owns a reference and gives it up.
unsafe fn enqueue(header: NonNull<Header>) {
    // SAFETY: the caller's promise.
    let vtable = unsafe { header.as_ref() }.vtable;
    // SAFETY: the caller's promise.
    if let Some(back) = NonNull::new(unsafe { (vtable.schedule)(header) }) {
        // The runtime is gone, and has ended the task: only the reference is left.
        drop(Task(back));
    }
}

/// The waker of a task: its data is the header's address, and it owns one reference.
static WAKER: RawWakerVTable =
    RawWakerVTable::new(waker_clone, waker_wake, waker_wake_by_ref, waker_drop);

/// # Safety
/// `data` is the header of a live cell, as for all functions of [`WAKER`].
unsafe fn waker_header(data: *const ()) -> NonNull<Header> {
    // SAFETY: `borrowed_waker` and `waker_clone` make the data of a non-null pointer.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

unsafe fn waker_clone(data: *const ()) -> RawWaker {
    // SAFETY: the contract of `RawWaker`.
    let header = unsafe { waker_header(data) };
    // SAFETY: the waker keeps the cell live.
    unsafe { header.as_ref() }.state.share();
    RawWaker::new(data, &WAKER)
}

unsafe fn waker_wake(data: *const ()) {
    // SAFETY: the contract of `RawWaker`.
    let header = unsafe { waker_header(data) };
    // SAFETY: the waker keeps the cell live until its reference is given up below.
    let owed = unsafe { header.as_ref() }.state.step(Snapshot::wake);
    match owed {
        // SAFETY: the waker's reference is handed on.
        OnWake::Enqueue => unsafe { enqueue(header) },
        OnWake::Nothing => {}
        OnWake::Free => {
            // SAFETY: the cell is live until it is freed.
            let vtable = unsafe { header.as_ref() }.vtable;
            // SAFETY: the waker's was the last reference.
            unsafe { (vtable.free)(header) }
        }
    }
}

unsafe fn waker_wake_by_ref(data: *const ()) {
    // SAFETY: the contract of `RawWaker`.
    let header = unsafe { waker_header(data) };
    // SAFETY: the waker keeps the cell live.
    if let OnWake::Enqueue = unsafe { header.as_ref() }.state.step(Snapshot::wake_by_ref) {
        // SAFETY: the step made the reference that is handed over.
        unsafe { enqueue(header) };
    }
}

unsafe fn waker_drop(data: *const ()) {
    // SAFETY: the contract of `RawWaker`.
    let header = unsafe { waker_header(data) };
    drop(Task(header));
}

/// The payload of a panic, as a join error carries it.
pub(super) type Payload = Box<dyn Any + Send>;

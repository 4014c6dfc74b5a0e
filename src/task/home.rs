//! The home of tasks: what runs them, on one thread, and how others reach it.
//!
//! ```text
//!   wake, at home -------------------> queue ----> run: each task once a batch
//!                                        ^
//!   wake, abort, release ... ---> inbox -'
//!   from anywhere else              `--> unpark, if home is parked
//! ```
//!
//! *At home* is where [`HOME`] points to a task's home: on the home's own thread, while that has
//! its turn. There all that is only home's is touched without atomics or locks; [`AtHome`] is the
//! proof. Everybody else, also on the same thread, sends messages.
#![expect(unsafe_code, reason = "owns the cells of all tasks that are not over")]

use super::Id;
use super::cell::{Cell as TaskCell, Task};
use super::chunk::Kind;
use super::header::{First, Header};
use super::inbox::{Inbox, Message};
use super::join::JoinHandle;
use super::pool::{Pool, Returned, Walk};
use super::queue::Queue;
use super::state::{OnComplete, OnRun, Place};
use crate::budget;
use crate::contain::contain;
use crate::innermost::{self, Hidden};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

thread_local! {
    /// The home whose turn it is on this thread; null outside of turns.
    static HOME: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

/// Task names are given out once in a process, to a home so many at a time.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);
pub(super) const IDS: u64 = 1024;

/// References to a new task: home's own, which the join handle takes over when the task is.
pub(super) const FIRST_REFERENCES: u32 = 1;

/// What everybody may reach of a home, and what is its own.
pub(crate) struct Shared {
    inbox: Inbox,
    /// How often home has looked around. Written by home only.
    looks: AtomicU64,
    /// Cells that nobody refers to any more, from elsewhere.
    returned: Returned,
    local: Local,
}

// SAFETY: `inbox` is for every thread; `local` is private, and reached through `AtHome` only, which
// is made where `HOME` says so, or from a `Home`: both are on the one thread that has the `Home`.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// What belongs to the home's thread. Nothing in it is borrowed while foreign code runs.
pub(super) struct Local {
    /// Tasks that are queued by their place. Home has a reference to each, so that the queue needs
    /// none.
    queue: Queue,
    /// The tasks that are not over. Home has a reference to each of these as well.
    task_count: Cell<usize>,
    /// Messages that are taken out of the inbox, in their order.
    pub(super) arrived: RefCell<VecDeque<Message>>,
    /// Where the cells of all tasks are, whoever has references to them.
    pool: Pool,
    next_id: Cell<u64>,
    ids_end: Cell<u64>,
    /// No task is taken in any more.
    closed: Cell<bool>,
}

/// The right to run the tasks of one home. There is one for each, and it stays on its thread.
pub(crate) struct Home {
    shared: Arc<Shared>,
    /// Not `Send`: futures that are not either are polled and dropped where this is.
    stays: PhantomData<*const ()>,
}

impl Home {
    /// `unpark` ends the wait that a successful park announced, from any thread.
    pub(crate) fn new(unpark: impl Fn() + Send + Sync + 'static) -> Home {
        let local = Local {
            queue: Queue::new(),
            task_count: Cell::new(0),
            arrived: RefCell::new(VecDeque::new()),
            pool: Pool::new(),
            next_id: Cell::new(0),
            ids_end: Cell::new(0),
            closed: Cell::new(false),
        };
        let inbox = Inbox::new(Box::new(unpark));
        Home {
            shared: Arc::new(Shared {
                inbox,
                looks: AtomicU64::new(0),
                returned: Returned::new(),
                local,
            }),
            stays: PhantomData,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// This home, for whoever has it: that is on its thread.
    #[inline]
    pub(crate) fn here(&self) -> AtHome<'_> {
        // SAFETY: an `Arc`'s pointer is not null.
        let home = unsafe { NonNull::new_unchecked(Arc::as_ptr(&self.shared).cast_mut()) };
        AtHome { home, lives: PhantomData }
    }

    /// Makes it this thread's turn of this home, as long as `turn` runs.
    pub(crate) fn enter<R>(&self, turn: impl FnOnce(AtHome<'_>) -> R) -> R {
        let _entered = Entered::new(Arc::as_ptr(&self.shared));
        turn(self.here())
    }

    /// Ends all tasks, as [`AtHome::end_tasks`], and refuses messages from then on; false, and
    /// nothing is refused, if some have arrived meanwhile.
    ///
    /// It is nobody's turn then: what is dropped from now on is dropped as anywhere else.
    pub(crate) fn close(&self) -> bool {
        self.enter(|home| home.end_tasks());
        if !self.shared.inbox.close() {
            return false;
        }
        let here = self.here();
        here.local().closed.set(true);
        here.local().pool.close(&self.shared.returned);
        true
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A pool's chunks refer to this.
        while !self.here().local().closed.get() && !self.close() {}
    }
}

/// Ends a turn when dropped, also when a panic passes.
struct Entered {
    before: *const Shared,
    /// Turns end in the order in which they began, backwards: so `before` lives as long as this.
    _ordered: Hidden,
}

impl Entered {
    fn new(home: *const Shared) -> Entered {
        Entered { before: HOME.replace(home), _ordered: innermost::hide() }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        HOME.set(self.before);
        if self.before.is_null() {
            budget::lift();
        }
    }
}

impl Id {
    /// One name; a home takes many at a time.
    pub(super) fn next() -> Id {
        Id(NEXT_ID.fetch_add(1, Ordering::Relaxed))
    }
}

/// Does `work` in nobody's turn, as if on another thread.
#[cfg(any(test, feature = "sim"))]
pub(crate) fn outside<R>(work: impl FnOnce() -> R) -> R {
    let _entered = Entered::new(ptr::null());
    work()
}

impl Shared {
    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// How often home has looked around: while that grows, it does not hang.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// Whether this thread is in a turn of that home.
    #[inline]
    pub(super) fn is_current(home: NonNull<Shared>) -> bool {
        ptr::eq(HOME.get(), home.as_ptr())
    }

    /// Whether this thread is in a turn of this home.
    pub(crate) fn is_here(&self) -> bool {
        ptr::eq(HOME.get(), self)
    }

    /// A task's home.
    pub(super) fn of(task: &Task) -> Arc<Shared> {
        let home = task.header().home.as_ptr();
        // SAFETY: the pointer is an `Arc`'s, to which the task's block owns a reference.
        unsafe { Arc::increment_strong_count(home) };
        // SAFETY: as above; this is the reference that was just counted.
        unsafe { Arc::from_raw(home) }
    }

    /// Puts back the cell of a task that is over, elsewhere than at home.
    ///
    /// # Safety
    /// There is no reference to it.
    #[cold]
    pub(super) unsafe fn put(header: NonNull<Header>) {
        // SAFETY: the caller's promise: it is still there, and nobody else's.
        let home = unsafe { header.as_ref() }.home.as_ptr();
        // Home may free the chunk, and be gone, as soon as it finds the cell in the list.
        // SAFETY: the pointer is an `Arc`'s, to which the cell's chunk owns a reference.
        unsafe { Arc::increment_strong_count(home) };
        // SAFETY: as above; this is the reference that was just counted.
        let home = unsafe { Arc::from_raw(home) };
        // SAFETY: the caller's promise.
        if let Some(chunk) = unsafe { home.returned.put(header) } {
            // SAFETY: that was its last user, and home, which knew of it, is gone.
            unsafe { chunk.free() };
        }
    }
}

/// Wakes a joiner.
#[inline(never)]
fn tell(waker: Waker) {
    contain(|| waker.wake());
}

/// The proof of being at home, and what can be done there.
#[derive(Clone, Copy)]
pub(crate) struct AtHome<'a> {
    /// An `Arc`'s, which lives for `'a` at least.
    home: NonNull<Shared>,
    lives: PhantomData<&'a Shared>,
}

impl<'a> AtHome<'a> {
    /// Calls `with` at home, if this is one.
    #[inline]
    pub(crate) fn current<R>(with: impl FnOnce(AtHome<'_>) -> R) -> Option<R> {
        let home = NonNull::new(HOME.get().cast_mut())?;
        // Whoever entered it holds it until after this. No coroutine is left in between: `Entered`.
        Some(with(AtHome { home, lives: PhantomData }))
    }

    /// The home of a task, if this is it.
    #[inline]
    pub(super) fn of(header: &'a Header) -> Option<AtHome<'a>> {
        Shared::is_current(header.home).then_some(AtHome { home: header.home, lives: PhantomData })
    }

    /// Whether this is the home of a task.
    #[inline]
    pub(super) fn is_home_of(self, header: &Header) -> bool {
        self.home == header.home
    }

    #[inline]
    pub(super) fn local(self) -> &'a Local {
        // SAFETY: it lives for `'a`, and this is its thread.
        &unsafe { self.home.as_ref() }.local
    }

    /// A reference to this home.
    pub(crate) fn shared(self) -> Arc<Shared> {
        // SAFETY: the pointer is an `Arc`'s, which lives.
        unsafe { Arc::increment_strong_count(self.home.as_ptr()) };
        // SAFETY: as above; this is the reference that was just counted.
        unsafe { Arc::from_raw(self.home.as_ptr()) }
    }

    #[inline]
    pub(crate) fn inbox(self) -> &'a Inbox {
        // SAFETY: it lives for `'a`.
        &unsafe { self.home.as_ref() }.inbox
    }

    /// Notes that home looks around.
    #[inline]
    pub(crate) fn note_look(self) {
        // SAFETY: it lives for `'a`.
        let looks = &unsafe { self.home.as_ref() }.looks;
        // Nobody else writes, so that no atomic instruction is needed.
        looks.store(looks.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Spawns a task; it is run in a batch to come.
    #[inline]
    pub(crate) fn spawn<F: Future + 'static>(
        self,
        future: F,
        spawned_at: &'static Location<'static>,
    ) -> JoinHandle<F::Output> {
        let header = self.cell(const { &TaskCell::<F>::KIND });
        let first = First { id: self.id(), spawned_at };
        // SAFETY: the cell is ours, and for this layout.
        unsafe { TaskCell::write(header, first, future) };
        // SAFETY: it stays home's reference until the task is over, as `complete` and `detach`
        // have it.
        let handle = JoinHandle::new(unsafe { Task::from_header(header) });
        // SAFETY: a live cell, which is in no queue, with a reference for home.
        unsafe { self.take_in(header) };
        handle
    }

    /// Takes a new task in, which is queued by its place.
    ///
    /// # Safety
    /// A live cell of this home's, in no queue; one of its references is home's.
    #[inline]
    pub(super) unsafe fn take_in(self, header: NonNull<Header>) {
        let local = self.local();
        local.task_count.set(local.task_count.get() + 1);
        // SAFETY: the caller's promise; home keeps its reference until the task is over.
        unsafe { local.queue.push(header) };
    }

    /// A vacant cell.
    #[inline]
    fn cell(self, kind: &Kind) -> NonNull<Header> {
        let pool = &self.local().pool;
        pool.take(kind).unwrap_or_else(|| pool.make(kind, self))
    }

    /// Puts back the cell of a task that is over.
    ///
    /// # Safety
    /// There is no reference to it, and it is of this home.
    #[inline]
    pub(super) unsafe fn put(self, header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        unsafe { self.local().pool.put(header) };
    }

    /// Cells that were put back elsewhere.
    pub(super) fn returned(self) -> &'a Returned {
        // SAFETY: it lives for `'a`.
        &unsafe { self.home.as_ref() }.returned
    }

    pub(super) fn pool(self) -> &'a Pool {
        &self.local().pool
    }

    #[inline]
    fn id(self) -> Id {
        let local = self.local();
        if local.next_id.get() == local.ids_end.get() {
            let first = NEXT_ID.fetch_add(IDS, Ordering::Relaxed);
            #[cfg(any(test, feature = "sim"))]
            super::journal::note_names(first);
            local.next_id.set(first);
            local.ids_end.set(first + IDS);
        }
        Id(local.next_id.replace(local.next_id.get() + 1))
    }

    /// How many tasks are not over.
    pub(crate) fn task_count(self) -> usize {
        self.local().task_count.get()
    }

    /// Whether a task is in the run queue.
    #[inline]
    pub(crate) fn has_queued(self) -> bool {
        !self.local().queue.is_empty()
    }

    /// # Safety
    /// A live cell of this home's.
    #[inline]
    pub(super) unsafe fn wake(self, header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        let this = unsafe { header.as_ref() };
        #[cfg(any(test, feature = "sim"))]
        super::journal::note_wake(this.id.get());
        if this.place.get() == Place::Waiting {
            this.place.set(Place::Queued);
            // SAFETY: not over, so home has a reference to it; and it was not in the queue.
            unsafe { self.local().queue.push(header) };
        }
    }

    /// # Safety
    /// A live cell of this home's.
    pub(super) unsafe fn abort(self, header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        let this = unsafe { header.as_ref() };
        this.set_status(this.status_at_home().abort());
        // SAFETY: the caller's promise.
        unsafe { self.wake(header) };
    }

    /// Runs up to `polls_max` tasks of the queue, also those that are queued meanwhile, unless
    /// only those that are there now; how many of the polls are left.
    #[inline(always)]
    pub(crate) fn run(self, polls_max: usize, only_now: bool) -> usize {
        let last = if only_now { self.local().queue.last() } else { None };
        let mut left = polls_max;
        while left > 0 {
            let Some(header) = self.local().queue.pop() else { break };
            left -= 1;
            // SAFETY: it was just taken out of the queue.
            unsafe { self.run_one(header) };
            if only_now && last == Some(header) {
                break;
            }
        }
        left
    }

    /// # Safety
    /// It was just taken out of the queue.
    #[inline]
    unsafe fn run_one(self, header: NonNull<Header>) {
        budget::renew();
        // SAFETY: home has a reference to it, until `complete`.
        let this = unsafe { header.as_ref() };
        let what = this.status_at_home().run();
        if what != OnRun::Poll {
            // SAFETY: the caller's promise.
            return unsafe { self.end_or_release(header, what) };
        }
        #[cfg(any(test, feature = "sim"))]
        super::journal::note_poll(this.id.get());
        this.place.set(Place::Waiting);
        // SAFETY: at home, `run` gave the right to poll, and home has a reference until `complete`.
        if unsafe { (this.vtable.get().poll)(header) } {
            // SAFETY: the output is in place.
            unsafe { self.complete(header) };
        }
    }

    /// # Safety
    /// It was just taken out of the queue.
    #[cold]
    unsafe fn end_or_release(self, header: NonNull<Header>, what: OnRun) {
        if what == OnRun::Release {
            // SAFETY: home's reference, which `complete` left to this.
            unsafe { Header::release_at(self, header) };
        } else {
            // SAFETY: not over, not polled, and not in the queue.
            unsafe { self.end(header) };
        }
    }

    /// Drops the future of a task that is not over, and neither polled nor in the queue.
    ///
    /// # Safety
    /// As said.
    #[inline(never)]
    unsafe fn end(self, header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        let this = unsafe { header.as_ref() };
        this.place.set(Place::Waiting);
        // SAFETY: the future is home's.
        unsafe { (this.vtable.get().cancel)(header) };
        // SAFETY: the output is in place.
        unsafe { self.complete(header) };
    }

    /// The task is over: its joiner is told, and home forgets it. Home's reference goes to the join
    /// handle, if there is one; if the task is still queued, the queue gets another.
    ///
    /// # Safety
    /// A live cell, of a task that was not over, with its output in place.
    #[inline(always)]
    unsafe fn complete(self, header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        let this = unsafe { header.as_ref() };
        let local = self.local();
        local.task_count.set(local.task_count.get() - 1);
        let was = this.place.replace(Place::Over);
        let (next, owed) = this.status_at_home().complete();
        if owed == OnComplete::DropOutput {
            this.set_status(next);
            // SAFETY: the caller's promise, and there is no join handle.
            return unsafe { self.complete_detached(header, was) };
        }
        if was == Place::Queued {
            this.share();
        }
        // SAFETY: a look that calls nothing, at what is home's alone.
        let is_awaited = unsafe { &*this.join_waker.as_ptr() }.is_some();
        let waker = if is_awaited { this.join_waker.take() } else { None };
        // The reference is the handle's from now on, so that the cell may be gone. Only the word is
        // borrowed for this, as in `step_on`.
        this.status.store(next.bits(), Ordering::Release);
        if let Some(waker) = waker {
            tell(waker);
        }
    }

    /// Ends every task without polling it again, also those that are spawned by the drops of
    /// others, and takes in what has arrived. Tasks that are spawned elsewhere are refused from now
    /// on. Not from inside a task's poll.
    pub(crate) fn end_tasks(self) {
        self.inbox().refuse_tasks();
        let local = self.local();
        // What is spawned meanwhile is queued, and does not come to wait: one walk is enough.
        let mut walk = Walk::new();
        loop {
            self.receive();
            if let Some(header) = local.queue.pop() {
                // SAFETY: home has a reference to what was in its queue.
                let status = unsafe { header.as_ref() }.status_at_home();
                // SAFETY: it was just taken out of the queue.
                unsafe { self.end_or_release(header, status.abort().run()) };
            } else if let Some(header) = local.pool.next_waiting(&mut walk) {
                // SAFETY: it waits: it is not over, and not in the queue.
                unsafe { self.end(header) };
            } else {
                return;
            }
        }
    }
}

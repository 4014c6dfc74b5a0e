//! The state of a task: one word, and pure functions from one value of it to the next.
//!
//! ```text
//!              wake, abort                     run
//!      IDLE ---------------> QUEUED ---------------------> RUNNING
//!       ^                      ^                            |  | |
//!       |  pend, not woken     |  pend, woken meanwhile     |  | | complete
//!       +----------------------+----------------------------+--+ |
//!                                                                v
//!      any, at home: complete (shutdown) --------------------> DONE
//! ```
//!
//! Beside that the word holds what was asked (`ABORT`), the two bits that the join handle and the
//! completing runtime share (`JOIN`, `WAITING`), and the number of references. Every change is one
//! compare-and-swap of the whole word, and says in its result what the caller now owes. The tests
//! walk every interleaving of these functions.
//!
//! Who may touch what:
//!
//! | part of the cell | belongs to |
//! | --- | --- |
//! | the future | home, that is the thread of the task's runtime, until `DONE` |
//! | the output | after `DONE` the join handle while `JOIN` is set, else home |
//! | the join waker | the handle while `WAITING` is clear; whoever sets `DONE` once it is set |

use std::sync::atomic::{AtomicUsize, Ordering};

/// In a run queue, or to be put there by whoever set this; while running: to be run again.
const QUEUED: usize = 1;
/// Being polled.
const RUNNING: usize = 1 << 1;
/// The future is gone, and there is or was an output.
const DONE: usize = 1 << 2;
/// To be dropped instead of polled.
const ABORT: usize = 1 << 3;
/// There is a join handle.
const JOIN: usize = 1 << 4;
/// The join handle left a waker.
const WAITING: usize = 1 << 5;
/// One reference.
const REFERENCE: usize = 1 << 6;

/// One value of the state.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Snapshot(usize);

/// What a wake or an abort owes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnWake {
    /// Put the task into its run queue, together with a reference.
    Enqueue,
    /// Nothing: it is queued, or over.
    Nothing,
    /// That was the last reference: free the cell.
    Free,
}

/// What the one who took a task out of the run queue owes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRun {
    /// Poll the future; then `pend` or `complete`.
    Poll,
    /// Drop the future; then `complete`.
    Cancel,
    /// Drop the output that nobody claims any more, if it is still there.
    DropOutput,
    /// Nothing: it was over.
    Nothing,
}

/// What the one who polled a future in vain owes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnPend {
    /// Put the task into the run queue again, with the reference it came with.
    Enqueue,
    /// Drop that reference.
    Idle,
}

/// What the one who ended a task owes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnComplete {
    /// The join handle is gone: drop the output.
    pub(crate) drop_output: bool,
    /// Take the join waker and wake it.
    pub(crate) wake_joiner: bool,
}

/// What became of a join handle's step.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnJoin {
    /// The task is over, and the output is the handle's.
    Done,
    /// The step was taken.
    NotYet,
}

impl Snapshot {
    /// A new task: queued, with a join handle, and `references` in all.
    pub(crate) const fn new(references: usize) -> Snapshot {
        Snapshot(QUEUED | JOIN | (references * REFERENCE))
    }

    const fn has(self, bit: usize) -> bool {
        self.0 & bit != 0
    }

    const fn with(self, bits: usize) -> Snapshot {
        Snapshot(self.0 | bits)
    }

    const fn without(self, bits: usize) -> Snapshot {
        Snapshot(self.0 & !bits)
    }

    pub(crate) const fn references(self) -> usize {
        self.0 / REFERENCE
    }

    pub(crate) const fn is_done(self) -> bool {
        self.has(DONE)
    }

    pub(crate) const fn is_running(self) -> bool {
        self.has(RUNNING)
    }

    /// One reference more.
    pub(crate) const fn share(self) -> Snapshot {
        Snapshot(self.0 + REFERENCE)
    }

    /// One reference fewer; true if it was the last.
    pub(crate) const fn release(self) -> (Snapshot, bool) {
        (Snapshot(self.0 - REFERENCE), self.references() == 1)
    }

    /// A wake that keeps its reference.
    pub(crate) const fn wake_by_ref(self) -> (Snapshot, OnWake) {
        if self.has(QUEUED | DONE) {
            (self, OnWake::Nothing)
        } else if self.has(RUNNING) {
            (self.with(QUEUED), OnWake::Nothing)
        } else {
            (self.with(QUEUED).share(), OnWake::Enqueue)
        }
    }

    /// A wake that gives up its reference, to the run queue if need be.
    pub(crate) const fn wake(self) -> (Snapshot, OnWake) {
        if !self.has(QUEUED | DONE | RUNNING) {
            return (self.with(QUEUED), OnWake::Enqueue);
        }
        let noted = if self.has(DONE) { self } else { self.with(QUEUED) };
        match noted.release() {
            (next, true) => (next, OnWake::Free),
            (next, false) => (next, OnWake::Nothing),
        }
    }

    /// Asks for the end; keeps its reference.
    pub(crate) const fn abort(self) -> (Snapshot, OnWake) {
        if self.has(DONE) { (self, OnWake::Nothing) } else { self.with(ABORT).wake_by_ref() }
    }

    /// At home, by whoever took it out of the run queue.
    pub(crate) const fn run(self) -> (Snapshot, OnRun) {
        if self.has(DONE) {
            (self, if self.has(JOIN) { OnRun::Nothing } else { OnRun::DropOutput })
        } else {
            let what = if self.has(ABORT) { OnRun::Cancel } else { OnRun::Poll };
            (self.without(QUEUED).with(RUNNING), what)
        }
    }

    /// At home, after a poll that came to nothing.
    pub(crate) const fn pend(self) -> (Snapshot, OnPend) {
        let what = if self.has(QUEUED) { OnPend::Enqueue } else { OnPend::Idle };
        (self.without(RUNNING), what)
    }

    /// At home, once the future is gone and the output in the cell.
    pub(crate) const fn complete(self) -> (Snapshot, OnComplete) {
        let owed = OnComplete { drop_output: !self.has(JOIN), wake_joiner: self.has(WAITING) };
        (self.without(QUEUED | RUNNING).with(DONE), owed)
    }

    /// The handle has put its waker in place.
    pub(crate) const fn publish_waker(self) -> (Snapshot, OnJoin) {
        if self.has(DONE) { (self, OnJoin::Done) } else { (self.with(WAITING), OnJoin::NotYet) }
    }

    /// The handle wants its waker back.
    pub(crate) const fn withdraw_waker(self) -> (Snapshot, OnJoin) {
        if self.has(DONE) { (self, OnJoin::Done) } else { (self.without(WAITING), OnJoin::NotYet) }
    }

    /// The handle goes. If the task is over the output is the handle's still, until `disclaim`.
    pub(crate) const fn detach(self) -> (Snapshot, OnJoin) {
        if self.has(DONE) {
            (self, OnJoin::Done)
        } else {
            (self.without(JOIN | WAITING), OnJoin::NotYet)
        }
    }

    /// The handle leaves the output of a task that is over to the task's home.
    pub(crate) const fn disclaim(self) -> Snapshot {
        self.without(JOIN)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [
            (QUEUED, "queued"),
            (RUNNING, "running"),
            (DONE, "done"),
            (ABORT, "abort"),
            (JOIN, "join"),
            (WAITING, "waiting"),
        ];
        let set: Vec<&str> =
            names.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, name)| *name).collect();
        write!(f, "{} x{}", set.join("|"), self.references())
    }
}

/// The state as threads share it.
///
/// Every change both acquires and releases: what was written to the cell before one change is seen
/// after the next, whoever makes it.
pub(crate) struct State(AtomicUsize);

impl State {
    pub(crate) const fn new(snapshot: Snapshot) -> State {
        State(AtomicUsize::new(snapshot.0))
    }

    pub(crate) fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Takes one step, atomically.
    ///
    /// A step that changes nothing is written all the same. A wake that finds the task queued must
    /// publish what its caller wrote before it, or the poll to come may miss that: a plain load
    /// could even be answered from before the task last ran.
    #[inline]
    pub(crate) fn step<R>(&self, step: impl Fn(Snapshot) -> (Snapshot, R)) -> R {
        let mut now = self.0.load(Ordering::Acquire);
        loop {
            let (next, result) = step(Snapshot(now));
            match self.0.compare_exchange_weak(now, next.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return result,
                Err(changed) => now = changed,
            }
        }
    }

    /// One reference more.
    ///
    /// The count has 58 bits: it can't be filled by forgetting references within a lifetime.
    #[inline]
    pub(crate) fn share(&self) {
        self.0.fetch_add(REFERENCE, Ordering::AcqRel);
    }

    /// One reference fewer; true if it was the last.
    #[inline]
    pub(crate) fn release(&self) -> bool {
        let before = Snapshot(self.0.fetch_sub(REFERENCE, Ordering::AcqRel));
        before.release().1
    }
}

//! The state of a task, and pure functions from one value of it to the next.
//!
//! A task has a home: its runtime, on its runtime's thread, in that runtime's turn. Nearly all that
//! happens to a task happens there, and none of it takes an atomic instruction: its [`Status`] is
//! changed at home only, and everybody may read it; whether it is in the run queue is home's alone.
//!
//! ```text
//!                wake, abort              run               complete
//!      WAITING ---------------> QUEUED ---------> (polled) ----------> OVER
//!         ^                                         |   ^
//!         |        the poll comes to nothing        |   | a wake by the poll itself
//!         `-----------------------------------------'   | queues the task anew; one that
//!                                                       ` is over then leaves the queue
//!                                                         at its turn
//! ```
//!
//! Who is elsewhere sends a message home, and leaves a note in the task's [`Remote`] word, which
//! is atomic: that a wake or an abort is on its way, so that a task has one such message at most.
//!
//! References are counted twice: those that home counts in a plain number, those that others count
//! in the remote word. The references are as many as both say together; which of them is counted
//! where does not matter. This is biased reference counting (Choi, Shull, Torrellas: "Biased
//! Reference Counting", PACT 2018), with a remote count that never falls below zero:
//!
//! ```text
//!               share            release
//!   at home     home + 1         home - 1; at 0 the counts are merged: if remote is 0 as well that
//!                                was the last, else remote counts alone from now on
//!   elsewhere   remote + 1       remote - 1, if it is not 0; the last, if the counts are merged.
//!                                At 0, unmerged: the reference itself goes home, to be dropped
//! ```
//!
//! Home and the join handle share one reference. It is home's until the task is over, so that a
//! handle can rely on it, wherever it is: while there is a handle, home gives it up only to that.
//! So home does with the cell what it has to before it says that the task is over. What the handle
//! does then may free the cell at once, if others count its reference.
//!
//! Why home may free the cell when both counts are 0, though others change theirs at any time:
//! what home reads is some past value of the remote count, and whatever led to that value and to
//! home's own happened before. At that point there was no reference. Who has none can make none.

use std::fmt;

/// What is known of a task.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Status(u8);

/// The future is gone, and there is or was an output.
const DONE: u8 = 1;
/// To be dropped instead of polled.
const ABORT: u8 = 1 << 1;
/// There is a join handle.
const JOIN: u8 = 1 << 2;

/// What the one who took a task out of the run queue owes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRun {
    /// Poll the future; then `complete`, if it is over.
    Poll,
    /// Drop the future; then `complete`.
    Cancel,
    /// Give up home's reference: the task was over, but still in the queue.
    Release,
}

/// What the one who ended a task owes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OnComplete {
    /// Leave home's reference to the join handle, and wake the joiner, if one waits.
    Wake,
    /// The join handle is gone: drop the output, and give up home's reference.
    DropOutput,
}

/// What the end of the join handle owes, at home.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDetach {
    /// The task is over: drop the output, and give up the reference that home left to the handle.
    DropOutput,
    /// Drop the joiner's waker. The reference is still home's.
    DropWaker,
}

impl Status {
    /// A new task, with a join handle.
    pub(crate) const NEW: Status = Status(JOIN);

    pub(super) const fn from_bits(bits: u8) -> Status {
        Status(bits)
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    const fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    pub(crate) const fn is_done(self) -> bool {
        self.has(DONE)
    }

    pub(crate) const fn has_handle(self) -> bool {
        self.has(JOIN)
    }

    /// Asks for the end.
    pub(crate) const fn abort(self) -> Status {
        Status(self.0 | ABORT)
    }

    /// By whoever took it out of the run queue.
    #[inline]
    pub(crate) const fn run(self) -> OnRun {
        if !self.has(ABORT | DONE) {
            OnRun::Poll
        } else if self.has(DONE) {
            OnRun::Release
        } else {
            OnRun::Cancel
        }
    }

    /// Once the future is gone and the output in its place.
    #[inline]
    pub(crate) const fn complete(self) -> (Status, OnComplete) {
        let owed = if self.has(JOIN) { OnComplete::Wake } else { OnComplete::DropOutput };
        (Status(self.0 | DONE), owed)
    }

    /// The join handle is gone.
    #[inline]
    pub(crate) const fn detach(self) -> (Status, OnDetach) {
        let owed = if self.has(DONE) { OnDetach::DropOutput } else { OnDetach::DropWaker };
        (Status(self.0 & !JOIN), owed)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(DONE, "done"), (ABORT, "abort"), (JOIN, "join")];
        let set: Vec<&str> =
            names.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, name)| *name).collect();
        f.write_str(&set.join("|"))
    }
}

/// Where a task is, as far as the run queue goes. A wake puts it there if it is `Waiting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Not in the run queue; it may be running.
    Waiting,
    /// In the run queue.
    Queued,
    /// Over: it is not queued again.
    Over,
}

/// What others than home know of a task and do to it: notes, and a count of references.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Remote(u32);

/// A message that the task is woken is on its way home.
const WOKEN: u32 = 1;
/// That message, or one before it, says to abort the task.
const ABORTED: u32 = 1 << 1;
/// A message with a joiner's waker is in the inbox's list. It is that lock's.
const JOINING: u32 = 1 << 2;
/// The count here is the only one.
const MERGED: u32 = 1 << 3;
/// One reference.
const REFERENCE: u32 = 1 << 4;

/// What a wake or an abort from elsewhere owes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRemoteWake {
    /// Send a message home, with a reference.
    Send,
    /// Nothing: one is on its way.
    Nothing,
}

/// What giving up a reference elsewhere owes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRelease {
    /// Nothing.
    Nothing,
    /// That was the last: free the cell.
    Free,
    /// It was not given up, since home counts it: send it there.
    SendHome,
}

impl Remote {
    /// A new task, whose references are all counted at home.
    pub(crate) const NEW: Remote = Remote(0);

    pub(super) const fn from_bits(bits: u32) -> Remote {
        Remote(bits)
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    pub(crate) const fn references(self) -> u32 {
        self.0 / REFERENCE
    }

    pub(crate) const fn is_merged(self) -> bool {
        self.0 & MERGED != 0
    }

    /// One reference more.
    ///
    /// # Panics
    /// At 2^27 references, which only forgotten ones can come to.
    pub(crate) const fn share(self) -> Remote {
        assert!(self.references() < 1 << 27, "a task's references are forgotten without end");
        Remote(self.0 + REFERENCE)
    }

    /// One reference fewer; by others than home, or once the counts are merged.
    pub(crate) const fn release(self) -> (Remote, OnRelease) {
        if self.references() == 0 {
            return (self, OnRelease::SendHome);
        }
        let next = Remote(self.0 - REFERENCE);
        if next.references() == 0 && next.is_merged() {
            (next, OnRelease::Free)
        } else {
            (next, OnRelease::Nothing)
        }
    }

    /// Home counts no reference any more, or cannot: its last `references` are added. True if
    /// there are none at all now.
    pub(crate) const fn merge(self, references: u32) -> (Remote, bool) {
        let next = Remote((self.0 + references * REFERENCE) | MERGED);
        (next, next.references() == 0)
    }

    /// A wake by others than home, who give up their reference: to the message, if there is one.
    pub(crate) const fn wake(self) -> (Remote, OnRemoteWake) {
        let what = if self.0 & WOKEN == 0 { OnRemoteWake::Send } else { OnRemoteWake::Nothing };
        (Remote(self.0 | WOKEN), what)
    }

    /// A wake by others than home, who keep their reference: the message has one of its own.
    pub(crate) const fn wake_by_ref(self) -> (Remote, OnRemoteWake) {
        match self.wake() {
            (next, OnRemoteWake::Send) => (next.share(), OnRemoteWake::Send),
            nothing => nothing,
        }
    }

    /// A wake, by reference, that says to abort.
    pub(crate) const fn abort(self) -> (Remote, OnRemoteWake) {
        Remote(self.0 | ABORTED).wake_by_ref()
    }

    /// The message has arrived; true if the task is to be aborted. What comes after is a message
    /// of its own.
    pub(crate) const fn arrive(self) -> (Remote, bool) {
        (Remote(self.0 & !WOKEN), self.0 & ABORTED != 0)
    }

    /// A joiner elsewhere leaves a waker; true if there is an earlier one in the inbox's list.
    pub(crate) const fn join(self) -> (Remote, bool) {
        (Remote(self.0 | JOINING), self.0 & JOINING != 0)
    }

    /// A joiner's waker is taken out of the inbox's list.
    pub(crate) const fn leave_list(self) -> (Remote, ()) {
        (Remote(self.0 & !JOINING), ())
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            [(WOKEN, "woken"), (ABORTED, "aborted"), (JOINING, "joining"), (MERGED, "merged")];
        let set: Vec<&str> =
            names.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, name)| *name).collect();
        write!(f, "{} x{}", set.join("|"), self.references())
    }
}

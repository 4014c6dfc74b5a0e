//! A task as plain data, for the walk: the state word with whatever the threads are at, and one
//! method for each step that a thread takes, as `cell` and `join` take them.
//!
//! Between two steps anything else may happen; within one nothing. What takes its time (a poll,
//! the drop of an output, the exchange of a join waker) is therefore a place in between, and two
//! threads at places that touch the same part of the cell are an error.

use crate::task::state::{OnComplete, OnJoin, OnPend, OnRun, OnWake, Snapshot};

/// The transitions that the walk goes over; a canary breaks one.
pub(super) struct Transitions {
    pub(super) wake_by_ref: fn(Snapshot) -> (Snapshot, OnWake),
    pub(super) wake: fn(Snapshot) -> (Snapshot, OnWake),
    pub(super) abort: fn(Snapshot) -> (Snapshot, OnWake),
    pub(super) run: fn(Snapshot) -> (Snapshot, OnRun),
    pub(super) pend: fn(Snapshot) -> (Snapshot, OnPend),
    pub(super) complete: fn(Snapshot) -> (Snapshot, OnComplete),
    pub(super) publish_waker: fn(Snapshot) -> (Snapshot, OnJoin),
    pub(super) withdraw_waker: fn(Snapshot) -> (Snapshot, OnJoin),
    pub(super) detach: fn(Snapshot) -> (Snapshot, OnJoin),
    pub(super) disclaim: fn(Snapshot) -> Snapshot,
    pub(super) share: fn(Snapshot) -> Snapshot,
    pub(super) release: fn(Snapshot) -> (Snapshot, bool),
    /// Whether the handle takes its waker back if the task ends while it leaves it.
    pub(super) takes_unused_waker: bool,
}

pub(super) const REAL: Transitions = Transitions {
    wake_by_ref: Snapshot::wake_by_ref,
    wake: Snapshot::wake,
    abort: Snapshot::abort,
    run: Snapshot::run,
    pend: Snapshot::pend,
    complete: Snapshot::complete,
    publish_waker: Snapshot::publish_waker,
    withdraw_waker: Snapshot::withdraw_waker,
    detach: Snapshot::detach,
    disclaim: Snapshot::disclaim,
    share: Snapshot::share,
    release: Snapshot::release,
    takes_unused_waker: true,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Output {
    None,
    There,
    Claimed,
    Dropped,
}

/// Where the home thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Home {
    /// Between tasks.
    Between,
    /// In the future's poll. It may wake itself so many times more without a waker of its own.
    Polling(u8),
    /// The poll came to nothing.
    Pending,
    /// Dropping the future: it is over, or aborted.
    DroppingFuture,
    /// The output is in place.
    Completing,
    /// Dropping the output that nobody claims; then there may be a joiner to wake.
    DroppingOutput { then_wake: bool, was_over: bool },
    /// Taking the join waker out.
    TakingWaker,
    /// Waking the joiner.
    Waking(Option<u8>),
    /// Giving up the reference it ran the task with; the task may be over since.
    Releasing { over: bool },
    /// Giving up the reference that the executor kept.
    ReleasingKept,
    /// The runtime is gone.
    Gone,
}

/// Where the join handle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Handle {
    /// Nowhere in particular.
    Rests,
    /// In `poll`, with this waker: the task was not over.
    Withdrawing(u8),
    /// The waker's place is its own.
    AtSlot(u8),
    /// Its waker is in place.
    Publishing(u8),
    /// The task ended meanwhile: taking the waker back.
    TakingBack,
    /// Moving the output out.
    Claiming,
    /// Detached: taking its waker back.
    DroppingWaker,
    /// Dropped at home, or without one: dropping the output.
    DroppingOutput,
    /// Dropped abroad: before `disclaim`.
    Disclaiming,
    /// The reference goes to the home's queue, or comes back.
    Returning,
    /// An abort, or nothing.
    Enqueuing,
    Releasing,
    Gone,
}

/// Where a thread with a waker, or with an abort handle, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Other {
    /// Not made yet.
    Absent,
    /// Has its reference, and may do so much more.
    Rests(u8),
    /// Has made a reference for the queue. Without a budget it gave up its own.
    Enqueuing(Option<u8>),
    Gone,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct World {
    pub(super) state: Snapshot,
    pub(super) freed: bool,
    /// The future is there.
    pub(super) future: bool,
    pub(super) output: Output,
    /// The waker in the join waker's place.
    pub(super) slot: Option<u8>,
    /// References in the run queue or the inbox.
    pub(super) queue: u8,
    /// The executor's own reference.
    pub(super) kept: bool,
    pub(super) closing: bool,
    pub(super) home: Home,
    pub(super) handle: Handle,
    /// The handle lives on the home thread, so that it moves only while foreign code runs there.
    pub(super) handle_at_home: bool,
    /// The waker that the last poll of the handle left behind, until it is woken.
    pub(super) waits: Option<u8>,
    pub(super) others: [Other; 3],
    /// Woken or aborted since the last poll began.
    pub(super) woken: bool,
    pub(super) aborted: bool,
    pub(super) polls_left: u8,
    pub(super) joins_left: u8,
    pub(super) aborts_left: u8,
}

pub(super) type Checked = Result<(), &'static str>;

fn check(holds: bool, or: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(or) }
}

impl World {
    pub(super) fn new(handle_at_home: bool) -> World {
        World {
            state: Snapshot::new(3),
            freed: false,
            future: true,
            output: Output::None,
            slot: None,
            queue: 1,
            kept: true,
            closing: false,
            home: Home::Between,
            handle: Handle::Rests,
            handle_at_home,
            waits: None,
            others: [Other::Absent; 3],
            woken: true,
            aborted: false,
            polls_left: if cfg!(debug_assertions) { 2 } else { 3 },
            joins_left: 2,
            aborts_left: if cfg!(debug_assertions) { 0 } else { 1 },
        }
    }

    /// One atomic step on the state.
    pub(super) fn step<R>(
        &mut self,
        step: fn(Snapshot) -> (Snapshot, R),
    ) -> Result<R, &'static str> {
        check(!self.freed, "the state is touched after the cell was freed")?;
        let (next, result) = step(self.state);
        self.state = next;
        Ok(result)
    }

    pub(super) fn share(&mut self, with: &Transitions) -> Checked {
        check(!self.freed, "a reference is made after the cell was freed")?;
        self.state = (with.share)(self.state);
        Ok(())
    }

    pub(super) fn release(&mut self, with: &Transitions) -> Checked {
        if self.step(with.release)? { self.free() } else { Ok(()) }
    }

    pub(super) fn free(&mut self) -> Checked {
        check(!self.freed, "the cell is freed twice")?;
        check(!self.future, "the cell is freed with its future")?;
        check(self.output != Output::There, "the cell is freed with its output")?;
        check(self.slot.is_none(), "the cell is freed with a join waker")?;
        self.freed = true;
        Ok(())
    }

    /// A reference arrives at the scheduler. False if the runtime is gone: the caller has it back.
    pub(super) fn schedule(&mut self) -> bool {
        let open = self.home != Home::Gone;
        self.queue += u8::from(open);
        open
    }

    pub(super) fn note_wake(&mut self) {
        self.woken |= !self.state.is_done();
    }

    pub(super) fn drop_output(&mut self) -> Checked {
        check(self.output != Output::Claimed, "a claimed output is dropped")?;
        if self.output == Output::There {
            self.output = Output::Dropped;
        }
        Ok(())
    }

    /// Whether code that is not ours runs at home now, so that a handle there may do something.
    pub(super) fn is_foreign_code_at_home(&self) -> bool {
        let in_foreign_code = matches!(
            self.home,
            Home::Polling(_)
                | Home::DroppingFuture
                | Home::DroppingOutput { .. }
                | Home::Waking(_)
                | Home::Between
        );
        // Once the home is gone its thread goes on.
        in_foreign_code || self.home == Home::Gone
    }

    /// What has to hold between any two steps.
    pub(super) fn check(&self) -> Checked {
        self.check_owners()?;
        self.check_references()?;
        let polling = matches!(self.home, Home::Polling(_));
        if polling {
            check(self.future, "a future that is gone is polled")?;
            check(self.state.is_running(), "a task is polled that is not running")?;
        }
        let enqueuing = self.others.iter().any(|other| matches!(other, Other::Enqueuing(_)))
            || self.handle == Handle::Enqueuing;
        let at_work =
            !matches!(self.home, Home::Between | Home::Releasing { over: false } | Home::Gone);
        if !self.state.is_done() {
            let queued = self.queue
                + self
                    .others
                    .iter()
                    .map(|o| u8::from(matches!(o, Other::Enqueuing(_))))
                    .sum::<u8>()
                + u8::from(self.handle == Handle::Enqueuing);
            check(queued <= 1, "a task is queued twice")?;
            check(
                !self.woken || queued > 0 || at_work || self.closing,
                "a wake is lost: the task is neither queued nor run",
            )?;
            check(self.home != Home::Gone, "the runtime is gone and the task not over")?;
        } else if !at_work && self.waits.is_some() {
            check(self.handle != Handle::Rests, "the task is over, and the joiner not woken")?;
        }
        check(!self.freed || (self.queue == 0 && !enqueuing), "a freed task is in the queue")
    }

    /// No part of the cell is touched by two at once.
    fn check_owners(&self) -> Checked {
        let home_at_stage = matches!(
            self.home,
            Home::Polling(_) | Home::DroppingFuture | Home::DroppingOutput { .. }
        );
        let handle_at_stage = matches!(self.handle, Handle::Claiming | Handle::DroppingOutput);
        check(!(home_at_stage && handle_at_stage), "two have the future or the output at once")?;
        let handle_at_slot =
            matches!(self.handle, Handle::AtSlot(_) | Handle::TakingBack | Handle::DroppingWaker);
        let both = handle_at_slot && self.home == Home::TakingWaker;
        check(!both, "two have the join waker at once")
    }

    /// The count is the number of those who have a reference.
    fn check_references(&self) -> Checked {
        let home = matches!(self.home, Home::Between | Home::ReleasingKept | Home::Gone);
        let kept = self.kept || self.home == Home::ReleasingKept;
        let count = |other: &Other| match other {
            Other::Absent | Other::Gone => 0,
            Other::Rests(_) | Other::Enqueuing(None) => 1,
            Other::Enqueuing(Some(_)) => 2,
        };
        let handle = match self.handle {
            Handle::Gone => 0,
            Handle::Enqueuing => 2,
            _ => 1,
        };
        let owners = usize::from(self.queue)
            + usize::from(!home)
            + usize::from(kept)
            + self.others.iter().map(count).sum::<usize>()
            + handle;
        let references = if self.freed { 0 } else { self.state.references() };
        check(owners == references, "the count is not the number of references")
    }

    /// What has to hold when nothing more can happen.
    pub(super) fn check_end(&self) -> Checked {
        check(self.freed, "the cell is never freed")?;
        check(self.output != Output::There && self.output != Output::None, "an output is left")?;
        let gone = self.home == Home::Gone && self.handle == Handle::Gone;
        check(gone, "somebody is stuck")
    }
}

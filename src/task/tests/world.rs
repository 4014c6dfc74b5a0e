//! A task as plain data, for the walk: its words, where its references are, and who is at what.
//!
//! Between two steps anything else may happen; within one nothing. A step has at most one access to
//! what others may access at the same time: the remote word, the status or the inbox.
//!
//! Home reads the remote word without a lock, and may read any value from the last that it knows
//! of, or that happened before, to the newest. Only one thing about such a value matters, whether
//! it counts references; so that is what the world remembers of the values since then.

use crate::task::state::{
    OnComplete, OnDetach, OnRelease, OnRemoteWake, OnRun, Place, Remote, Status,
};

/// The transitions that the walk goes over, and what the steps that take them see to; a canary
/// breaks one.
#[derive(Clone, Copy)]
pub(super) struct Transitions {
    pub(super) run: fn(Status) -> OnRun,
    pub(super) complete: fn(Status) -> (Status, OnComplete),
    pub(super) detach: fn(Status) -> (Status, OnDetach),
    pub(super) share: fn(Remote) -> Remote,
    pub(super) release: fn(Remote) -> (Remote, OnRelease),
    pub(super) merge: fn(Remote, u32) -> (Remote, bool),
    pub(super) wake: fn(Remote) -> (Remote, OnRemoteWake),
    pub(super) wake_by_ref: fn(Remote) -> (Remote, OnRemoteWake),
    pub(super) abort: fn(Remote) -> (Remote, OnRemoteWake),
    pub(super) arrive: fn(Remote) -> (Remote, bool),
    pub(super) join: fn(Remote) -> (Remote, bool),
    pub(super) leave_list: fn(Remote) -> (Remote, ()),
    /// Home looks at the remote count before it frees.
    pub(super) looks_before_free: bool,
    /// Home merges the counts when its own comes to nothing.
    pub(super) merges: bool,
    /// Only one at a time merges the counts of an orphan, and only once.
    pub(super) merges_once: bool,
    /// Who merged an orphan's counts gives up its reference after that.
    pub(super) releases_merged: bool,
    /// A wake that finds a message under way is written all the same.
    pub(super) publishes: bool,
    /// A wake at home looks whether the task is queued.
    pub(super) looks_at_place: bool,
    /// A task that ends while it is queued keeps home's reference until its turn.
    pub(super) queue_keeps: bool,
    /// A task that ends has no joiner's waker any more once that can be known.
    pub(super) takes_waker_first: bool,
    /// A handle at home takes in what is under way before it leaves its waker.
    pub(super) receives_first: bool,
    /// A joiner's waker that arrives after the end is woken at once.
    pub(super) wakes_late_joiner: bool,
    /// A joiner's waker is kept only if there is a handle.
    pub(super) looks_for_handle: bool,
    /// The inbox is closed only when it is empty.
    pub(super) closes_empty: bool,
    /// What comes home brings what happened before it was sent.
    pub(super) synchronizes: bool,
    /// A task that comes too late for the inbox is ended by who would spawn it.
    pub(super) ends_unborn: bool,
    /// A handle that comes too late for the inbox drops the output.
    pub(super) drops_orphan: bool,
}

pub(super) const REAL: Transitions = Transitions {
    run: Status::run,
    complete: Status::complete,
    detach: Status::detach,
    share: Remote::share,
    release: Remote::release,
    merge: Remote::merge,
    wake: Remote::wake,
    wake_by_ref: Remote::wake_by_ref,
    abort: Remote::abort,
    arrive: Remote::arrive,
    join: Remote::join,
    leave_list: Remote::leave_list,
    looks_before_free: true,
    merges: true,
    merges_once: true,
    releases_merged: true,
    publishes: true,
    looks_at_place: true,
    queue_keeps: true,
    takes_waker_first: true,
    receives_first: true,
    wakes_late_joiner: true,
    looks_for_handle: true,
    closes_empty: true,
    synchronizes: true,
    ends_unborn: true,
    drops_orphan: true,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Output {
    None,
    There,
    Claimed,
    Dropped,
}

/// A message, which has a reference. A joiner's waker is the number of the poll that left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Message {
    /// A task that was spawned elsewhere.
    New,
    Woken,
    Released,
    Detached,
    Joining(u8),
}

/// Where the home thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Home {
    /// Between polls of the task.
    Between,
    /// In the future's poll. It may wake itself so many times more without a waker of its own.
    Polling(u8),
    /// Dropping the future.
    DroppingFuture,
    /// The output is in place.
    Completing,
    /// The queue has a reference of its own, if it needs one: the status is to say so.
    Publishing,
    /// The status says so. The joiner is to be woken by its waker, or the output to be dropped.
    Telling(OnComplete, Option<u8>),
    /// Giving up its reference to a task that is over.
    Releasing,
    /// The runtime is gone.
    Gone,
}

/// What one who is elsewhere than at home is at. All but those marked have a reference for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Doing {
    /// Nothing in particular; has no reference but its own.
    Nothing,
    /// Saw that the task is not over, and wakes it by reference; has none.
    WakesByRef,
    /// The same, by value.
    Wakes,
    /// The same, to abort it; has none.
    Aborts,
    Pushes(Message),
    Releases,
    /// The inbox gave a reference back that home counts: waits for the right to merge.
    Merges,
    /// Took home's count, and adds it to the remote one.
    AddsCount(u8),
    ReleasesMerged,
    /// Makes a message with its waker; has none.
    Joins(u8),
    PushesJoining(u8),
}

impl Doing {
    fn references(self) -> usize {
        match self {
            Doing::Nothing | Doing::WakesByRef | Doing::Aborts | Doing::Joins(_) => 0,
            _ => 1,
        }
    }
}

/// A wake by one who is elsewhere, until a poll that sees what happened before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Woke {
    No,
    /// It was not written: nothing that home does orders it.
    Unpublished,
    Published,
    /// Home took a step after it.
    Seen,
}

/// Who has a waker, an abort handle, or the join handle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Actor {
    /// Not made yet.
    pub(super) absent: bool,
    /// Has its own reference.
    pub(super) own: bool,
    pub(super) at_home: bool,
    pub(super) doing: Doing,
    /// Which of the remembered values of the remote word it has seen at least.
    pub(super) view: usize,
    /// How many times more it may wake, or abort.
    pub(super) left: u8,
    /// The inbox gave its waker back: the task is over, and it claims the output next.
    pub(super) claims: bool,
    pub(super) woke: Woke,
}

/// The join handle's and the abort handle's place among the actors; the others have wakers.
pub(super) const JOINER: usize = 0;
pub(super) const ABORTER: usize = 1;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct World {
    pub(super) local: u32,
    pub(super) remote: Remote,
    /// Whether the values of the remote word that home may read count references; equal ones in a
    /// row are one.
    pub(super) readable: Vec<bool>,
    pub(super) status: Status,
    pub(super) place: Place,
    pub(super) freed: bool,
    pub(super) future: bool,
    pub(super) output: Output,
    /// The waker in the join waker's place.
    pub(super) slot: Option<u8>,
    /// How often the task is in the run queue.
    pub(super) queue: u8,
    /// Home's own reference is there.
    pub(super) kept: bool,
    /// The queue has one beside it.
    pub(super) queue_has: bool,
    /// Home's own is the join handle's, or of the message that this is gone.
    pub(super) passed: bool,
    /// Home has another to give up, of a message that it took in.
    pub(super) owes: bool,
    pub(super) home: Home,
    pub(super) closing: bool,
    pub(super) list: Vec<Message>,
    /// Which of the remembered values those have seen who had the inbox's lock.
    pub(super) inbox_view: usize,
    pub(super) notified: bool,
    pub(super) arrived: Vec<Message>,
    /// Somebody merges an orphan's counts.
    pub(super) merging: bool,
    pub(super) actors: Vec<Actor>,
    /// The waker that the last poll of the join handle left, until it is woken.
    pub(super) waits: Option<u8>,
    /// Woken at home since the last poll began.
    pub(super) woken: bool,
    /// Wakes that no poll has answered.
    pub(super) wakes: u8,
    pub(super) abort_asked: bool,
    pub(super) abort_taken_in: bool,
    pub(super) polls_left: u8,
    pub(super) joins_left: u8,
    pub(super) joins_max: u8,
}

pub(super) type Checked = Result<(), &'static str>;

pub(super) fn check(holds: bool, or: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(or) }
}

/// How much may happen in a walk.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// The task is spawned elsewhere than at home.
    pub(super) remote: bool,
    pub(super) wakers: usize,
    pub(super) wakes: u8,
    pub(super) aborts: u8,
    pub(super) polls: u8,
    pub(super) joins: u8,
}

impl World {
    pub(super) fn new(bounds: Bounds) -> World {
        let actor = |absent, left| Actor {
            absent,
            own: !absent,
            at_home: true,
            doing: Doing::Nothing,
            view: 0,
            left,
            claims: false,
            woke: Woke::No,
        };
        let mut spawner = actor(false, 0);
        if bounds.remote {
            (spawner.at_home, spawner.doing) = (false, Doing::Pushes(Message::New));
        }
        let mut actors = vec![spawner, actor(true, bounds.aborts)];
        actors.resize(2 + bounds.wakers, actor(true, bounds.wakes));
        World {
            local: 1,
            remote: Remote::NEW,
            readable: vec![false],
            status: Status::NEW,
            place: Place::Queued,
            freed: false,
            future: true,
            output: Output::None,
            slot: None,
            queue: u8::from(!bounds.remote),
            kept: !bounds.remote,
            queue_has: false,
            passed: false,
            owes: false,
            home: Home::Between,
            closing: false,
            list: Vec::new(),
            inbox_view: 0,
            notified: false,
            arrived: Vec::new(),
            merging: false,
            actors,
            waits: None,
            woken: true,
            wakes: 1,
            abort_asked: false,
            abort_taken_in: false,
            polls_left: bounds.polls,
            joins_left: bounds.joins,
            joins_max: bounds.joins,
        }
    }

    /// Forgets what makes no difference any more, so that worlds are the same that differ in it.
    pub(super) fn forget(&mut self) {
        let done = self.status.is_done();
        if done {
            (self.woken, self.wakes, self.polls_left) = (false, 0, 0);
            (self.abort_asked, self.abort_taken_in) = (false, false);
        }
        if self.home == Home::Gone || self.freed {
            self.home_has_seen(self.readable.len() - 1);
        }
        for actor in &mut self.actors {
            let gone = !actor.absent && !actor.own && actor.doing == Doing::Nothing;
            if gone {
                (actor.left, actor.at_home) = (0, false);
            }
            if gone || actor.at_home {
                actor.view = 0;
            }
            if done {
                actor.woke = Woke::No;
            }
        }
    }

    pub(super) fn touch(&self) -> Checked {
        check(!self.freed, "the cell is touched after it was freed")
    }

    fn change(&mut self, next: Remote) {
        self.remote = next;
        let counts = next.references() > 0;
        if self.readable.last() != Some(&counts) {
            self.readable.push(counts);
        }
    }

    /// An atomic step on the remote word by an actor, who has seen all that was before it.
    pub(super) fn step<R>(
        &mut self,
        who: usize,
        step: impl Fn(Remote) -> (Remote, R),
    ) -> Result<R, &'static str> {
        self.touch()?;
        let (next, result) = step(self.remote);
        self.change(next);
        self.actors[who].view = self.readable.len() - 1;
        Ok(result)
    }

    /// The same by home.
    pub(super) fn step_at_home<R>(
        &mut self,
        step: impl Fn(Remote) -> (Remote, R),
    ) -> Result<R, &'static str> {
        self.touch()?;
        let (next, result) = step(self.remote);
        self.change(next);
        self.home_has_seen(self.readable.len() - 1);
        for actor in &mut self.actors {
            if actor.woke == Woke::Published {
                actor.woke = Woke::Seen;
            }
        }
        Ok(result)
    }

    /// What somebody has seen happened before what home does from now on.
    pub(super) fn home_has_seen(&mut self, view: usize) {
        self.readable.drain(..view);
        self.inbox_view = self.inbox_view.saturating_sub(view);
        for actor in &mut self.actors {
            actor.view = actor.view.saturating_sub(view);
        }
    }

    pub(super) fn free(&mut self) -> Checked {
        check(!self.freed, "the cell is freed twice")?;
        check(self.owners() == 0, "the cell is freed while somebody has a reference")?;
        check(self.queue == 0, "the cell is freed in the queue")?;
        check(!self.future, "the cell is freed with its future")?;
        check(self.output != Output::There, "the cell is freed with its output")?;
        check(self.slot.is_none(), "the cell is freed with a join waker")?;
        self.freed = true;
        Ok(())
    }

    pub(super) fn drop_output(&mut self) -> Checked {
        self.touch()?;
        check(self.output != Output::Claimed, "a claimed output is dropped")?;
        check(self.output != Output::Dropped, "an output is dropped twice")?;
        self.output = Output::Dropped;
        Ok(())
    }

    pub(super) fn claim_output(&mut self) -> Checked {
        self.touch()?;
        check(self.output == Output::There, "an output is claimed that is not there")?;
        self.output = Output::Claimed;
        self.waits = None;
        Ok(())
    }

    /// Those who have a reference.
    fn owners(&self) -> usize {
        let of_message =
            |message: &Message| usize::from(*message != Message::Detached || self.passed);
        let of_actor = |actor: &Actor| match actor.doing {
            Doing::Pushes(message) => of_message(&message),
            doing => doing.references(),
        };
        let names = self.actors[ABORTER..].iter().filter(|actor| actor.own).count();
        usize::from(self.kept)
            + usize::from(self.queue_has)
            + usize::from(self.owes)
            + usize::from(self.passed && self.actors[JOINER].own)
            + names
            + self.list.iter().chain(&self.arrived).map(of_message).sum::<usize>()
            + self.actors.iter().map(of_actor).sum::<usize>()
    }

    fn is_under_way(&self, is_it: impl Fn(Message) -> bool) -> bool {
        let pushed = self.list.iter().chain(&self.arrived).any(|message| is_it(*message));
        let is_pushing = |actor: &Actor| matches!(actor.doing, Doing::Pushes(it) if is_it(it));
        pushed || self.actors.iter().any(is_pushing)
    }

    /// What has to hold between any two steps.
    pub(super) fn check(&self) -> Checked {
        self.check_references()?;
        check(self.queue <= 1, "a task is queued twice")?;
        let joining = self.list.iter().filter(|message| matches!(message, Message::Joining(_)));
        check(joining.count() <= 1, "a handle's wakers pile up in the inbox")?;
        if self.status.is_done() { self.check_joiner() } else { self.check_wakes() }
    }

    /// Both counts together are the number of those who have a reference.
    fn check_references(&self) -> Checked {
        if self.freed {
            return check(self.owners() == 0, "somebody has a reference to a cell that is freed");
        }
        let carried = self.actors.iter().map(|actor| match actor.doing {
            Doing::AddsCount(count) => u32::from(count),
            _ => 0,
        });
        let counted = self.local + self.remote.references() + carried.sum::<u32>();
        check(counted as usize == self.owners(), "the counts are not the number of references")
    }

    fn check_wakes(&self) -> Checked {
        if self.is_under_way(|message| message == Message::New) {
            return Ok(());
        }
        check(self.home != Home::Gone, "the runtime is gone and the task not over")?;
        let ends = self.ends() || self.closing;
        let message = self.is_under_way(|message| message == Message::Woken);
        let woken = self.woken || self.actors.iter().any(|actor| actor.woke != Woke::No);
        check(
            !woken || ends || self.queue > 0 || message,
            "a wake is lost: the task is not queued, and no message under way",
        )?;
        let asked = self.abort_asked && !self.abort_taken_in;
        check(!asked || ends || message, "an abort is lost")
    }

    fn ends(&self) -> bool {
        matches!(self.home, Home::DroppingFuture | Home::Completing | Home::Publishing)
    }

    fn check_joiner(&self) -> Checked {
        let Some(waits) = self.waits else { return Ok(()) };
        let tells = matches!(self.home, Home::Telling(OnComplete::Wake, _));
        let told = self.home == Home::Telling(OnComplete::Wake, Some(waits))
            || tells && self.slot == Some(waits)
            || self.is_under_way(|message| message == Message::Joining(waits));
        check(told, "the task is over, and the joiner not woken")
    }

    /// What has to hold when nothing more can happen.
    pub(super) fn check_end(&self) -> Checked {
        let is_gone = |actor: &Actor| actor.absent || !actor.own && actor.doing == Doing::Nothing;
        let all = self.home == Home::Gone && self.actors.iter().all(is_gone);
        check(all, "somebody is stuck")?;
        check(self.freed, "the cell is never freed")?;
        check(matches!(self.output, Output::Claimed | Output::Dropped), "an output is left")
    }
}

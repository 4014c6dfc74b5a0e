//! What a loop holds, and how it changes: data only, none of which runs or drops foreign code.
//!
//! ```text
//!   a side of a source (to read, to write), whose callback is
//!
//!            set              the kernel reports it          its turn comes
//!    IDLE --------> WAITING ------------------------> READY ----------------> RUNNING
//!      ^              ^  `--- known already: READY      |                       |
//!      |              `---------------------------------|---- ended, waits anew -+
//!      `--------------- taken away ---------------------+-----------------------'
//! ```

use super::EventLoop;
use super::shared::{Arrived, Posted};
use super::source::Source;
use super::turn::TICKS_MAX;
use crate::reactor::Direction;
use crate::slab::{Key, Slab};
use crate::time::{Duration, Instant, next_after};
use crate::timer::{self, Timers};
use std::collections::VecDeque;
use std::io;
use std::task::Waker;

pub(super) type Tick = Box<dyn FnOnce(&EventLoop)>;
pub(super) type SourceCallback = Box<dyn FnMut(&EventLoop) -> io::Result<()>>;
pub(super) type ClosingCallback = Box<dyn FnOnce(&EventLoop, Option<Source>)>;

type RepeatingCallback = Box<dyn FnMut(&EventLoop, super::Timer)>;

pub(super) enum TimerCallback {
    Once(Tick),
    Many(RepeatingCallback),
}

/// Something to run in a turn, or to drop.
pub(super) enum Job {
    Tick(Tick),
    Call(Posted),
    Timer { key: Key, callback: TimerCallback },
    Source { key: Key, direction: Direction, callback: SourceCallback },
    Closing(Closing),
}

/// What is left of a handle that was closed.
pub(super) struct Closing {
    slot: Slot,
    then: Option<ClosingCallback>,
}

impl Closing {
    /// Drops the callbacks, and hands out what comes after that.
    pub(super) fn into_parts(self) -> (Option<Source>, Option<ClosingCallback>) {
        let source = match self.slot.content {
            Content::Timer(_) => None,
            Content::Source { source, sides } => {
                drop(sides);
                Some(source)
            }
        };
        (source, self.then)
    }
}

struct Slot {
    /// It keeps the loop running while it is active.
    keeps_alive: bool,
    content: Content,
}

enum Content {
    Timer(TimerSlot),
    Source { source: Source, sides: [Side; 2] },
}

struct TimerSlot {
    /// None while its callback runs.
    callback: Option<TimerCallback>,
    deadline: Instant,
    period: Option<Duration>,
    /// None once it is due.
    set: Option<timer::Key>,
}

#[derive(Default)]
struct Side {
    phase: Phase,
    callback: Option<SourceCallback>,
    /// What is left with the reactor; made when first needed.
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    Waiting,
    Ready,
    Running,
}

impl Slot {
    fn keeps_running(&self) -> bool {
        self.keeps_alive
            && match &self.content {
                Content::Timer(_) => true,
                Content::Source { sides, .. } => sides.iter().any(|side| side.phase != Phase::Idle),
            }
    }

    fn side(&mut self, direction: Direction) -> Option<&mut Side> {
        match &mut self.content {
            Content::Source { sides, .. } => Some(&mut sides[direction as usize]),
            Content::Timer(_) => None,
        }
    }
}

/// What is to be done once the callback of a source has ended.
#[must_use]
pub(super) enum AfterRun {
    /// Wait for the source anew.
    Wait(Source),
    /// Nothing: its handle is closed, or the callback was taken away, or waits already.
    Nothing,
}

#[derive(Default)]
pub(super) struct State {
    handles: Handles,
    timers: Timers<Key>,
    ticks: VecDeque<Tick>,
    /// Ticks that this turn may still run.
    ticks_left: u32,
    posted: VecDeque<Posted>,
    due: VecDeque<Key>,
    ready: VecDeque<(Key, Direction)>,
    /// What became ready in the turn, which is for the next.
    ready_later: VecDeque<(Key, Direction)>,
    closing: VecDeque<Closing>,
    /// What was closed while closing callbacks ran, which is for the next turn.
    closing_later: VecDeque<Closing>,
    in_closing_phase: bool,
    in_turn: bool,
    running: bool,
    stopping: bool,
    failure: Option<io::Error>,
    /// Kept for its memory.
    expired: Vec<Key>,
}

/// The slots, and how many of them keep the loop running.
struct Handles {
    slots: Slab<Slot>,
    keeping: usize,
}

impl Default for Handles {
    fn default() -> Handles {
        Handles { slots: Slab::new(), keeping: 0 }
    }
}

impl Handles {
    fn insert_with(&mut self, make: impl FnOnce(Key) -> Slot) -> Key {
        let mut keeps = false;
        let key = self.slots.insert_with(|key| {
            let slot = make(key);
            keeps = slot.keeps_running();
            slot
        });
        self.keeping += usize::from(keeps);
        key
    }

    fn remove(&mut self, key: Key) -> Option<Slot> {
        let slot = self.slots.remove(key)?;
        self.keeping -= usize::from(slot.keeps_running());
        Some(slot)
    }

    fn change<T>(&mut self, key: Key, change: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let slot = self.slots.get_mut(key)?;
        self.keeping -= usize::from(slot.keeps_running());
        let result = change(slot);
        self.keeping += usize::from(slot.keeps_running());
        Some(result)
    }

    fn timer(&mut self, key: Key) -> Option<&mut TimerSlot> {
        match self.slots.get_mut(key) {
            Some(Slot { content: Content::Timer(timer), .. }) => Some(timer),
            _ => None,
        }
    }
}

// The loop as a whole.
impl State {
    pub(super) fn handle_count(&self) -> usize {
        self.handles.slots.len()
    }

    pub(super) fn is_in_turn(&self) -> bool {
        self.in_turn
    }

    /// Begins a run; false if there is one.
    pub(super) fn begin_run(&mut self) -> bool {
        if self.running {
            return false;
        }
        (self.running, self.stopping, self.failure) = (true, false, None);
        true
    }

    pub(super) fn end_run(&mut self) {
        self.running = false;
    }

    pub(super) fn stop(&mut self, error: Option<io::Error>) {
        self.stopping = true;
        if self.failure.is_none() {
            self.failure = error;
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Begins a turn: what arrived and what is due by now is this turn's work.
    pub(super) fn begin_turn(&mut self, arrived: Arrived, now: Instant) {
        self.in_turn = true;
        self.ticks_left = TICKS_MAX;
        self.posted.extend(arrived.posted);
        for (key, direction) in arrived.ready {
            let side = self.handles.slots.get_mut(key).and_then(|slot| slot.side(direction));
            if let Some(side) = side.filter(|side| side.phase == Phase::Waiting) {
                side.phase = Phase::Ready;
                self.ready_later.push_back((key, direction));
            }
        }
        self.ready.append(&mut self.ready_later);
        self.timers.expire(now.as_nanos(), &mut self.expired);
        for key in self.expired.drain(..) {
            if let Some(timer) = self.handles.timer(key) {
                timer.set = None;
                self.due.push_back(key);
            }
        }
    }

    /// Ends a turn, however far it got.
    pub(super) fn end_turn(&mut self) {
        self.in_turn = false;
        self.in_closing_phase = false;
        self.closing.append(&mut self.closing_later);
    }

    /// Whether there is something to run at once.
    pub(super) fn has_work(&self) -> bool {
        !(self.ticks.is_empty()
            && self.posted.is_empty()
            && self.due.is_empty()
            && self.ready.is_empty()
            && self.ready_later.is_empty()
            && self.closing.is_empty())
    }

    /// Whether a handle keeps the loop running.
    pub(super) fn is_active(&self) -> bool {
        self.handles.keeping > 0
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline().map(Instant::from_nanos)
    }

    pub(super) fn push_tick(&mut self, tick: Tick) {
        self.ticks.push_back(tick);
    }

    pub(super) fn next_tick(&mut self) -> Option<Job> {
        self.ticks_left = self.ticks_left.checked_sub(1)?;
        self.ticks.pop_front().map(Job::Tick)
    }

    /// What comes next in the turn, in the order of the phases.
    pub(super) fn next_job(&mut self, now: Instant) -> Option<Job> {
        if self.in_closing_phase {
            return self.closing.pop_front().map(Job::Closing);
        }
        if let Some(posted) = self.posted.pop_front() {
            return Some(Job::Call(posted));
        }
        while let Some(key) = self.due.pop_front() {
            if let Some(job) = self.fire(key, now) {
                return Some(job);
            }
        }
        while let Some((key, direction)) = self.ready.pop_front() {
            let side = self.handles.slots.get_mut(key).and_then(|slot| slot.side(direction));
            let Some(side) = side.filter(|side| side.phase == Phase::Ready) else { continue };
            if let Some(callback) = side.callback.take() {
                side.phase = Phase::Running;
                return Some(Job::Source { key, direction, callback });
            }
        }
        self.in_closing_phase = true;
        self.closing.pop_front().map(Job::Closing)
    }

    /// Moves a handle to what is closed; else `then` comes back.
    pub(super) fn close(
        &mut self,
        key: Key,
        then: Option<ClosingCallback>,
    ) -> Result<(), Option<ClosingCallback>> {
        let Some(slot) = self.handles.remove(key) else { return Err(then) };
        if let Content::Timer(TimerSlot { set: Some(set), .. }) = slot.content {
            self.timers.remove(set);
        }
        let closing = Closing { slot, then };
        match self.in_closing_phase {
            true => self.closing_later.push_back(closing),
            false => self.closing.push_back(closing),
        }
        Ok(())
    }

    pub(super) fn keep_alive(&mut self, key: Key, keep: bool) -> bool {
        self.handles.change(key, |slot| slot.keeps_alive = keep).is_some()
    }

    /// All that it holds, to be dropped.
    pub(super) fn drain(&mut self) -> Vec<Job> {
        for key in self.handles.slots.keys() {
            // Each key names a handle, so there is nothing that could come back.
            let _ = self.close(key, None);
        }
        self.end_turn();
        let mut jobs: Vec<Job> = self.ticks.drain(..).map(Job::Tick).collect();
        jobs.extend(self.posted.drain(..).map(Job::Call));
        jobs.extend(self.closing.drain(..).map(Job::Closing));
        jobs
    }
}

// Timers.
impl State {
    pub(super) fn insert_timer(
        &mut self,
        deadline: Instant,
        period: Option<Duration>,
        callback: TimerCallback,
    ) -> Key {
        let timers = &mut self.timers;
        self.handles.insert_with(|key| {
            let set = Some(timers.insert(deadline.as_nanos(), key));
            let timer = TimerSlot { callback: Some(callback), deadline, period, set };
            Slot { keeps_alive: true, content: Content::Timer(timer) }
        })
    }

    pub(super) fn reset_timer(&mut self, key: Key, deadline: Instant) -> bool {
        let Some(timer) = self.handles.timer(key) else { return false };
        if let Some(set) = timer.set.take() {
            self.timers.remove(set);
        }
        timer.deadline = deadline;
        timer.set = Some(self.timers.insert(deadline.as_nanos(), key));
        true
    }

    /// The old callback, unless it is running; the new one comes back if there is no such timer.
    pub(super) fn replace_timer_callback(
        &mut self,
        key: Key,
        callback: TimerCallback,
    ) -> Result<Option<TimerCallback>, TimerCallback> {
        match self.handles.timer(key) {
            Some(timer) => Ok(timer.callback.replace(callback)),
            None => Err(callback),
        }
    }

    /// Takes out the callback of a timer that is due. One that fires once is closed by that, and
    /// one that repeats is set again, so that its callback can close or reset it.
    fn fire(&mut self, key: Key, now: Instant) -> Option<Job> {
        let timer = self.handles.timer(key)?;
        if timer.set.is_some() {
            // It was reset since it was due.
            return None;
        }
        let callback = timer.callback.take()?;
        match timer.period {
            Some(period) => {
                timer.deadline = next_after(timer.deadline, now, period);
                timer.set = Some(self.timers.insert(timer.deadline.as_nanos(), key));
            }
            None => drop(self.handles.remove(key)),
        }
        Some(Job::Timer { key, callback })
    }

    /// Puts the callback of a timer that repeats back after it ran; it comes back if it is not
    /// wanted any more.
    pub(super) fn timer_ran(
        &mut self,
        key: Key,
        callback: TimerCallback,
    ) -> Result<(), TimerCallback> {
        match self.handles.timer(key) {
            Some(timer) if timer.callback.is_none() => timer.callback = Some(callback),
            _ => return Err(callback),
        }
        Ok(())
    }
}

// Sources.
impl State {
    pub(super) fn insert_source(&mut self, source: Source) -> Key {
        let content = Content::Source { source, sides: Default::default() };
        self.handles.insert_with(|_| Slot { keeps_alive: true, content })
    }

    pub(super) fn source(&self, key: Key) -> Option<Source> {
        match &self.handles.slots.get(key)?.content {
            Content::Source { source, .. } => Some(source.clone()),
            Content::Timer(_) => None,
        }
    }

    /// The waker of one side, which `make` makes the first time.
    pub(super) fn side_waker(
        &mut self,
        key: Key,
        direction: Direction,
        make: impl FnOnce() -> Waker,
    ) -> Option<Waker> {
        let side = self.handles.slots.get_mut(key)?.side(direction)?;
        Some(side.waker.get_or_insert_with(make).clone())
    }

    /// Sets the callback of one side; the old one. It is to be waited for if true.
    pub(super) fn set_source_callback(
        &mut self,
        key: Key,
        direction: Direction,
        callback: SourceCallback,
    ) -> (Option<SourceCallback>, bool) {
        let set = self.handles.change(key, |slot| {
            let side = slot.side(direction)?;
            let to_wait = side.phase == Phase::Idle;
            if to_wait {
                side.phase = Phase::Waiting;
            }
            Some((side.callback.replace(callback), to_wait))
        });
        set.flatten().unwrap_or_default()
    }

    /// Takes the callback of one side away, and whether there was one.
    pub(super) fn take_source_callback(
        &mut self,
        key: Key,
        direction: Direction,
    ) -> (Option<SourceCallback>, bool) {
        let taken = self.handles.change(key, |slot| {
            let side = slot.side(direction)?;
            let had = std::mem::take(&mut side.phase) != Phase::Idle;
            Some((side.callback.take(), had))
        });
        taken.flatten().unwrap_or_default()
    }

    /// Notes that a side that waits is ready already.
    pub(super) fn side_is_ready(&mut self, key: Key, direction: Direction) {
        let side = self.handles.slots.get_mut(key).and_then(|slot| slot.side(direction));
        if let Some(side) = side.filter(|side| side.phase == Phase::Waiting) {
            side.phase = Phase::Ready;
            self.ready_later.push_back((key, direction));
        }
    }

    /// Puts the callback of a side back after it ran; it comes back if it is not wanted any more.
    pub(super) fn source_ran(
        &mut self,
        key: Key,
        direction: Direction,
        callback: SourceCallback,
    ) -> (AfterRun, Option<SourceCallback>) {
        let Some(Slot { content: Content::Source { source, sides }, .. }) =
            self.handles.slots.get_mut(key)
        else {
            return (AfterRun::Nothing, Some(callback));
        };
        let side = &mut sides[direction as usize];
        if side.phase != Phase::Running {
            return (AfterRun::Nothing, Some(callback));
        }
        side.phase = Phase::Waiting;
        match side.callback {
            Some(_) => (AfterRun::Wait(source.clone()), Some(callback)),
            None => {
                side.callback = Some(callback);
                (AfterRun::Wait(source.clone()), None)
            }
        }
    }
}

//! The timers of a reactor, which sleeps hold on to.

use super::wake_all;
use crate::contain::contain;
use crate::timer::{Key, NEVER, Pace, Timers, coalesced};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

/// The slack of a runtime that was not told another: see [`Pace`].
const SLACK_NS: u64 = 240_000;

/// The timers of a reactor.
///
/// A sleep holds a reference to it, so that it finds its timer without looking for the reactor. It
/// may outlive the reactor: then there are no timers in it.
pub(crate) struct TimerQueue {
    /// Those that may be late by the runtime's slack.
    timers: RefCell<Timers<Waker>>,
    /// Those with a slack of their own, made when there first is one. Each is set for the time at
    /// which it is to fire, and fires then.
    own: RefCell<Option<Box<Timers<Waker>>>>,
    pace: Cell<Pace>,
    /// The timer that was set last of those that are not started, if it was not removed.
    newest: Cell<Option<Key>>,
    /// Whether it is cancelled: then it stays for the next one that is set, waker and all. So a
    /// task that sets a timeout in each of its steps, and needs none of them, does not have it put
    /// in and taken out each time.
    is_spare: Cell<bool>,
    ahead: Cell<Ahead>,
    /// Room for the wakers of timers that are due, kept from one look to the next.
    due: Cell<Vec<Waker>>,
}

/// What is known of the timers without asking them: a look at which none is due costs no more than
/// to read the clock.
#[derive(Clone, Copy, Debug)]
enum Ahead {
    /// There are none.
    Nothing,
    /// They have to be asked: one was set or taken out, or was due.
    Unknown,
    /// All are started, none is due before `deadline`, and for none but those need anybody wake
    /// before `wake`; `NEVER` if there are none that can fire.
    Until { deadline: u64, wake: u64 },
}

/// Which slack a timer has: whoever has its key remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slack {
    /// The runtime's.
    Shared,
    /// One of its own.
    Own,
}

impl TimerQueue {
    pub(super) fn new() -> TimerQueue {
        TimerQueue {
            timers: RefCell::new(Timers::new()),
            own: RefCell::new(None),
            pace: Cell::new(Pace::new(SLACK_NS)),
            newest: Cell::new(None),
            is_spare: Cell::new(false),
            ahead: Cell::new(Ahead::Nothing),
            due: Cell::new(Vec::new()),
        }
    }

    pub(super) fn set_slack(&self, slack: Duration) {
        self.pace.set(Pace::new(u64::try_from(slack.as_nanos()).unwrap_or(u64::MAX)));
        self.ahead.set(Ahead::Unknown);
    }

    /// How many timers there are.
    pub(super) fn len(&self) -> usize {
        let own = self.own.borrow().as_ref().map_or(0, |own| own.len());
        self.timers.borrow().len() + own - usize::from(self.is_spare.get())
    }

    /// Whether there may be timers, those included that never fire.
    #[inline]
    pub(super) fn is_in_use(&self) -> bool {
        !matches!(self.ahead.get(), Ahead::Nothing)
    }

    /// Sets a timer. `timer::NEVER` is a deadline too.
    #[inline]
    pub(crate) fn insert(&self, deadline: u64, waker: Waker) -> Key {
        self.ahead.set(Ahead::Unknown);
        self.timers.borrow_mut().insert(deadline, waker)
    }

    /// Sets a timer that may be late by `slack` nanoseconds.
    pub(crate) fn insert_own(&self, deadline: u64, slack: u64, waker: Waker) -> Key {
        self.ahead.set(Ahead::Unknown);
        let mut own = self.own.borrow_mut();
        let own = own.get_or_insert_with(Box::default);
        own.insert(coalesced(deadline, slack), waker)
    }

    /// Sets a timer whose `duration`, in nanoseconds, counts from the next look at the kernel, at
    /// which the clock is read for all of them. Whom it wakes is said by [`TimerQueue::renew`].
    #[inline]
    pub(crate) fn insert_unstarted(&self, duration: u64) -> Key {
        self.ahead.set(Ahead::Unknown);
        let mut timers = self.timers.borrow_mut();
        if self.is_spare.take() {
            if let Some(key) = self.newest.get() {
                timers.set_duration(key, duration);
                return key;
            }
        }
        let key = timers.insert_unstarted(duration, Waker::noop().clone());
        self.newest.set(Some(key));
        key
    }

    /// Whether `waker` is the one that the timer will wake, if that is still set.
    #[inline]
    pub(crate) fn is_set_for(&self, slack: Slack, key: Key, waker: &Waker) -> Option<bool> {
        self.with_waker(slack, key, |set| set.will_wake(waker))
    }

    /// Whether the timer is still set. If so, `waker` is the one that it will wake.
    pub(crate) fn renew(&self, slack: Slack, key: Key, waker: &Waker) -> bool {
        match self.is_set_for(slack, key, waker) {
            None => return false,
            Some(true) => return true,
            Some(false) => {}
        }
        // Cloning and dropping wakers is foreign code, which may set and cancel timers.
        let mut new = waker.clone();
        let renewed = self.with_waker(slack, key, |set| std::mem::swap(set, &mut new)).is_some();
        contain(|| drop(new));
        renewed
    }

    #[inline]
    fn with_waker<R>(
        &self,
        slack: Slack,
        key: Key,
        code: impl FnOnce(&mut Waker) -> R,
    ) -> Option<R> {
        match slack {
            Slack::Shared => self.timers.borrow_mut().get_mut(key).map(code),
            Slack::Own => self.own.borrow_mut().as_mut()?.get_mut(key).map(code),
        }
    }

    /// Cancels a timer; of one that fired this is no news.
    #[inline]
    pub(crate) fn remove(self: Rc<Self>, slack: Slack, key: Key) {
        if self.newest.get() == Some(key) && slack == Slack::Shared {
            self.is_spare.set(true);
        } else {
            self.let_go(slack, key);
        }
    }

    #[inline(never)]
    fn let_go(self: Rc<Self>, slack: Slack, key: Key) {
        self.take_out(slack, key);
    }

    fn take_out(&self, slack: Slack, key: Key) {
        let waker = match slack {
            Slack::Shared => self.timers.borrow_mut().remove(key),
            Slack::Own => self.own.borrow_mut().as_mut().and_then(|own| own.remove(key)),
        };
        if let Some(waker) = waker {
            self.ahead.set(Ahead::Unknown);
            contain(|| drop(waker));
        }
    }

    /// Starts the timers that wait for it.
    pub(super) fn start(&self, now: impl FnOnce() -> u64) {
        if let Some(newest) = self.newest.take() {
            if self.is_spare.take() {
                self.take_out(Slack::Shared, newest);
            }
        }
        if self.timers.borrow().has_unstarted() {
            let now = now();
            self.timers.borrow_mut().start(now);
        }
    }

    /// A time at or before the first deadline; None without timers that can fire.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        earlier(self.timers.borrow().next_deadline(), self.next_own())
    }

    fn next_own(&self) -> Option<u64> {
        self.own.borrow().as_ref()?.next_deadline()
    }

    /// When to wake for timers if for nothing else: at a deadline, or a little later where timers
    /// are dense; None without timers that can fire. Those that wait to be started are.
    #[inline]
    pub(super) fn next_wake(&self, now: impl FnOnce() -> u64) -> Option<u64> {
        let wake = match self.ahead.get() {
            Ahead::Until { wake, .. } => wake,
            _ => self.look_ahead(now),
        };
        (wake != NEVER).then_some(wake)
    }

    #[inline(never)]
    fn look_ahead(&self, now: impl FnOnce() -> u64) -> u64 {
        self.start(now);
        let (shared, own) = (self.timers.borrow().next_deadline(), self.next_own());
        let wake = shared.map(|deadline| self.pace.get().wake_at(deadline));
        let wake = earlier(wake, own).unwrap_or(NEVER);
        let deadline = earlier(shared, own).unwrap_or(NEVER);
        let is_empty = self.len() == 0;
        self.ahead.set(if is_empty { Ahead::Nothing } else { Ahead::Until { deadline, wake } });
        wake
    }

    /// Wakes those whose timers are due. `for_timers` if nothing else ended the wait.
    ///
    /// With none that can fire there is nothing to read the clock for.
    #[inline]
    pub(super) fn expire(&self, now: impl FnOnce() -> u64, for_timers: bool) {
        let (may_fire, deadline) = match self.ahead.get() {
            Ahead::Nothing => return,
            Ahead::Until { deadline, .. } if deadline == NEVER => return,
            Ahead::Until { deadline, .. } => (true, deadline),
            Ahead::Unknown => (self.next_deadline().is_some(), 0),
        };
        let now = if may_fire { now() } else { 0 };
        if deadline <= now {
            self.expire_until(now, for_timers);
        }
    }

    #[inline(never)]
    fn expire_until(&self, now: u64, for_timers: bool) {
        let mut due = self.due.take();
        self.timers.borrow_mut().expire(now, &mut due);
        if for_timers && !due.is_empty() {
            let mut pace = self.pace.get();
            pace.woke(now);
            self.pace.set(pace);
        }
        if let Some(own) = self.own.borrow_mut().as_mut() {
            own.expire(now, &mut due);
        }
        // Before anyone is woken, who may set new ones.
        self.ahead.set(if self.len() > 0 { Ahead::Unknown } else { Ahead::Nothing });
        wake_all(&mut due);
        self.due.set(due);
    }

    /// Removes all timers; their wakers are for the caller to drop.
    pub(super) fn drain(&self) -> Vec<Waker> {
        self.newest.set(None);
        self.is_spare.set(false);
        self.ahead.set(Ahead::Unknown);
        let mut wakers = Vec::new();
        self.timers.borrow_mut().drain(&mut wakers);
        if let Some(own) = self.own.borrow_mut().as_mut() {
            own.drain(&mut wakers);
        }
        wakers
    }
}

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl std::fmt::Debug for TimerQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimerQueue").field("len", &self.len()).finish_non_exhaustive()
    }
}

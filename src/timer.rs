//! The timer queue: a pure data structure that says which timers are due.
//!
//! It reads no clock and wakes nobody. Time is a `u64` of nanoseconds since any fixed point, and
//! comes in as an argument; [`NEVER`] (`u64::MAX`) is a deadline that doesn't come.
//!
//! ```
//! use whirligig::timer::Timers;
//!
//! let (mut timers, mut due) = (Timers::new(), Vec::new());
//! let tea = timers.insert(180_000_000_000, "tea");
//! timers.insert(60_000_000_000, "egg");
//!
//! assert_eq!(timers.next_deadline(), Some(60_000_000_000));
//! timers.expire(60_000_000_000, &mut due); // a deadline equal to `now` has come
//! assert_eq!(due, ["egg"]);
//! assert_eq!(timers.remove(tea), Some("tea"));
//! assert!(timers.is_empty());
//! ```
//!
//! # The wheel
//!
//! Write deadlines as numbers of eleven digits, each of six bits. Then there is a level for each
//! digit and, on it, a slot for each value of the digit: eleven wheels of 64 slots, a slot of each
//! as wide as a whole turn of the wheel below it.
//!
//! ```text
//!   level   slot is       a turn is
//!    10     36.6 years    all of time (16 of the 64 slots are ever used)
//!     9     208 days      36.6 years
//!     :        :             :
//!     5     1.07 s        68.7 s         +----+----+----+----   ----+
//!     4     16.8 ms       1.07 s         |  0 |  1 |  2 |  3  ...   | 63
//!     3     262 us        16.8 ms        +----+----+----+----   ----+
//!     2     4.10 us       262 us            |         |
//!     1     64 ns         4.10 us           v         v       lists, oldest insertion first
//!     0     1 ns          64 ns           [a]-[b]    [c]      (each slot knows a lower bound
//!                                                             of its deadlines, `min`)
//! ```
//!
//! The wheel has a time of its own, `elapsed`. A deadline is placed by the highest digit in which
//! it differs from `elapsed`: that digit's position is the level, the deadline's digit there is the
//! slot.
//!
//! ```text
//!   digit        10  9  8  7  6  5  4  3  2  1  0
//!   elapsed       0  0  0  3 17 40 22  9 51 30  5
//!   deadline      0  0  0  3 17 40 25  1  0 63 63
//!                 `------ same -----'  ^
//!                                      highest difference: level 4, slot 25
//! ```
//!
//! This gives an order. What lies on a level agrees with `elapsed` in all digits above, and is
//! later in this one: so no slot comes round again within its level, and all of a lower level comes
//! before all of a higher one. The first slot in use of the lowest level in use therefore has the
//! earliest deadlines: a bitmap of levels and one of slots for each level find it in two
//! instructions.
//!
//! A deadline that has passed (`elapsed` or earlier) counts as `elapsed`, and so is in the first
//! slot of all. [`NEVER`] has a place like any other, in the last; but `expire` never goes that
//! far.
//!
//! # Expiry
//!
//! Slots whose `min` is due are opened, from the first: what is due is taken out, and the rest
//! (only the slot around `now` can have any) is placed anew, now that `elapsed` has come near it,
//! on a lower level. So a timer is moved at most once a level. A slot in which nothing is due is
//! left shut: a timer that is alone in its slot is never moved at all, and with nothing due the
//! call returns after one comparison.
//!
//! `min` is exact until a timer is removed: it may then be too early, until the slot is opened or
//! empties. Whoever waits for it finds nothing due, but the slot has been opened: so that costs a
//! timer at most one wake too many for each level, and none where nothing is removed.

use std::fmt;

mod pace;
mod slab;
#[cfg(test)]
mod tests;
mod wheel;

pub use pace::{Pace, coalesced};
pub use slab::Key;
use slab::Slab;
use wheel::{FIRST_TIMER, TIMERS_MAX, Wheel};

/// The deadline that doesn't come: such a timer is kept and can be removed, but never fires.
pub const NEVER: u64 = u64::MAX;

/// How many places for timers are made at once, at most.
const GROWTH_MAX: usize = 64;

/// A queue of timers, each with a payload of type `T` (say, a [`Waker`](std::task::Waker)).
///
/// Inserting and removing take constant time; expiry takes, over its life, at most one step a level
/// for each timer. Memory is allocated for the wheel (11 KiB) by `new`, and when there are more
/// timers, or more of them due at once, than ever before; it is given back when this is dropped.
///
/// No payload is dropped here, except by [`clear`](Timers::clear) and by dropping the queue.
pub struct Timers<T> {
    /// Who the timers are: place `n` of the slab is link `FIRST_TIMER + n` of the wheel.
    slab: Slab<T>,
    /// When they are due.
    wheel: Wheel,
    /// What is due in the slot that is open; empty between calls, kept for its memory.
    batch: Vec<Due>,
}

/// A timer that is due, from the highest bits down: its deadline, its rank among those of its slot
/// (which breaks ties), where it is. As one number it is compared in two instructions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due(u128);

impl Due {
    #[inline]
    fn new(deadline: u64, rank: u32, timer: u32) -> Due {
        Due(u128::from(deadline) << 64 | u128::from(rank) << 32 | u128::from(timer))
    }

    #[inline]
    fn timer(self) -> u32 {
        self.0 as u32
    }
}

impl<T> Timers<T> {
    /// An empty queue, at time zero.
    #[must_use]
    pub fn new() -> Timers<T> {
        Timers { slab: Slab::new(), wheel: Wheel::new(), batch: Vec::new() }
    }

    /// How many timers there are, those with a deadline of [`NEVER`] included.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there are no timers.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a timer that fires at `deadline` (nanoseconds), and returns the key to it.
    ///
    /// A deadline in the past is allowed: the timer fires at the next [`expire`](Timers::expire).
    ///
    /// # Panics
    ///
    /// If there are four thousand million timers already (`u32::MAX` less the slots of the wheel).
    #[inline]
    pub fn insert(&mut self, deadline: u64, payload: T) -> Key {
        match self.slab.insert(payload) {
            Ok(key) => {
                self.wheel.insert(FIRST_TIMER + key.index, deadline);
                key
            }
            Err(payload) => self.insert_by_growing(deadline, payload),
        }
    }

    /// Adds a timer that fires `duration` nanoseconds after the next [`start`](Timers::start),
    /// before which it is not one of those that `next_deadline` and `expire` know.
    ///
    /// So a timer can be set, and removed again, without the clock having been read for it.
    ///
    /// # Panics
    ///
    /// As for [`insert`](Timers::insert).
    #[inline]
    pub fn insert_unstarted(&mut self, duration: u64, payload: T) -> Key {
        match self.slab.insert(payload) {
            Ok(key) => {
                self.wheel.insert_unstarted(FIRST_TIMER + key.index, duration);
                key
            }
            Err(payload) => {
                self.grow();
                self.insert_unstarted(duration, payload)
            }
        }
    }

    /// Gives a timer that was neither started nor removed another duration.
    #[inline]
    pub(crate) fn set_duration(&mut self, key: Key, duration: u64) {
        self.wheel.set_time(FIRST_TIMER + key.index, duration);
    }

    /// Whether there are timers that were not started yet.
    #[inline]
    #[must_use]
    pub fn has_unstarted(&self) -> bool {
        self.wheel.has_unstarted()
    }

    /// Starts the timers that wait for it: from now on their deadlines are their durations after
    /// `now`, and they are timers like all others.
    pub fn start(&mut self, now: u64) {
        self.wheel.start(now);
    }

    #[cold]
    #[inline(never)]
    fn insert_by_growing(&mut self, deadline: u64, payload: T) -> Key {
        self.grow();
        self.insert(deadline, payload)
    }

    /// The place of a timer in the slab and its link in the wheel come into being together, some
    /// at a time where there are many.
    #[cold]
    fn grow(&mut self) {
        let places = self.slab.places();
        assert!(places < TIMERS_MAX, "too many timers");
        let more = (places / 8).clamp(1, GROWTH_MAX).min(TIMERS_MAX - places);
        self.wheel.grow(more);
        self.slab.grow(more);
    }

    /// Removes a timer before it fires, and returns its payload; `None` if it fired already or was
    /// removed before.
    #[inline]
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let payload = self.slab.remove(key)?;
        self.wheel.remove(FIRST_TIMER + key.index);
        Some(payload)
    }

    /// The payload of a timer, to change or replace it; `None` if the timer fired or was removed.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slab.get_mut(key)
    }

    /// The deadline of a timer as it was given; `None` if the timer fired or was removed. Of one
    /// that was not started it is the duration.
    #[inline]
    #[must_use]
    pub fn deadline(&self, key: Key) -> Option<u64> {
        self.slab.contains(key).then(|| self.wheel.time(FIRST_TIMER + key.index))
    }

    /// No timer fires before this time (nanoseconds); `None`: no timer will fire at all.
    ///
    /// It is the earliest deadline itself, unless a timer was removed that was near the earliest:
    /// then it may be too early, and an [`expire`](Timers::expire) at that time finds nothing due
    /// but makes the answer better.
    #[inline]
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let min = self.wheel.time(self.wheel.first()?);
        (min != NEVER).then_some(min)
    }

    /// Takes out the timers whose deadline is `now` or earlier and appends their payloads to `due`:
    /// in the order of their deadlines, equal ones in the order of their insertion.
    ///
    /// Time may stand still or go back. Nothing then fires that has a deadline after the `now`
    /// given, and nothing that has fired fires again.
    #[inline]
    pub fn expire(&mut self, now: u64, due: &mut Vec<T>) {
        // The last of times is never.
        let now = now.min(NEVER - 1);
        match self.wheel.first() {
            Some(slot) if self.wheel.time(slot) <= now => self.expire_some(now, due),
            Some(_) => {}
            // No place depends on the wheel's time, so it may catch up: what comes next is then
            // placed finely.
            None => self.wheel.advance(now),
        }
    }

    /// Removes all timers and appends their payloads to `payloads`, in no particular order. Their
    /// keys become stale.
    pub fn drain(&mut self, payloads: &mut Vec<T>) {
        if self.is_empty() {
            // However many there have been.
            return;
        }
        // May panic, so it comes first.
        payloads.reserve(self.len());
        self.wheel.clear();
        for index in 0..self.slab.places() as u32 {
            payloads.extend(self.slab.take(index));
        }
    }

    /// Removes all timers and drops their payloads. Their keys become stale.
    pub fn clear(&mut self) {
        // Collected first: a payload's drop may panic, but finds nothing half done.
        let mut payloads = Vec::new();
        self.drain(&mut payloads);
    }

    #[inline(never)]
    fn expire_some(&mut self, now: u64, due: &mut Vec<T>) {
        while let Some(slot) = self.wheel.first() {
            if self.wheel.time(slot) > now {
                break;
            }
            self.open(slot, now, due);
        }
    }

    /// Opens the first slot: what is due is taken out, the rest goes to the slots where it belongs
    /// now that the wheel's time has come as close as it may.
    fn open(&mut self, slot: u32, now: u64, due: &mut Vec<T>) {
        let mut timer = self.wheel.take(slot);
        // All that remains on the wheel is after this slot.
        self.wheel.advance(now.min(self.wheel.end(slot)));

        if self.wheel.next(timer) == slot && self.wheel.time(timer) <= now {
            // One timer only, as so often: nothing to sort.
            due.extend(self.slab.take(timer - FIRST_TIMER));
            return;
        }
        // Slots come in the order of time, but in a slot only insertion counts.
        while timer != slot {
            let (deadline, next) = (self.wheel.time(timer), self.wheel.next(timer));
            if deadline <= now {
                let rank = self.batch.len() as u32;
                self.batch.push(Due::new(deadline, rank, timer));
            } else {
                self.wheel.insert(timer, deadline);
            }
            timer = next;
        }
        // The rank makes all elements different, so this sort is as good as a stable one, and it
        // allocates nothing.
        if !self.batch.is_sorted() {
            self.batch.sort_unstable();
        }
        due.reserve(self.batch.len());
        for timer in self.batch.drain(..).map(Due::timer) {
            if let Some(payload) = self.slab.take(timer - FIRST_TIMER) {
                due.push(payload);
            }
        }
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers::new()
    }
}

impl<T> fmt::Debug for Timers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers")
            .field("len", &self.len())
            .field("next_deadline", &self.next_deadline())
            .finish_non_exhaustive()
    }
}

//! The wheel: which slot a deadline belongs to, and which slot comes first. It knows timers by
//! index and deadline only. The module above has the drawing of levels and slots; this is a slot:
//!
//! ```text
//!   links:   0 ............ 703 | 704       | 705 ................
//!            slots, level by    | not       | timers, in any order
//!            level              | started   |
//!
//!            .----------------------- next ------------------------.
//!            v                                                     |
//!      +-----------+   next   +-----------+   next   +-----------+ |
//!      | slot 357  | -------> | timer 709 | -------> | timer 704 |-'
//!      | time: min |          | deadline  |          | deadline  |
//!    .-|           | <------- |           | <------- |           |
//!    | +-----------+ previous +-----------+ previous +-----------+
//!    |                                                     ^
//!    '---------------------- previous ---------------------'   new timers go in here
//! ```
//!
//! A slot is the link that closes the ring of its timers. So no timer is without neighbours,
//! neither insertion nor removal has a special case at the ends, and the last timer of a slot,
//! which has the slot on both sides, tells by that which slot becomes empty.

use super::NEVER;

/// Bits of a digit.
const DIGIT_BITS: u32 = 6;
/// Slots of a level: the values of a digit.
pub(super) const SLOTS: usize = 1 << DIGIT_BITS;
/// Digits of a time.
pub(super) const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;
/// One bitmap a level, and a few that stay empty: a power of two, so that the index needs a mask
/// and no check.
pub(super) const BITMAPS: usize = LEVELS.next_power_of_two();

/// The link whose ring holds the timers that were not started: a slot of no level, so that a timer
/// is taken out of it as out of any other.
pub(super) const UNSTARTED: u32 = (LEVELS * SLOTS) as u32;
const _: () = assert!(LEVELS < BITMAPS, "it has a bitmap, which stays empty");

/// Index of the first link that is a timer.
pub(super) const FIRST_TIMER: u32 = UNSTARTED + 1;
/// The most timers there may be: their indices fit 32 bits.
pub(super) const TIMERS_MAX: usize = (u32::MAX - FIRST_TIMER) as usize;

/// The slots, the rings of timers that they hold, and what is needed to find the right one.
pub(super) struct Wheel {
    /// All deadlines are placed relative to this time. It only grows, and never so far that a
    /// deadline on the wheel would have another place.
    pub(super) elapsed: u64,
    /// Which levels have a slot in use: bit `n` for level `n`.
    pub(super) levels: u32,
    /// Which slots of a level are in use, that is, hold a timer.
    pub(super) occupied: [u64; BITMAPS],
    /// The slots, level by level, then the timers.
    pub(super) links: Vec<Link>,
}

/// A link of a ring: a slot or a timer. An empty slot is linked to itself.
#[derive(Clone, Copy)]
pub(super) struct Link {
    /// A timer's deadline. A slot's `min`: no deadline in the ring is earlier; `NEVER` if empty.
    pub(super) time: u64,
    pub(super) previous: u32,
    pub(super) next: u32,
}

impl Link {
    const fn alone(index: u32, time: u64) -> Link {
        Link { time, previous: index, next: index }
    }
}

impl Wheel {
    pub(super) fn new() -> Wheel {
        let links = (0..FIRST_TIMER).map(|slot| Link::alone(slot, NEVER)).collect();
        Wheel { elapsed: 0, levels: 0, occupied: [0; BITMAPS], links }
    }

    /// Makes room for so many more timers, the next by index.
    pub(super) fn grow(&mut self, more: usize) {
        let first = self.links.len() as u32;
        self.links.extend((first..first + more as u32).map(|index| Link::alone(index, NEVER)));
    }

    /// The first slot in use: no deadline elsewhere is earlier than one of its own.
    #[inline]
    pub(super) fn first(&self) -> Option<u32> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let digit = self.occupied[level as usize].trailing_zeros();
        Some(level << DIGIT_BITS | digit)
    }

    /// The deadline of a timer, or the lower bound of those in a slot.
    #[inline]
    pub(super) fn time(&self, index: u32) -> u64 {
        self.links[index as usize].time
    }

    /// Gives a timer that is in no slot another time.
    #[inline]
    pub(super) fn set_time(&mut self, index: u32, time: u64) {
        self.links[index as usize].time = time;
    }

    /// The timer after this one; the slot after the last.
    #[inline]
    pub(super) fn next(&self, index: u32) -> u32 {
        self.links[index as usize].next
    }

    /// The last time that falls into a slot: the digits above are those of `elapsed`.
    pub(super) fn end(&self, slot: u32) -> u64 {
        let (level, digit) = (slot >> DIGIT_BITS, u64::from(slot) % SLOTS as u64);
        let shift = level * DIGIT_BITS;
        let below = (1 << shift) - 1;
        let above = !((SLOTS as u64 - 1) << shift | below);
        self.elapsed & above | digit << shift | below
    }

    /// Lets the wheel's time move on to `time`, unless it is there already.
    ///
    /// No slot in use may begin at `time` or before: its timers would be in the wrong place.
    #[inline]
    pub(super) fn advance(&mut self, time: u64) {
        self.elapsed = self.elapsed.max(time);
    }

    /// Puts a timer that is in no slot into the slot where its deadline belongs, behind the others.
    #[inline]
    pub(super) fn insert(&mut self, index: u32, deadline: u64) {
        let slot = self.place(deadline);
        let ring = &mut self.links[slot as usize];
        // What is later than another of the slot finds it in use. An empty one has `NEVER`, and
        // nothing is later than that.
        if deadline <= ring.time {
            ring.time = deadline;
            self.levels |= 1 << level_of(slot);
            self.occupied[level_of(slot)] |= bit_of(slot);
        }
        self.append(slot, index, deadline);
    }

    /// Puts a timer behind all others of a ring.
    #[inline]
    fn append(&mut self, ring: u32, index: u32, time: u64) {
        let last = std::mem::replace(&mut self.links[ring as usize].previous, index);
        self.links[last as usize].next = index;
        self.links[index as usize] = Link { time, previous: last, next: ring };
    }

    /// Keeps a timer that is in no slot until the next `start`.
    #[inline]
    pub(super) fn insert_unstarted(&mut self, index: u32, duration: u64) {
        self.append(UNSTARTED, index, duration);
    }

    /// Whether a timer waits for the next `start`.
    #[inline]
    pub(super) fn has_unstarted(&self) -> bool {
        self.next(UNSTARTED) != UNSTARTED
    }

    /// Puts all timers that were not started into the slots where they belong, counted from `now`.
    pub(super) fn start(&mut self, now: u64) {
        let mut timer = self.take(UNSTARTED);
        while timer != UNSTARTED {
            let Link { time: duration, next, .. } = self.links[timer as usize];
            self.insert(timer, now.saturating_add(duration));
            timer = next;
        }
    }

    /// Takes a timer out of its slot.
    #[inline]
    pub(super) fn remove(&mut self, index: u32) {
        let Link { previous, next, .. } = self.links[index as usize];
        self.links[previous as usize].next = next;
        self.links[next as usize].previous = previous;
        if previous == next {
            self.vacated(next);
        }
    }

    /// Takes all timers out of a slot, and returns the first; the others are found by `next`.
    pub(super) fn take(&mut self, slot: u32) -> u32 {
        let ring = &mut self.links[slot as usize];
        let first = ring.next;
        (ring.previous, ring.next) = (slot, slot);
        self.vacated(slot);
        first
    }

    /// Notes that a slot has become empty.
    #[inline]
    fn vacated(&mut self, slot: u32) {
        let level = level_of(slot);
        self.occupied[level] &= !bit_of(slot);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
        self.links[slot as usize].time = NEVER;
    }

    /// Takes all timers out of all slots.
    pub(super) fn clear(&mut self) {
        self.levels = 0;
        self.occupied = [0; BITMAPS];
        for (slot, link) in (0..FIRST_TIMER).zip(&mut self.links) {
            *link = Link::alone(slot, NEVER);
        }
    }

    /// The slot where a deadline belongs: that of the highest digit in which it differs from
    /// `elapsed`.
    #[inline]
    pub(super) fn place(&self, deadline: u64) -> u32 {
        let time = deadline.max(self.elapsed);
        // The 1 stands for no difference at all, which is level 0 as well.
        let highest = ((time ^ self.elapsed) | 1).ilog2();
        let (level, shift) = DIGITS[highest as usize];
        let digit = (time >> (shift % 64)) as u32 % SLOTS as u32;
        (u32::from(level) << DIGIT_BITS) | digit
    }
}

/// For each bit of a time, the level of the digit that it is part of and the lowest bit of that
/// digit. A division by six would do as well, but takes longer.
const DIGITS: [(u8, u8); u64::BITS as usize] = {
    let mut digits = [(0, 0); u64::BITS as usize];
    let mut bit = 0;
    while bit < u64::BITS {
        let level = bit / DIGIT_BITS;
        digits[bit as usize] = (level as u8, (level * DIGIT_BITS) as u8);
        bit += 1;
    }
    digits
};

/// The level of a slot: an index of `occupied`.
#[inline]
pub(super) const fn level_of(slot: u32) -> usize {
    (slot >> DIGIT_BITS) as usize % BITMAPS
}

/// The bit of a slot in the bitmap of its level.
#[inline]
pub(super) const fn bit_of(slot: u32) -> u64 {
    1 << (slot % SLOTS as u32)
}

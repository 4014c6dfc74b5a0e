//! A checker of everything that has to hold between calls, and canaries to check the checker.

use super::super::wheel::{SLOTS, UNSTARTED, bit_of, level_of};
use super::*;

impl<T> Timers<T> {
    /// Whether the queue is consistent; if not, what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.batch.is_empty() {
            return Err("the batch holds something between calls".into());
        }
        self.slab.check()?;
        let mut linked = 0;
        linked += self.ring(UNSTARTED)?.len();
        for slot in 0..UNSTARTED {
            let timers = self.ring(slot)?;
            for timer in &timers {
                self.check_timer(slot, *timer)?;
            }
            let bit = self.wheel.occupied[level_of(slot)] & bit_of(slot) != 0;
            if bit == timers.is_empty() {
                return Err(format!("slot {slot} holds {} timers: bit {bit}", timers.len()));
            }
            if timers.is_empty() && self.wheel.time(slot) != NEVER {
                return Err(format!("slot {slot} is empty, but has a lower bound"));
            }
            linked += timers.len();
        }
        if linked != self.len() {
            return Err(format!("{linked} timers are in slots, of {}", self.len()));
        }
        for (level, occupied) in self.wheel.occupied.iter().enumerate() {
            if (*occupied != 0) != (self.wheel.levels >> level & 1 != 0) {
                return Err(format!("the bit of level {level} is wrong"));
            }
        }
        Ok(())
    }

    /// The timers of a slot, in order, if the ring is whole in both directions.
    fn ring(&self, slot: u32) -> Result<Vec<u32>, String> {
        let (mut timers, mut at) = (Vec::new(), slot);
        loop {
            let next = self.wheel.next(at);
            if self.wheel.links[next as usize].previous != at {
                return Err(format!("link {next} does not lead back to {at}"));
            }
            if next == slot {
                return Ok(timers);
            }
            if next < FIRST_TIMER || timers.len() > self.len() {
                return Err(format!("slot {slot} is not on its own ring"));
            }
            timers.push(next);
            at = next;
        }
    }

    fn check_timer(&self, slot: u32, timer: u32) -> Result<(), String> {
        let deadline = self.wheel.time(timer);
        if !self.slab.is_occupied(timer - FIRST_TIMER) {
            return Err(format!("timer {timer} has no payload"));
        }
        if self.wheel.place(deadline) != slot {
            return Err(format!("{deadline} is in slot {slot}, at {}", self.wheel.elapsed));
        }
        if deadline < self.wheel.time(slot) {
            return Err(format!("{deadline} is before slot {slot}'s lower bound"));
        }
        Ok(())
    }
}

/// A queue that the check has nothing against: three timers in one slot, one in another.
fn sound() -> (Timers<u32>, [u32; 4]) {
    let mut timers = at_now();
    let deadlines = [NOW + 1_000_000, NOW + 1_000_001, NOW + 1_000_002, NOW + (1 << 50)];
    let keys = deadlines.map(|deadline| timers.insert(deadline, 0));
    timers.check().unwrap();
    (timers, keys.map(|key| FIRST_TIMER + key.index))
}

#[test]
fn the_check_notices_all_kinds_of_damage() {
    type Damage = fn(&mut Timers<u32>, [u32; 4]);
    let kinds: [(&str, Damage); 11] = [
        ("a level's bit is lost", |timers, _| timers.wheel.levels &= timers.wheel.levels - 1),
        ("a level's bit is left behind", |timers, _| timers.wheel.levels |= 1),
        ("a slot's bit is lost", |timers, [first, ..]| {
            let slot = timers.wheel.place(timers.wheel.time(first));
            timers.wheel.occupied[level_of(slot)] = 0;
        }),
        ("a slot's bit is left behind", |timers, _| timers.wheel.occupied[5] = 1 << 63),
        ("a lower bound is too late", |timers, [first, second, ..]| {
            let slot = timers.wheel.place(timers.wheel.time(first));
            timers.wheel.links[slot as usize].time = timers.wheel.time(second);
        }),
        ("an empty slot has a lower bound", |timers, _| timers.wheel.links[SLOTS].time = 5),
        ("a link leads astray", |timers, [first, _, third, _]| {
            timers.wheel.links[first as usize].next = third;
        }),
        ("a ring lacks its slot", |timers, [first, second, ..]| {
            timers.wheel.links[second as usize].next = first;
            timers.wheel.links[first as usize].previous = second;
        }),
        ("the wheel's time went too far", |timers, _| timers.wheel.elapsed += 1_000_001),
        ("a payload went and its timer stayed", |timers, [first, ..]| {
            timers.slab.take(first - FIRST_TIMER);
        }),
        ("a timer went and its payload stayed", |timers, [first, ..]| timers.wheel.remove(first)),
    ];
    for (name, damage) in kinds {
        let (mut timers, links) = sound();
        damage(&mut timers, links);
        assert!(timers.check().is_err(), "not noticed: {name}");
    }
}

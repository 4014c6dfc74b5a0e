//! The timer queue against a `BTreeMap`.

use super::bytes::Bytes;
use std::collections::BTreeMap;
use whirligig::timer::{Key, NEVER, Timers};

/// Keys that are kept, stale ones included.
const KEYS_MAX: usize = 64;
/// Expiries that find nothing due, at most, for each timer ever set: one a level.
const LEVELS: usize = 11;

#[derive(Default)]
struct Model {
    /// By deadline, then by insertion; the payload is the number of the insertion.
    live: BTreeMap<(u64, u64), Key>,
    inserted: u64,
    now: u64,
}

impl Model {
    /// What an expiry has to bring.
    fn expire(&mut self, now: u64) -> Vec<u64> {
        let now = now.min(NEVER - 1);
        let due: Vec<_> = self.live.range(..=(now, u64::MAX)).map(|(&timer, _)| timer).collect();
        for timer in &due {
            self.live.remove(timer);
        }
        due.into_iter().map(|(_, payload)| payload).collect()
    }

    fn first(&self) -> Option<u64> {
        let first = self.live.first_key_value();
        first.map(|(&(deadline, _), _)| deadline).filter(|&deadline| deadline != NEVER)
    }

    /// The timer of a key: its deadline and payload.
    fn find(&self, key: Key) -> Option<(u64, u64)> {
        self.live.iter().find(|(_, other)| **other == key).map(|(&timer, _)| timer)
    }
}

/// `data` is a program of insertions, removals and expiries.
pub fn run(data: &[u8]) {
    let (mut timers, mut model) = (Timers::new(), Model::default());
    let mut keys: Vec<Key> = Vec::new();
    let mut program = Bytes(data);
    while let Some(operation) = program.next() {
        match operation % 8 {
            0..3 => {
                let deadline = time(&mut program, model.now);
                let payload = model.inserted;
                model.inserted += 1;
                let key = timers.insert(deadline, payload);
                assert!(model.live.values().all(|other| *other != key), "{key:?} is given twice");
                model.live.insert((deadline, payload), key);
                match keys.len() {
                    KEYS_MAX => keys[payload as usize % KEYS_MAX] = key,
                    _ => keys.push(key),
                }
            }
            3 if !keys.is_empty() => {
                let key = keys[program.index(keys.len())];
                let found = model.find(key);
                assert_eq!(timers.deadline(key), found.map(|(deadline, _)| deadline));
                assert_eq!(timers.get_mut(key).copied(), found.map(|(_, payload)| payload));
                assert_eq!(timers.remove(key), found.map(|(_, payload)| payload));
                found.and_then(|timer| model.live.remove(&timer));
            }
            3..6 => {
                model.now = time(&mut program, model.now);
                expire(&mut timers, &mut model);
            }
            6 => to_the_next(&mut timers, &mut model),
            // Rarely, or there would never be many.
            _ if program.byte() > 250 => {
                let mut payloads = Vec::new();
                timers.drain(&mut payloads);
                payloads.sort_unstable();
                let mut expected: Vec<u64> = model.live.keys().map(|timer| timer.1).collect();
                expected.sort_unstable();
                assert_eq!(payloads, expected);
                model.live.clear();
            }
            _ => {}
        }
        assert_eq!(timers.len(), model.live.len());
        assert_eq!(timers.is_empty(), model.live.is_empty());
        match (timers.next_deadline(), model.first()) {
            (None, None) => {}
            (Some(bound), Some(first)) => assert!(bound <= first, "{bound} > {first}"),
            // One that was near the last of times was removed; the rest never fires.
            (Some(_), None) if !model.live.is_empty() => {}
            (bound, first) => panic!("the bound is {bound:?}, the first {first:?}"),
        }
    }
    while timers.next_deadline().is_some() {
        to_the_next(&mut timers, &mut model);
    }
    assert_eq!(model.first(), None);
    assert_eq!(timers.len(), model.live.len());
}

fn expire(timers: &mut Timers<u64>, model: &mut Model) -> usize {
    let mut due = Vec::new();
    timers.expire(model.now, &mut due);
    assert_eq!(due, model.expire(model.now), "due at {}", model.now);
    due.len()
}

/// As a loop does that has nothing else to wait for.
fn to_the_next(timers: &mut Timers<u64>, model: &mut Model) {
    let mut looks = 0;
    while let Some(bound) = timers.next_deadline() {
        assert!(looks <= LEVELS * model.inserted as usize, "no end of looking");
        looks += 1;
        model.now = model.now.max(bound);
        if expire(timers, model) > 0 {
            break;
        }
        let learnt = timers.next_deadline().is_none_or(|next| next > bound);
        assert!(learnt, "nothing was learnt at {bound}");
    }
}

/// A time: near `now`, some levels away, on either side, or anything.
fn time(program: &mut Bytes<'_>, now: u64) -> u64 {
    let shape = program.byte();
    let shift = u32::from(shape >> 2);
    match shape % 4 {
        0 => now.saturating_add(program.number(1) << shift.min(56)),
        1 => now.saturating_sub(program.number(1) << shift.min(56)),
        2 if shape >= 0xf0 => NEVER - program.number(1),
        2 => now ^ program.number(2).rotate_left(shift),
        _ => program.number(8),
    }
}

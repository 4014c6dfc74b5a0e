//! The queue does what a sorted map does, for deadlines of all sorts. A failure names its seed.

use std::collections::BTreeMap;

use super::super::wheel::LEVELS;
use super::*;

/// Marsaglia's xorshift64: all the randomness a test needs.
struct Random(u64);

impl Random {
    /// A seed of zero would stay zero; and small seeds resemble each other at first.
    fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| _ = random.next());
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number of a random length in bits, so that all levels are as likely.
    fn of_any_length(&mut self) -> u64 {
        let bits = self.below(64);
        self.next() >> bits
    }
}

/// Chooses a deadline, given the time.
type Distribution = fn(&mut Random, u64) -> u64;

const DISTRIBUTIONS: [(&str, Distribution); 9] = [
    ("dense", |random, now| now.saturating_add(random.below(200))),
    ("sparse", |random, now| now.saturating_add(random.below(100_000_000_000))),
    ("far", |random, now| now.saturating_add(random.next() >> 2)),
    ("past", |random, now| now.saturating_sub(random.below(1_000))),
    ("equal", |_, now| (now | 0xffff) + u64::from(now < 1 << 63)),
    ("of any length", |random, now| now.saturating_add(random.of_any_length())),
    ("anywhere", |random, _| random.next()),
    ("at the edges of digits", |random, now| {
        let shift = random.below(64);
        (now >> shift << shift)
            .saturating_add(random.below(2) << shift)
            .wrapping_sub(random.below(2))
    }),
    ("at the ends of time", |random, _| match random.below(2) {
        0 => random.below(3),
        _ => NEVER - random.below(3),
    }),
];

/// A queue and the map it has to agree with. A payload is the rank of its insertion.
struct Run {
    random: Random,
    now: u64,
    timers: Timers<u64>,
    model: BTreeMap<(u64, u64), Key>,
    /// All timers there ever were, stale ones included.
    history: Vec<(u64, Key)>,
    removals: bool,
}

impl Run {
    fn new(seed: u64, removals: bool) -> Run {
        let mut random = Random::new(seed);
        let now = if random.below(4) == 0 { 0 } else { random.of_any_length() };
        let (timers, model, history) = (Timers::new(), BTreeMap::new(), Vec::new());
        Run { random, now, timers, model, history, removals }
    }

    fn step(&mut self, distribution: Distribution) {
        match self.random.below(8) {
            0..4 => self.insert(distribution),
            4..6 if self.removals => self.remove(),
            6 => self.look_up(),
            _ => self.advance(),
        }
        // The check looks at all slots, which takes longer than all the rest.
        if self.random.below(8) == 0 {
            self.timers.check().unwrap();
        }
        assert_eq!(self.timers.len(), self.model.len());
        let exact = self.earliest();
        match self.timers.next_deadline() {
            bound if !self.removals => assert_eq!(bound, exact),
            Some(bound) => assert!(!self.model.is_empty() && bound <= exact.unwrap_or(NEVER)),
            None => assert_eq!(exact, None),
        }
    }

    fn earliest(&self) -> Option<u64> {
        let (&(deadline, _), _) = self.model.first_key_value()?;
        (deadline != NEVER).then_some(deadline)
    }

    fn insert(&mut self, distribution: Distribution) {
        let deadline = distribution(&mut self.random, self.now);
        let rank = self.history.len() as u64;
        let key = self.timers.insert(deadline, rank);
        self.model.insert((deadline, rank), key);
        self.history.push((deadline, key));
    }

    /// Any timer there ever was, more likely a recent one.
    fn any(&mut self) -> Option<((u64, u64), Key)> {
        let length = self.history.len() as u64;
        let age = self.random.of_any_length() % length.max(1);
        let rank = length.checked_sub(1 + age)?;
        let (deadline, key) = self.history[rank as usize];
        Some(((deadline, rank), key))
    }

    fn remove(&mut self) {
        if let Some((entry, key)) = self.any() {
            let expected = self.model.remove(&entry).map(|_| entry.1);
            assert_eq!(self.timers.remove(key), expected);
        }
    }

    fn look_up(&mut self) {
        if let Some(((deadline, rank), key)) = self.any() {
            let live = self.model.contains_key(&(deadline, rank));
            assert_eq!(self.timers.deadline(key), live.then_some(deadline));
            assert_eq!(self.timers.get_mut(key).copied(), live.then_some(rank));
        }
    }

    fn advance(&mut self) {
        let bound = self.timers.next_deadline().unwrap_or(self.now);
        self.now = match self.random.below(16) {
            0..6 => bound.max(self.now),
            6 => bound.saturating_sub(1).max(self.now),
            7..12 => self.now.saturating_add(self.random.below(1_000)),
            12 => self.now.saturating_add(self.random.below(1_000_000_000)),
            13 => self.now.saturating_add(self.random.of_any_length() >> 8),
            14 => self.now,
            _ => self.now.saturating_sub(self.random.below(1_000)),
        };
        let mut due = Vec::new();
        self.timers.expire(self.now, &mut due);
        let later = self.model.split_off(&(self.now.saturating_add(1), 0));
        let expected = std::mem::replace(&mut self.model, later);
        assert!(due.into_iter().eq(expected.into_keys().map(|(_, rank)| rank)));
    }
}

/// Prints the seed if the test fails while this lives.
struct Seed<'a>(u64, &'a str);

impl Drop for Seed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, deadlines {}", self.0, self.1);
        }
    }
}

fn compare_with_the_model(removals: bool) {
    for (name, distribution) in DISTRIBUTIONS {
        for number in 0..30 {
            let seed = Seed(number, name);
            let mut run = Run::new(seed.0, removals);
            (0..300).for_each(|_| run.step(distribution));
        }
    }
    for number in 0..60 {
        let seed = Seed(number, "mixed");
        let mut run = Run::new(seed.0, removals);
        for _ in 0..300 {
            let choice = run.random.below(DISTRIBUTIONS.len() as u64) as usize;
            run.step(DISTRIBUTIONS[choice].1);
        }
    }
}

#[test]
fn the_queue_agrees_with_a_sorted_map() {
    compare_with_the_model(true);
}

#[test]
fn without_removals_the_next_deadline_is_exact() {
    compare_with_the_model(false);
}

#[test]
fn who_waits_for_the_next_deadline_wakes_at_most_once_too_often_a_level_and_removal() {
    for number in 0..200 {
        let seed = Seed(number, "of any length");
        let mut random = Random::new(seed.0);
        let mut timers = Timers::new();
        let mut keys: Vec<Key> =
            (0..200).map(|rank| timers.insert(random.of_any_length() >> 1, rank)).collect();
        let (mut removed, mut in_vain, mut in_a_row) = (0, 0, 0);
        while let Some(now) = timers.next_deadline() {
            let mut due = Vec::new();
            timers.expire(now, &mut due);
            if due.is_empty() {
                (in_vain, in_a_row) = (in_vain + 1, in_a_row + 1);
            } else {
                in_a_row = 0;
            }
            assert!(in_a_row < LEVELS, "{in_a_row} wakes in a row found nothing due");
            assert!(in_vain <= removed, "{in_vain} wakes for {removed} removals");
            let victim = keys.swap_remove(random.below(keys.len() as u64) as usize);
            removed += usize::from(timers.remove(victim).is_some());
            if keys.is_empty() {
                break;
            }
        }
        assert!(timers.is_empty());
    }
}

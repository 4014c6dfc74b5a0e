//! Chance, threads, and what they share.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::task::Wake;
use std::thread::{self, JoinHandle};

/// How often each test goes round.
pub(crate) fn rounds() -> usize {
    let asked = std::env::var("STRESS_ROUNDS").ok();
    asked.map_or(200, |asked| asked.parse().expect("STRESS_ROUNDS is a number"))
}

/// A sequence that is the same in each run; which thread comes first is not.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number that is less than `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 33) % bound as u64).unwrap()
    }

    /// Another sequence.
    pub(crate) fn fork(&mut self) -> Random {
        Random::new(self.below(1 << 30) as u64)
    }
}

/// What threads put down for one another, so many at most.
pub(crate) struct Slots<T>(Mutex<Vec<T>>);

const SLOTS_MAX: usize = 64;

impl<T> Slots<T> {
    pub(crate) const fn new() -> Slots<T> {
        Slots(Mutex::new(Vec::new()))
    }

    pub(crate) fn put(&self, value: T) {
        let mut slots = lock(&self.0);
        if slots.len() < SLOTS_MAX {
            slots.push(value);
        } else {
            // What is too much is dropped free of the lock.
            drop(slots);
        }
    }

    /// As `put`, however many there are.
    pub(crate) fn keep(&self, value: T) {
        lock(&self.0).push(value);
    }

    pub(crate) fn take(&self, random: &mut Random) -> Option<T> {
        let mut slots = lock(&self.0);
        let count = slots.len();
        (count > 0).then(|| slots.swap_remove(random.below(count)))
    }

    pub(crate) fn take_all(&self) -> Vec<T> {
        std::mem::take(&mut lock(&self.0))
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

/// ThreadSanitizer sees this attempt, and not std's own wait for a lock, which was compiled before.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(error)) => panic!("{error}"),
            Err(TryLockError::WouldBlock) => thread::yield_now(),
        }
    }
}

/// Whom to wake is no task.
pub(crate) struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

pub(crate) struct Threads(Vec<JoinHandle<()>>);

/// Starts threads that do the same, each with luck of its own.
pub(crate) fn threads(
    count: u64,
    body: impl Fn(Random) + Clone + Send + Sync + 'static,
) -> Threads {
    let start = |index| {
        let body = body.clone();
        thread::spawn(move || body(Random::new(100 + index)))
    };
    Threads((0..count).map(start).collect())
}

impl Threads {
    pub(crate) fn join(self) {
        for thread in self.0 {
            thread.join().unwrap();
        }
    }
}

//! The clocks of hosts, which are read more often than anything else: without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the clock shows when the world begins: a time of zero would hide what is only right there.
const BOOTED: u64 = 1_000_000_000_000;

/// A host's clock, in nanoseconds. Only the world's thread looks at it and sets it.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct Clock {
    /// The world's time: the same of all hosts.
    world: Arc<AtomicU64>,
    /// How far it is ahead of that.
    ahead: Arc<AtomicU64>,
}

impl Clock {
    /// One that shows the same time as this, until it [jumps](Clock::jump).
    pub(in crate::sim) fn of_another_host(&self) -> Clock {
        Clock { world: Arc::clone(&self.world), ahead: Arc::default() }
    }

    pub(super) fn now(&self) -> u64 {
        BOOTED + self.world.load(Ordering::Relaxed) + self.ahead.load(Ordering::Relaxed)
    }

    /// The world's time when this shows `time`.
    pub(super) fn world_time(&self, time: u64) -> u64 {
        time.saturating_sub(BOOTED + self.ahead.load(Ordering::Relaxed))
    }

    pub(super) fn jump(&self, ahead: u64) {
        self.ahead.fetch_add(ahead, Ordering::Relaxed);
    }

    /// The machine starts anew.
    pub(super) fn reset(&self) {
        self.ahead.store(0, Ordering::Relaxed);
    }

    /// Sets the time of all hosts.
    pub(super) fn set_world(&self, now: u64) {
        self.world.store(now, Ordering::Relaxed);
    }
}

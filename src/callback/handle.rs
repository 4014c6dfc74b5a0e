//! Handles: names of timers and sources that can be copied into any callback.

use crate::slab::Key;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number for a loop; no two of a process have the same.
pub(super) fn next_loop() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Names a timer or a source of one loop, until it is closed; after that, nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    event_loop: u64,
    key: Key,
}

impl Handle {
    pub(super) fn new(event_loop: u64, key: Key) -> Handle {
        Handle { event_loop, key }
    }

    /// What it names in the loop of that number.
    pub(super) fn key_in(self, event_loop: u64) -> Option<Key> {
        (self.event_loop == event_loop).then_some(self.key)
    }
}

/// Names a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer(pub(super) Handle);

impl From<Timer> for Handle {
    fn from(timer: Timer) -> Handle {
        timer.0
    }
}

/// Names a source of type `F` that is watched.
pub struct Watch<F> {
    pub(super) handle: Handle,
    source: PhantomData<fn() -> F>,
}

impl<F> Watch<F> {
    pub(super) fn new(handle: Handle) -> Watch<F> {
        Watch { handle, source: PhantomData }
    }
}

// Not derived: whatever the source may be, its name can be copied.
impl<F> Clone for Watch<F> {
    fn clone(&self) -> Watch<F> {
        *self
    }
}

impl<F> Copy for Watch<F> {}

impl<F> fmt::Debug for Watch<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.handle).finish()
    }
}

impl<F> From<Watch<F>> for Handle {
    fn from(watch: Watch<F>) -> Handle {
        watch.handle
    }
}

//! A source: what the reactor knows of one registered descriptor.

use super::waiters::Waiters;
use super::{Reactor, current};
use crate::contain::contain;
use crate::event::{EPOLLIN, Event, Interest, Readiness};
use crate::slab::Key;
use std::cell::Cell;
use std::rc::Weak;
use std::task::Waker;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    pub(super) const fn interest(self) -> Interest {
        match self {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
        }
    }

    pub(super) const fn readiness(self) -> Readiness {
        match self {
            Direction::Read => Readiness::READABLE,
            Direction::Write => Readiness::WRITABLE,
        }
    }

    /// What a call that found this direction not ready disproves.
    pub(super) const fn disproved(self) -> Readiness {
        match self {
            Direction::Read => Readiness::READABLE.union(Readiness::PRIORITY),
            Direction::Write => Readiness::WRITABLE,
        }
    }
}

const BOTH: Readiness = Readiness::READABLE.union(Readiness::WRITABLE);

pub(super) struct Source {
    /// Its name, as long as one socket has it.
    key: Cell<Key>,
    /// Whose it is, and that one's address.
    reactor: Weak<Reactor>,
    home: *const Reactor,
    /// What the kernel was asked to watch for; it only ever grows.
    interest: Cell<Interest>,
    /// What is known to be ready. READABLE and WRITABLE go when a call proves them wrong; that the
    /// peer is done, or an error, stays known. A direction that the kernel was not asked to watch
    /// is taken to be ready until a call says otherwise: so it need not be watched if none does.
    readiness: Cell<Readiness>,
    readers: Waiters,
    writers: Waiters,
}

impl Source {
    /// A source that no socket has yet.
    pub(super) fn new(key: Key, reactor: Weak<Reactor>) -> Source {
        Source {
            key: Cell::new(key),
            home: reactor.as_ptr(),
            reactor,
            interest: Cell::new(Interest::READABLE),
            readiness: Cell::new(Readiness::EMPTY),
            readers: Waiters::default(),
            writers: Waiters::default(),
        }
    }

    /// Begins to be that of a socket, which is watched for `direction`; of the other, `assumed`
    /// holds.
    #[inline]
    pub(super) fn begin(&self, direction: Direction, assumed: Readiness) {
        self.interest.set(direction.interest());
        self.readiness.set(assumed.difference(direction.readiness()));
    }

    #[inline]
    pub(super) fn key(&self) -> Key {
        self.key.get()
    }

    #[inline]
    pub(super) fn set_key(&self, key: Key) {
        self.key.set(key);
    }

    /// Whether several tasks have waited for it at the same time, or could.
    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        self.readers.is_shared() || self.writers.is_shared()
    }

    /// Whether it is the current reactor's. No other can have the address of one that is
    /// remembered here.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        current::is_at(self.home)
    }

    pub(super) fn reactor(&self) -> &Weak<Reactor> {
        &self.reactor
    }

    #[inline]
    pub(super) fn interest(&self) -> Interest {
        self.interest.get()
    }

    pub(super) fn set_interest(&self, interest: Interest) {
        self.interest.set(interest);
    }

    #[inline]
    pub(super) fn readiness(&self) -> Readiness {
        self.readiness.get()
    }

    /// A call said that this direction is not ready after all.
    #[inline]
    pub(super) fn clear(&self, direction: Direction) {
        self.readiness.set(self.readiness.get().difference(direction.disproved()));
    }

    #[inline]
    pub(super) fn waiters(&self, direction: Direction) -> &Waiters {
        match direction {
            Direction::Read => &self.readers,
            Direction::Write => &self.writers,
        }
    }

    /// Takes in what the kernel reported, and wakes those who wait for it.
    #[inline]
    pub(super) fn deliver(&self, event: Event) {
        if event.bits() == EPOLLIN {
            // What nearly all events say.
            self.readiness.set(self.readiness.get().union(Readiness::READABLE));
            return self.readers.wake();
        }
        self.deliver_any(event.readiness());
    }

    #[inline(never)]
    fn deliver_any(&self, readiness: Readiness) {
        self.readiness.set(self.readiness.get().union(readiness));
        if readiness.contains(BOTH) {
            // A panic of one side's waker must not keep the other's from being woken.
            contain(|| self.readers.wake());
            self.writers.wake();
        } else if readiness.is_readable() {
            self.readers.wake();
        } else if readiness.is_writable() {
            self.writers.wake();
        }
    }

    /// Takes out the wakers of those who have a direction to themselves, if there are any.
    #[inline]
    pub(super) fn take_only(&self) -> (Option<Waker>, Option<Waker>) {
        (self.readers.take_only(), self.writers.take_only())
    }

    /// Drops those wakers.
    pub(super) fn clear_only(&self) {
        self.readers.clear_only();
        self.writers.clear_only();
    }

    pub(super) fn take_wakers(&self, wakers: &mut Vec<Waker>) {
        self.readers.take(wakers);
        self.writers.take(wakers);
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("key", &self.key.get())
            .field("interest", &self.interest.get())
            .field("readiness", &self.readiness.get())
            .finish_non_exhaustive()
    }
}

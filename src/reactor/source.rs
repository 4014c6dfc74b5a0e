//! A source: what the reactor knows of one registered descriptor.

use crate::contain::contain;
use crate::event::{Interest, Readiness};
use crate::slab::Key;
use std::cell::{Cell, RefCell};
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
}

pub(super) struct Source {
    key: Key,
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
    pub(super) fn new(key: Key, interest: Interest) -> Source {
        let unwatched = [Direction::Read, Direction::Write]
            .into_iter()
            .filter(|direction| interest.union(direction.interest()) != interest)
            .fold(Readiness::EMPTY, |readiness, direction| readiness | direction.readiness());
        Source {
            key,
            interest: Cell::new(interest),
            readiness: Cell::new(unwatched),
            readers: Waiters::default(),
            writers: Waiters::default(),
        }
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    pub(super) fn interest(&self) -> Interest {
        self.interest.get()
    }

    pub(super) fn set_interest(&self, interest: Interest) {
        self.interest.set(interest);
    }

    pub(super) fn readiness(&self) -> Readiness {
        self.readiness.get()
    }

    /// A call said that this direction is not ready after all.
    pub(super) fn clear(&self, direction: Direction) {
        let gone = match direction {
            Direction::Read => Readiness::READABLE.union(Readiness::PRIORITY),
            Direction::Write => Readiness::WRITABLE,
        };
        self.readiness.set(self.readiness.get().difference(gone));
    }

    pub(super) fn waiters(&self, direction: Direction) -> &Waiters {
        match direction {
            Direction::Read => &self.readers,
            Direction::Write => &self.writers,
        }
    }

    /// Takes in what the kernel reported.
    pub(super) fn deliver(&self, readiness: Readiness, woken: &mut Vec<Waker>) {
        self.readiness.set(self.readiness.get().union(readiness));
        if readiness.is_readable() {
            self.readers.take(woken);
        }
        if readiness.is_writable() {
            self.writers.take(woken);
        }
    }

    pub(super) fn take_wakers(&self, wakers: &mut Vec<Waker>) {
        self.readers.take(wakers);
        self.writers.take(wakers);
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("key", &self.key)
            .field("interest", &self.interest.get())
            .field("readiness", &self.readiness.get())
            .finish_non_exhaustive()
    }
}

/// Who waits for one direction of a source.
///
/// One place is for whoever has the direction to itself, as `&mut` proves; the list is for those
/// who share it, each under a number of its own, so that none overwrites another. All are woken at
/// once: a waiter that is woken alone and dropped before it runs would take the news with it.
#[derive(Default)]
pub(super) struct Waiters {
    only: Cell<Option<Waker>>,
    shared: RefCell<Vec<(u64, Waker)>>,
    next_number: Cell<u64>,
}

impl Waiters {
    fn take(&self, woken: &mut Vec<Waker>) {
        woken.extend(self.only.take());
        let mut shared = self.shared.borrow_mut();
        woken.extend(shared.drain(..).map(|(_, waker)| waker));
    }

    /// Makes `waker` the one of whoever has the direction to itself.
    pub(super) fn set_only(&self, waker: &Waker) {
        let old = self.only.take();
        match old {
            Some(old) if old.will_wake(waker) => self.only.set(Some(old)),
            old => {
                let new = waker.clone();
                self.only.set(Some(new));
                contain(|| drop(old));
            }
        }
    }

    /// Takes that waker out again.
    pub(super) fn clear_only(&self) {
        let old = self.only.take();
        contain(|| drop(old));
    }

    /// Adds or renews the waker of the waiter that `number` names, if it has one already.
    pub(super) fn set_shared(&self, number: &mut Option<u64>, waker: &Waker) {
        let mut new = waker.clone();
        let own = *number.get_or_insert_with(|| {
            let next = self.next_number.get();
            self.next_number.set(next + 1);
            next
        });
        let mut shared = self.shared.borrow_mut();
        let old = match shared.iter_mut().find(|(number, _)| *number == own) {
            Some((_, waker)) => {
                std::mem::swap(waker, &mut new);
                Some(new)
            }
            None => {
                shared.push((own, new));
                None
            }
        };
        drop(shared);
        contain(|| drop(old));
    }

    /// Takes one waiter out.
    pub(super) fn remove_shared(&self, number: u64) {
        let mut shared = self.shared.borrow_mut();
        let index = shared.iter().position(|(other, _)| *other == number);
        let old = index.map(|index| shared.remove(index));
        drop(shared);
        contain(|| drop(old));
    }
}

//! A source: what the reactor knows of one registered descriptor.

use super::waiters::{Waiters, WakeOwn};
use super::{Reactor, current};
use crate::contain::contain;
use crate::event::{EPOLLIN, EPOLLRDHUP, Event, Interest, Readiness};
use crate::slab::Key;
use std::cell::Cell;
use std::ptr;
use std::rc::Weak;
use std::task::Waker;

/// What is taken out of a source that loses its socket.
pub(super) struct Taken {
    /// Who had reading to itself.
    pub(super) reader: Option<Waker>,
    /// Who had writing to itself.
    pub(super) writer: Option<Waker>,
    /// Whether somebody may wait for it still.
    pub(super) others_may_wait: bool,
}

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
    /// Whose it is, and that one's address; no reactor's, once it is out of its place.
    reactor: Weak<Reactor>,
    home: Cell<*const Reactor>,
    /// What the kernel was asked to watch for; it only ever grows.
    interest: Cell<Interest>,
    /// What is known to be ready. READABLE and WRITABLE go when a call proves them wrong; that the
    /// peer is done, or an error, stays known. A direction that the kernel was not asked to watch
    /// is taken to be ready until a call says otherwise: so it need not be watched if none does.
    readiness: Cell<Readiness>,
    /// Whether who has reading to itself waits for it, and so for writing.
    reader_waits: Cell<bool>,
    writer_waits: Cell<bool>,
    readers: Waiters,
    writers: Waiters,
}

impl Source {
    /// A source that no socket has yet.
    pub(super) fn new(key: Key, reactor: Weak<Reactor>) -> Source {
        Source {
            key: Cell::new(key),
            home: Cell::new(reactor.as_ptr()),
            reactor,
            interest: Cell::new(Interest::READABLE),
            readiness: Cell::new(Readiness::EMPTY),
            reader_waits: Cell::new(false),
            writer_waits: Cell::new(false),
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

    /// From now on it is in no place of its reactor's.
    pub(super) fn displace(&self) {
        self.home.set(ptr::dangling());
    }

    #[inline]
    pub(super) fn is_displaced(&self) -> bool {
        self.home.get() == ptr::dangling()
    }

    /// Whether it is the current reactor's, and in its place. No other can have the address of one
    /// that is remembered here.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        current::is_at(self.home.get())
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

    /// Whether it is the current reactor's, and watched for `direction`.
    #[inline]
    pub(super) fn is_watched(&self, direction: Direction) -> bool {
        self.interest().contains(direction.interest()) && self.is_current()
    }

    #[inline]
    pub(super) fn waiters(&self, direction: Direction) -> &Waiters {
        match direction {
            Direction::Read => &self.readers,
            Direction::Write => &self.writers,
        }
    }

    /// Whether who has the direction to itself waits.
    #[inline]
    fn waits(&self, direction: Direction) -> &Cell<bool> {
        match direction {
            Direction::Read => &self.reader_waits,
            Direction::Write => &self.writer_waits,
        }
    }

    /// Has `waker` woken when the direction is ready, for whoever has it to itself, if that is who
    /// waited last; then the direction is watched, too. Else this returns false.
    #[inline]
    pub(super) fn wait_again(&self, direction: Direction, waker: &Waker) -> bool {
        let does = self.is_current() && self.waiters(direction).has_only(waker);
        if does {
            self.waits(direction).set(true);
        }
        does
    }

    /// Has `waker` woken when the direction is ready, for whoever has it to itself.
    #[inline(always)]
    pub(super) fn wait_alone(&self, direction: Direction, waker: &Waker) {
        self.waits(direction).set(true);
        self.waiters(direction).set_only(waker);
    }

    /// Takes that waker out again.
    #[inline]
    pub(super) fn forget(&self, direction: Direction) {
        self.waits(direction).set(false);
        self.waiters(direction).clear_only();
    }

    /// Has `waker` woken when the direction is ready, for one of several who share it; `number`
    /// names it, once it waited.
    #[inline]
    pub(super) fn wait_shared(
        &self,
        direction: Direction,
        number: &mut Option<u64>,
        waker: &Waker,
    ) {
        self.waiters(direction).set_shared(self.waits(direction), number, waker);
    }

    /// The same, if it needs nothing but to note it: who waited last had this waker, and nobody
    /// waits. Then the direction is watched, too. Else this returns false.
    #[inline(always)]
    pub(super) fn wait_shared_again(
        &self,
        direction: Direction,
        number: &mut Option<u64>,
        waker: &Waker,
    ) -> bool {
        let waits = self.waits(direction);
        self.is_current() && self.waiters(direction).set_shared_again(waits, number, waker)
    }

    /// Takes the waker of one of several out, who gives up.
    pub(super) fn leave(&self, direction: Direction, number: u64) {
        self.waiters(direction).remove_shared(self.waits(direction), number);
    }

    /// The same for one who has what it waited for; if it was woken for that, its waker stays.
    #[inline]
    pub(super) fn release(&self, direction: Direction, number: u64) {
        self.waiters(direction).release_shared(self.waits(direction), number);
    }

    #[inline]
    fn wake(&self, direction: Direction) {
        self.waiters(direction).wake(self.waits(direction));
    }

    /// Takes in what the kernel reported, and wakes those who wait for it, if that is what nearly
    /// all events are: bytes, perhaps the last of them, for nobody but whom `wake_own` wakes. Else
    /// this does nothing, and returns false.
    #[inline(always)]
    pub(super) fn deliver_to_own(&self, event: Event, wake_own: impl WakeOwn) -> bool {
        const AND_NO_MORE: u32 = EPOLLIN | EPOLLRDHUP;
        let readiness = match event.bits() {
            EPOLLIN => Readiness::READABLE,
            AND_NO_MORE => Readiness::READABLE.union(Readiness::READ_CLOSED),
            _ => return false,
        };
        if !self.readers.wake_own(&self.reader_waits, wake_own) {
            return false;
        }
        self.readiness.set(self.readiness.get().union(readiness));
        true
    }

    /// Takes in what the kernel reported, and wakes those who wait for it.
    pub(super) fn deliver(&self, event: Event) {
        let readiness = event.readiness();
        self.readiness.set(self.readiness.get().union(readiness));
        if readiness.contains(BOTH) {
            // A panic of one side's waker must not keep the other's from being woken.
            contain(|| self.wake(Direction::Read));
            self.wake(Direction::Write);
        } else if readiness.is_readable() {
            self.wake(Direction::Read);
        } else if readiness.is_writable() {
            self.wake(Direction::Write);
        }
    }

    /// Takes out the wakers of those who have a direction to themselves, if there are any.
    #[inline(always)]
    pub(super) fn take_only(&self) -> Taken {
        let (mut reader, mut writer, mut others_may_wait) = (None, None, false);
        // Nobody ever waits for what is not watched.
        if self.interest().contains(Interest::READABLE) {
            self.reader_waits.set(false);
            (reader, others_may_wait) = self.readers.take_only();
        }
        if self.interest().contains(Interest::WRITABLE) {
            self.writer_waits.set(false);
            let (only, others_may) = self.writers.take_only();
            (writer, others_may_wait) = (only, others_may || others_may_wait);
        }
        Taken { reader, writer, others_may_wait }
    }

    /// Drops those wakers.
    pub(super) fn clear_only(&self) {
        self.forget(Direction::Read);
        self.forget(Direction::Write);
    }

    /// Of which directions somebody waits to hear that they are ready, as `EPOLL*` bits: those
    /// that are not known to be.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn awaited(&self) -> u32 {
        let (readiness, mut bits) = (self.readiness.get(), 0);
        if self.readers.is_waited_for() && !readiness.is_readable() {
            bits |= EPOLLIN;
        }
        if self.writers.is_waited_for() && !readiness.is_writable() {
            bits |= crate::event::EPOLLOUT;
        }
        bits
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

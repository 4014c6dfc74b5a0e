//! The permits of a semaphore and who waits for them: pure, and used under a lock.
//!
//! ```text
//!              wait                  grant                 poll_take
//!    (nobody) ------> in the queue ---------> granted -----------------> holds the permits
//!       ^                  |                     |
//!       +----- leave ------+------- leave -------+ : the permits pass to the next
//! ```

use super::waiting::{Offer, Woken};
use std::collections::BTreeMap;
use std::mem;
use std::num::NonZeroU64;
use std::task::{Poll, Waker};

/// A place in the line. Later places have higher numbers; they never run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(NonZeroU64);

/// The permits that may be free at most, but for those that are given back then.
pub(super) const PERMITS_MAX: usize = usize::MAX >> 3;

/// Nothing waits in the queue whose turn it could be: its first wants more than is free.
pub(super) struct Permits {
    free: usize,
    closed: bool,
    next: Place,
    queue: BTreeMap<Place, Waiter>,
    /// Waiters who have yet to fetch the permits that were set aside for them; without wakers.
    granted: BTreeMap<Place, Waiter>,
}

struct Waiter {
    count: usize,
    waker: Option<Waker>,
}

/// Why no permits were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too few are free, or others wait.
    Later,
    Closed,
}

impl Permits {
    pub(super) const fn new(free: usize) -> Permits {
        let queue = BTreeMap::new();
        let granted = BTreeMap::new();
        Permits { free, closed: false, next: Place(NonZeroU64::MIN), queue, granted }
    }

    #[inline]
    pub(super) fn free(&self) -> usize {
        self.free
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    #[cfg(test)]
    pub(super) fn waiters(&self) -> usize {
        self.queue.len() + self.granted.len()
    }

    /// Takes permits that are free, if nobody waits before.
    #[inline]
    pub(super) fn try_take(&mut self, count: usize) -> Result<(), Refused> {
        if self.closed {
            Err(Refused::Closed)
        } else if self.queue.is_empty() && count <= self.free {
            self.free -= count;
            Ok(())
        } else {
            Err(Refused::Later)
        }
    }

    /// Takes permits, or gets in line for them. False means closed.
    ///
    /// `place` is to be left when it is given up.
    #[inline]
    pub(super) fn poll_take(
        &mut self,
        count: usize,
        place: &mut Option<Place>,
        offer: &mut Offer<'_>,
    ) -> Poll<bool> {
        let Some(own) = *place else {
            return match self.try_take(count) {
                Ok(()) => Poll::Ready(true),
                Err(Refused::Closed) => Poll::Ready(false),
                Err(Refused::Later) => {
                    if let waker @ Some(_) = offer.take() {
                        let own = self.next;
                        self.next = Place(own.0.saturating_add(1));
                        self.queue.insert(own, Waiter { count, waker });
                        *place = Some(own);
                    }
                    Poll::Pending
                }
            };
        };
        if self.granted.remove(&own).is_some() {
            *place = None;
            return Poll::Ready(true);
        }
        match self.queue.get_mut(&own) {
            Some(waiter) => {
                offer.leave_in(&mut waiter.waker);
                Poll::Pending
            }
            None => {
                *place = None;
                Poll::Ready(false)
            }
        }
    }

    /// Gives up a place. Its permits, and its turn, pass to the next.
    pub(super) fn leave(&mut self, place: Place, woken: &mut Woken) -> Option<Waker> {
        self.free += self.granted.remove(&place).map_or(0, |waiter| waiter.count);
        let left = self.queue.remove(&place);
        self.grant(woken);
        left.and_then(|waiter| waiter.waker)
    }

    /// Adds permits, or gives them back.
    #[inline]
    pub(super) fn put(&mut self, count: usize, woken: &mut Woken) {
        self.free = self.free.saturating_add(count);
        if !self.queue.is_empty() {
            self.grant(woken);
        }
    }

    /// Sets permits aside for whoever's turn it is, one after the other.
    fn grant(&mut self, woken: &mut Woken) {
        while let Some(first) = self.queue.first_entry() {
            if first.get().count > self.free {
                return;
            }
            let (place, mut waiter) = first.remove_entry();
            self.free -= waiter.count;
            woken.extend(waiter.waker.take());
            self.granted.insert(place, waiter);
        }
    }

    /// Refuses all that wait and all that will come. What was granted stays so.
    pub(super) fn close(&mut self, woken: &mut Woken) {
        self.closed = true;
        woken.extend(mem::take(&mut self.queue).into_values().filter_map(|waiter| waiter.waker));
    }
}

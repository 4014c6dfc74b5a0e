//! A line of those who wait, served in their order: pure, and used under a lock or a borrow.
//!
//! ```text
//!              join              serve_first            fetch
//!    (nobody) ------> waiting ---------------> served --------> has what was set aside
//!       ^                |                       |
//!       +----- leave ----+-------- fetch --------+ : what was set aside is the caller's again
//! ```

use super::waiting::{Offer, Woken};
use std::collections::BTreeMap;
use std::mem;
use std::num::NonZeroU64;
use std::task::Waker;

/// A place in the line. Later places have higher numbers; they never run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(NonZeroU64);

/// Who waits, each for a count of something.
pub(super) struct Line {
    next: Place,
    waiting: BTreeMap<Place, Waiter>,
    /// Who has yet to fetch what was set aside for them; without wakers.
    served: BTreeMap<Place, Waiter>,
}

struct Waiter {
    count: usize,
    waker: Option<Waker>,
}

impl Line {
    pub(super) const fn new() -> Line {
        let waiting = BTreeMap::new();
        let served = BTreeMap::new();
        Line { next: Place(NonZeroU64::MIN), waiting, served }
    }

    /// Whether nobody waits. There may be some who were served.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Gets in at the end, if a waker is at hand.
    pub(super) fn join(&mut self, count: usize, offer: &mut Offer<'_>) -> Option<Place> {
        let waker = Some(offer.take()?);
        let own = self.next;
        self.next = Place(own.0.saturating_add(1));
        self.waiting.insert(own, Waiter { count, waker });
        Some(own)
    }

    /// Leaves the waker anew at a place. False if that is not in the line (any more).
    pub(super) fn renew(&mut self, place: Place, offer: &mut Offer<'_>) -> bool {
        let waiter = self.waiting.get_mut(&place);
        waiter.map(|waiter| offer.leave_in(&mut waiter.waker)).is_some()
    }

    /// Sets aside for the first what it waits for, if that is at most `available`, and how much.
    pub(super) fn serve_first(&mut self, available: usize, woken: &mut Woken) -> Option<usize> {
        let first = self.waiting.first_entry().filter(|first| first.get().count <= available)?;
        let (place, mut waiter) = first.remove_entry();
        woken.extend(waiter.waker.take());
        let count = waiter.count;
        self.served.insert(place, waiter);
        Some(count)
    }

    /// Takes what was set aside for a place.
    pub(super) fn fetch(&mut self, place: Place) -> Option<usize> {
        self.served.remove(&place).map(|waiter| waiter.count)
    }

    /// Gets out of the line, before being served.
    pub(super) fn leave(&mut self, place: Place) -> Option<Waker> {
        self.waiting.remove(&place)?.waker
    }

    /// Sends away all who wait. Those who were served stay so.
    pub(super) fn dismiss(&mut self, woken: &mut Woken) {
        let dismissed = mem::take(&mut self.waiting);
        woken.extend(dismissed.into_values().filter_map(|waiter| waiter.waker));
    }

    /// How many wait or were served.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.served.len()
    }
}

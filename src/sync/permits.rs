//! The permits of a semaphore, granted in the order of the line: pure, and used under a lock or a
//! borrow.

use super::line::{Line, Place};
use super::waiting::{Offer, Woken};
use std::task::{Poll, Waker};

/// The permits that may be free at most, but for those that are given back then.
pub(super) const PERMITS_MAX: usize = usize::MAX >> 3;

/// Nobody waits whose turn it could be: the first in line wants more than is free.
pub(super) struct Permits {
    free: usize,
    closed: bool,
    line: Line,
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
        Permits { free, closed: false, line: Line::new() }
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
        self.line.len()
    }

    /// Takes permits that are free, if nobody waits before.
    #[inline]
    pub(super) fn try_take(&mut self, count: usize) -> Result<(), Refused> {
        if self.closed {
            Err(Refused::Closed)
        } else if self.line.is_empty() && count <= self.free {
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
                    *place = self.line.join(count, offer);
                    Poll::Pending
                }
            };
        };
        let is_granted = self.line.fetch(own).is_some();
        if !is_granted && self.line.renew(own, offer) {
            return Poll::Pending;
        }
        *place = None;
        Poll::Ready(is_granted)
    }

    /// Gives up a place. Its permits, and its turn, pass to the next.
    pub(super) fn leave(&mut self, place: Place, woken: &mut Woken) -> Option<Waker> {
        self.free += self.line.fetch(place).unwrap_or(0);
        let own = self.line.leave(place);
        self.grant(woken);
        own
    }

    /// Adds permits, or gives them back.
    #[inline]
    pub(super) fn put(&mut self, count: usize, woken: &mut Woken) {
        self.free = self.free.saturating_add(count);
        if !self.line.is_empty() {
            self.grant(woken);
        }
    }

    /// Sets permits aside for whoever's turn it is, one after the other.
    fn grant(&mut self, woken: &mut Woken) {
        while let Some(count) = self.line.serve_first(self.free, woken) {
            self.free -= count;
        }
    }

    /// Refuses all that wait and all that will come. What was granted stays so.
    pub(super) fn close(&mut self, woken: &mut Woken) {
        self.closed = true;
        self.line.dismiss(woken);
    }
}

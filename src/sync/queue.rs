//! The values of a channel and who waits for room: pure, and used under a lock or a borrow.

use super::line::Place;
use super::mpsc::TrySendError;
use super::permits::{PERMITS_MAX, Permits, Refused};
use super::waiting::{Offer, Woken};
use std::collections::VecDeque;
use std::mem;
use std::task::{Poll, Waker, ready};

/// Free room, room that was granted to senders, and values make up the capacity.
pub(super) struct Queue<T> {
    values: VecDeque<T>,
    room: Permits,
}

impl<T> Queue<T> {
    /// # Panics
    /// If `capacity` is 0 or too much.
    pub(super) fn new(capacity: usize) -> Queue<T> {
        let fits = (1..=PERMITS_MAX).contains(&capacity);
        assert!(fits, "a channel has room for 1 to `Semaphore::PERMITS_MAX` values");
        Queue { values: VecDeque::new(), room: Permits::new(capacity) }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// How many values there is room for that was not granted to anyone.
    pub(super) fn free(&self) -> usize {
        self.room.free()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.room.is_closed()
    }

    /// Puts a value in if there is room and nobody waits for it.
    #[inline]
    pub(super) fn try_push(&mut self, value: T) -> Result<(), TrySendError<T>> {
        match self.room.try_take(1) {
            Ok(()) => {
                self.values.push_back(value);
                Ok(())
            }
            Err(Refused::Later) => Err(TrySendError::Full(value)),
            Err(Refused::Closed) => Err(TrySendError::Closed(value)),
        }
    }

    /// Puts the value in, or gets in line for room. When it is ready, a value that is still there
    /// can not be sent: the queue is closed.
    ///
    /// `place` is to be left when it is given up.
    pub(super) fn poll_push(
        &mut self,
        value: &mut Option<T>,
        place: &mut Option<Place>,
        offer: &mut Offer<'_>,
    ) -> Poll<()> {
        // Room that was granted before the close is of no use: the receiver may be through.
        let open = !self.is_closed();
        if open && ready!(self.room.poll_take(1, place, offer)) {
            self.values.extend(value.take());
        }
        Poll::Ready(())
    }

    /// Takes the first value out; its room goes to who waits for it.
    #[inline]
    pub(super) fn pop(&mut self, woken: &mut Woken) -> Option<T> {
        let value = self.values.pop_front()?;
        self.room.put(1, woken);
        Some(value)
    }

    /// Gives up a place in line. Its room, and its turn, pass to the next.
    pub(super) fn leave(&mut self, place: Place, woken: &mut Woken) -> Option<Waker> {
        self.room.leave(place, woken)
    }

    /// Refuses all values to come. Those that are in can still be taken out.
    pub(super) fn close(&mut self, woken: &mut Woken) {
        self.room.close(woken);
    }

    /// What is left when nobody will take it out: to be dropped free of the lock.
    pub(super) fn take_values(&mut self) -> VecDeque<T> {
        mem::take(&mut self.values)
    }
}

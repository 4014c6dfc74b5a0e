//! Telling all idle connections that the server wants to end.

use crate::slab::{Key, Slab};
use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// Whether a server is being drained, and who wants to know.
pub(super) struct Drain {
    started: Cell<bool>,
    waiting: RefCell<Slab<Option<Waker>>>,
}

impl Drain {
    pub(super) fn new() -> Drain {
        Drain { started: Cell::new(false), waiting: RefCell::new(Slab::new()) }
    }

    pub(super) fn is_started(&self) -> bool {
        self.started.get()
    }

    /// Wakes everyone who waits, now or later.
    pub(super) fn start(&self) {
        self.started.set(true);
        let keys = self.waiting.borrow().keys();
        for key in keys {
            let waker = self.waiting.borrow_mut().get_mut(key).and_then(Option::take);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// A place to wait in.
    pub(super) fn ticket(&self) -> Ticket<'_> {
        let key = self.waiting.borrow_mut().insert_with(|_| None);
        Ticket { drain: self, key }
    }
}

impl std::fmt::Debug for Drain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drain")
            .field("started", &self.started.get())
            .field("connections", &self.waiting.borrow().len())
            .finish()
    }
}

/// One connection's place.
pub(super) struct Ticket<'d> {
    drain: &'d Drain,
    key: Key,
}

impl Ticket<'_> {
    /// Waits for the start.
    pub(super) fn poll_started(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.drain.is_started() {
            return Poll::Ready(());
        }
        let is_there =
            |waker: &Option<Waker>| waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !self.drain.waiting.borrow().get(self.key).is_some_and(is_there) {
            let mut waker = Some(cx.waker().clone());
            if let Some(place) = self.drain.waiting.borrow_mut().get_mut(self.key) {
                std::mem::swap(place, &mut waker);
            }
            drop(waker);
        }
        Poll::Pending
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let waker = self.drain.waiting.borrow_mut().remove(self.key);
        drop(waker);
    }
}

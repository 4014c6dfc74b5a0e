//! What all that waits here has in common: locks, wakers, and threads that wait.

use crate::contain::contain;
use crate::executor;
use std::future::Future;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Makes an attempt, and if that has to leave a waker behind, another one with a clone of it.
///
/// A waker is foreign code, so it is cloned before the attempt takes a lock, and what the attempt
/// puts in its place is dropped after that.
#[inline]
pub(super) fn poll_with_waker<T>(
    cx: &Context<'_>,
    mut attempt: impl FnMut(&mut Offer<'_>) -> Poll<T>,
) -> Poll<T> {
    let mut offer = Offer { own: cx.waker(), clone: None, is_asked: false };
    match attempt(&mut offer) {
        Poll::Pending if offer.is_asked => {}
        polled => return polled,
    }
    offer.clone = Some(cx.waker().clone());
    attempt(&mut offer)
}

/// The waker of the task that is polled, for who has to wait.
pub(super) struct Offer<'a> {
    own: &'a Waker,
    clone: Option<Waker>,
    /// A clone is needed: the attempt is made again.
    is_asked: bool,
}

impl Offer<'_> {
    /// A waker to leave behind, at the second attempt.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Waker> {
        self.is_asked = true;
        self.clone.take()
    }

    /// Has the own waker in `place`. What was there is dropped when the attempt is over.
    #[inline]
    pub(super) fn leave(&mut self, place: &mut Waker) {
        if !place.will_wake(self.own) {
            if let Some(own) = self.take() {
                self.clone = Some(mem::replace(place, own));
            }
        }
    }

    /// As [`Offer::leave`], for a place that may be empty.
    #[inline]
    pub(super) fn leave_in(&mut self, place: &mut Option<Waker>) {
        match place {
            Some(place) => self.leave(place),
            None => *place = self.take(),
        }
    }
}

/// Wakers that were collected under a lock, to be woken free of it. Mostly there is at most one.
#[derive(Default)]
pub(super) struct Woken {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Woken {
    #[inline]
    pub(super) fn push(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }

    /// Wakes all in their order, also if one panics. Takes `held`, the lock or borrow, to release
    /// it first.
    #[inline]
    pub(super) fn wake<G>(self, held: G) {
        drop(held);
        if let Some(waker) = self.first {
            contain(|| waker.wake());
            if !self.more.is_empty() {
                wake_all(self.more);
            }
        }
    }
}

#[cold]
fn wake_all(wakers: Vec<Waker>) {
    for waker in wakers {
        contain(|| waker.wake());
    }
}

impl Extend<Waker> for Woken {
    #[inline]
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        wakers.into_iter().for_each(|waker| self.push(waker));
    }
}

struct Unpark {
    thread: Thread,
    /// The thread's own flag may be taken by another wait, of foreign code that is run by this one.
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Waits for `future` by parking the thread.
///
/// # Panics
/// Inside a runtime's turn.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    assert!(
        !executor::is_in_turn(),
        "blocking inside a runtime's turn would keep it from going on: await instead"
    );
    let mut future = pin!(future);
    // Mostly there is nothing to wait for, nor to allocate.
    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return output;
    }
    let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        while !unpark.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

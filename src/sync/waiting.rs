//! What all that waits here has in common: locks, wakers, and threads that wait.

use crate::contain::contain;
use crate::executor;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// What the locks here guard is whole at every moment, whoever panics.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an attempt, and if that has to wait another one with a waker to leave behind.
///
/// A waker is foreign code, so it is cloned before the attempt takes a lock, and what the attempt
/// puts in its place is dropped after that.
pub(super) fn poll_with_waker<T>(
    cx: &Context<'_>,
    mut attempt: impl FnMut(&mut Option<Waker>) -> Poll<T>,
) -> Poll<T> {
    if let Poll::Ready(output) = attempt(&mut None) {
        return Poll::Ready(output);
    }
    attempt(&mut Some(cx.waker().clone()))
}

/// Wakers that were collected under a lock, to be woken free of it. Mostly there is at most one.
#[derive(Default)]
pub(super) struct Woken {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Woken {
    pub(super) fn push(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }

    /// Wakes all in their order, also if one panics. Takes `held`, the lock or borrow, to release
    /// it first.
    pub(super) fn wake<G>(self, held: G) {
        drop(held);
        for waker in self.first.into_iter().chain(self.more) {
            contain(|| waker.wake());
        }
    }
}

impl Extend<Waker> for Woken {
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        wakers.into_iter().for_each(|waker| self.push(waker));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
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
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        thread::park();
    }
}

//! A value that one task at a time may use.

use super::line::Place;
use super::permits::Permits;
use super::waiting::{Woken, block_on, poll_with_waker};
use crate::budget::poll_proceed;
use crate::contain::contain;
use crate::lock::lock;
use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync;
use std::task::{Context, Poll, ready};

/// A lock that is held across `await`s, for the value in it.
///
/// Whoever waits longest gets it next: nobody passes a waiter by, so it goes from hand to hand
/// while anyone waits. Where no `await` happens under the lock, [`std::sync::Mutex`] is cheaper;
/// for the tasks of one thread [`local::Mutex`](super::local::Mutex) is.
///
/// The guard carries the value while it has the lock, and puts it back when it is dropped, so a
/// large value is better locked in a `Box`. For the same reason the value is gone if a guard is
/// leaked by [`std::mem::forget`]; the lock then stays held for ever.
///
/// There is no poisoning: a panic under the lock lets it go as any other end does, and the value
/// is as the panic left it.
///
/// ```
/// use std::sync::Arc;
/// use whirligig::sync::Mutex;
///
/// let balance = Arc::new(Mutex::new(0));
/// whirligig::run(async {
///     let tasks = (0..3).map(|_| {
///         let balance = Arc::clone(&balance);
///         whirligig::spawn(async move {
///             let mut balance = balance.lock().await;
///             let before = *balance;
///             whirligig::yield_now().await;
///             *balance = before + 1;
///         })
///     });
///     for task in tasks.collect::<Vec<_>>() {
///         task.await?;
///     }
///     assert_eq!(*balance.lock().await, 3);
///     Ok::<(), whirligig::task::JoinError>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mutex<T> {
    state: sync::Mutex<State<T>>,
}

/// There is one permit. Whoever has it has the value; while it is free, the value is here, and
/// also while it is granted to who has yet to fetch it.
struct State<T> {
    turn: Permits,
    value: Option<T>,
}

impl<T> Mutex<T> {
    /// Makes a lock that is free.
    #[must_use]
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { state: sync::Mutex::new(State { turn: Permits::new(1), value: Some(value) }) }
    }

    /// Waits for the lock.
    ///
    /// Cancel safety: dropping it gives up the place in line; if it was its turn already, that
    /// goes to the next.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        let mut waiting = Waiting { mutex: self, place: None };
        poll_fn(|cx| waiting.poll(cx)).await
    }

    /// Takes the lock if it is free and nobody waits for it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let mut state = lock(&self.state);
        state.turn.try_take(1).ok()?;
        Some(MutexGuard { mutex: self, value: state.value.take() })
    }

    /// Waits for the lock by blocking the thread.
    ///
    /// # Panics
    /// Inside a runtime's turn, which would wait for itself.
    pub fn blocking_lock(&self) -> MutexGuard<'_, T> {
        block_on(self.lock())
    }

    /// The value, without locking: nobody else can have the lock.
    ///
    /// # Panics
    /// If a guard was leaked, and the value with it.
    pub fn get_mut(&mut self) -> &mut T {
        let state = self.state.get_mut().unwrap_or_else(sync::PoisonError::into_inner);
        state.value.as_mut().expect("only a leaked guard keeps the value")
    }

    /// Takes the value out.
    ///
    /// # Panics
    /// If a guard was leaked, and the value with it.
    #[must_use]
    pub fn into_inner(self) -> T {
        let state = self.state.into_inner().unwrap_or_else(sync::PoisonError::into_inner);
        state.value.expect("only a leaked guard keeps the value")
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value's own would be foreign code under our lock.
        let locked = lock(&self.state).turn.free() == 0;
        f.debug_struct("Mutex").field("locked", &locked).finish_non_exhaustive()
    }
}

/// Leaves its place in line when the wait is over or given up.
struct Waiting<'a, T> {
    mutex: &'a Mutex<T>,
    place: Option<Place>,
}

impl<'a, T> Waiting<'a, T> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<MutexGuard<'a, T>> {
        ready!(poll_proceed(cx));
        poll_with_waker(cx, |offer| {
            let mut state = lock(&self.mutex.state);
            // It is never closed.
            let _open = ready!(state.turn.poll_take(1, &mut self.place, offer));
            Poll::Ready(MutexGuard { mutex: self.mutex, value: state.value.take() })
        })
    }
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let mut woken = Woken::default();
            let mut state = lock(&self.mutex.state);
            let own = state.turn.leave(place, &mut woken);
            woken.wake(state);
            contain(|| drop(own));
        }
    }
}

/// Has the lock, and the value in it, until it is dropped.
#[must_use = "a dropped guard lets the lock go"]
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    value: Option<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("a guard has the value until it is dropped")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("a guard has the value until it is dropped")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        let mut woken = Woken::default();
        let mut state = lock(&self.mutex.state);
        state.value = self.value.take();
        state.turn.put(1, &mut woken);
        woken.wake(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

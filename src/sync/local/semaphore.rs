//! Permits for the tasks of one thread.

use crate::budget::poll_proceed;
use crate::contain::contain;
use crate::sync::line::Place;
use crate::sync::permits::{PERMITS_MAX, Permits, Refused};
use crate::sync::waiting::{Woken, poll_with_waker};
use crate::sync::{AcquireError, TryAcquireError};
use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

/// A number of permits, which the tasks of one thread acquire and give back.
///
/// Whoever waits longest is served first, and nobody passes a waiter by: also one who wants many
/// permits gets them.
///
/// ```
/// use whirligig::sync::local::Semaphore;
///
/// let at_once = Semaphore::new(2);
/// whirligig::run(async {
///     let first = at_once.acquire().await?;
///     let second = at_once.acquire().await?;
///     assert!(at_once.try_acquire().is_err());
///     drop((first, second));
///     assert_eq!(at_once.available_permits(), 2);
///     Ok::<(), whirligig::sync::AcquireError>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Semaphore {
    /// Borrowed only where no waker runs.
    permits: RefCell<Permits>,
}

impl Semaphore {
    /// How many permits may be free at most.
    pub const PERMITS_MAX: usize = PERMITS_MAX;

    /// Makes a semaphore with so many permits.
    ///
    /// # Panics
    /// If `permits` is more than [`Semaphore::PERMITS_MAX`].
    #[must_use]
    pub const fn new(permits: usize) -> Semaphore {
        assert!(permits <= PERMITS_MAX, "a semaphore has at most `Semaphore::PERMITS_MAX` permits");
        Semaphore { permits: RefCell::new(Permits::new(permits)) }
    }

    /// Waits for one permit.
    ///
    /// Cancel safety: dropping it gives up the place in line; a permit that was meant for it goes
    /// to the next.
    ///
    /// # Errors
    /// If the semaphore is or gets closed.
    pub async fn acquire(&self) -> Result<Permit<'_>, AcquireError> {
        self.acquire_many(1).await
    }

    /// Waits for `count` permits at once. More than there will ever be are waited for for ever,
    /// and whoever comes later waits too.
    ///
    /// Cancel safety: as for [`Semaphore::acquire`].
    ///
    /// # Errors
    /// If the semaphore is or gets closed.
    pub async fn acquire_many(&self, count: usize) -> Result<Permit<'_>, AcquireError> {
        let mut waiting = Waiting { semaphore: self, place: None };
        match poll_fn(|cx| waiting.poll(count, cx)).await {
            true => Ok(Permit { semaphore: self, count }),
            false => Err(AcquireError),
        }
    }

    /// Takes one permit if one is free and nobody waits.
    ///
    /// # Errors
    /// [`TryAcquireError::NoPermits`] if not, [`TryAcquireError::Closed`] after a close.
    pub fn try_acquire(&self) -> Result<Permit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits if they are free and nobody waits.
    ///
    /// # Errors
    /// [`TryAcquireError::NoPermits`] if not, [`TryAcquireError::Closed`] after a close.
    pub fn try_acquire_many(&self, count: usize) -> Result<Permit<'_>, TryAcquireError> {
        match self.permits.borrow_mut().try_take(count) {
            Ok(()) => Ok(Permit { semaphore: self, count }),
            Err(Refused::Later) => Err(TryAcquireError::NoPermits),
            Err(Refused::Closed) => Err(TryAcquireError::Closed),
        }
    }

    /// How many permits are free. Those that were set aside for a waiter are not.
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.permits.borrow().free()
    }

    /// Adds permits, for good.
    ///
    /// # Panics
    /// If more than [`Semaphore::PERMITS_MAX`] were free.
    pub fn add_permits(&self, count: usize) {
        let sum = self.available_permits().checked_add(count);
        assert!(
            sum.is_some_and(|sum| sum <= PERMITS_MAX),
            "a semaphore has at most `Semaphore::PERMITS_MAX` permits"
        );
        self.put(count);
    }

    fn put(&self, count: usize) {
        let mut woken = Woken::default();
        let mut permits = self.permits.borrow_mut();
        permits.put(count, &mut woken);
        woken.wake(permits);
    }

    /// Ends all waits, and all to come, with an error. Permits that are held stay so.
    pub fn close(&self) {
        let mut woken = Woken::default();
        let mut permits = self.permits.borrow_mut();
        permits.close(&mut woken);
        woken.wake(permits);
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.permits.borrow().is_closed()
    }

    #[cfg(test)]
    pub(in crate::sync) fn waiters(&self) -> usize {
        self.permits.borrow().waiters()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available_permits", &self.available_permits())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// Leaves its place in line when the wait is over or given up.
struct Waiting<'a> {
    semaphore: &'a Semaphore,
    place: Option<Place>,
}

impl Waiting<'_> {
    fn poll(&mut self, count: usize, cx: &Context<'_>) -> Poll<bool> {
        ready!(poll_proceed(cx));
        poll_with_waker(cx, |offer| {
            self.semaphore.permits.borrow_mut().poll_take(count, &mut self.place, offer)
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let mut woken = Woken::default();
            let mut permits = self.semaphore.permits.borrow_mut();
            let own = permits.leave(place, &mut woken);
            woken.wake(permits);
            contain(|| drop(own));
        }
    }
}

/// Permits that are held, and given back when dropped.
#[must_use = "a dropped permit is given back"]
#[derive(Debug)]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
}

impl Permit<'_> {
    /// How many permits these are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes the permits out of the semaphore for good.
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.semaphore.put(self.count);
        }
    }
}

//! Permits to be acquired and given back.

use super::line::Place;
use super::permits::{PERMITS_MAX, Permits, Refused};
use super::waiting::{Woken, poll_with_waker};
use crate::budget::poll_proceed;
use crate::contain::contain;
use crate::lock::lock;
use std::fmt;
use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};

/// A number of permits, which tasks acquire and give back: a bound on what goes on at once.
///
/// Whoever waits longest is served first, and nobody passes a waiter by: also one who wants many
/// permits gets them.
///
/// ```
/// use whirligig::sync::Semaphore;
///
/// let at_once = Semaphore::new(2);
/// whirligig::run(async {
///     let first = at_once.acquire().await?;
///     let second = at_once.acquire().await?;
///     assert!(at_once.try_acquire().is_err());
///     drop(first);
///     assert!(at_once.try_acquire().is_ok());
///     drop(second);
///     Ok::<(), whirligig::sync::AcquireError>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Semaphore {
    permits: Mutex<Permits>,
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
        Semaphore { permits: Mutex::new(Permits::new(permits)) }
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
        match lock(&self.permits).try_take(count) {
            Ok(()) => Ok(Permit { semaphore: self, count }),
            Err(Refused::Later) => Err(TryAcquireError::NoPermits),
            Err(Refused::Closed) => Err(TryAcquireError::Closed),
        }
    }

    /// How many permits are free. Those that were set aside for a waiter are not.
    #[must_use]
    pub fn available_permits(&self) -> usize {
        lock(&self.permits).free()
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
        let mut permits = lock(&self.permits);
        permits.put(count, &mut woken);
        woken.wake(permits);
    }

    /// Ends all waits, and all to come, with an error. Permits that are held stay so.
    pub fn close(&self) {
        let mut woken = Woken::default();
        let mut permits = lock(&self.permits);
        permits.close(&mut woken);
        woken.wake(permits);
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.permits).is_closed()
    }

    #[cfg(test)]
    pub(super) fn waiters(&self) -> usize {
        lock(&self.permits).waiters()
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
            lock(&self.semaphore.permits).poll_take(count, &mut self.place, offer)
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let mut woken = Woken::default();
            let mut permits = lock(&self.semaphore.permits);
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

/// The semaphore was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquireError;

/// Why no permits were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryAcquireError {
    /// Too few are free, or others wait for them.
    NoPermits,
    /// The semaphore was closed.
    Closed,
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore was closed")
    }
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryAcquireError::NoPermits => "no permits are free",
            TryAcquireError::Closed => "the semaphore was closed",
        })
    }
}

impl std::error::Error for AcquireError {}
impl std::error::Error for TryAcquireError {}

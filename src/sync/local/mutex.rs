//! A value that one task of a thread at a time may use.

use super::semaphore::{Permit, Semaphore};
use std::cell::{RefCell, RefMut};
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A lock that the tasks of one thread hold across `await`s, for the value in it.
///
/// Whoever waits longest gets it next: nobody passes a waiter by. Where no `await` happens under
/// the lock, a [`RefCell`] does, and costs nothing to speak of.
///
/// There is no poisoning: a panic under the lock lets it go as any other end does, and the value
/// is as the panic left it. A guard that is leaked by [`std::mem::forget`] holds the lock for ever.
///
/// ```
/// use std::rc::Rc;
/// use whirligig::sync::local::Mutex;
///
/// let balance = Rc::new(Mutex::new(0));
/// whirligig::run(async {
///     let other = Rc::clone(&balance);
///     let task = whirligig::spawn(async move {
///         let mut balance = other.lock().await;
///         let before = *balance;
///         whirligig::yield_now().await;
///         *balance = before + 1;
///     });
///     *balance.lock().await += 10;
///     task.await?;
///     assert_eq!(*balance.lock().await, 11);
///     Ok::<(), whirligig::task::JoinError>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mutex<T: ?Sized> {
    /// Who has the permit may borrow the value, and nobody else does.
    turn: Semaphore,
    value: RefCell<T>,
}

impl<T> Mutex<T> {
    /// Makes a lock that is free.
    #[must_use]
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { turn: Semaphore::new(1), value: RefCell::new(value) }
    }

    /// Takes the value out.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock.
    ///
    /// Cancel safety: dropping it gives up the place in line; if it was its turn already, that
    /// goes to the next.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        // It is never closed; if it were, the borrow would still let nobody in twice.
        let permit = self.turn.acquire().await.ok();
        MutexGuard { value: self.value.borrow_mut(), _permit: permit }
    }

    /// Takes the lock if it is free and nobody waits for it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let permit = self.turn.try_acquire().ok()?;
        Some(MutexGuard { value: self.value.borrow_mut(), _permit: Some(permit) })
    }

    /// The value, without locking: nobody else can have the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
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

impl<T: ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locked = self.turn.available_permits() == 0;
        f.debug_struct("Mutex").field("locked", &locked).finish_non_exhaustive()
    }
}

/// Has the lock until it is dropped.
#[must_use = "a dropped guard lets the lock go"]
pub struct MutexGuard<'a, T: ?Sized> {
    /// Stands before the permit, so that the borrow has ended when the next one is woken.
    value: RefMut<'a, T>,
    _permit: Option<Permit<'a>>,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

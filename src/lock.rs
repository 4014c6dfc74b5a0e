//! Locks that guard what is whole at every moment.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also if somebody panicked under the lock: what is guarded here is changed as a whole.
#[cfg(not(whirligig_tsan))]
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As above. ThreadSanitizer sees what is compiled anew, which the attempt is; std's own wait for a
/// lock is not, so that what the lock's last holder did would seem to race with us.
#[cfg(whirligig_tsan)]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    use std::sync::TryLockError;
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(error)) => return PoisonError::into_inner(error),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_panicked_under_a_lock_leaves_it_to_others() {
        let number = Mutex::new(1);
        let panics = || {
            let _held = lock(&number);
            panic!("under the lock");
        };
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(*lock(&number), 1);
    }
}

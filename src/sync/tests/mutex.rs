//! Locks: every order of waits, ends of waits and unlocks.

use super::super::{Mutex, local};
use super::{Hand, WAITERS, walk};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

/// The walk over a lock, for any thread or for one: what is promised is the same.
macro_rules! walk_lock {
    ($lock:ident) => {{
        let mut granted_runs = 0;
        // Poll one of three, drop one of three, unlock, lock without a wait.
        walk(2 * WAITERS + 2, 6, |choices| {
            let lock = $lock::new(0);
            let mut hands: Vec<_> = (0..WAITERS).map(|_| Hand::new(lock.lock())).collect();
            // The model: who has it, who waits, in order, whose turn it is, how often it was had.
            let (mut held, mut line, mut granted) = (None, VecDeque::new(), None);
            let mut count = 0;
            for &choice in choices {
                let free = held.is_none() && granted.is_none() && line.is_empty();
                let mut taken = None;
                match choice {
                    who if who < WAITERS && hands[who].future.is_some() => {
                        match hands[who].poll() {
                            Poll::Ready(guard) => {
                                assert!(free || granted == Some(who), "{choices:?}: no turn");
                                granted = None;
                                taken = Some(guard);
                            }
                            Poll::Pending => {
                                assert!(!free && granted != Some(who), "{choices:?}: refused");
                                if !line.contains(&who) {
                                    line.push_back(who);
                                }
                            }
                        }
                    }
                    who if (WAITERS..2 * WAITERS).contains(&who) => {
                        let who = who - WAITERS;
                        hands[who].drop_future();
                        line.retain(|other| *other != who);
                        granted = granted.filter(|turn| *turn != who);
                    }
                    6 => drop(held.take()),
                    7 => {
                        taken = lock.try_lock();
                        assert_eq!(taken.is_some(), free, "{choices:?}: try_lock");
                    }
                    _ => {}
                }
                if let Some(mut guard) = taken {
                    assert_eq!(*guard, count, "{choices:?}: what was done under the lock stays");
                    *guard += 1;
                    count += 1;
                    held = Some(guard);
                }
                if held.is_none() && granted.is_none() {
                    granted = line.pop_front();
                }
                granted_runs += usize::from(granted.is_some());
                assert!(granted.iter().all(|who| hands[*who].is_woken()), "{choices:?}: woken");
            }
            drop((hands, held));
            assert_eq!(lock.try_lock().map(|guard| *guard), Some(count), "{choices:?}: stays free");
            assert_eq!(lock.into_inner(), count);
        });
        assert!(granted_runs > 1000, "the walk goes where the lock passes from hand to hand");
    }};
}

#[test]
fn one_at_a_time_has_the_lock_in_turn_in_any_interleaving() {
    walk_lock!(Mutex);
}

#[test]
fn one_at_a_time_has_the_local_lock_in_turn_in_any_interleaving() {
    use local::Mutex as LocalMutex;
    walk_lock!(LocalMutex);
}

#[test]
fn a_panic_under_the_lock_lets_it_go_with_the_value_as_it_is() {
    let (any, own) = (Mutex::new(1), local::Mutex::new(1));
    let panics = |deed: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(deed)).is_err());
    panics(&|| {
        let mut guard = any.try_lock().expect("it is free");
        *guard = 2;
        panic!("under the lock");
    });
    panics(&|| {
        let mut guard = own.try_lock().expect("it is free");
        *guard = 2;
        panic!("under the lock");
    });
    assert_eq!(any.try_lock().map(|guard| *guard), Some(2));
    assert_eq!(own.try_lock().map(|guard| *guard), Some(2));
}

#[test]
fn a_leaked_guard_keeps_the_lock_and_one_for_any_thread_the_value() {
    let (mut any, mut own) = (Mutex::new(1), local::Mutex::new(1));
    assert_eq!((*any.get_mut(), *own.get_mut()), (1, 1));
    std::mem::forget((any.try_lock(), own.try_lock()));
    assert!(any.try_lock().is_none() && own.try_lock().is_none());
    assert_eq!(own.into_inner(), 1);
    assert!(catch_unwind(AssertUnwindSafe(|| any.into_inner())).is_err(), "the value is gone");
}

//! Who waits for one direction of a source.

use crate::contain::contain;
use std::cell::{Cell, OnceCell, RefCell};
use std::task::Waker;

/// Who waits for one direction of a source.
///
/// One place is for whoever has the direction to itself, as `&mut` proves; the list is for those
/// who share it, each under a number of its own, so that none overwrites another. All are woken at
/// once: a waiter that is woken alone and dropped before it runs would take the news with it.
#[derive(Default)]
pub(super) struct Waiters {
    only: Cell<Option<Waker>>,
    /// Made when a direction is first shared, which that of a connection never is.
    shared: OnceCell<Box<Shared>>,
}

#[derive(Default)]
struct Shared {
    wakers: RefCell<Vec<(u64, Waker)>>,
    next_number: Cell<u64>,
}

impl Waiters {
    /// Wakes everyone who waits.
    ///
    /// With nothing borrowed: wakers are foreign code, and what they do may come back here. Should
    /// one panic, whoever shares the direction with it is woken all the same.
    #[inline]
    pub(super) fn wake(&self) {
        if let Some(shared) = self.shared.get() {
            shared.wake();
        }
        if let Some(waker) = self.only.take() {
            waker.wake();
        }
    }

    pub(super) fn take(&self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.only.take());
        if let Some(shared) = self.shared.get() {
            wakers.extend(shared.wakers.borrow_mut().drain(..).map(|(_, waker)| waker));
        }
    }

    /// Makes `waker` the one of whoever has the direction to itself.
    #[inline]
    pub(super) fn set_only(&self, waker: &Waker) {
        let old = self.only.take();
        match old {
            Some(old) if old.will_wake(waker) => self.only.set(Some(old)),
            old => {
                // Cloning is foreign code, which may have left another one here meanwhile.
                let meanwhile = self.only.replace(Some(waker.clone()));
                if old.is_some() || meanwhile.is_some() {
                    drop_wakers(old, meanwhile);
                }
            }
        }
    }

    /// Whether the direction was ever shared.
    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        self.shared.get().is_some()
    }

    /// Takes that waker out again.
    #[inline]
    pub(super) fn take_only(&self) -> Option<Waker> {
        self.only.take()
    }

    /// Takes that waker out again, and drops it.
    #[inline]
    pub(super) fn clear_only(&self) {
        let old = self.only.take();
        if old.is_some() {
            drop_wakers(old, None);
        }
    }

    /// Adds or renews the waker of the waiter that `number` names, if it has one already.
    pub(super) fn set_shared(&self, number: &mut Option<u64>, waker: &Waker) {
        let mut new = waker.clone();
        let shared = self.shared.get_or_init(Box::default);
        let own = *number.get_or_insert_with(|| {
            let next = shared.next_number.get();
            shared.next_number.set(next + 1);
            next
        });
        let mut wakers = shared.wakers.borrow_mut();
        let old = match wakers.iter_mut().find(|(number, _)| *number == own) {
            Some((_, waker)) => {
                std::mem::swap(waker, &mut new);
                Some(new)
            }
            None => {
                wakers.push((own, new));
                None
            }
        };
        drop(wakers);
        if old.is_some() {
            drop_wakers(old, None);
        }
    }

    /// Takes one waiter out.
    pub(super) fn remove_shared(&self, number: u64) {
        let Some(shared) = self.shared.get() else { return };
        let mut wakers = shared.wakers.borrow_mut();
        let index = wakers.iter().position(|(other, _)| *other == number);
        let old = index.map(|index| wakers.remove(index).1);
        drop(wakers);
        if old.is_some() {
            drop_wakers(old, None);
        }
    }
}

impl Shared {
    #[inline(never)]
    fn wake(&self) {
        let mut all = std::mem::take(&mut *self.wakers.borrow_mut());
        for (_, waker) in all.drain(..) {
            contain(|| waker.wake());
        }
        // Its memory serves again, unless there are new ones already.
        let mut wakers = self.wakers.borrow_mut();
        if wakers.capacity() == 0 {
            *wakers = all;
        }
    }
}

/// Drops wakers, which may run any code.
#[cold]
pub(super) fn drop_wakers(one: Option<Waker>, other: Option<Waker>) {
    contain(|| drop(one));
    contain(|| drop(other));
}

//! Who waits for one direction of a source.

use super::Watched;
use crate::contain::contain;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Weak;
use std::task::Waker;

/// A way to wake a waker of one's own, by reference: that runs nothing that could come back here.
/// False, and nothing was done, if the waker is of another kind.
pub(crate) trait WakeOwn: Fn(&Waker) -> bool + Copy {}
impl<F: Fn(&Waker) -> bool + Copy> WakeOwn for F {}

/// Who waits for one direction of a source.
///
/// One place is for whoever has the direction to itself, as `&mut` proves; the list is for those
/// who share it, each under a number of its own, so that none overwrites another. All are woken at
/// once: a waiter that is woken alone and dropped before it runs would take the news with it.
///
/// The waker in the one place stays there when it was woken. Who reads one message after another
/// finds its own when it waits again, and neither clones one nor drops one for it; the source notes
/// whether it is to be woken.
#[derive(Default)]
pub(super) struct Waiters {
    /// Lent to nobody but a waker that is being woken. What that does may come back here, and is
    /// refused: what comes to wait then is put in the list, and what is to go stays.
    only: RefCell<Option<Waker>>,
    /// Made when a direction is first shared, which that of a connection never is.
    shared: OnceCell<Box<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// One waiter has a place of its own: mostly there is no other.
    first: Cell<Option<(u64, Waker)>>,
    others: RefCell<Vec<(u64, Waker)>>,
    /// Whether there may be any of those.
    has_others: Cell<bool>,
    next_number: Cell<u64>,
    /// Whose registration is told when nobody waited; see [`Watched::report_by_level`].
    watched: RefCell<Weak<Watched>>,
}

impl Waiters {
    /// Wakes everyone who waits; `only_waits` tells whether that includes whoever has the direction
    /// to itself.
    ///
    /// With nothing borrowed: wakers are foreign code, and what they do may come back here. Should
    /// one panic, whoever shares the direction with it is woken all the same.
    #[inline]
    pub(super) fn wake(&self, only_waits: &Cell<bool>) {
        if let Some(shared) = self.shared.get() {
            shared.wake();
        }
        if only_waits.replace(false) {
            self.wake_only();
        }
    }

    /// The same, if all who wait are woken by `wake_own`, or nobody waits. Else this does nothing,
    /// and returns false.
    #[inline(always)]
    pub(super) fn wake_own(&self, only_waits: &Cell<bool>, wake_own: impl WakeOwn) -> bool {
        if self.shared.get().is_some() {
            return false;
        }
        if only_waits.get() {
            let is_woken = match self.only.try_borrow_mut().as_deref() {
                Ok(Some(only)) => wake_own(only),
                _ => false,
            };
            if !is_woken {
                return false;
            }
            only_waits.set(false);
        }
        true
    }

    #[inline]
    fn wake_only(&self) {
        if let Ok(only) = self.only.try_borrow() {
            if let Some(waker) = &*only {
                waker.wake_by_ref();
            }
        }
    }

    /// Whether somebody waits.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_waited_for(&self) -> bool {
        self.only.borrow().is_some()
            || self.shared.get().is_some_and(|shared| shared.is_waited_for())
    }

    pub(super) fn take(&self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.take_only().0);
        if let Some(shared) = self.shared.get() {
            wakers.extend(shared.first.take().map(|(_, waker)| waker));
            wakers.extend(shared.others.borrow_mut().drain(..).map(|(_, waker)| waker));
        }
    }

    /// Makes `waker` the one of whoever has the direction to itself.
    #[inline(always)]
    pub(super) fn set_only(&self, waker: &Waker) {
        if !self.has_only(waker) {
            self.replace_only(waker);
        }
    }

    /// Whether it is that already.
    #[inline]
    pub(super) fn has_only(&self, waker: &Waker) -> bool {
        match self.only.try_borrow().as_deref() {
            Ok(Some(only)) => only.will_wake(waker),
            _ => false,
        }
    }

    #[inline(always)]
    fn replace_only(&self, waker: &Waker) {
        if self.only.try_borrow_mut().is_err() {
            return self.set_shared(&mut None, waker);
        }
        // Cloning is foreign code, too: nothing is borrowed meanwhile.
        let new = waker.clone();
        if let Some(old) = self.only.replace(Some(new)) {
            drop_waker(old);
        }
    }

    /// Takes that waker out again. Whether somebody may be here still: one of several, or the waker
    /// that is being woken.
    #[inline]
    pub(super) fn take_only(&self) -> (Option<Waker>, bool) {
        let (only, is_lent) = match self.only.try_borrow_mut() {
            Ok(mut only) => (only.take(), false),
            Err(_) => (None, true),
        };
        (only, is_lent || self.shared.get().is_some())
    }

    /// Takes that waker out again, and drops it.
    #[inline]
    pub(super) fn clear_only(&self) {
        if let (Some(old), _) = self.take_only() {
            drop_waker(old);
        }
    }

    /// Adds or renews the waker of the waiter that `number` names, if it has one already.
    #[inline]
    pub(super) fn set_shared(&self, number: &mut Option<u64>, waker: &Waker) {
        // Cloning is foreign code: before anything is looked at.
        let new = waker.clone();
        let shared = self.shared.get_or_init(Box::default);
        let own = *number.get_or_insert_with(|| {
            let next = shared.next_number.get();
            shared.next_number.set(next + 1);
            next
        });
        if let Some(old) = shared.set(own, new) {
            drop_waker(old);
        }
    }

    /// Has `watched` told when the direction is ready and nobody waits for that.
    pub(super) fn tell_if_unheeded(&self, watched: Weak<Watched>) {
        self.shared.get_or_init(Box::default).watched.replace(watched);
    }

    /// Takes one waiter out.
    #[inline]
    pub(super) fn remove_shared(&self, number: u64) {
        let Some(shared) = self.shared.get() else { return };
        if let Some(old) = shared.remove(number) {
            drop_waker(old);
        }
    }
}

impl Shared {
    /// Whether anybody waits.
    #[cfg(any(test, feature = "sim"))]
    fn is_waited_for(&self) -> bool {
        let first = self.first.take();
        let is_first_there = first.is_some();
        self.first.set(first);
        is_first_there || self.has_others.get()
    }

    /// Makes `new` the waker of that number; the one that it had before is for the caller to drop.
    #[inline]
    fn set(&self, own: u64, new: Waker) -> Option<Waker> {
        match self.first.take() {
            None if !self.has_others.get() => {
                self.first.set(Some((own, new)));
                None
            }
            Some((number, old)) if number == own => {
                self.first.set(Some((own, new)));
                Some(old)
            }
            first => {
                self.first.set(first);
                self.set_other(own, new)
            }
        }
    }

    #[inline(never)]
    fn set_other(&self, own: u64, mut new: Waker) -> Option<Waker> {
        self.has_others.set(true);
        let mut others = self.others.borrow_mut();
        match others.iter_mut().find(|(number, _)| *number == own) {
            Some((_, waker)) => {
                std::mem::swap(waker, &mut new);
                Some(new)
            }
            None => {
                others.push((own, new));
                None
            }
        }
    }

    #[inline]
    fn remove(&self, own: u64) -> Option<Waker> {
        match self.first.take() {
            Some((number, waker)) if number == own => return Some(waker),
            first => self.first.set(first),
        }
        if self.has_others.get() { self.remove_other(own) } else { None }
    }

    #[inline(never)]
    fn remove_other(&self, own: u64) -> Option<Waker> {
        let mut others = self.others.borrow_mut();
        let index = others.iter().position(|(number, _)| *number == own)?;
        let (_, waker) = others.remove(index);
        self.has_others.set(!others.is_empty());
        Some(waker)
    }

    #[inline(never)]
    fn wake(&self) {
        // First: whoever comes while they are woken waits for the next time.
        let others = if self.has_others.get() { self.take_others() } else { Vec::new() };
        let first = self.first.take();
        if first.is_none() && others.is_empty() {
            self.tell();
        }
        if let Some((_, waker)) = first {
            contain(|| waker.wake());
        }
        if !others.is_empty() {
            self.wake_others(others);
        }
    }

    #[cold]
    fn tell(&self) {
        let watched = self.watched.borrow().upgrade();
        if let Some(watched) = watched {
            watched.report_by_edge();
        }
    }

    #[inline(never)]
    fn take_others(&self) -> Vec<(u64, Waker)> {
        self.has_others.set(false);
        std::mem::take(&mut *self.others.borrow_mut())
    }

    #[inline(never)]
    fn wake_others(&self, mut woken: Vec<(u64, Waker)>) {
        for (_, waker) in woken.drain(..) {
            contain(|| waker.wake());
        }
        // Its memory serves again, unless there are new ones already.
        let mut others = self.others.borrow_mut();
        if others.capacity() == 0 {
            *others = woken;
        }
    }
}

/// Drops a waker, which may run any code.
#[cold]
pub(super) fn drop_waker(waker: Waker) {
    contain(|| drop(waker));
}

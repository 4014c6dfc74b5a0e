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
/// One place is for whoever has the direction to itself, as `&mut` proves. Those who share it have
/// a number each, so that none overwrites another: the first to come has that place, the others a
/// list. All are woken at once: a waiter that is woken alone and dropped before it runs would take
/// the news with it. A direction is either had alone or shared, never both.
///
/// The waker in the one place stays there when it was woken. Who reads one message after another,
/// or accepts one connection after another, finds its own when it waits again, and neither clones
/// one nor drops one for it; the source notes whether it is to be woken.
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
    /// The number of whoever had the one place last, and has it as long as it waits.
    first: Cell<u64>,
    others: RefCell<Vec<(u64, Waker)>>,
    /// Whether there may be any of those.
    has_others: Cell<bool>,
    last_number: Cell<u64>,
    /// Whose registration is told when nobody waited; see [`Watched::report_by_level`].
    watched: RefCell<Weak<Watched>>,
}

impl Waiters {
    /// Wakes everyone who waits; `only_waits` tells whether that includes whoever has the one
    /// place.
    ///
    /// With nothing borrowed: wakers are foreign code, and what they do may come back here. Should
    /// one panic, whoever shares the direction with it is woken all the same.
    #[inline]
    pub(super) fn wake(&self, only_waits: &Cell<bool>) {
        if let Some(shared) = self.shared.get() {
            shared.wake_others(only_waits.get());
        }
        if only_waits.replace(false) {
            self.wake_only();
        }
    }

    /// The same, if all who wait are woken by `wake_own`, or nobody waits. Else this does nothing,
    /// and returns false.
    #[inline(always)]
    pub(super) fn wake_own(&self, only_waits: &Cell<bool>, wake_own: impl WakeOwn) -> bool {
        if self.shared.get().is_some_and(|shared| shared.concerns_others(only_waits.get())) {
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
            || self.shared.get().is_some_and(|shared| shared.has_others.get())
    }

    pub(super) fn take(&self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.take_only().0);
        if let Some(shared) = self.shared.get() {
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
        if !self.put_only(waker) {
            let shared = self.shared.get_or_init(Box::default);
            shared.set_other(shared.new_number(), waker);
        }
    }

    /// Puts a waker in the one place; false if that is lent.
    #[inline(always)]
    fn put_only(&self, waker: &Waker) -> bool {
        // Cloning is foreign code, too: nothing is borrowed meanwhile.
        let new = waker.clone();
        let old = match self.only.try_borrow_mut() {
            Ok(mut only) => only.replace(new),
            Err(_) => return false,
        };
        if let Some(old) = old {
            drop_waker(old);
        }
        true
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
    /// `only_waits` as for [`Waiters::wake`].
    #[inline]
    pub(super) fn set_shared(
        &self,
        only_waits: &Cell<bool>,
        number: &mut Option<u64>,
        waker: &Waker,
    ) {
        let shared = self.shared.get_or_init(Box::default);
        let own = *number.get_or_insert_with(|| shared.new_number());
        if !shared.may_be_first(own, only_waits.get()) {
            return shared.set_other(own, waker);
        }
        shared.first.set(own);
        only_waits.set(true);
        if !self.has_only(waker) && !self.put_only(waker) {
            only_waits.set(false);
            shared.set_other(own, waker);
        }
    }

    /// Does so, if the waker of whoever had the one place last is the same, and nobody waits; else
    /// this does nothing, and returns false.
    #[inline(always)]
    pub(super) fn set_shared_again(
        &self,
        only_waits: &Cell<bool>,
        number: &mut Option<u64>,
        waker: &Waker,
    ) -> bool {
        let Some(shared) = self.shared.get() else { return false };
        let does = !only_waits.get() && !shared.has_others.get() && self.has_only(waker);
        if does {
            shared.first.set(*number.get_or_insert_with(|| shared.new_number()));
            only_waits.set(true);
        }
        does
    }

    /// Has `watched` told when the direction is ready and nobody waits for that.
    pub(super) fn tell_if_unheeded(&self, watched: Weak<Watched>) {
        self.shared.get_or_init(Box::default).watched.replace(watched);
    }

    /// Takes one waiter out.
    #[inline(never)]
    pub(super) fn remove_shared(&self, only_waits: &Cell<bool>, number: u64) {
        let Some(shared) = self.shared.get() else { return };
        if shared.first.get() == number {
            only_waits.set(false);
            self.clear_only();
        }
        if shared.has_others.get() {
            shared.remove_other(number);
        }
    }

    /// The same for one that has what it waited for: if it was woken for that, its waker stays.
    #[inline]
    pub(super) fn release_shared(&self, only_waits: &Cell<bool>, number: u64) {
        let was_woken = |shared: &Shared| shared.first.get() == number && !only_waits.get();
        if !self.shared.get().is_some_and(|shared| was_woken(shared)) {
            self.remove_shared(only_waits, number);
        }
    }
}

impl Shared {
    #[inline]
    fn new_number(&self) -> u64 {
        // From 1 on: none is the number of nobody.
        let number = self.last_number.get() + 1;
        self.last_number.set(number);
        number
    }

    /// Whether a waiter of that number has the one place or may take it; `is_taken` if somebody
    /// waits there.
    #[inline]
    fn may_be_first(&self, own: u64, is_taken: bool) -> bool {
        if is_taken { self.first.get() == own } else { !self.has_others.get() }
    }

    #[inline(never)]
    fn set_other(&self, own: u64, waker: &Waker) {
        // Cloning is foreign code: before anything is borrowed.
        let new = waker.clone();
        if let Some(old) = self.insert_other(own, new) {
            drop_waker(old);
        }
    }

    /// Makes `new` the waker of that number; the one that it had before is for the caller to drop.
    fn insert_other(&self, own: u64, new: Waker) -> Option<Waker> {
        self.has_others.set(true);
        let mut others = self.others.borrow_mut();
        match others.iter_mut().find(|(number, _)| *number == own) {
            Some((_, waker)) => Some(std::mem::replace(waker, new)),
            None => {
                others.push((own, new));
                None
            }
        }
    }

    fn remove_other(&self, own: u64) {
        let mut others = self.others.borrow_mut();
        let index = others.iter().position(|(number, _)| *number == own);
        let removed = index.map(|index| others.remove(index));
        self.has_others.set(!others.is_empty());
        drop(others);
        if let Some((_, waker)) = removed {
            drop_waker(waker);
        }
    }

    /// Whether an event concerns more than who has the one place, and waits there if
    /// `first_waits`: others, or, if nobody waits, who is to be told of that.
    #[inline]
    fn concerns_others(&self, first_waits: bool) -> bool {
        self.has_others.get() || !first_waits
    }

    #[inline(never)]
    fn wake_others(&self, first_waits: bool) {
        if self.has_others.get() {
            self.wake_all_others();
        } else if !first_waits {
            self.tell();
        }
    }

    #[cold]
    fn tell(&self) {
        let watched = self.watched.borrow().upgrade();
        if let Some(watched) = watched {
            watched.report_by_edge();
        }
    }

    fn wake_all_others(&self) {
        // All are taken first: whoever comes while they are woken waits for the next time.
        self.has_others.set(false);
        let mut woken = std::mem::take(&mut *self.others.borrow_mut());
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

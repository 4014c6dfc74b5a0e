//! What was woken and polled on this thread, for the simulation: so that it can tell runs apart by
//! it, and see that nothing spins.
//!
//! Tasks are told apart by the order in which they were spawned: their names go on over the whole
//! process, and differ from run to run.

use super::Id;
use super::home::IDS;
use std::cell::{Cell, RefCell};

/// What happened since it was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doings {
    /// How often a task was polled.
    pub(crate) polls: u64,
    /// How often a task was woken, also while it was awake.
    pub(crate) wakes: u64,
    /// Which ones, in their order.
    pub(crate) hash: u64,
}

thread_local! {
    static DOINGS: Cell<Doings> = const { Cell::new(Doings { polls: 0, wakes: 0, hash: 0 }) };
    /// How many of those who want to know there are.
    static READERS: Cell<u32> = const { Cell::new(0) };
    /// The first of each run of names that a home of this thread took.
    static NAMES: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Somebody who wants to know, until this is dropped. The first begins a journal, in which homes
/// are told apart by the order in which they take names.
#[derive(Debug)]
pub(crate) struct Reader(());

impl Reader {
    pub(crate) fn new() -> Reader {
        READERS.set(READERS.get() + 1);
        if READERS.get() == 1 {
            DOINGS.set(Doings::default());
            NAMES.with_borrow_mut(Vec::clear);
        }
        Reader(())
    }

    /// What happened since the last call of this.
    pub(crate) fn take(&self) -> Doings {
        DOINGS.take()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        READERS.set(READERS.get() - 1);
    }
}

/// A home takes `IDS` names from `first` on.
pub(super) fn note_names(first: u64) {
    if READERS.get() > 0 {
        NAMES.with_borrow_mut(|names| names.push(first));
    }
}

pub(super) fn note_poll(task: Id) {
    if READERS.get() > 0 {
        let before = DOINGS.get();
        DOINGS.set(Doings { polls: before.polls + 1, ..mixed(before, number(task) << 1) });
    }
}

pub(super) fn note_wake(task: Id) {
    if READERS.get() > 0 {
        let before = DOINGS.get();
        DOINGS.set(Doings { wakes: before.wakes + 1, ..mixed(before, number(task) << 1 | 1) });
    }
}

fn mixed(doings: Doings, word: u64) -> Doings {
    let hash = (doings.hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Doings { hash, ..doings }
}

/// The number of a task among those of this thread's homes; one that came from elsewhere has none.
fn number(task: Id) -> u64 {
    NAMES.with_borrow(|names| {
        let own = |first: &u64| task.0.checked_sub(*first).filter(|offset| *offset < IDS);
        let found =
            names.iter().enumerate().rev().find_map(|(run, first)| Some((run, own(first)?)));
        found.map_or(u64::MAX, |(run, offset)| run as u64 * IDS + offset)
    })
}

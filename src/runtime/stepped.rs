//! Runtimes that take turns on somebody else's thread, where a kernel has them have none of their
//! own.

use super::Runtime;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is called at a runtime's end, in nobody's turn.
pub(crate) type Ended = Box<dyn FnOnce()>;

/// Who has runtimes take their turns.
pub(crate) trait Stepper {
    /// Has a runtime take turns from now on, until [`Stepper::end`]: then it is dropped, and
    /// `ended` is called. If its host crashes before that, it is only dropped.
    fn start(&self, number: u64, runtime: Runtime, ended: Ended);

    /// Ends a runtime, if it is still there: now, or if it has its turn, after that.
    fn end(&self, number: u64);

    /// Whether a runtime has its turn.
    fn is_in_turn(&self, number: u64) -> bool;
}

/// A runtime that was given away to take its turns. Whoever has it may be on another thread.
#[derive(Debug)]
pub(crate) struct Stepped {
    stepper: u64,
    number: u64,
}

thread_local! {
    /// Those on this thread, by their numbers.
    static STEPPERS: RefCell<BTreeMap<u64, Weak<dyn Stepper>>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// Numbers of steppers and of what they step: given out once in a process.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Makes a stepper known on this thread, until it is [forgotten](forget); its number.
pub(crate) fn register(stepper: Weak<dyn Stepper>) -> u64 {
    let number = next_number();
    STEPPERS.with(|steppers| steppers.borrow_mut().insert(number, stepper));
    number
}

pub(crate) fn forget(stepper: u64) {
    // Nothing is dropped but a reference. At the thread's end there is no map any more.
    let _ = STEPPERS.try_with(|steppers| steppers.borrow_mut().remove(&stepper));
}

/// Has the stepper of that number have `runtime` take turns; None if it is not on this thread.
pub(crate) fn start(stepper: u64, runtime: Runtime, ended: Ended) -> Option<Stepped> {
    let number = next_number();
    with(stepper, |stepper| stepper.start(number, runtime, ended))?;
    Some(Stepped { stepper, number })
}

fn with<R>(stepper: u64, call: impl FnOnce(&dyn Stepper) -> R) -> Option<R> {
    let find = |steppers: &RefCell<BTreeMap<u64, Weak<dyn Stepper>>>| {
        steppers.borrow().get(&stepper).and_then(Weak::upgrade)
    };
    let found = STEPPERS.try_with(find).ok().flatten()?;
    Some(call(&*found))
}

impl Stepped {
    /// Ends it, as [`Stepper::end`] does. On another thread than its stepper's nothing happens.
    pub(crate) fn end(&self) {
        let _ = with(self.stepper, |stepper| stepper.end(self.number));
    }

    /// Whether it has its turn on this thread.
    pub(crate) fn is_here(&self) -> bool {
        with(self.stepper, |stepper| stepper.is_in_turn(self.number)).unwrap_or(false)
    }
}

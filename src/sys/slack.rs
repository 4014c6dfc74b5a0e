//! prctl(2), PR_SET_TIMERSLACK: how late the kernel may end a thread's waits.
#![expect(unsafe_code, reason = "calls prctl")]

use super::ffi::{self, PR_GET_TIMERSLACK, PR_SET_TIMERSLACK};
use std::ffi::c_ulong;
use std::marker::PhantomData;

/// Has the kernel end the thread's waits as exactly as it can, until this is dropped.
///
/// By default a wait may end 50 us late, so that one wake of the processor serves several threads.
/// Threads that are started meanwhile inherit the exactness.
#[derive(Debug)]
pub(crate) struct ExactWaits {
    /// Nanoseconds; None if the kernel would not tell.
    before: Option<c_ulong>,
    /// Not `Send`: the setting is the thread's.
    stays: PhantomData<*const ()>,
}

/// The least that can be asked for: zero would stand for the default.
const LEAST: c_ulong = 1;

impl ExactWaits {
    pub(crate) fn begin() -> ExactWaits {
        let before = get();
        if before.is_some() {
            set(LEAST);
        }
        ExactWaits { before, stays: PhantomData }
    }
}

impl Drop for ExactWaits {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            set(before);
        }
    }
}

fn get() -> Option<c_ulong> {
    // SAFETY: this option takes no arguments and touches no memory.
    let slack = unsafe { ffi::prctl(PR_GET_TIMERSLACK) };
    // Real-time threads have none, and a sandbox may forbid the call: waits are then as they are.
    c_ulong::try_from(slack).ok().filter(|slack| *slack > 0)
}

fn set(slack: c_ulong) {
    // SAFETY: this option takes one number and touches no memory.
    let _ = unsafe { ffi::prctl(PR_SET_TIMERSLACK, slack) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_exact_while_a_runtime_blocks_and_as_before_after_it() {
        let before = get();
        let within = crate::run(async { get() }).unwrap();
        assert_eq!(within, before.map(|_| LEAST));
        assert_eq!(get(), before);
        let panicked = std::panic::catch_unwind(|| crate::run(async { panic!("inside") }));
        assert!(panicked.is_err());
        assert_eq!(get(), before, "a panic gives it back too");
    }
}

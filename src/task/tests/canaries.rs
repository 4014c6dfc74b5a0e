//! The walk finds what it is there to find: each transition in turn is broken.

use super::walk::walk;
use super::world::{REAL, Transitions, World};
use crate::task::state::{OnComplete, OnJoin, OnPend, OnRun, OnWake, Snapshot};

/// Both walks, handle abroad and at home; what the first that fails finds.
fn finds(broken: &Transitions) -> &'static str {
    let mut found = [false, true].iter().filter_map(|at| walk(World::new(*at), broken).err());
    found.next().expect("the walk finds it").0
}

#[test]
fn a_wake_that_is_not_noted_while_the_task_runs_is_lost() {
    fn forgetful(state: Snapshot) -> (Snapshot, OnWake) {
        if state.is_running() { (state, OnWake::Nothing) } else { state.wake_by_ref() }
    }
    let found = finds(&Transitions { wake_by_ref: forgetful, ..REAL });
    assert_eq!(found, "a wake is lost: the task is neither queued nor run");
}

#[test]
fn a_pend_that_forgets_the_wake_of_its_own_poll_loses_it() {
    fn forgetful(state: Snapshot) -> (Snapshot, OnPend) {
        (state.pend().0, OnPend::Idle)
    }
    let found = finds(&Transitions { pend: forgetful, ..REAL });
    assert_eq!(found, "a wake is lost: the task is neither queued nor run");
}

#[test]
fn a_pend_that_always_queues_polls_what_nobody_woke() {
    fn eager(state: Snapshot) -> (Snapshot, OnPend) {
        (state.pend().0, OnPend::Enqueue)
    }
    let found = finds(&Transitions { pend: eager, ..REAL });
    assert!(["a task is polled that nobody woke", "a task is queued twice"].contains(&found));
}

#[test]
fn a_wake_that_queues_a_running_task_queues_it_twice() {
    fn eager(state: Snapshot) -> (Snapshot, OnWake) {
        if state.is_done() { state.wake_by_ref() } else { (state.share(), OnWake::Enqueue) }
    }
    assert_eq!(finds(&Transitions { wake_by_ref: eager, ..REAL }), "a task is queued twice");
}

#[test]
fn a_wake_without_a_reference_for_the_queue_is_found() {
    fn mean(state: Snapshot) -> (Snapshot, OnWake) {
        let (next, owed) = state.wake_by_ref();
        if owed == OnWake::Enqueue { (next.release().0, owed) } else { (next, owed) }
    }
    let found = finds(&Transitions { wake_by_ref: mean, ..REAL });
    assert_eq!(found, "the count is not the number of references");
}

#[test]
fn a_last_wake_that_does_not_free_leaks() {
    fn leaky(state: Snapshot) -> (Snapshot, OnWake) {
        let (next, owed) = state.wake();
        (next, if owed == OnWake::Free { OnWake::Nothing } else { owed })
    }
    assert_eq!(finds(&Transitions { wake: leaky, ..REAL }), "the cell is never freed");
}

#[test]
fn an_abort_that_only_wakes_is_polled_all_the_same() {
    let found = finds(&Transitions { abort: Snapshot::wake_by_ref, ..REAL });
    assert_eq!(found, "a task is polled that was aborted");
}

#[test]
fn a_run_that_does_not_look_for_an_abort_polls() {
    fn blind(state: Snapshot) -> (Snapshot, OnRun) {
        let (next, what) = state.run();
        (next, if what == OnRun::Cancel { OnRun::Poll } else { what })
    }
    assert_eq!(finds(&Transitions { run: blind, ..REAL }), "a task is polled that was aborted");
}

#[test]
fn a_run_that_leaves_a_disclaimed_output_leaks_it() {
    fn lazy(state: Snapshot) -> (Snapshot, OnRun) {
        let (next, what) = state.run();
        (next, if what == OnRun::DropOutput { OnRun::Nothing } else { what })
    }
    assert_eq!(finds(&Transitions { run: lazy, ..REAL }), "the cell is freed with its output");
}

#[test]
fn a_completion_that_does_not_wake_leaves_the_joiner_waiting() {
    fn silent(state: Snapshot) -> (Snapshot, OnComplete) {
        let (next, owed) = state.complete();
        (next, OnComplete { wake_joiner: false, ..owed })
    }
    let found = finds(&Transitions { complete: silent, ..REAL });
    assert!(
        ["the task is over, and the joiner not woken", "the cell is freed with a join waker"]
            .contains(&found)
    );
}

#[test]
fn a_completion_that_always_wakes_meets_the_handle_at_the_waker() {
    fn loud(state: Snapshot) -> (Snapshot, OnComplete) {
        let (next, owed) = state.complete();
        (next, OnComplete { wake_joiner: true, ..owed })
    }
    let found = finds(&Transitions { complete: loud, ..REAL });
    assert!(
        [
            "two have the join waker at once",
            "a joiner is to be woken that left no waker",
            "the task is over, and the joiner not woken",
        ]
        .contains(&found)
    );
}

#[test]
fn a_completion_that_never_drops_the_output_leaks_it() {
    fn lazy(state: Snapshot) -> (Snapshot, OnComplete) {
        let (next, owed) = state.complete();
        (next, OnComplete { drop_output: false, ..owed })
    }
    assert_eq!(finds(&Transitions { complete: lazy, ..REAL }), "the cell is freed with its output");
}

#[test]
fn a_completion_that_always_drops_the_output_meets_the_handle() {
    fn eager(state: Snapshot) -> (Snapshot, OnComplete) {
        let (next, owed) = state.complete();
        (next, OnComplete { drop_output: true, ..owed })
    }
    let found = finds(&Transitions { complete: eager, ..REAL });
    assert!(
        [
            "two have the future or the output at once",
            "an output is claimed that is not there",
            "a claimed output is dropped",
        ]
        .contains(&found)
    );
}

#[test]
fn a_waker_that_is_left_after_the_end_is_never_woken() {
    fn late(state: Snapshot) -> (Snapshot, OnJoin) {
        (state.publish_waker().0, OnJoin::NotYet)
    }
    let found = finds(&Transitions { publish_waker: late, ..REAL });
    assert!(
        ["the task is over, and the joiner not woken", "the cell is freed with a join waker"]
            .contains(&found)
    );
}

#[test]
fn a_waker_that_is_taken_back_after_the_end_has_two_owners() {
    fn late(state: Snapshot) -> (Snapshot, OnJoin) {
        (state.withdraw_waker().0, OnJoin::NotYet)
    }
    assert_eq!(
        finds(&Transitions { withdraw_waker: late, ..REAL }),
        "two have the join waker at once"
    );
}

#[test]
fn a_waker_that_is_exchanged_without_a_withdrawal_has_two_owners() {
    fn never(state: Snapshot) -> (Snapshot, OnJoin) {
        let what = if state.is_done() { OnJoin::Done } else { OnJoin::NotYet };
        (state, what)
    }
    assert_eq!(
        finds(&Transitions { withdraw_waker: never, ..REAL }),
        "two have the join waker at once"
    );
}

#[test]
fn an_unused_waker_that_is_not_taken_back_stays_as_long_as_the_cell() {
    let found = finds(&Transitions { takes_unused_waker: false, ..REAL });
    assert_eq!(found, "the cell is freed with a join waker");
}

#[test]
fn a_handle_that_detaches_without_a_look_leaves_the_output() {
    fn blind(state: Snapshot) -> (Snapshot, OnJoin) {
        (state.detach().0, OnJoin::NotYet)
    }
    let found = finds(&Transitions { detach: blind, ..REAL });
    assert!(
        ["the cell is freed with its output", "two have the join waker at once"].contains(&found)
    );
}

#[test]
fn a_handle_that_detaches_in_silence_leaves_the_output() {
    fn silent(state: Snapshot) -> (Snapshot, OnJoin) {
        (state, state.detach().1)
    }
    let found = finds(&Transitions { detach: silent, ..REAL });
    assert!(
        ["the cell is freed with its output", "two have the join waker at once"].contains(&found)
    );
}

#[test]
fn an_output_that_is_not_disclaimed_is_dropped_by_nobody() {
    let found = finds(&Transitions { disclaim: |state| state, ..REAL });
    assert_eq!(found, "the cell is freed with its output");
}

#[test]
fn references_that_are_not_counted_are_found() {
    let wrong = "the count is not the number of references";
    assert_eq!(finds(&Transitions { share: |state| state, ..REAL }), wrong);
    assert_eq!(finds(&Transitions { release: |state| (state, false), ..REAL }), wrong);
    let never_free = |state: Snapshot| (state.release().0, false);
    assert_eq!(finds(&Transitions { release: never_free, ..REAL }), "the cell is never freed");
}

//! The walk finds what it is there to find: each transition and each care in turn is broken.

use super::walk::{ALL, walk};
use super::world::{REAL, Transitions};
use crate::task::state::{OnComplete, OnDetach, OnRelease, OnRemoteWake, OnRun, Remote, Status};

const LOST_WAKE: &str = "a wake is lost: the task is not queued, and no message under way";
const COUNTS: &str = "the counts are not the number of references";
const EARLY: &str = "the cell is freed while somebody has a reference";
const LEAK: &str = "the cell is never freed";
const WITH_OUTPUT: &str = "the cell is freed with its output";
const WITH_WAKER: &str = "the cell is freed with a join waker";
const TOUCHED: &str = "the cell is touched after it was freed";
const NOT_WOKEN: &str = "the task is over, and the joiner not woken";

/// The walks, the short ones first; what the first that fails finds is one of these.
fn finds(broken: &Transitions, expected: &[&str]) {
    let mut found = ALL.iter().filter_map(|bounds| walk(*bounds, broken).err());
    let (wrong, way) = found.next().expect("the walk finds it");
    assert!(expected.contains(&wrong), "{wrong}: {way:#?}");
}

#[test]
fn a_wake_that_sends_no_message_is_lost() {
    fn silent(remote: Remote) -> (Remote, OnRemoteWake) {
        (remote, OnRemoteWake::Nothing)
    }
    finds(&Transitions { wake: silent, ..REAL }, &[LOST_WAKE]);
    finds(&Transitions { wake_by_ref: silent, ..REAL }, &[LOST_WAKE]);
}

#[test]
fn a_message_without_a_reference_is_found() {
    finds(&Transitions { wake_by_ref: Remote::wake, ..REAL }, &[COUNTS]);
}

#[test]
fn a_wake_by_value_that_makes_another_reference_is_found() {
    finds(&Transitions { wake: Remote::wake_by_ref, ..REAL }, &[COUNTS]);
}

#[test]
fn a_wake_that_always_sends_makes_too_many_references() {
    fn eager(remote: Remote) -> (Remote, OnRemoteWake) {
        (remote.wake().0, OnRemoteWake::Send)
    }
    finds(&Transitions { wake_by_ref: eager, ..REAL }, &[COUNTS]);
}

#[test]
fn a_wake_that_is_not_written_since_a_message_is_under_way_is_lost() {
    finds(&Transitions { publishes: false, ..REAL }, &[LOST_WAKE]);
}

#[test]
fn a_message_that_leaves_its_note_loses_the_wakes_to_come() {
    fn leaves(remote: Remote) -> (Remote, bool) {
        (remote, remote.arrive().1)
    }
    finds(&Transitions { arrive: leaves, ..REAL }, &[LOST_WAKE, "an abort is lost"]);
}

#[test]
fn an_abort_that_does_not_arrive_is_lost() {
    fn deaf(remote: Remote) -> (Remote, bool) {
        (remote.arrive().0, false)
    }
    finds(&Transitions { arrive: deaf, ..REAL }, &["an abort is lost"]);
    finds(&Transitions { abort: Remote::wake_by_ref, ..REAL }, &["an abort is lost"]);
}

#[test]
fn a_run_that_does_not_look_for_an_abort_polls() {
    fn blind(status: Status) -> OnRun {
        if status.run() == OnRun::Cancel { OnRun::Poll } else { status.run() }
    }
    finds(&Transitions { run: blind, ..REAL }, &["a task is polled that was aborted"]);
}

#[test]
fn a_run_that_does_not_look_for_the_end_polls_what_is_gone() {
    fn blind(status: Status) -> OnRun {
        if status.run() == OnRun::Release { OnRun::Poll } else { status.run() }
    }
    let gone = ["a task is polled without its future", "a task is polled that was aborted"];
    finds(&Transitions { run: blind, ..REAL }, &gone);
}

#[test]
fn a_run_that_cancels_what_is_over_drops_it_twice() {
    fn blind(status: Status) -> OnRun {
        if status.run() == OnRun::Release { OnRun::Cancel } else { status.run() }
    }
    finds(&Transitions { run: blind, ..REAL }, &["the future is dropped twice"]);
}

#[test]
fn a_wake_that_does_not_look_where_the_task_is_queues_it_twice() {
    let twice = [EARLY, COUNTS, "a task is queued twice", "a task's place is not where it is"];
    finds(&Transitions { looks_at_place: false, ..REAL }, &twice);
}

#[test]
fn a_task_that_ends_in_the_queue_needs_its_reference_there() {
    let dangling = [EARLY, "the cell is freed in the queue", COUNTS];
    finds(&Transitions { queue_keeps: false, ..REAL }, &dangling);
}

#[test]
fn a_home_that_looks_for_the_joiner_after_it_told_of_the_end_finds_no_cell() {
    finds(&Transitions { takes_waker_first: false, ..REAL }, &[TOUCHED, WITH_WAKER]);
}

#[test]
fn an_end_that_always_wakes_leaves_the_output() {
    fn loud(status: Status) -> (Status, OnComplete) {
        (status.complete().0, OnComplete::Wake)
    }
    finds(&Transitions { complete: loud, ..REAL }, &[WITH_OUTPUT, COUNTS]);
}

#[test]
fn an_end_that_always_drops_the_output_takes_it_from_the_handle() {
    fn eager(status: Status) -> (Status, OnComplete) {
        (status.complete().0, OnComplete::DropOutput)
    }
    let taken = [
        NOT_WOKEN,
        "an output is claimed that is not there",
        "an output is dropped twice",
        "a claimed output is dropped",
        TOUCHED,
    ];
    finds(&Transitions { complete: eager, ..REAL }, &taken);
}

#[test]
fn an_end_that_is_not_written_is_found() {
    fn silent(status: Status) -> (Status, OnComplete) {
        (status, status.complete().1)
    }
    let gone = "the runtime is gone and the task not over";
    let found = [LOST_WAKE, gone, "the future is dropped twice", WITH_OUTPUT];
    finds(&Transitions { complete: silent, ..REAL }, &found);
}

#[test]
fn a_handle_that_goes_without_a_look_leaves_the_output() {
    fn blind(status: Status) -> (Status, OnDetach) {
        (status.detach().0, OnDetach::DropWaker)
    }
    finds(&Transitions { detach: blind, ..REAL }, &[WITH_OUTPUT, COUNTS]);
}

#[test]
fn a_handle_that_goes_in_silence_leaves_the_output() {
    fn silent(status: Status) -> (Status, OnDetach) {
        (status, status.detach().1)
    }
    finds(&Transitions { detach: silent, ..REAL }, &[WITH_OUTPUT, COUNTS]);
}

#[test]
fn a_handle_that_goes_and_takes_the_output_too_early_is_found() {
    fn eager(status: Status) -> (Status, OnDetach) {
        (status.detach().0, OnDetach::DropOutput)
    }
    let found = ["an output is dropped twice", WITH_WAKER, EARLY];
    finds(&Transitions { detach: eager, ..REAL }, &found);
}

#[test]
fn a_handle_that_goes_after_its_home_drops_the_output_itself() {
    finds(&Transitions { drops_orphan: false, ..REAL }, &[WITH_OUTPUT]);
}

#[test]
fn a_reference_that_is_not_counted_is_found() {
    finds(&Transitions { share: |remote| remote, ..REAL }, &[COUNTS]);
}

#[test]
fn a_reference_that_is_given_up_and_still_counted_is_found() {
    finds(&Transitions { release: |remote| (remote, OnRelease::Nothing), ..REAL }, &[COUNTS]);
}

#[test]
fn a_last_reference_elsewhere_that_frees_nothing_leaks() {
    fn leaky(remote: Remote) -> (Remote, OnRelease) {
        let (next, owed) = remote.release();
        (next, if owed == OnRelease::Free { OnRelease::Nothing } else { owed })
    }
    finds(&Transitions { release: leaky, ..REAL }, &[LEAK]);
}

#[test]
fn a_last_reference_elsewhere_is_not_the_last_while_home_counts() {
    fn rash(remote: Remote) -> (Remote, OnRelease) {
        let (next, owed) = remote.release();
        (next, if next.references() == 0 { OnRelease::Free } else { owed })
    }
    finds(&Transitions { release: rash, ..REAL }, &[EARLY, COUNTS]);
}

#[test]
fn a_reference_that_home_counts_is_not_given_up_elsewhere() {
    fn rash(remote: Remote) -> (Remote, OnRelease) {
        let (next, owed) = remote.release();
        (next, if owed == OnRelease::SendHome { OnRelease::Nothing } else { owed })
    }
    finds(&Transitions { release: rash, ..REAL }, &[COUNTS]);
}

#[test]
fn a_home_that_frees_without_a_look_at_the_others_count_frees_early() {
    finds(&Transitions { looks_before_free: false, ..REAL }, &[EARLY]);
}

#[test]
fn a_home_that_does_not_merge_when_its_count_is_nothing_leaks() {
    finds(&Transitions { merges: false, ..REAL }, &[LEAK, COUNTS]);
}

#[test]
fn a_merge_that_leaves_no_mark_leaks() {
    fn silent(remote: Remote, references: u32) -> (Remote, bool) {
        let next = (0..references).fold(remote, |remote, _| remote.share());
        (next, next.references() == 0)
    }
    finds(&Transitions { merge: silent, ..REAL }, &[LEAK, COUNTS]);
}

#[test]
fn a_merge_that_forgets_home_s_count_is_found() {
    fn forgetful(remote: Remote, _: u32) -> (Remote, bool) {
        remote.merge(0)
    }
    finds(&Transitions { merge: forgetful, ..REAL }, &[COUNTS]);
}

#[test]
fn a_merge_that_is_never_the_last_leaks() {
    fn leaky(remote: Remote, references: u32) -> (Remote, bool) {
        (remote.merge(references).0, false)
    }
    finds(&Transitions { merge: leaky, ..REAL }, &[LEAK]);
}

#[test]
fn a_merge_that_is_always_the_last_frees_early() {
    fn rash(remote: Remote, references: u32) -> (Remote, bool) {
        (remote.merge(references).0, true)
    }
    finds(&Transitions { merge: rash, ..REAL }, &[EARLY]);
}

#[test]
fn an_orphan_s_reference_that_is_only_merged_leaks() {
    finds(&Transitions { releases_merged: false, ..REAL }, &[COUNTS]);
}

#[test]
fn an_orphan_s_counts_are_merged_by_one_at_a_time() {
    finds(&Transitions { merges_once: false, ..REAL }, &[COUNTS]);
}

#[test]
fn what_home_knows_of_the_others_count_comes_with_what_they_send() {
    finds(&Transitions { synchronizes: false, ..REAL }, &[EARLY]);
}

#[test]
fn a_joiner_s_waker_that_left_the_list_is_not_replaced() {
    let stays = |remote: Remote| (remote, ());
    let found = ["there is no earlier message"];
    finds(&Transitions { leave_list: stays, ..REAL }, &found);
}

#[test]
fn a_joiner_s_waker_that_is_not_replaced_piles_up() {
    fn never(remote: Remote) -> (Remote, bool) {
        (remote, false)
    }
    finds(&Transitions { join: never, ..REAL }, &["a handle's wakers pile up in the inbox"]);
}

#[test]
fn a_joiner_s_waker_that_comes_after_the_end_is_woken_at_once() {
    finds(&Transitions { wakes_late_joiner: false, ..REAL }, &[NOT_WOKEN, WITH_WAKER]);
}

#[test]
fn a_joiner_s_waker_that_comes_after_its_handle_went_is_not_kept() {
    finds(&Transitions { looks_for_handle: false, ..REAL }, &[WITH_WAKER]);
}

#[test]
fn a_handle_that_comes_home_before_its_waker_loses_the_newer_one() {
    finds(&Transitions { receives_first: false, ..REAL }, &[NOT_WOKEN]);
}

#[test]
fn an_inbox_that_is_closed_over_a_message_leaks_its_task() {
    let left = [LEAK, "the task is over, and the joiner not woken"];
    finds(&Transitions { closes_empty: false, ..REAL }, &left);
}

#[test]
fn a_task_that_comes_too_late_to_be_spawned_is_ended_where_it_is() {
    let left = ["the cell is freed with its future", "the runtime is gone and the task not over"];
    finds(&Transitions { ends_unborn: false, ..REAL }, &left);
}

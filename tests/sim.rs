//! The general workload over some seeds, each run twice.

#[path = "worlds/workload.rs"]
mod workload;

use std::sync::atomic::{AtomicU64, Ordering};
use whirligig::sim::seeds_twice;

#[test]
fn the_general_workload_passes_over_many_seeds() {
    let (answered, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    let report = seeds_twice(0..40, |world| {
        let outcomes = workload::run(world);
        answered.fetch_add(outcomes.answered, Ordering::Relaxed);
        ended.fetch_add(outcomes.failed + outcomes.given_up, Ordering::Relaxed);
    });
    report.check();
    // What is not exercised is not tested.
    assert!(answered.into_inner() > 2 * 100 * report.seeds);
    assert!(ended.into_inner() > 2 * 5 * report.seeds);
    assert!(report.injected.iter().sum::<u64>() > 10 * report.seeds, "{report:?}");
}

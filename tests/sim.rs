//! The general workload over some seeds, each run twice.

#[path = "worlds/workload.rs"]
mod workload;

use std::sync::atomic::{AtomicU64, Ordering};
use whirligig::sim::{World, seeds};

#[test]
fn the_general_workload_passes_over_many_seeds() {
    let (answered, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    let report = seeds(0..60, |world| {
        let outcomes = workload::run(world);
        answered.fetch_add(outcomes.answered, Ordering::Relaxed);
        ended.fetch_add(outcomes.failed + outcomes.given_up, Ordering::Relaxed);
    });
    report.check();
    // What is not exercised is not tested.
    assert!(answered.into_inner() > 100 * report.seeds);
    assert!(ended.into_inner() > 5 * report.seeds);
    assert!(report.injected.iter().sum::<u64>() > 10 * report.seeds, "{report:?}");
}

#[test]
fn every_run_of_a_seed_is_the_same() {
    for seed in 0..8 {
        let hash = || {
            let world = World::seeded(seed);
            workload::run(&world);
            (world.hash(), world.line_and_call_counts(), world.elapsed())
        };
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}

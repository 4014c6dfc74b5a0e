//! The general workload over some seeds, each run twice.

#[path = "worlds/workload.rs"]
mod workload;

use whirligig::sim::{World, seeds};

#[test]
fn the_general_workload_passes_over_many_seeds() {
    seeds(0..150, |world| drop(workload::run(world))).check();
}

#[test]
fn every_run_of_a_seed_is_the_same() {
    for seed in 0..25 {
        let hash = || {
            let world = World::seeded(seed);
            workload::run(&world);
            (world.hash(), world.line_and_call_counts(), world.elapsed())
        };
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}

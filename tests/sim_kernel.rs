//! The simulated kernel against Linux, on random programs.

#[path = "../fuzz/bodies/mod.rs"]
pub mod bodies;

use bodies::kernels::{Compared, compare};
use std::panic::catch_unwind;
use whirligig::sim::{Planted, Random};

/// The bytes of a random program.
fn program(random: &mut Random) -> Vec<u8> {
    let length = 20 + random.index(400);
    (0..length).map(|_| random.number() as u8).collect()
}

/// Programs that are run, each with some seventy calls; more if asked for.
fn programs() -> u64 {
    std::env::var("PROGRAMS").ok().and_then(|count| count.parse().ok()).unwrap_or(300)
}

#[test]
fn random_programs_of_system_calls_come_to_the_same_on_both_kernels() {
    let mut all = Compared::default();
    for seed in 0..programs() {
        let data = program(&mut Random::seeded(seed));
        match catch_unwind(|| compare(&data, None)) {
            Ok(compared) => all += compared,
            Err(_) => panic!("the kernels differ on the program of seed {seed}"),
        }
    }
    println!("{all:?}");
    assert!(all.calls as u64 > 50 * programs(), "only {} calls were compared", all.calls);
}

/// Bugs of the simulation, and a program that is known to find each: finding it anew takes some
/// thousand.
#[test]
fn a_bug_that_is_planted_in_the_simulation_is_found() {
    const FOUND_BY: [u64; Planted::ALL.len()] =
        [0, 4, 351, 8, 14, 39, 39, 34, 1999, 0, 39, 1, 6, 28, 4, 12, 207];
    for (bug, from) in Planted::ALL.into_iter().zip(FOUND_BY) {
        let found = (from..from + 3000).find(|seed| {
            let data = program(&mut Random::seeded(*seed));
            catch_unwind(|| compare(&data, Some(bug))).is_err()
        });
        println!("{bug:?}: found by the program of seed {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}

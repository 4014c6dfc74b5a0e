//! Runs the general workload over many seeds, and ends with the first failure, or with what was
//! exercised: `cargo run --profile sim --features sim --example sim -- [SEEDS [FIRST]]`.

mod workload;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use whirligig::sim::{Fault, seeds};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let count: u64 = arguments.next().unwrap_or(1000);
    let first: u64 = arguments.next().unwrap_or(0);
    // A failure is told once, with its trace.
    std::panic::set_hook(Box::new(|_| {}));
    let counts = [const { AtomicU64::new(0) }; 3];
    let start = Instant::now();
    let report = seeds(first..first + count, |world| {
        let outcomes = workload::run(world);
        let now = [outcomes.answered, outcomes.failed, outcomes.given_up];
        for (sum, count) in counts.iter().zip(now) {
            sum.fetch_add(count, Ordering::Relaxed);
        }
    });
    if let Some((seed, failure)) = report.failure {
        println!("{failure}");
        println!("failed: seed {seed}, after {} seeds", report.seeds);
        return ExitCode::FAILURE;
    }
    let [answered, failed, given_up] = counts.map(AtomicU64::into_inner);
    let (polls, wakes) = report.polls_and_wakes;
    println!("{} seeds in {:?}", report.seeds, start.elapsed());
    println!("{} system calls, {polls} polls, {wakes} wakes", report.calls);
    println!("requests: {answered} answered, {failed} failed by a fault, {given_up} given up");
    let faults = Fault::ALL.into_iter().zip(report.injected);
    let faults = faults.map(|(fault, count)| (format!("{fault:?}"), count));
    println!("faults: {}", list(faults));
    println!("exercised: {}", list(report.exercised.iter().cloned()));
    let never = report.never_reached();
    println!(
        "never reached: {}",
        if never.is_empty() { "nothing".into() } else { never.join(", ") }
    );
    ExitCode::SUCCESS
}

fn list(counts: impl Iterator<Item = (String, u64)>) -> String {
    let all: Vec<_> = counts.map(|(name, count)| format!("{name} {count}")).collect();
    all.join(", ")
}

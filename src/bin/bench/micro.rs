//! The cases by their names.

use crate::measure::{measure, skip};
use crate::{Failure, tasks, tcp, timers};

/// Connections of `tcp-fan`.
const FAN: u64 = 256;

/// Runs a case with `n` operations, and prints what it took.
pub(crate) fn run(case: &str, n: u64) -> Result<(), Failure> {
    match case {
        "spawn" => measure(case, n, tasks::spawn(n)),
        "yield-one" => measure(case, n, tasks::yield_one(n)),
        "yield-many" => measure(case, n, tasks::yield_many(n)),
        "pingpong" => measure(case, n, tasks::pingpong(n)),
        "wake-remote" => measure(case, n, tasks::wake_remote(n)),
        "sleep-many" => measure(case, n, timers::sleep_many(n)),
        "timer-churn" => measure(case, n, timers::timer_churn(n)),
        "sleep-accuracy" => measure(case, n, timers::sleep_accuracy(n)),
        "tcp-pingpong" => measure(case, n, tcp::fan(1, n)),
        "tcp-fan" => measure(case, n, tcp::fan(FAN, n)),
        "connect-churn" => measure(case, n, tcp::connect_churn(n)),
        _ => skip(case, "no such case"),
    }
}

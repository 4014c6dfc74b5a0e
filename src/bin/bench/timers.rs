//! The cases of timers.

use crate::Failure;
use crate::measure::Lateness;
use crate::tasks::join;
use std::time::Duration;
use whirligig::time::{Instant, sleep_until, timeout};
use whirligig::{spawn, yield_now};

/// Many tasks sleep 500 to 1500 ms at the same time.
pub(crate) async fn sleep_many(n: u64) -> Result<Lateness, Failure> {
    let mut numbers = Numbers::new();
    let mut tasks = Vec::new();
    for _ in 0..n {
        let nanoseconds = (500_000 + numbers.next() % 1_000_000) * 1000;
        tasks.push(spawn(lateness(nanoseconds)));
    }
    Ok(Lateness(join(tasks).await?))
}

/// A task sleeps 1 to 5 ms, again and again.
pub(crate) async fn sleep_accuracy(n: u64) -> Result<Lateness, Failure> {
    let mut numbers = Numbers::new();
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(lateness(1_000_000 + numbers.next() % 4_000_000).await);
    }
    Ok(Lateness(all))
}

/// A timeout that is set each time, and never comes.
pub(crate) async fn timer_churn(n: u64) -> Result<(), Failure> {
    for _ in 0..n {
        timeout(Duration::from_secs(30), yield_now()).await?;
    }
    Ok(())
}

/// How many nanoseconds after its time a sleep ends.
async fn lateness(nanoseconds: u64) -> u64 {
    let deadline = Instant::now() + Duration::from_nanos(nanoseconds);
    sleep_until(deadline).await;
    deadline.elapsed().as_nanos() as u64
}

/// The same numbers in each run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn new() -> Numbers {
        Numbers(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

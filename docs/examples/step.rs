//! A runtime inside an event loop of one's own: `turn` runs it step by step and never waits.
//!
//! The loop below waits on its own epoll instance, in which the runtime is one descriptor of
//! several. `cargo run --example step` ends by itself.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;
use whirligig::event::Interest;
use whirligig::sys::{Epoll, EventBuffer};
use whirligig::time::{Instant, interval, sleep};
use whirligig::{Runtime, Turn, blocking};

/// The token of the runtime among the descriptors of the loop.
const RUNTIME: u64 = 0;

fn main() -> io::Result<()> {
    let runtime = Runtime::new()?;
    let epoll = Epoll::new()?;
    let descriptor = runtime.as_fd().try_clone_to_owned()?.into();
    epoll.add(&descriptor, Interest::READABLE.level().bits(), RUNTIME)?;

    runtime.spawn(async {
        let mut ticks = interval(Duration::from_millis(20));
        for number in 1..=3 {
            ticks.tick().await;
            println!("task: tick {number}");
        }
    });
    let slow = runtime.spawn(async {
        // Another thread wakes this task, and with it the loop.
        let sum = blocking::run(|| (1..=1_000_000_u64).sum::<u64>()).await?;
        sleep(Duration::from_millis(10)).await;
        io::Result::Ok(sum)
    });

    let mut buffer = EventBuffer::with_capacity(16);
    let mut turns = 0;
    loop {
        turns += 1;
        let timeout = match runtime.turn()? {
            Turn::Done => break,
            Turn::Ready => Some(Duration::ZERO),
            // No timer is set: an event or another thread's wake makes the descriptor readable.
            Turn::Idle { until: None } => None,
            Turn::Idle { until: Some(until) } => Some(until - Instant::now()),
        };
        for event in epoll.wait(&mut buffer, timeout)? {
            match event.token() {
                RUNTIME => println!("loop: the runtime has something to do"),
                other => println!("loop: {other} is something else's"),
            }
        }
    }
    println!("loop: done after {turns} turns");
    // All tasks are over, so their outputs are there.
    println!("loop: the sum is {}", runtime.block_on(slow)??);
    Ok(())
}

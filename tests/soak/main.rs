//! Puts the delayserver under mixed load for a long time, and checks that it stays as it was.
//!
//! Good clients are served beside hostile ones, while signals arrive and descriptors run out. After
//! each of ten equal parts the load pauses; then what the server holds, and how fast it answers, is
//! measured. Exit code 1 says what has grown.

mod clients;
mod server;

use clients::{Counts, Load};
use server::{Sample, Server};
use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;
use whirligig::sys::raise_descriptor_limit;

/// Whatever went wrong.
type Failure = Box<dyn Error>;

const PARTS: usize = 10;

/// How much more memory the last parts may take than those before: what an allocator keeps differs.
const GROWTH_KB_MAX: u64 = 256;

/// How much slower the quiet server may answer at the end; other programs run on this machine, too.
const SLOWER_MAX: u32 = 4;
const SLOWER_MIN: Duration = Duration::from_millis(2);

fn main() -> ExitCode {
    let Some(seconds) = env::args().nth(1).and_then(|text| text.parse().ok()) else {
        eprintln!("usage: soak SECONDS [FLAGS OF THE DELAYSERVER]");
        return ExitCode::from(2);
    };
    let flags: Vec<String> = env::args().skip(2).collect();
    match soak(Duration::from_secs(seconds), &flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

fn soak(time: Duration, flags: &[String]) -> Result<(), Failure> {
    raise_descriptor_limit()?;
    let mut server = Server::start(flags)?;
    let at_first = server.descriptors_at_first()?;
    println!("the delayserver has {at_first} descriptors at first");
    println!(
        "part  good  hostile  signals  fds  threads  memory/kB  quiet/us  late/ms (median, 99 %)"
    );
    let mut samples = Vec::new();
    for part in 1..=PARTS {
        let counts = whirligig::run(clients::run(Load {
            address: server.address,
            pid: server.pid(),
            time: time / PARTS as u32,
            seed: part as u64,
        }))??;
        // What was left behind by clients that were cut off goes by timeouts.
        let sample = server.settle(at_first)?;
        report(part, &counts, &sample);
        counts.check()?;
        samples.push(sample);
    }
    // The end comes under load, too.
    server.stop()?;
    compare(&samples)?;
    println!("all is level");
    Ok(())
}

fn report(part: usize, counts: &Counts, sample: &Sample) {
    let (median, late) = (counts.late(50), counts.late(99));
    println!(
        "{part:>4} {:>5} {:>8} {:>8} {:>4} {:>8} {:>10} {:>9} {:>8.1} {:>7.1}",
        counts.good,
        counts.hostile.iter().map(|(_, count)| count).sum::<u64>(),
        counts.signals,
        sample.descriptors,
        sample.threads,
        sample.memory_kb,
        sample.quiet.as_micros(),
        median.as_secs_f64() * 1e3,
        late.as_secs_f64() * 1e3,
    );
}

/// Compares the second half with the first, of which the very first part warms up.
fn compare(samples: &[Sample]) -> Result<(), Failure> {
    let (before, after) = samples[1..].split_at((samples.len() - 1) / 2);
    let memory = |samples: &[Sample]| samples.iter().map(|sample| sample.memory_kb).max();
    let (first, last) = (memory(before).unwrap_or(0), memory(after).unwrap_or(0));
    if last > first + GROWTH_KB_MAX {
        return Err(format!("memory grew from {first} to {last} kB").into());
    }
    let threads = |samples: &[Sample]| samples.iter().map(|sample| sample.threads).max();
    if threads(after) > threads(before) {
        return Err("there are more threads than before".into());
    }
    // The best of each half: what others on the machine do makes it slower only.
    let quiet = |samples: &[Sample]| samples.iter().map(|sample| sample.quiet).min();
    let (first, last) = (quiet(before).unwrap_or_default(), quiet(after).unwrap_or_default());
    if last > first * SLOWER_MAX + SLOWER_MIN {
        return Err(format!("an answer takes {last:?} instead of {first:?}").into());
    }
    Ok(())
}

//! One test over many seeds, on all cores.

use super::World;
use super::fault::KINDS;
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the runs of many seeds came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many seeds were run.
    pub seeds: u64,
    /// How many system calls they made.
    pub calls: u64,
    /// How often each kind of fault was injected, of [`Fault::ALL`](super::Fault::ALL).
    pub injected: [u64; KINDS.len()],
    /// How often each kind of call, happening and event came about, as [`World::exercised`].
    pub exercised: Vec<(String, u64)>,
    /// How often tasks were polled, and how often they were woken.
    pub polls_and_wakes: (u64, u64),
    /// The failure of the lowest seed that failed, in words.
    pub failure: Option<(u64, String)>,
}

/// Runs `test` in a world of each seed, in parallel on the cores, and stops at the first failure.
///
/// ```
/// use whirligig::sim::seeds;
///
/// let report = seeds(0..20, |world| {
///     world.run_for(std::time::Duration::from_secs(60));
/// });
/// assert_eq!((report.seeds, report.failure), (20, None));
/// ```
///
/// A failure is a panic of the test. The report has the seed, the panic's message, what faults were
/// injected, and the last lines of the trace; `World::seeded` with that seed has it happen again.
/// [`Report::check`] makes a test of it.
pub fn seeds(range: Range<u64>, test: impl Fn(&World) + Sync) -> Report {
    let next = AtomicU64::new(range.start);
    let end = AtomicU64::new(range.end);
    let report = Mutex::new(Report::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Acquire) {
                        break;
                    }
                    let one = run(seed, &test);
                    if one.failure.is_some() {
                        // Those below it may fail too, and the lowest is to be told.
                        end.fetch_min(seed, Ordering::AcqRel);
                    }
                    report.lock().unwrap_or_else(PoisonError::into_inner).add(one);
                }
            });
        }
    });
    report.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn run(seed: u64, test: &impl Fn(&World)) -> Report {
    let world = World::seeded(seed);
    let result = catch_unwind(AssertUnwindSafe(|| test(&world)));
    let mut report = Report { seeds: 1, ..Report::default() };
    report.calls = world.line_and_call_counts().1;
    report.exercised = world.exercised();
    report.polls_and_wakes = world.poll_and_wake_counts();
    for (count, (_, injected)) in report.injected.iter_mut().zip(world.injected()) {
        *count = injected;
    }
    if let Err(payload) = result {
        report.failure = Some((seed, describe(&world, &*payload)));
        // What a failed test leaves behind may be anything: its drop is not asked for.
        std::mem::forget(world);
    }
    report
}

fn describe(world: &World, payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let message = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    let faults: Vec<String> = world
        .injected()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(fault, count)| format!("{fault:?} {count}"))
        .collect();
    let faults = if faults.is_empty() { "none".into() } else { faults.join(", ") };
    let (seed, elapsed, trace) = (world.seed(), world.elapsed(), world.trace());
    format!("{trace}seed {seed} failed after {elapsed:?}: {message}\nfaults injected: {faults}\n")
}

impl Report {
    fn add(&mut self, other: Report) {
        self.seeds += other.seeds;
        self.calls += other.calls;
        for (own, other) in self.injected.iter_mut().zip(other.injected) {
            *own += other;
        }
        if self.exercised.is_empty() {
            self.exercised = other.exercised;
        } else {
            for ((_, own), (_, other)) in self.exercised.iter_mut().zip(other.exercised) {
                *own += other;
            }
        }
        self.polls_and_wakes.0 += other.polls_and_wakes.0;
        self.polls_and_wakes.1 += other.polls_and_wakes.1;
        let is_lower = |own: &(u64, String)| other.failure.as_ref().is_some_and(|o| o.0 < own.0);
        if self.failure.as_ref().is_none_or(is_lower) && other.failure.is_some() {
            self.failure = other.failure;
        }
    }

    /// The names of the kinds of faults, calls, happenings and events that no seed reached.
    #[must_use]
    pub fn never_reached(&self) -> Vec<String> {
        let faults = KINDS.into_iter().zip(self.injected);
        let faults = faults.map(|(fault, count)| (format!("{fault:?}"), count));
        let all = faults.chain(self.exercised.iter().cloned());
        all.filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }

    /// Panics if a seed failed, with all that is known of it.
    ///
    /// # Panics
    /// If a seed failed.
    pub fn check(&self) {
        if let Some((_, failure)) = &self.failure {
            panic!("{failure}");
        }
    }
}

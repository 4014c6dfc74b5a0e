//! One test over many seeds, on all cores.

use super::World;
use super::fault::KINDS;
use std::any::Any;
use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
    in_parallel(range, |seed| run(seed, &test).0)
}

/// As [`seeds`], with each seed run twice: it is a failure, too, if the second run takes another
/// course than the first.
///
/// Then something decides that is not in the seed, such as the machine's clock, or the order of a
/// `HashMap`; and what such a test finds would not happen again.
///
/// ```
/// use std::collections::HashSet;
/// use std::time::Duration;
/// use whirligig::sim::seeds_twice;
///
/// let report = seeds_twice(0..20, |world| {
///     // Each set has an order of its own.
///     for delay_ms in HashSet::from([3, 5, 7, 11, 13, 17, 19]) {
///         world.run_for(Duration::from_millis(delay_ms));
///     }
/// });
/// assert!(report.failure.unwrap().1.contains("is not the same when it is repeated"));
/// ```
pub fn seeds_twice(range: Range<u64>, test: impl Fn(&World) + Sync) -> Report {
    in_parallel(range, |seed| run_twice(seed, &test))
}

/// Runs `test` twice in worlds of one seed, and returns what it came to.
///
/// # Panics
/// If the test does, and if the second run takes another course than the first.
pub fn twice<R>(seed: u64, test: impl Fn(&World) -> R) -> R {
    let last = RefCell::new(None);
    run_twice(seed, &|world: &World| drop(last.replace(Some(test(world))))).check();
    match last.take() {
        Some(result) => result,
        None => panic!("a run that did not fail came to no end"),
    }
}

fn in_parallel(range: Range<u64>, run: impl Fn(u64) -> Report + Sync) -> Report {
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
                    let one = run(seed);
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

/// What tells one course of a run from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Course {
    hash: u64,
    lines_and_calls: (u64, u64),
    elapsed: Duration,
}

impl Course {
    fn of(world: &World) -> Course {
        let (lines_and_calls, elapsed) = (world.line_and_call_counts(), world.elapsed());
        Course { hash: world.hash(), lines_and_calls, elapsed }
    }
}

fn run_twice(seed: u64, test: &impl Fn(&World)) -> Report {
    let (mut report, first) = run(seed, test);
    if report.failure.is_none() {
        let (again, second) = run(seed, test);
        report.failure = again.failure;
        if first != second && report.failure.is_none() {
            let text = format!(
                "the run of seed {seed} is not the same when it is repeated: something decides \
                 that is not in the seed\n{first:?}\n{second:?}\n"
            );
            report.failure = Some((seed, text));
        }
    }
    report
}

fn run(seed: u64, test: &impl Fn(&World)) -> (Report, Course) {
    let world = World::seeded(seed);
    let result = catch_unwind(AssertUnwindSafe(|| test(&world)));
    let course = Course::of(&world);
    let mut report = Report { seeds: 1, ..Report::default() };
    report.calls = course.lines_and_calls.1;
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
    (report, course)
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

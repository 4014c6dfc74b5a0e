//! Threads that wake, drop, abort, join and spawn what is another thread's, over and over.
//!
//! A round is short, and each runs into others: `STRESS_ROUNDS=20000 cargo test --test stress` takes
//! its time. `make sanitize` runs some thousands under ThreadSanitizer, which is why this has a
//! `main` of its own: what the usual harness does with threads would be reported, too.

#[path = "stress/common.rs"]
mod common;
#[path = "stress/shared.rs"]
mod shared;

use common::{Nobody, Random, Slots, rounds, threads};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use whirligig::task::{AbortHandle, JoinError, JoinHandle};
use whirligig::{Handle, Runtime, spawn, yield_now};

macro_rules! tests {
    ($($test:path,)*) => {
        [$((stringify!($test), $test as fn()),)*]
    };
}

/// All of them; with an argument that is no option, those whose names contain it.
fn main() {
    let wanted = std::env::args().nth(1).filter(|wanted| !wanted.starts_with('-'));
    let tests = tests![
        what_belongs_to_runtimes_that_come_and_go_is_used_by_other_threads,
        what_is_spawned_while_its_runtime_ends_is_done_or_aborted,
        what_is_spawned_while_workers_end_is_done_or_aborted,
        shared::no_permit_and_no_turn_at_a_lock_is_lost_when_waits_are_given_up,
        shared::each_value_arrives_once_or_comes_back_when_waits_are_given_up,
        shared::a_wake_of_another_thread_is_not_lost_between_a_poll_and_the_wait,
        shared::a_value_sent_while_its_receiver_goes_is_received_or_dropped,
    ];
    for (name, test) in tests {
        if wanted.as_ref().is_none_or(|wanted| name.contains(wanted.as_str())) {
            println!("{name}");
            test();
        }
    }
}

/// What every task returns in these tests, on the heap so that a sanitizer sees what becomes of it.
const OUTPUT: usize = 77;

type Task = JoinHandle<Box<usize>>;

/// What lies about for every thread to take.
struct Mail {
    wakers: Slots<Waker>,
    tasks: Slots<Task>,
    aborts: Slots<AbortHandle>,
    homes: Slots<Handle>,
    is_over: AtomicBool,
    /// Futures that were not yet dropped.
    futures: AtomicUsize,
    /// Outcomes that no task of ours can have.
    wrong: AtomicUsize,
    joined: AtomicUsize,
    spawned_remotely: AtomicUsize,
}

static MAIL: Mail = Mail {
    wakers: Slots::new(),
    tasks: Slots::new(),
    aborts: Slots::new(),
    homes: Slots::new(),
    is_over: AtomicBool::new(false),
    futures: AtomicUsize::new(0),
    wrong: AtomicUsize::new(0),
    joined: AtomicUsize::new(0),
    spawned_remotely: AtomicUsize::new(0),
};

/// Part of a future: it is dropped once, and where it was made.
struct Stays(ThreadId, Rc<usize>);

impl Stays {
    fn new() -> Stays {
        MAIL.futures.fetch_add(1, Ordering::AcqRel);
        Stays(thread::current().id(), Rc::new(OUTPUT))
    }

    fn output(&self) -> Box<usize> {
        Box::new(*self.1)
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        if thread::current().id() != self.0 || *self.1 != OUTPUT {
            MAIL.wrong.fetch_add(1, Ordering::AcqRel);
        }
        MAIL.futures.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A task that leaves its wakers behind, and uses what others left.
async fn work(mut random: Random) -> Box<usize> {
    let stays = Stays::new();
    let mut polls_left = random.below(10);
    poll_fn(|cx| {
        for _ in 0..random.below(3) {
            MAIL.wakers.put(cx.waker().clone());
        }
        for _ in 0..random.below(4) {
            act(&mut random);
        }
        if random.below(6) == 0 {
            let more = random.fork();
            MAIL.tasks.put(spawn(async move {
                let stays = Stays::new();
                let mut more = more;
                act(&mut more);
                stays.output()
            }));
        }
        if polls_left == 0 {
            return Poll::Ready(());
        }
        polls_left -= 1;
        if random.below(4) == 0 {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
    stays.output()
}

/// Does one thing with what lies about.
fn act(random: &mut Random) {
    match random.below(14) {
        0 | 1 => drop(MAIL.wakers.take(random).map(Waker::wake)),
        2 | 3 => {
            if let Some(waker) = MAIL.wakers.take(random) {
                waker.wake_by_ref();
                MAIL.wakers.put(waker);
            }
        }
        4 | 5 => {
            if let Some(waker) = MAIL.wakers.take(random) {
                MAIL.wakers.put(waker.clone());
                MAIL.wakers.put(waker);
            }
        }
        6 => drop(MAIL.wakers.take(random)),
        7 if random.below(4) == 0 => drop(MAIL.tasks.take(random)),
        7..=9 => join_once(random),
        10 => {
            if let Some(task) = MAIL.tasks.take(random) {
                MAIL.aborts.put(task.abort_handle());
                MAIL.tasks.put(task);
            }
        }
        11 => {
            if let Some(handle) = MAIL.aborts.take(random) {
                handle.abort();
            }
        }
        _ => spawn_remotely(random),
    }
}

/// Polls a join, as a task that soon waits for something else would.
fn join_once(random: &mut Random) {
    let Some(mut task) = MAIL.tasks.take(random) else { return };
    let own = match random.below(2) {
        0 => MAIL.wakers.take(random),
        _ => Some(Waker::from(Arc::new(Nobody))),
    };
    let waker = own.unwrap_or_else(|| Waker::noop().clone());
    match Pin::new(&mut task).poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(outcome) => note(&outcome),
        Poll::Pending => MAIL.tasks.put(task),
    }
}

fn note(outcome: &Result<Box<usize>, JoinError>) {
    MAIL.joined.fetch_add(1, Ordering::AcqRel);
    let right = match outcome {
        Ok(output) => **output == OUTPUT,
        Err(error) => error.is_aborted(),
    };
    if !right {
        MAIL.wrong.fetch_add(1, Ordering::AcqRel);
    }
}

fn spawn_remotely(random: &mut Random) {
    if let Some(home) = MAIL.homes.take(random) {
        let own = random.fork();
        // A future that is not `Send` is made at home.
        MAIL.tasks.put(home.spawn(move || work(own)));
        MAIL.homes.put(home);
        MAIL.spawned_remotely.fetch_add(1, Ordering::AcqRel);
    }
}

/// A runtime that comes, takes some turns and goes, with much of what it had still in use.
fn short_life(random: &mut Random) {
    let runtime = Runtime::new().unwrap();
    MAIL.homes.put(runtime.handle());
    for _ in 0..=random.below(4) {
        MAIL.tasks.put(runtime.spawn(work(random.fork())));
    }
    for _ in 0..random.below(30) {
        let _what_next = runtime.turn().unwrap();
        act(random);
    }
    drop(runtime);
    // Few are kept, or nobody would find one that is still there.
    while MAIL.homes.len() > 2 {
        drop(MAIL.homes.take(random));
    }
}

fn what_belongs_to_runtimes_that_come_and_go_is_used_by_other_threads() {
    let others = threads(3, |mut random| {
        while !MAIL.is_over.load(Ordering::Acquire) {
            act(&mut random);
            if random.below(16) == 0 {
                thread::yield_now();
            }
        }
    });
    let mut random = Random::new(0);
    for _ in 0..rounds() {
        short_life(&mut random);
    }
    MAIL.is_over.store(true, Ordering::Release);
    others.join();
    drop((MAIL.homes.take_all(), MAIL.wakers.take_all(), MAIL.aborts.take_all()));
    // All their runtimes are gone, so all are over.
    for task in MAIL.tasks.take_all() {
        note(&whirligig::run(task).unwrap());
    }
    assert_eq!(MAIL.wrong.load(Ordering::Acquire), 0, "wrong outputs, or drops on other threads");
    assert_eq!(MAIL.futures.load(Ordering::Acquire), 0, "a future is left or dropped twice");
    assert!(MAIL.joined.load(Ordering::Acquire) > 0, "nothing was joined");
    assert!(MAIL.spawned_remotely.load(Ordering::Acquire) > 0, "nothing was spawned remotely");
}

/// The outcome of each task: all have to be over, or it waits without end.
fn outcomes<T: 'static>(tasks: Vec<JoinHandle<T>>) -> Vec<Result<T, JoinError>> {
    let all = async {
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await);
        }
        outcomes
    };
    whirligig::run(all).unwrap()
}

/// Has some threads spawn on `homes` while `end` runs, and joins all that they spawned.
fn spawned_during(homes: &[Handle], mut random: Random, end: impl FnOnce()) {
    let (begun, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let homes = homes.to_vec();
    let (own_begun, own_is_over) = (Arc::clone(&begun), Arc::clone(&is_over));
    let tasks = Arc::new(Slots::new());
    let own_tasks = Arc::clone(&tasks);
    let others = threads(2, move |mut random| {
        own_begun.fetch_add(1, Ordering::AcqRel);
        // Also once after the end.
        for round in 0.. {
            let is_last = own_is_over.load(Ordering::Acquire) || round == 1000;
            for home in &homes {
                let waits = random.below(2) == 0;
                own_tasks.keep(home.spawn(move || async move {
                    let stays = Rc::new(OUTPUT);
                    yield_now().await;
                    if waits {
                        pending::<()>().await;
                    }
                    *stays
                }));
            }
            if is_last {
                return;
            }
        }
    });
    while begun.load(Ordering::Acquire) < 2 {
        thread::yield_now();
    }
    for _ in 0..random.below(20) {
        thread::yield_now();
    }
    end();
    is_over.store(true, Ordering::Release);
    others.join();
    for outcome in outcomes(tasks.take_all()) {
        assert!(outcome.map_or_else(|error| error.is_aborted(), |output| output == OUTPUT));
    }
}

fn what_is_spawned_while_its_runtime_ends_is_done_or_aborted() {
    let mut random = Random::new(1);
    for _ in 0..rounds().div_ceil(10) {
        let runtime = Runtime::new().unwrap();
        let own = random.fork();
        spawned_during(&[runtime.handle()], own, || {
            for _ in 0..random.below(20) {
                let _what_next = runtime.turn().unwrap();
            }
            drop(runtime);
        });
    }
}

fn what_is_spawned_while_workers_end_is_done_or_aborted() {
    let mut random = Random::new(2);
    for _ in 0..rounds().div_ceil(20) {
        let workers = Runtime::builder().workers(2).unwrap();
        let homes: Vec<Handle> = (0..2).filter_map(|at| workers.handle(at).cloned()).collect();
        spawned_during(&homes, random.fork(), || drop(workers));
    }
}

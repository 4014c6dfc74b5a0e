//! How a world goes on: turns of its hosts, and time in between.
//!
//! ```text
//!   run_until:  block_on, on a host of its own
//!                  `--> epoll_wait --> drive:  .--> turns of all hosts that have something to do
//!                                              |    time goes on to the next thing that happens
//!                                              `--- until there is an event for this host
//! ```

use super::kernel::{Host, Net, Work};
use super::machine::{Machine, Start};
use super::random::Random;
use super::trace::What;
use super::workers::Workers;
use crate::runtime::{self, Runtime, stepped};
use crate::task::Shared;
use crate::task::journal::{self, Doings};
use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// The host that the future of `run_until` runs on.
pub(super) const MAIN: usize = 0;

/// Of so many times that all wait, it is looked at once whether that is right.
const RESTS_CHECKED: u64 = 8;

/// Rounds of turns without a rest, after which the world is taken to spin.
const ROUNDS_MAX: u64 = 1_000_000;

thread_local! {
    /// The worlds that are being run on this thread, the innermost last.
    static DRIVERS: RefCell<Vec<Rc<Inner>>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct Inner {
    pub(super) seed: u64,
    pub(super) net: Arc<Mutex<Net>>,
    pub(super) lent: Arc<OwnedFd>,
    /// The machine of `run_until` has no entry's future, but has its place.
    pub(super) machines: RefCell<Vec<Machine>>,
    /// Whose turn it is.
    pub(super) running: Cell<Option<usize>>,
    /// Hosts that are to crash when their turn is over.
    pub(super) doomed: RefCell<Vec<usize>>,
    pub(super) order: RefCell<Random>,
    pub(super) time_limit: Cell<u64>,
    pub(super) rounds: Cell<u64>,
    /// The runtime of `main`, as long as it runs.
    pub(super) main: RefCell<Option<Rc<Runtime>>>,
    /// What is left of the runtimes that were made, by their host.
    pub(super) remains: RefCell<Vec<(usize, Weak<Shared>)>>,
    /// What was woken and polled.
    journal: journal::Reader,
    /// How often all waited.
    rests: Cell<u64>,
    /// What a host waits for; kept for its room.
    awaited: Cell<Vec<(u64, u32)>>,
    /// Who has a turn in a round; kept for its room.
    due: Cell<Vec<Who>>,
    pub(super) workers: Workers,
}

/// Who takes turns.
#[derive(Clone, Copy)]
enum Who {
    /// A host's own runtime.
    Host(usize),
    /// A worker of a host, by its number.
    Worker(u64),
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Makes the world the one whose time goes on while `main` waits, until it is dropped.
pub(super) struct Driving;

impl Driving {
    pub(super) fn begin(inner: &Rc<Inner>, main: &Rc<Runtime>) -> Driving {
        *inner.main.borrow_mut() = Some(Rc::clone(main));
        inner.remains.borrow_mut().push((MAIN, main.remains()));
        DRIVERS.with(|drivers| drivers.borrow_mut().push(Rc::clone(inner)));
        Driving
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        let ended = DRIVERS.with(|drivers| drivers.borrow_mut().pop());
        if let Some(inner) = &ended {
            // What was done after the last look.
            inner.note_doings(MAIN);
        }
        let main = ended.as_ref().and_then(|inner| inner.main.borrow_mut().take());
        // It is not the last reference to the runtime, but may be to the world.
        drop((main, ended));
    }
}

/// The world that is being run, if `net` is its.
fn driver(net: &Arc<Mutex<Net>>) -> Option<Rc<Inner>> {
    let innermost = DRIVERS.with(|drivers| drivers.borrow().last().map(Rc::clone));
    innermost.filter(|inner| Arc::ptr_eq(&inner.net, net))
}

/// Called before each look of `host` at its events; the world, if it is its main host's.
pub(super) fn look_begins(net: &Arc<Mutex<Net>>, host: usize) -> Option<Rc<Inner>> {
    let inner = driver(net)?;
    inner.note_doings(host);
    Some(inner).filter(|inner| inner.is_main_waiting(host))
}

/// Has time go on, up to `deadline`, for a kernel that is used without a world.
pub(super) fn wait_alone(net: &Arc<Mutex<Net>>, deadline: Option<u64>) {
    let mut net = net.lock().unwrap_or_else(PoisonError::into_inner);
    if deadline.is_some_and(|deadline| deadline <= net.now) {
        return;
    }
    match net.next_at().into_iter().chain(deadline).min() {
        Some(next) => net.advance(next),
        None => panic!("a simulated kernel was asked to wait for what can't come"),
    }
}

impl Inner {
    pub(super) fn new(seed: u64) -> Rc<Inner> {
        let lent = match std::fs::File::open("/dev/null") {
            Ok(file) => Arc::new(OwnedFd::from(file)),
            Err(error) => panic!("a world needs /dev/null: {error}"),
        };
        let mut net = Net::new(seed);
        net.call_time = 1_000;
        let order = RefCell::new(net.random.fork());
        let inner = Rc::new(Inner {
            seed,
            net: Arc::new(Mutex::new(net)),
            lent,
            machines: RefCell::new(Vec::new()),
            running: Cell::new(None),
            doomed: RefCell::new(Vec::new()),
            order,
            time_limit: Cell::new(nanoseconds(Duration::from_secs(24 * 3600))),
            rounds: Cell::new(0),
            main: RefCell::new(None),
            remains: RefCell::default(),
            journal: journal::Reader::new(),
            rests: Cell::new(0),
            awaited: Cell::default(),
            due: Cell::default(),
            workers: Workers::default(),
        });
        let as_stepper: std::rc::Weak<Inner> = Rc::downgrade(&inner);
        inner.net().stepper = stepped::register(as_stepper);
        inner
    }

    /// Whether it is the runtime of `run_until` that waits, and no worker of that host.
    fn is_main_waiting(&self, host: usize) -> bool {
        host == MAIN && self.running.get().is_none()
    }

    pub(super) fn net(&self) -> MutexGuard<'_, Net> {
        self.net.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, name: &str, start: Start) -> usize {
        let mut machines = self.machines.borrow_mut();
        let mut net = self.net();
        let port = net.random.number();
        let host = Host::new(name, machines.len(), port, net.clock.of_another_host());
        net.hosts.push(host);
        machines.push(Machine::new(start));
        machines.len() - 1
    }

    pub(super) fn find(&self, name: &str) -> usize {
        let found = self.net().hosts.iter().position(|host| host.name == name);
        found.unwrap_or_else(|| panic!("no host of this world is called {name:?}"))
    }

    pub(super) fn boot(&self, host: usize) {
        let life = self.net().hosts[host].life;
        let faults = std::mem::take(&mut self.net().faults);
        let booted = self.machines.borrow_mut()[host].boot(&self.net, &self.lent, host, life);
        self.net().faults = faults;
        if let Err(error) = booted {
            panic!("a host's runtime could not be made: {error}");
        }
        if let Some(runtime) = &self.machines.borrow()[host].runtime {
            self.remains.borrow_mut().push((host, runtime.remains()));
        }
    }

    pub(super) fn crash(&self, host: usize) {
        self.net().crash(host);
        self.take_down(host);
    }

    /// Ends what runs on a host.
    pub(super) fn take_down(&self, host: usize) {
        let down = self.machines.borrow_mut()[host].take_down();
        drop(down);
        // Those that the drops have not ended.
        self.take_down_workers(host);
    }

    /// Gives every host that has something to do its turn, then has time go on to the next thing
    /// that happens, until the main host has something to do, or the `deadline` has come.
    pub(super) fn drive(&self, deadline: Option<u64>) {
        loop {
            let (mut net, is_idle) = match self.round() {
                Some(net) => (net, true),
                None => (self.net(), false),
            };
            let is_over = deadline.is_some_and(|deadline| deadline <= net.now);
            if net.hosts[MAIN].roused || is_over {
                return;
            }
            if !is_idle {
                continue;
            }
            self.check_rest(&mut net);
            let wanted = self.next_turn_at(&net);
            // Most of what happens rouses nobody.
            while !net.concerns_a_host() {
                let next = net.next_at().into_iter().chain(wanted).chain(deadline).min();
                let Some(next) = next else {
                    panic!(
                        "nothing is left that could happen, and every task waits: a wake was lost, \
                         or the program waits for itself"
                    );
                };
                let limit = self.time_limit.get();
                assert!(next <= limit, "the world's time limit is over at {next} ns");
                let next = next.max(net.now);
                net.advance(next);
                self.rounds.set(0);
                if [wanted, deadline].into_iter().flatten().any(|at| at <= next) {
                    break;
                }
            }
        }
    }

    /// All wait: that is so only if none of them could go on.
    fn check_rest(&self, net: &mut Net) {
        self.rests.set(self.rests.get() + 1);
        if self.rests.get() % RESTS_CHECKED != 0 {
            // Who sleeps through a wake sleeps on.
            return;
        }
        let mut awaited = self.awaited.take();
        self.each_runtime(|host, runtime| {
            let name = |net: &Net| net.hosts[host].name.clone();
            assert!(!runtime.has_work(), "{:?} sleeps, with tasks to be polled", name(net));
            let number = runtime.awaited(|token, bits| awaited.push((token, bits)));
            let ready = number.and_then(|number| net.first_ready(host, number, &awaited));
            if let Some(bits) = ready {
                panic!(
                    "{:?} sleeps, and waits for what is ready ({bits:#x}): a wake was lost",
                    name(net)
                );
            }
            awaited.clear();
        });
        self.awaited.set(awaited);
    }

    /// Tells all runtimes, with their hosts.
    pub(super) fn each_runtime(&self, mut tell: impl FnMut(usize, &Runtime)) {
        if let Some(main) = &*self.main.borrow() {
            tell(MAIN, main);
        }
        for (host, machine) in self.machines.borrow().iter().enumerate().skip(MAIN + 1) {
            if let Some(runtime) = &machine.runtime {
                tell(host, runtime);
            }
        }
        self.workers.each_runtime(tell);
    }

    /// Takes what was woken and polled into the trace, before `host` looks at its events.
    fn note_doings(&self, host: usize) {
        let doings = self.journal.take();
        if doings != Doings::default() {
            self.net().note_doings(host, doings);
        }
    }

    /// When the first runtime wants its next turn, in the world's time.
    fn next_turn_at(&self, net: &Net) -> Option<u64> {
        let machines = self.machines.borrow();
        let at = |(host, machine): (usize, &Machine)| machine.pace.next_turn_at(net, host);
        let hosts = machines.iter().enumerate().filter_map(at);
        hosts.chain(self.workers.next_turn_at(net)).min()
    }

    /// One turn for each runtime that has something to do, and the blocking work that is due; the
    /// state of the world if there was nothing.
    fn round(&self) -> Option<MutexGuard<'_, Net>> {
        let mut net = self.net();
        let mut is_idle = true;
        while let Some(work) = net.work.pop_front() {
            self.work(net, work);
            net = self.net();
            is_idle = false;
        }
        // Taken out, not borrowed: whatever runs in a turn may run a world of its own.
        let mut due = self.due.take();
        self.find_due(&mut net, &mut due);
        if is_idle && due.is_empty() {
            self.due.set(due);
            return Some(net);
        }
        drop(net);
        let first = if due.len() > 1 { self.order.borrow_mut().index(due.len()) } else { 0 };
        for who in due[first..].iter().chain(&due[..first]) {
            match *who {
                Who::Host(host) => self.turn(host),
                Who::Worker(number) => self.worker_turn(number),
            }
        }
        due.clear();
        self.due.set(due);
        self.rounds.set(self.rounds.get() + 1);
        assert!(self.rounds.get() < ROUNDS_MAX, "the hosts do not come to rest: they spin");
        None
    }

    /// Who has something to do.
    fn find_due(&self, net: &mut Net, due: &mut Vec<Who>) {
        for (host, machine) in self.machines.borrow().iter().enumerate() {
            let is_due = net.hosts[host].roused || machine.pace.is_due(net, host);
            if is_due && machine.runtime.is_some() {
                due.push(Who::Host(host));
            }
        }
        self.workers.find_due(net, |number| due.push(Who::Worker(number)));
    }

    /// Does what was to run on another thread.
    fn work(&self, mut net: MutexGuard<'_, Net>, (host, life, work): (usize, u64, Work)) {
        let lives = net.hosts[host].life == life && !net.hosts[host].down;
        net.record(host, What::Work, 0, 0, lives.into());
        drop(net);
        if lives {
            runtime::outside(work);
        }
    }

    fn turn(&self, host: usize) {
        let runtime = self.machines.borrow()[host].runtime.clone();
        let Some(runtime) = runtime else { return };
        self.running.set(Some(host));
        let turn = runtime.turn();
        self.running.set(None);
        let turn = turn.unwrap_or_else(|error| panic!("a turn of host {host} failed: {error}"));
        self.note_turn(host, What::Turn, &runtime);
        drop(runtime);
        let outcome = {
            let mut machines = self.machines.borrow_mut();
            machines[host].pace.note(turn);
            machines[host].outcome()
        };
        if let Some(Err(error)) = outcome {
            let name = self.net().hosts[host].name.clone();
            panic!("host {name:?} failed: {error}");
        }
        self.crash_doomed();
    }

    /// A runtime's turn has ended.
    pub(super) fn note_turn(&self, host: usize, what: What, runtime: &Runtime) {
        let (sources, timers) = runtime.source_and_timer_counts();
        let tasks = runtime.task_count();
        self.net().record(host, what, tasks as i64, sources as u64, timers as i64);
    }

    /// Crashes the hosts that were to crash after the turn.
    pub(super) fn crash_doomed(&self) {
        let doomed = std::mem::take(&mut *self.doomed.borrow_mut());
        for host in doomed {
            self.crash(host);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        stepped::forget(self.net().stepper);
    }
}

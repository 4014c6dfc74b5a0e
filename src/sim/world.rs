//! The world, as a test sees it.

use super::drive::{Driving, Inner, MAIN, nanoseconds};
use super::fault::Faults;
use super::kernel::{EVENTS, SimKernel};
use super::link::Link;
use super::trace::What;
use crate::runtime::Runtime;
use crate::sys::KernelHandle;
use crate::sys::signal::Signal;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

/// Hosts on simulated kernels, a network between them, and one clock.
///
/// See the [module](crate::sim). Clones are the same world: a future may hold one, and cut cables
/// while it runs.
#[derive(Clone)]
pub struct World {
    inner: Rc<Inner>,
}

impl World {
    /// A world in which `seed` decides what chance decides.
    ///
    /// # Panics
    /// If `/dev/null` can't be opened.
    #[must_use]
    pub fn seeded(seed: u64) -> World {
        let world = World { inner: Inner::new(seed) };
        world.inner.add("main", Rc::new(|| Box::pin(async { Ok(()) })));
        world
    }

    /// The seed that it was made with.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// Adds a host, and starts it: `start` makes the future that it runs, now and after each crash.
    ///
    /// Other hosts reach it by its name. When the future is done the host's other tasks go on. An
    /// error or a panic ends the world's run with a panic that names the host.
    ///
    /// # Panics
    /// If there is a host of this name, and if a fault keeps the runtime from being made.
    pub fn host<F>(&self, name: &str, start: impl Fn() -> F + 'static)
    where
        F: Future<Output = io::Result<()>> + 'static,
    {
        let taken = self.inner.net().hosts.iter().any(|host| host.name == name);
        assert!(!taken, "two hosts of a world can't both be called {name:?}");
        let host = self.inner.add(name, Rc::new(move || Box::pin(start())));
        self.inner.boot(host);
    }

    /// The address of the host called `name`.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn address(&self, name: &str) -> IpAddr {
        let host = self.inner.find(name);
        self.inner.net().hosts[host].v4.into()
    }

    /// Runs the world until `future` is done, which runs on a host of its own, called `main`.
    ///
    /// # Panics
    /// If a host's future fails or panics. If nothing is left that could happen, so that the future
    /// waits for ever: a wake was lost, or the program waits for itself. If virtual time passes the
    /// [limit](World::set_time_limit). If hosts do one thing after another and never wait. In a
    /// future that runs in a world already.
    pub fn run_until<F: Future>(&self, future: F) -> F::Output {
        let life = self.inner.net().hosts[MAIN].life;
        let kernel = SimKernel::new(&self.inner.net, &self.inner.lent, MAIN, life);
        // What is injected is for the program, not for what runs it.
        let faults = std::mem::take(&mut self.inner.net().faults);
        let runtime = Runtime::on(KernelHandle::hosted(kernel));
        self.inner.net().faults = faults;
        let runtime = match runtime {
            Ok(runtime) => Rc::new(runtime),
            Err(error) => panic!("the world's own runtime could not be made: {error}"),
        };
        let _driving = Driving::begin(&self.inner, &runtime);
        runtime.block_on(future)
    }

    /// Runs the world for a time.
    ///
    /// # Panics
    /// As [`World::run_until`].
    pub fn run_for(&self, time: Duration) {
        // Made inside: the time counts from the world's now.
        self.run_until(async { crate::time::sleep(time).await });
    }

    /// How long the world has been running, in its own time.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.inner.net().now)
    }

    /// When a run ends with a panic, in the world's time: a day, unless this says otherwise.
    pub fn set_time_limit(&self, limit: Duration) {
        self.inner.time_limit.set(nanoseconds(limit));
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.inner.net().faults = faults;
    }

    /// What a system call takes of its host's time, at most; on average half of it. By default a
    /// microsecond.
    pub fn set_call_time(&self, most: Duration) {
        self.inner.net().call_time = nanoseconds(most);
    }

    // The network.

    /// How packets travel between any two hosts of which nothing else is said.
    pub fn set_links(&self, link: Link) {
        self.inner.net().links.between = link;
    }

    /// How packets travel from one host to another, and only in this direction. A host's link to
    /// itself takes no time unless this says otherwise.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn set_link(&self, from: &str, to: &str, link: Link) {
        let (from, to) = (self.inner.find(from), self.inner.find(to));
        self.inner.net().links.set(from, to, link);
    }

    /// Cuts two hosts off from each other. What is sent meanwhile arrives after the healing, if its
    /// sender has not given up.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn partition(&self, one: &str, other: &str) {
        let (one, other) = (self.inner.find(one), self.inner.find(other));
        let mut net = self.inner.net();
        net.record(one, What::World, other as i64, 1, 0);
        net.links.cut(one, other);
    }

    /// Ends a [partition](World::partition).
    ///
    /// # Panics
    /// If there is no such host.
    pub fn heal(&self, one: &str, other: &str) {
        let (one, other) = (self.inner.find(one), self.inner.find(other));
        let mut net = self.inner.net();
        net.record(one, What::World, other as i64, 2, 0);
        net.links.heal(one, other);
        net.release_held();
        net.settle();
    }

    // Hosts.

    /// Stops a host as if its power failed: nobody is told, and nothing is kept. Within the host
    /// itself this happens when its turn is over.
    ///
    /// # Panics
    /// If there is no such host, and for `main`.
    pub fn crash(&self, name: &str) {
        let host = self.inner.find(name);
        assert!(host != MAIN, "the host that the world is run from does not crash");
        if self.inner.running.get() == Some(host) {
            self.inner.doomed.borrow_mut().push(host);
        } else {
            self.inner.crash(host);
        }
    }

    /// Starts a host that crashed.
    ///
    /// # Panics
    /// If there is no such host, and if it is running.
    pub fn restart(&self, name: &str) {
        let host = self.inner.find(name);
        let runs = self.inner.machines.borrow()[host].runtime.is_some();
        assert!(!runs && host != MAIN, "{name:?} is running");
        self.inner.net().hosts[host].down = false;
        self.inner.boot(host);
    }

    /// Sends a signal to a host's program. What nobody on the host waits for ends it, as a crash
    /// does, but its connections are closed.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn signal(&self, name: &str, signal: Signal) {
        let host = self.inner.find(name);
        let heard = self.inner.net().signal(host, signal);
        if !heard && host != MAIN {
            self.inner.take_down(host);
        }
    }

    /// How many descriptors a host may have open; 1024 unless this says otherwise.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn set_descriptors_max(&self, name: &str, most: usize) {
        let host = self.inner.find(name);
        self.inner.net().hosts[host].descriptors_max = most;
    }

    /// How many tasks, registered descriptors, timers and open descriptors a host has; None while
    /// it is down.
    ///
    /// # Panics
    /// If there is no such host.
    #[must_use]
    pub fn counts(&self, name: &str) -> Option<Counts> {
        let host = self.inner.find(name);
        let descriptors = self.inner.net().hosts[host].descriptor_count();
        let mut counts = None;
        self.inner.each_runtime(|other, runtime| {
            if other == host {
                let none = Counts { tasks: 0, sources: 0, timers: 0, descriptors };
                let counts = counts.get_or_insert(none);
                let (sources, timers) = runtime.source_and_timer_counts();
                counts.tasks += runtime.task_count();
                counts.sources += sources;
                counts.timers += timers;
            }
        });
        counts
    }

    /// Whether a host's runtime has its turn, as it has wherever its tasks are polled and dropped.
    ///
    /// # Panics
    /// If there is no such host.
    #[must_use]
    pub fn is_turn_of(&self, name: &str) -> bool {
        let host = self.inner.find(name);
        let remains = self.inner.remains.borrow();
        let mut own = remains.iter().filter(|(other, _)| *other == host);
        own.any(|(_, remains)| remains.upgrade().is_some_and(|shared| shared.is_here()))
    }

    /// The kernel of `main`, for a program that is no runtime's. Its waits make time pass, as long
    /// as [`World::run_until`] does not run.
    #[must_use]
    pub fn kernel(&self) -> KernelHandle {
        let life = self.inner.net().hosts[MAIN].life;
        KernelHandle::hosted(SimKernel::new(&self.inner.net, &self.inner.lent, MAIN, life))
    }

    /// Switches a bug of the simulation on, to see that it is found.
    #[doc(hidden)]
    pub fn plant(&self, bug: super::Planted) {
        self.inner.net().planted = Some(bug);
    }

    // What happened.

    /// A number that tells runs apart: it comes of every system call, packet and turn, with its
    /// time and its bytes, and of every wake and poll of a task. Runs of one seed have the same.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.inner.net().trace.hash()
    }

    /// How many lines the trace had, and how many system calls there were.
    #[must_use]
    pub fn line_and_call_counts(&self) -> (u64, u64) {
        let net = self.inner.net();
        (net.trace.count(), net.calls)
    }

    /// How often tasks were polled, and how often they were woken.
    #[must_use]
    pub fn poll_and_wake_counts(&self) -> (u64, u64) {
        let net = self.inner.net();
        (net.polls, net.wakes)
    }

    /// How many calls could have met [`Faults::with_kth_call`] so far.
    #[must_use]
    pub fn failable_call_count(&self) -> u64 {
        self.inner.net().failable
    }

    /// How often each kind of fault was injected, of [`Fault::ALL`](super::Fault::ALL).
    #[must_use]
    pub fn injected(&self) -> Vec<(super::Fault, u64)> {
        let injected = self.inner.net().injected;
        super::Fault::ALL.into_iter().zip(injected).collect()
    }

    /// How often each kind of call and happening came about, and each kind of event that a wait
    /// brought. What never did was not tried.
    #[must_use]
    pub fn exercised(&self) -> Vec<(String, u64)> {
        let net = self.inner.net();
        let happened = net.trace.kinds().map(|(what, count)| (format!("{what:?}"), count));
        let events = EVENTS.into_iter().zip(net.events);
        let events = events.map(|((name, _), count)| (String::from(name), count));
        happened.chain(events).collect()
    }

    /// The last lines of the trace.
    #[must_use]
    pub fn trace(&self) -> String {
        let net = self.inner.net();
        let names: Vec<String> = net.hosts.iter().map(|host| host.name.clone()).collect();
        net.trace.last(&names)
    }

    /// Ends all hosts, and checks that nothing is left of them: no descriptor, no connection but
    /// those that rest, and neither a task nor a waker or join handle of one, wherever it may be.
    /// What starts hosts is dropped: they can't be restarted.
    ///
    /// # Panics
    /// If something is left.
    pub fn finish(&self) {
        let count = self.inner.machines.borrow().len();
        self.inner.net().faults = Faults::none();
        self.inner.net().links.heal_all();
        self.inner.net().release_held();
        for host in 0..count {
            self.inner.take_down(host);
            // It may hold the world, which holds it.
            let start = self.inner.machines.borrow_mut()[host].forget_start();
            drop(start);
        }
        let mut net = self.inner.net();
        // Whoever waits for a peer that is gone gives up after a while.
        let until = net.now + nanoseconds(Duration::from_secs(3600));
        net.advance(until);
        let work = std::mem::take(&mut net.work);
        drop(net);
        // Of hosts that are gone: it is not run, and holds wakers.
        drop(work);
        let net = self.inner.net();
        // First: whoever can wake a runtime has the descriptor that it is woken by.
        for (host, remains) in self.inner.remains.borrow().iter() {
            let (count, name) = (remains.strong_count(), &net.hosts[*host].name);
            assert!(count == 0, "{count} tasks, wakers or join handles of {name:?} are left");
        }
        for host in &net.hosts {
            let open = host.descriptor_count();
            assert!(open == 0, "{:?} left {open} descriptors open", host.name);
        }
        let left = net.object_count();
        assert!(left == 0, "{left} connections did not end");
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.inner.seed)
            .field("elapsed", &self.elapsed())
            .finish_non_exhaustive()
    }
}

/// What a host has, its workers included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Tasks that are not over.
    pub tasks: usize,
    /// Descriptors that are registered.
    pub sources: usize,
    /// Timers that are set.
    pub timers: usize,
    /// Descriptors that are open; each runtime takes two.
    pub descriptors: usize,
}

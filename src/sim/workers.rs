//! A program's workers: further runtimes of its host, which take turns of their own.

use super::drive::{Inner, MAIN};
use super::kernel::{Id, Net};
use super::machine::Pace;
use super::trace::What;
use crate::runtime::stepped::{Ended, Stepper};
use crate::runtime::{self, Runtime, Turn};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Those of all hosts.
#[derive(Default)]
pub(super) struct Workers {
    /// In the order in which they were started.
    list: RefCell<Vec<Worker>>,
    /// Whose turn it is.
    turning: Cell<Option<u64>>,
    /// That one is to end when its turn is over.
    is_ending: Cell<bool>,
}

struct Worker {
    number: u64,
    host: usize,
    runtime: Rc<Runtime>,
    /// What it looks at.
    epoll: Id,
    pace: Pace,
    ended: Ended,
}

impl Workers {
    /// Tells the runtimes, with their hosts.
    pub(super) fn each_runtime(&self, mut tell: impl FnMut(usize, &Runtime)) {
        for worker in self.list.borrow().iter() {
            tell(worker.host, &worker.runtime);
        }
    }

    /// When the first wants its next turn, in the world's time.
    pub(super) fn next_turn_at(&self, net: &Net) -> Option<u64> {
        let list = self.list.borrow();
        list.iter().filter_map(|worker| worker.pace.next_turn_at(net, worker.host)).min()
    }

    /// Tells the numbers of those that have something to do.
    pub(super) fn find_due(&self, net: &mut Net, mut tell: impl FnMut(u64)) {
        for worker in self.list.borrow().iter() {
            if worker.pace.is_due(net, worker.host) || net.is_worker_roused(worker.epoll) {
                tell(worker.number);
            }
        }
    }

    fn find(&self, number: u64) -> Option<(usize, Rc<Runtime>)> {
        let list = self.list.borrow();
        let found = list.iter().find(|worker| worker.number == number);
        found.map(|worker| (worker.host, Rc::clone(&worker.runtime)))
    }

    /// Notes what a turn came to.
    fn note(&self, number: u64, turn: Turn) {
        let mut list = self.list.borrow_mut();
        if let Some(worker) = list.iter_mut().find(|worker| worker.number == number) {
            worker.pace.note(turn);
        }
    }

    fn take(&self, which: impl Fn(&Worker) -> bool) -> Option<Worker> {
        let mut list = self.list.borrow_mut();
        let index = list.iter().position(which)?;
        Some(list.remove(index))
    }
}

impl Stepper for Inner {
    fn start(&self, number: u64, runtime: Runtime, ended: Ended) {
        let host = self.running.get().unwrap_or(MAIN);
        let epoll = runtime.hosted_number().map(|epoll| self.net().give_to_worker(host, epoll));
        let Some(Ok(epoll)) = epoll else {
            panic!("a worker is started on a host that is not its kernel's")
        };
        self.remains.borrow_mut().push((host, runtime.remains()));
        let (runtime, pace) = (Rc::new(runtime), Pace::new());
        let worker = Worker { number, host, runtime, epoll, pace, ended };
        self.workers.list.borrow_mut().push(worker);
    }

    fn end(&self, number: u64) {
        if self.is_in_turn(number) {
            self.workers.is_ending.set(true);
        } else {
            self.end_worker(number);
        }
    }

    fn is_in_turn(&self, number: u64) -> bool {
        self.workers.turning.get() == Some(number)
    }
}

impl Inner {
    fn end_worker(&self, number: u64) {
        let Some(worker) = self.workers.take(|worker| worker.number == number) else { return };
        let Worker { runtime, ended, .. } = worker;
        // It may be another's turn, and has nothing to do with that.
        runtime::outside(|| {
            drop(runtime);
            ended();
        });
    }

    /// Drops what is left of a host's workers, and tells nobody.
    pub(super) fn take_down_workers(&self, host: usize) {
        while let Some(worker) = self.workers.take(|worker| worker.host == host) {
            drop(worker);
        }
    }

    pub(super) fn worker_turn(&self, number: u64) {
        // It may have been ended since it was found to have something to do.
        let Some((host, runtime)) = self.workers.find(number) else { return };
        self.workers.turning.set(Some(number));
        self.running.set(Some(host));
        let turn = runtime.turn();
        self.running.set(None);
        self.workers.turning.set(None);
        let turn = turn.unwrap_or_else(|error| panic!("a worker's turn failed: {error}"));
        self.note_turn(host, What::WorkerTurn, &runtime);
        drop(runtime);
        self.workers.note(number, turn);
        if self.workers.is_ending.take() {
            self.end_worker(number);
        }
        self.crash_doomed();
    }
}

//! A host of a world: what it runs, and how it stands.

use super::kernel::{Net, SimKernel};
use crate::runtime::{Runtime, Turn};
use crate::sys::KernelHandle;
use crate::task::JoinHandle;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Makes the future that a host runs, at each of its starts.
pub(super) type Start = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<()>>>>>;

pub(super) struct Machine {
    start: Start,
    /// None while it is down.
    pub(super) runtime: Option<Rc<Runtime>>,
    task: Option<JoinHandle<io::Result<()>>>,
    /// Its future is gone: done, or in a panic. Asking the task each turn would wake the host.
    over: Rc<Cell<bool>>,
    pub(super) pace: Pace,
}

/// When a runtime is to have its next turn, as its last one says.
pub(super) struct Pace {
    /// There is more to do at once.
    ready: bool,
    /// In the host's time.
    until: Option<u64>,
}

impl Pace {
    /// That of a runtime that was just made.
    pub(super) fn new() -> Pace {
        Pace { ready: true, until: None }
    }

    fn of_none() -> Pace {
        Pace { ready: false, until: None }
    }

    pub(super) fn note(&mut self, turn: Turn) {
        self.ready = turn == Turn::Ready;
        self.until = match turn {
            Turn::Idle { until } => until.map(crate::time::Instant::as_nanos),
            Turn::Ready | Turn::Done => None,
        };
    }

    /// Whether the time has come; an event may want it earlier.
    pub(super) fn is_due(&self, net: &Net, host: usize) -> bool {
        self.ready || self.next_turn_at(net, host).is_some_and(|at| at <= net.now)
    }

    /// In the world's time.
    pub(super) fn next_turn_at(&self, net: &Net, host: usize) -> Option<u64> {
        self.until.map(|until| net.world_time(host, until))
    }
}

/// What was running on a machine.
pub(super) struct Down {
    _runtime: Option<Rc<Runtime>>,
    _task: Option<JoinHandle<io::Result<()>>>,
}

/// Notes that a host's future is gone.
struct Over(Rc<Cell<bool>>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

impl Machine {
    pub(super) fn new(start: Start) -> Machine {
        let over = Rc::new(Cell::new(false));
        Machine { start, runtime: None, task: None, over, pace: Pace::of_none() }
    }

    /// Gives up what starts it, and what that holds: whoever starts it after this is told so.
    pub(super) fn forget_start(&mut self) -> Start {
        let finished = || async { Err(io::Error::other("the world is finished")) };
        std::mem::replace(&mut self.start, Rc::new(move || Box::pin(finished())))
    }

    /// Starts it, on a kernel that is new.
    pub(super) fn boot(
        &mut self,
        net: &Arc<Mutex<Net>>,
        lent: &Arc<OwnedFd>,
        host: usize,
        life: u64,
    ) -> io::Result<()> {
        let kernel = SimKernel::new(net, lent, host, life);
        let runtime = Runtime::on(KernelHandle::hosted(kernel))?;
        let start = Rc::clone(&self.start);
        // Made within the task: what makes it may want the runtime's turn.
        let over = Over(Rc::clone(&self.over));
        self.over.set(false);
        self.task = Some(runtime.spawn(async move {
            let _over = over;
            start().await
        }));
        self.runtime = Some(Rc::new(runtime));
        self.pace = Pace::new();
        Ok(())
    }

    /// Takes what is left of it out, to be dropped with nothing borrowed.
    pub(super) fn take_down(&mut self) -> Down {
        self.pace = Pace::of_none();
        Down { _runtime: self.runtime.take(), _task: self.task.take() }
    }

    /// What its future came to, once it is over.
    pub(super) fn outcome(&mut self) -> Option<Result<(), String>> {
        if !self.over.get() {
            return None;
        }
        let mut task = self.task.take()?;
        match Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {
                self.task = Some(task);
                None
            }
            Poll::Ready(Ok(Ok(()))) => Some(Ok(())),
            Poll::Ready(Ok(Err(error))) => Some(Err(error.to_string())),
            Poll::Ready(Err(error)) => Some(Err(error.to_string())),
        }
    }
}

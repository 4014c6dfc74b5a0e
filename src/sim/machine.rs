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
    /// There is more to do at once.
    pub(super) ready: bool,
    /// When it wants its next turn, in the host's time.
    pub(super) until: Option<u64>,
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
        Machine { start, runtime: None, task: None, over, ready: false, until: None }
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
        (self.ready, self.until) = (true, None);
        Ok(())
    }

    /// Takes what is left of it out, to be dropped with nothing borrowed.
    pub(super) fn take_down(&mut self) -> Down {
        (self.ready, self.until) = (false, None);
        Down { _runtime: self.runtime.take(), _task: self.task.take() }
    }

    /// Notes what a turn came to.
    pub(super) fn note(&mut self, turn: Turn) {
        self.ready = turn == Turn::Ready;
        self.until = match turn {
            Turn::Idle { until } => until.map(crate::time::Instant::as_nanos),
            Turn::Ready | Turn::Done => None,
        };
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

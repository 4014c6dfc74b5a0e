//! What runs a worker: a thread of its own; in a simulated world, that world.

use super::watch::Watch;
use crate::lock;
#[cfg(any(test, feature = "sim"))]
use crate::reactor::current_kernel;
#[cfg(any(test, feature = "sim"))]
use crate::runtime::stepped::{self, Stepped};
use crate::runtime::{Builder, Handle, Runtime};
use crate::sync::oneshot;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};

pub(super) enum Run {
    Thread {
        /// Its end ends the worker.
        stop: Option<oneshot::Sender<()>>,
        thread: Option<thread::JoinHandle<()>>,
    },
    #[cfg(any(test, feature = "sim"))]
    Stepped(Stepped),
}

impl Run {
    /// Whether it is no thread.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_stepped(&self) -> bool {
        matches!(self, Run::Stepped(_))
    }

    /// Whether this is its thread, or its turn.
    pub(super) fn is_here(&self) -> bool {
        match self {
            Run::Thread { thread, .. } => {
                thread.as_ref().is_some_and(|own| own.thread().id() == thread::current().id())
            }
            #[cfg(any(test, feature = "sim"))]
            Run::Stepped(stepped) => stepped.is_here(),
        }
    }

    /// Has it end when it next comes back to its loop.
    pub(super) fn stop(&mut self) {
        match self {
            Run::Thread { stop, .. } => drop(stop.take()),
            #[cfg(any(test, feature = "sim"))]
            Run::Stepped(stepped) => stepped.end(),
        }
    }

    /// Waits until it has ended.
    pub(super) fn join(&mut self) {
        match self {
            Run::Thread { thread, .. } => {
                if let Some(thread) = thread.take() {
                    // A panic was told when it happened.
                    let _ = thread.join();
                }
            }
            #[cfg(any(test, feature = "sim"))]
            Run::Stepped(_) => {}
        }
    }

    /// Leaves it to its end.
    pub(super) fn detach(&mut self) {
        match self {
            Run::Thread { thread, .. } => drop(thread.take()),
            #[cfg(any(test, feature = "sim"))]
            Run::Stepped(_) => {}
        }
    }
}

/// Starts a worker, which has its runtime then.
pub(super) fn start(
    index: usize,
    builder: &Builder,
    watch: &Arc<Watch>,
) -> io::Result<(Handle, Run)> {
    #[cfg(any(test, feature = "sim"))]
    if let Some(stepper) = current_kernel().stepper() {
        return start_stepped(index, builder, watch, stepper);
    }
    start_thread(index, builder, watch)
}

/// Makes its runtime, and gives it to who has it take turns.
#[cfg(any(test, feature = "sim"))]
fn start_stepped(
    index: usize,
    builder: &Builder,
    watch: &Arc<Watch>,
    stepper: u64,
) -> io::Result<(Handle, Run)> {
    let runtime = builder.clone().kernel(current_kernel()).build()?;
    let handle = runtime.handle();
    watch.expect_end();
    let own_watch = Arc::clone(watch);
    let ended = Box::new(move || own_watch.end(index, None));
    match stepped::start(stepper, runtime, ended) {
        Some(stepped) => Ok((handle, Run::Stepped(stepped))),
        None => Err(io::Error::other("a world's workers are started on its own thread")),
    }
}

/// Starts its thread, and waits until that has the runtime.
fn start_thread(index: usize, builder: &Builder, watch: &Arc<Watch>) -> io::Result<(Handle, Run)> {
    let (stop, stopped) = oneshot::channel::<()>();
    let start = Arc::new(Start::here());
    let (builder, own_watch, own_start) = (builder.clone(), Arc::clone(watch), Arc::clone(&start));
    own_watch.expect_end();
    let body = move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| match builder.build() {
            Ok(runtime) => {
                own_start.tell(Ok(runtime.handle()));
                run(&runtime, stopped);
            }
            Err(error) => own_start.tell(Err(error)),
        }));
        own_watch.end(index, outcome.as_ref().err().map(|payload| message(&**payload)));
        if let Err(payload) = outcome {
            own_start.tell(Err(io::Error::other("a worker panicked before it had a runtime")));
            std::panic::resume_unwind(payload);
        }
    };
    let thread = thread::Builder::new().name(super::name(index)).spawn(body)?;
    match start.wait() {
        Ok(handle) => Ok((handle, Run::Thread { stop: Some(stop), thread: Some(thread) })),
        Err(error) => {
            // It ends by itself, and has said why.
            let _ = thread.join();
            Err(error)
        }
    }
}

/// What a worker's thread has to tell once, to the one that started it: its handle, or why there is
/// none. A channel would be more than all else that starts a worker.
struct Start {
    told: Mutex<Option<io::Result<Handle>>>,
    starter: Thread,
}

impl Start {
    fn here() -> Start {
        Start { told: Mutex::new(None), starter: thread::current() }
    }

    /// What was told first counts.
    fn tell(&self, start: io::Result<Handle>) {
        lock::lock(&self.told).get_or_insert(start);
        self.starter.unpark();
    }

    fn wait(&self) -> io::Result<Handle> {
        loop {
            if let Some(start) = lock::lock(&self.told).take() {
                return start;
            }
            thread::park();
        }
    }
}

/// Runs a worker's tasks until it is stopped.
fn run(runtime: &Runtime, stopped: oneshot::Receiver<()>) {
    // The sender is never used, only dropped.
    let _ = runtime.block_on(stopped);
}

/// What a panic says, if it is a string, as with `panic!`.
fn message(payload: &(dyn Any + Send)) -> Option<String> {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
}

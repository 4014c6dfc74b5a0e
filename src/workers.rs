//! Several runtimes, each on a thread of its own.

mod run;
#[cfg(test)]
mod tests;
mod watch;

use crate::contain::contain;
use crate::runtime::{Builder, Handle};
use crate::task::JoinHandle;
use run::Run;
use std::fmt;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use watch::{Ended, Watch};

/// Runtimes on threads of their own: the workers, which [`Builder::workers`] starts. Each has its
/// reactor and its tasks, and shares nothing with the others.
///
/// Work goes to a worker by [`Handle::spawn`], or to all by
/// [`spawn_on_each`](Workers::spawn_on_each), and stays there. Servers give each worker a listener
/// of its own for the same address ([`TcpSocket::set_reuse_port`](crate::net::TcpSocket)), and the
/// kernel deals the connections out.
///
/// Dropping them stops the workers, as [`shutdown`](Workers::shutdown) does, and waits until their
/// threads have ended, however long that takes. A task of a worker that drops them waits for the
/// others only: its own ends when that task next gives way.
///
/// In a simulated world (feature `sim`) they are no threads, but take turns in virtual time, on the
/// host that starts them, and end without delay. One that panics outside of a task ends the run.
///
/// ```
/// let workers = whirligig::Runtime::builder().workers(2)?;
/// let names = workers.spawn_on_each(|_| async {
///     std::thread::current().name().map(String::from)
/// });
/// let name = whirligig::run(async { names.into_iter().next().unwrap().await })?;
/// assert_eq!(name.unwrap().as_deref(), Some("worker-0"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Workers {
    workers: Vec<Worker>,
    next: AtomicUsize,
    watch: Arc<Watch>,
}

struct Worker {
    name: String,
    handle: Handle,
    run: Run,
}

/// What there is to tell of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEvent {
    /// It has not come back to its loop for so long: a task keeps it, that is polled all the time
    /// or blocks the thread.
    Silent {
        /// The worker's name.
        name: String,
        /// How long it is silent at least.
        lasting: Duration,
    },
    /// It has come back.
    Resumed {
        /// The worker's name.
        name: String,
    },
    /// It has panicked outside of a task, and is gone, with its tasks.
    Panicked {
        /// The worker's name.
        name: String,
        /// What it panicked with, if that is a string.
        message: Option<String>,
    },
}

/// What went wrong with workers that were shut down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShutdownError {
    /// The names of the workers that have not ended in time. Their threads go on.
    pub stragglers: Vec<String>,
    /// The names of the workers that panicked outside of a task.
    pub panicked: Vec<String>,
}

impl Builder {
    /// Starts `count` workers: threads with a runtime each, which is made as [`build`] would make
    /// it. They are called `worker-0` and so on.
    ///
    /// [`build`]: Builder::build
    ///
    /// # Errors
    /// `InvalidInput` for no workers. Out of threads, descriptors or memory; then none is left.
    pub fn workers(&self, count: usize) -> io::Result<Workers> {
        let count = NonZeroUsize::new(count)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no workers"))?;
        let mut started = Workers {
            // Room is made as they start: a count without sense ends where the system says so.
            workers: Vec::new(),
            next: AtomicUsize::new(0),
            watch: Arc::new(Watch::new()),
        };
        for index in 0..count.get() {
            // On an error those that have started are dropped, and so ended.
            let (handle, run) = run::start(index, self, &started.watch)?;
            started.workers.push(Worker { name: name(index), handle, run });
        }
        Ok(started)
    }
}

impl Workers {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// A worker's handle; None if there are not so many.
    #[must_use]
    pub fn handle(&self, index: usize) -> Option<&Handle> {
        self.workers.get(index).map(|worker| &worker.handle)
    }

    /// Spawns a task on the workers in turn; as [`Handle::spawn`].
    #[track_caller]
    pub fn spawn<M, F>(&self, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send,
    {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len();
        self.workers[next].handle.spawn_at(make, Location::caller())
    }

    /// Spawns a task on each worker, which is told its number.
    #[track_caller]
    pub fn spawn_on_each<M, F>(&self, make: M) -> Vec<JoinHandle<F::Output>>
    where
        M: Fn(usize) -> F + Clone + Send + 'static,
        F: Future + 'static,
        F::Output: Send,
    {
        let spawned_at = Location::caller();
        let spawn = |(index, worker): (usize, &Worker)| {
            let make = make.clone();
            worker.handle.spawn_at(move || make(index), spawned_at)
        };
        self.workers.iter().enumerate().map(spawn).collect()
    }

    /// Calls `report` with what there is to tell of workers from now on, on a thread of its own:
    /// that one panicked, and that one has not come back to its loop for `limit`, and when it has.
    ///
    /// A worker that waits for events is not silent. What `report` panics with is lost. In a
    /// simulated world there is never anything to tell.
    ///
    /// # Errors
    /// Out of threads. `AlreadyExists` if somebody is told already.
    pub fn watch(
        &self,
        limit: Duration,
        report: impl FnMut(WorkerEvent) + Send + 'static,
    ) -> io::Result<()> {
        let named = self.workers.iter().map(|worker| (worker.name.clone(), worker.handle.clone()));
        #[cfg(any(test, feature = "sim"))]
        if self.workers.iter().any(|worker| worker.run.is_stepped()) {
            return self.watch.become_watched();
        }
        self.watch.start(named.collect(), limit, report)
    }

    /// Stops the workers, and waits for their ends, `deadline` long at most. Their tasks are
    /// dropped where they stand.
    ///
    /// # Errors
    /// If workers have panicked, or have not ended in time: such a one goes on in the background
    /// until it comes back to its loop. The worker whose task this is called from is one of these,
    /// and is not waited for.
    pub fn shutdown(mut self, deadline: Duration) -> Result<(), ShutdownError> {
        self.stop();
        let own = self.workers.iter().position(|worker| worker.run.is_here());
        let ends = self.watch.wait_for_ends(own, deadline);
        let mut error = ShutdownError::default();
        for (worker, end) in self.workers.iter_mut().zip(ends) {
            match end {
                Some(ended) => {
                    worker.run.join();
                    if ended == Ended::Panicked {
                        error.panicked.push(worker.name.clone());
                    }
                }
                None => {
                    worker.run.detach();
                    error.stragglers.push(worker.name.clone());
                }
            }
        }
        if error == ShutdownError::default() { Ok(()) } else { Err(error) }
    }

    fn stop(&mut self) {
        for worker in &mut self.workers {
            worker.run.stop();
        }
    }
}

fn name(index: usize) -> String {
    format!("worker-{index}")
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
        // One that drops its own workers can't wait for itself.
        for worker in self.workers.iter_mut().filter(|worker| !worker.run.is_here()) {
            worker.run.join();
        }
        contain(|| self.watch.stop());
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.workers.iter().map(|worker| worker.name.as_str()).collect();
        f.debug_struct("Workers").field("names", &names).finish_non_exhaustive()
    }
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = [("not ended in time", &self.stragglers), ("panicked", &self.panicked)];
        let mut said = told.iter().filter(|(_, names)| !names.is_empty());
        if let Some((what, names)) = said.next() {
            write!(f, "{what}: {}", names.join(", "))?;
        }
        said.try_for_each(|(what, names)| write!(f, "; {what}: {}", names.join(", ")))
    }
}

impl std::error::Error for ShutdownError {}

impl fmt::Display for WorkerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerEvent::Silent { name, lasting } => {
                write!(f, "{name} has not come back to its loop for {lasting:?}")
            }
            WorkerEvent::Resumed { name } => write!(f, "{name} has come back to its loop"),
            WorkerEvent::Panicked { name, message: Some(message) } => {
                write!(f, "{name} has panicked, and is gone: {message}")
            }
            WorkerEvent::Panicked { name, message: None } => {
                write!(f, "{name} has panicked, and is gone")
            }
        }
    }
}

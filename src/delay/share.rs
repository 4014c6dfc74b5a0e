//! The delayserver with several workers.

use super::log::Log;
use super::service::{ServiceOptions, serve};
use crate::future::{Either, race};
use crate::net::{DetachedListener, TcpListener};
use crate::runtime::Runtime;
use crate::sync::mpsc;
use crate::task_set::TaskSet;
use crate::workers::WorkerEvent;
use std::io;
use std::time::Duration;

/// How long a worker may be busy with one thing before that is reported.
const SILENCE: Duration = Duration::from_secs(5);

/// The first ends the service, the second the waiting for what is under way.
const STOPS_MAX: usize = 2;

/// Serves as [`serve`] does, with a worker for each of the lists of listeners, until all have ended
/// after `stop`.
///
/// `log` makes a worker's log, on that worker. `report` is told of workers that have trouble, as by
/// [`Workers::watch`](crate::Workers::watch) with a limit of 5 s. `stop` may be dropped and called
/// again at any time; all workers stop when it ends, and what they have under way is given up when
/// it ends once more.
///
/// Cancel safety: dropping it drops all workers where they stand, and waits for their threads.
///
/// # Errors
/// Those of `stop`. Out of threads, descriptors or memory. If a worker ends that was not to: it has
/// panicked. Then all stands as if it had been dropped.
pub async fn serve_shared(
    listeners: Vec<Vec<TcpListener>>,
    options: &ServiceOptions,
    log: impl Fn() -> Log + Clone + Send + 'static,
    report: impl FnMut(WorkerEvent) + Send + 'static,
    mut stop: impl AsyncFnMut() -> io::Result<()>,
) -> io::Result<()> {
    let workers = Runtime::builder().workers(listeners.len())?;
    workers.watch(SILENCE, report)?;
    let mut stops = Vec::new();
    let mut serving = TaskSet::new();
    for (index, own) in listeners.into_iter().enumerate() {
        let own: Vec<_> = own.into_iter().map(TcpListener::detach).collect();
        let (options, log) = (options.share(index, workers.count()), log.clone());
        let (stop, mut stopped) = mpsc::channel(STOPS_MAX);
        let serve = move || async move {
            let listeners = own.into_iter().map(DetachedListener::attach).collect();
            // Without this side's sender there is nobody to serve for.
            let stop = async || stopped.recv().await.ok_or(io::ErrorKind::BrokenPipe.into());
            serve(listeners, options, log(), stop).await
        };
        stops.push(stop);
        if let Some(worker) = workers.handle(index) {
            serving.spawn(worker.spawn(serve));
        }
    }
    loop {
        match race(serving.next(), stop()).await {
            Either::First(None) => return Ok(()),
            Either::First(Some(ended)) => ended???,
            Either::Second(stopped) => {
                stopped?;
                // One that is full was told often enough, and one that is gone has ended.
                for stop in &stops {
                    let _ = stop.try_send(());
                }
            }
        }
    }
}

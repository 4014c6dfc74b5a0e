//! The client with workers: several threads, each with an executor and a reactor of its own, share
//! the requests. What crosses threads is a request on its way out and its answer on its way back.

use std::env;
use std::error::Error;
use std::io;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use whirligig::delay::{Order, Planned, Report, client_main};
use whirligig::http::get;
use whirligig::net::{SocketAddr, resolve};
use whirligig::{Runtime, TaskSet};

const HOW: &str = "Makes requests of a delayserver, all at once, with an executor for each core.";

fn main() -> ExitCode {
    client_main("client-workers", HOW, env::args_os().skip(1), run)
}

fn run(order: &Order) -> Result<(), Box<dyn Error>> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = Runtime::builder().workers(cores)?;
    whirligig::run(async {
        let addresses: Arc<[SocketAddr]> = match order.loopback() {
            Some(both) => both.into(),
            None => resolve(&order.server).await?.into(),
        };
        let mut report = Report::new(io::stdout());
        let mut requests = TaskSet::new();
        let mut planned = order.planned();
        let ask = |planned| {
            let (host, addresses) = (order.server.clone(), Arc::clone(&addresses));
            workers.spawn(move || ask(planned, host, addresses))
        };
        for planned in planned.by_ref().take(order.at_once) {
            requests.spawn(ask(planned));
        }
        // The set's tasks wait here for those of the workers.
        while let Some(answered) = requests.next().await {
            report.answered(&answered???)?;
            if let Some(planned) = planned.next() {
                requests.spawn(ask(planned));
            }
        }
        report.finish()?;
        Ok(())
    })?
}

/// One request and its answer, on a worker.
async fn ask(planned: Planned, host: String, addresses: Arc<[SocketAddr]>) -> io::Result<Planned> {
    let reply = get(&*addresses, &host, &planned.target()).await?;
    planned.check(reply.status, &reply.body)?;
    Ok(planned)
}

//! The client in async/await: each request is a task, and each task reads like a thread.

use std::env;
use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use whirligig::TaskSet;
use whirligig::delay::{Order, Planned, Report, client_main};
use whirligig::http::get;
use whirligig::net::{SocketAddr, resolve};

const HOW: &str = "Makes requests of a delayserver, all at once, with async/await.";

fn main() -> ExitCode {
    client_main("client-async", HOW, env::args_os().skip(1), run)
}

fn run(order: &Order) -> Result<(), Box<dyn Error>> {
    whirligig::run(async {
        let addresses: Rc<[SocketAddr]> = match order.loopback() {
            Some(both) => both.into(),
            None => resolve(&order.server).await?.into(),
        };
        let mut report = Report::new(io::stdout());
        let mut requests = TaskSet::new();
        let mut planned = order.planned();
        let ask = |planned| ask(planned, order.server.clone(), Rc::clone(&addresses));
        for planned in planned.by_ref().take(order.at_once) {
            requests.spawn(ask(planned));
        }
        while let Some(answered) = requests.next().await {
            report.answered(&answered??)?;
            if let Some(planned) = planned.next() {
                requests.spawn(ask(planned));
            }
        }
        report.finish()?;
        Ok(())
    })?
}

/// One request and its answer.
async fn ask(planned: Planned, host: String, addresses: Rc<[SocketAddr]>) -> io::Result<Planned> {
    let reply = get(&*addresses, &host, &planned.target()).await?;
    planned.check(reply.status, &reply.body)?;
    Ok(planned)
}

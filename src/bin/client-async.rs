//! The client in async/await: each request is a task, and each task reads like a thread.

use std::env;
use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use whirligig::TaskSet;
use whirligig::delay::{Order, Report, client_main};
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
        for planned in order.planned() {
            let (addresses, host) = (Rc::clone(&addresses), order.server.clone());
            requests.spawn(async move {
                let reply = get(&*addresses, &host, &planned.target()).await?;
                planned.check(reply.status, &reply.body)?;
                io::Result::Ok(planned)
            });
        }
        while let Some(answered) = requests.next().await {
            report.answered(&answered??)?;
        }
        report.finish()?;
        Ok(())
    })?
}

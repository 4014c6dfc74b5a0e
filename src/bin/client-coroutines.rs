//! The client with coroutines by hand: as `client-async`, but what each task runs is no `async fn`.
//! It is the state machine that the compiler would make of one: [`whirligig::coroutine`] tells how.

use std::env;
use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use whirligig::TaskSet;
use whirligig::coroutine::ask;
use whirligig::delay::{Order, Planned, Report, client_main};
use whirligig::net::{SocketAddr, resolve};

const HOW: &str = "Makes requests of a delayserver, all at once, with state machines by hand.";

fn main() -> ExitCode {
    client_main("client-coroutines", HOW, env::args_os().skip(1), run)
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
        let start = |planned: Planned, requests: &mut TaskSet<_>| {
            let request = planned.to_bytes(&order.server)?;
            requests.spawn(ask(Rc::clone(&addresses), planned, request));
            Ok::<(), Box<dyn Error>>(())
        };
        for planned in planned.by_ref().take(order.at_once) {
            start(planned, &mut requests)?;
        }
        while let Some(answered) = requests.next().await {
            report.answered(&answered??)?;
            if let Some(planned) = planned.next() {
                start(planned, &mut requests)?;
            }
        }
        report.finish()?;
        Ok(())
    })?
}

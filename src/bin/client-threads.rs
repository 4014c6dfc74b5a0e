//! The client with threads: each request has one of the operating system's, which blocks while it
//! waits. Nothing of the runtime is used here.

use std::env;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use whirligig::delay::{Incoming, Order, Planned, Report, client_main};

const HOW: &str = "Makes requests of a delayserver, all at once, with a thread for each.";

fn main() -> ExitCode {
    client_main("client-threads", HOW, env::args_os().skip(1), run)
}

fn run(order: &Order) -> Result<(), Box<dyn Error>> {
    let addresses: Arc<[SocketAddr]> = order.addresses()?.into();
    let mut report = Report::new(io::stdout());
    let (sender, answers) = channel();
    let mut planned = order.planned();
    let mut waiting = 0;
    for planned in planned.by_ref().take(order.at_once) {
        start(planned, order, &addresses, &sender)?;
        waiting += 1;
    }
    while waiting > 0 {
        // This side has a sender too: somebody will always be there to send.
        let answered: io::Result<Planned> = answers.recv()?;
        report.answered(&answered?)?;
        match planned.next() {
            Some(planned) => start(planned, order, &addresses, &sender)?,
            None => waiting -= 1,
        }
    }
    report.finish()?;
    Ok(())
}

/// Starts the thread of one request.
fn start(
    planned: Planned,
    order: &Order,
    addresses: &Arc<[SocketAddr]>,
    sender: &Sender<io::Result<Planned>>,
) -> Result<(), Box<dyn Error>> {
    let request = planned.to_bytes(&order.server)?;
    let (addresses, sender) = (Arc::clone(addresses), sender.clone());
    let body = move || {
        let answered = ask(&planned, &request, &addresses);
        // Nobody hears it if another request has failed: then the program is ending.
        let _ = sender.send(answered.map(|()| planned));
    };
    thread::Builder::new().spawn(body).map_err(|error| format!("starting a thread: {error}"))?;
    Ok(())
}

/// One request and its answer, from top to bottom: each call waits until it is done.
fn ask(planned: &Planned, request: &[u8], addresses: &[SocketAddr]) -> io::Result<()> {
    let mut stream = connect(addresses)?;
    stream.write_all(request)?;
    let mut incoming = Incoming::default();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk)?;
        if let Some((status, body)) = incoming.receive(&chunk[..count])? {
            return planned.check(status, &body);
        }
    }
}

/// Connects to the first address at which that works.
fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in addresses {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                last = io::Error::new(error.kind(), format!("connect {address}: {error}"));
            }
        }
    }
    Err(last)
}

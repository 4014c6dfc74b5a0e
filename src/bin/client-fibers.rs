//! The client with fibers: each request is a function that blocks, as it seems, on a stack of its
//! own. It reads as the one with threads does; all run on one thread.

use std::error::Error;
use std::process::ExitCode;
use whirligig::delay::{Order, client_main};

const HOW: &str = "Makes requests of a delayserver, all at once, with a fiber for each.";

fn main() -> ExitCode {
    client_main("client-fibers", HOW, std::env::args_os().skip(1), run)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn run(_: &Order) -> Result<(), Box<dyn Error>> {
    Err("there are no fibers on this architecture".into())
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn run(order: &Order) -> Result<(), Box<dyn Error>> {
    let order = order.clone();
    whirligig::run(whirligig::fiber::Fiber::new(move || fibers::run(&order))?)?
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod fibers {
    use std::error::Error;
    use std::io::{self, Read, Write};
    use std::rc::Rc;
    use whirligig::delay::{Incoming, Order, Planned, Report};
    use whirligig::fiber::{Blocking, Builder, wait};
    use whirligig::net::{SocketAddr, TcpStream, resolve};
    use whirligig::sync::local::mpsc::{UnboundedSender, unbounded};

    pub(crate) fn run(order: &Order) -> Result<(), Box<dyn Error>> {
        let addresses: Rc<[SocketAddr]> = match order.loopback() {
            Some(both) => both.into(),
            None => wait(resolve(&order.server))?.into(),
        };
        let mut report = Report::new(io::stdout());
        let (sender, mut answers) = unbounded();
        let mut planned = order.planned();
        let mut waiting = 0;
        for planned in planned.by_ref().take(order.at_once) {
            start(planned, order, &addresses, &sender)?;
            waiting += 1;
        }
        while waiting > 0 {
            // This side has a sender too: somebody will always be there to send.
            let answered: Option<io::Result<Planned>> = wait(answers.recv());
            report.answered(&answered.ok_or("a fiber was lost")??)?;
            match planned.next() {
                Some(planned) => start(planned, order, &addresses, &sender)?,
                None => waiting -= 1,
            }
        }
        report.finish()?;
        Ok(())
    }

    /// Starts the fiber of one request.
    fn start(
        planned: Planned,
        order: &Order,
        addresses: &Rc<[SocketAddr]>,
        sender: &UnboundedSender<io::Result<Planned>>,
    ) -> Result<(), Box<dyn Error>> {
        let request = planned.to_bytes(&order.server)?;
        let (addresses, sender) = (Rc::clone(addresses), sender.clone());
        Builder::new().spawn(move || {
            let answered = ask(&planned, &request, &addresses);
            // Nobody hears it if another request has failed: then the program is ending.
            let _ = sender.send(answered.map(|()| planned));
        })?;
        Ok(())
    }

    /// One request and its answer, from top to bottom: each call waits until it is done.
    fn ask(planned: &Planned, request: &[u8], addresses: &[SocketAddr]) -> io::Result<()> {
        let mut stream = Blocking::new(wait(TcpStream::connect(addresses))?);
        stream.write_all(request)?;
        let mut incoming = Incoming::default();
        // On a stack that is to stay small.
        let mut chunk = [0; 512];
        loop {
            let count = stream.read(&mut chunk)?;
            if let Some((status, body)) = incoming.receive(&chunk[..count])? {
                return planned.check(status, &body);
            }
        }
    }
}

//! The client on the bare event loop: no executor and no futures, only system calls, the event
//! parser, and one state for each request that says what it waits for.

use std::env;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use whirligig::delay::{Attempt, Attempts, Incoming, Order, Planned, Report, client_main};
use whirligig::event::Interest;
use whirligig::sys::{Descriptor, Epoll, EventBuffer};

const HOW: &str = "Makes requests of a delayserver, all at once, with a bare epoll loop.";

fn main() -> ExitCode {
    client_main("client-epoll", HOW, env::args_os().skip(1), run)
}

fn run(order: &Order) -> Result<(), Box<dyn Error>> {
    let addresses: Rc<[SocketAddr]> = order.addresses()?.into();
    let mut report = Report::new(io::stdout());
    let epoll = Epoll::new()?;
    let mut planned = order.planned();
    let mut exchanges = Vec::new();
    for planned in planned.by_ref().take(order.at_once) {
        let exchange = Exchange::new(planned, &order.server, &addresses)?;
        exchange.watch(&epoll, exchanges.len() as u64)?;
        exchanges.push(exchange);
    }
    let mut waiting = exchanges.len();
    let mut buffer = EventBuffer::with_capacity(256);
    while waiting > 0 {
        for event in epoll.wait(&mut buffer, None)? {
            let exchange = &mut exchanges[event.token() as usize];
            if exchange.is_answered() {
                continue;
            }
            // The registration is edge-triggered: go on until a call would block.
            exchange.advance(&epoll, event.token())?;
            if !exchange.is_answered() {
                continue;
            }
            report.answered(&exchange.planned)?;
            match planned.next() {
                // In the place of the old one, whose socket is closed by this.
                Some(planned) => {
                    *exchange = Exchange::new(planned, &order.server, &addresses)?;
                    exchange.watch(&epoll, event.token())?;
                }
                None => waiting -= 1,
            }
        }
    }
    report.finish()?;
    Ok(())
}

/// One request and its answer.
///
/// ```text
///   Connecting ---> Sending ---> Receiving ---> Answered
///       `-- failed: the next address
/// ```
struct Exchange {
    planned: Planned,
    request: Vec<u8>,
    attempts: Attempts,
    socket: Descriptor,
    state: State,
}

enum State {
    Connecting,
    Sending { sent: usize },
    Receiving(Incoming),
    Answered,
}

impl Exchange {
    /// Begins to connect.
    fn new(
        planned: Planned,
        server: &str,
        addresses: &Rc<[SocketAddr]>,
    ) -> Result<Exchange, Box<dyn Error>> {
        let request = planned.to_bytes(server)?;
        let mut attempts = Attempts::new(addresses);
        let socket = attempts.connect()?;
        Ok(Exchange { planned, request, attempts, socket, state: State::Connecting })
    }

    fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered)
    }

    fn watch(&self, epoll: &Epoll, token: u64) -> io::Result<()> {
        epoll.add(&self.socket, Interest::BOTH.edge().bits(), token)
    }

    /// Goes on as far as it gets without waiting.
    fn advance(&mut self, epoll: &Epoll, token: u64) -> io::Result<()> {
        loop {
            let step = match &self.state {
                State::Connecting => self.finish_connecting(epoll, token),
                State::Sending { sent } => self.send(*sent),
                State::Receiving(_) => self.receive(),
                State::Answered => return Ok(()),
            };
            match step {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                step => step?,
            }
        }
    }

    fn finish_connecting(&mut self, epoll: &Epoll, token: u64) -> io::Result<()> {
        match self.attempts.finish(&self.socket)? {
            Attempt::Connected => self.state = State::Sending { sent: 0 },
            Attempt::InProgress => return Err(io::ErrorKind::WouldBlock.into()),
            Attempt::Another(socket) => {
                // The old socket is closed by this, and so no longer watched.
                self.socket = socket;
                self.watch(epoll, token)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, sent: usize) -> io::Result<()> {
        let sent = sent + self.socket.send(&self.request[sent..])?;
        self.state = match sent == self.request.len() {
            true => State::Receiving(Incoming::default()),
            false => State::Sending { sent },
        };
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        let count = self.socket.recv(&mut chunk)?;
        if let State::Receiving(incoming) = &mut self.state {
            if let Some((status, body)) = incoming.receive(&chunk[..count])? {
                self.planned.check(status, &body)?;
                self.state = State::Answered;
            }
        }
        Ok(())
    }
}

//! The client with callbacks: no thread waits and no state says what comes next. Each step leaves
//! the function that is to be called when the next one can be taken.

use std::cell::{Cell, RefCell};
use std::env;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use whirligig::callback::{self, EventLoop, Watch};
use whirligig::delay::{Attempt, Attempts, Incoming, Order, Planned, Report, client_main};
use whirligig::sys::Descriptor;

const HOW: &str = "Makes requests of a delayserver, all at once, with callbacks.";

fn main() -> ExitCode {
    client_main("client-callbacks", HOW, env::args_os().skip(1), run)
}

fn run(order: &Order) -> Result<(), Box<dyn Error>> {
    let work = Rc::new(Work {
        server: order.server.clone(),
        addresses: order.addresses()?.into(),
        planned: RefCell::new(Box::new(order.planned())),
        report: RefCell::new(Report::new(io::stdout())),
    });
    callback::run(|event_loop| {
        for _ in 0..order.at_once {
            if !start_next(event_loop, &work)? {
                break;
            }
        }
        Ok(())
    })?;
    work.report.borrow_mut().finish()?;
    Ok(())
}

/// What all callbacks share.
struct Work {
    server: String,
    addresses: Rc<[SocketAddr]>,
    /// The requests that were not yet made.
    planned: RefCell<Box<dyn Iterator<Item = Planned>>>,
    report: RefCell<Report<io::Stdout>>,
}

/// What the callbacks of one request share.
struct Exchange {
    work: Rc<Work>,
    planned: Planned,
    request: Vec<u8>,
    attempts: RefCell<Attempts>,
    is_connected: Cell<bool>,
    sent: Cell<usize>,
    incoming: RefCell<Incoming>,
}

/// Starts the next request; false if there is none.
fn start_next(event_loop: &EventLoop, work: &Rc<Work>) -> io::Result<bool> {
    let Some(planned) = work.planned.borrow_mut().next() else { return Ok(false) };
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let request = planned.to_bytes(&work.server).map_err(invalid)?;
    let mut attempts = Attempts::new(&work.addresses);
    let socket = attempts.connect()?;
    let exchange = Exchange {
        work: Rc::clone(work),
        planned,
        request,
        attempts: RefCell::new(attempts),
        is_connected: Cell::new(false),
        sent: Cell::new(0),
        incoming: RefCell::default(),
    };
    connect(event_loop, Rc::new(exchange), socket)?;
    Ok(true)
}

/// When `socket` is writable the connection stands, or has failed: then the next address is tried.
fn connect(event_loop: &EventLoop, exchange: Rc<Exchange>, socket: Descriptor) -> io::Result<()> {
    let watch = event_loop.watch(socket)?;
    event_loop.on_writable(watch, move |event_loop, watch, socket| {
        if !exchange.is_connected.get() {
            let attempt = exchange.attempts.borrow_mut().finish(socket)?;
            match attempt {
                Attempt::Connected => exchange.is_connected.set(true),
                Attempt::InProgress => return Err(io::ErrorKind::WouldBlock.into()),
                Attempt::Another(socket) => {
                    event_loop.close(watch);
                    return connect(event_loop, Rc::clone(&exchange), socket);
                }
            }
        }
        send(event_loop, &exchange, watch, socket)
    })
}

/// Sends what is left of the request; when all of it is sent, the answer is waited for.
fn send(
    event_loop: &EventLoop,
    exchange: &Rc<Exchange>,
    watch: Watch<Descriptor>,
    socket: &Descriptor,
) -> io::Result<()> {
    let sent = exchange.sent.get();
    exchange.sent.set(sent + socket.send(&exchange.request[sent..])?);
    if exchange.sent.get() < exchange.request.len() {
        return Ok(());
    }
    event_loop.off_writable(watch);
    let exchange = Rc::clone(exchange);
    event_loop.on_readable(watch, move |event_loop, watch, socket| {
        receive(event_loop, &exchange, watch, socket)
    })
}

/// Takes in a piece of the answer; the last one makes room for the next request.
fn receive(
    event_loop: &EventLoop,
    exchange: &Exchange,
    watch: Watch<Descriptor>,
    socket: &Descriptor,
) -> io::Result<()> {
    let mut chunk = [0; 4096];
    let count = socket.recv(&mut chunk)?;
    let answer = exchange.incoming.borrow_mut().receive(&chunk[..count])?;
    if let Some((status, body)) = answer {
        exchange.planned.check(status, &body)?;
        event_loop.close(watch);
        exchange.work.report.borrow_mut().answered(&exchange.planned)?;
        start_next(event_loop, &exchange.work)?;
    }
    Ok(())
}

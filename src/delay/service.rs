//! The delayserver.

use super::gate::{Gate, Pass};
use super::plan::{Plan, plan};
use crate::future::{Either, race};
use crate::http::{Answer, Request, Server, ServerOptions};
use crate::net::{Addresses, SocketAddr, Target, TcpListener, TcpSocket, resolve};
use crate::signal::Signals;
use crate::sys::is_exhaustion;
use crate::time::{sleep, timeout};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

/// The bounds of the service.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// The longest delay that may be asked for, in milliseconds.
    pub delay_ms_max: u64,
    /// Connections at the same time; further ones wait in the listener's queue.
    pub connections_max: usize,
    /// What requests that are under way get once the service is to stop.
    pub drain: Duration,
    /// The bounds of HTTP.
    pub http: ServerOptions,
}

impl Default for ServiceOptions {
    /// No bound to delays and connections, and 10 s to drain.
    fn default() -> ServiceOptions {
        ServiceOptions {
            delay_ms_max: u64::MAX,
            connections_max: usize::MAX,
            drain: Duration::from_secs(10),
            http: ServerOptions::default(),
        }
    }
}

/// Where the service tells what it does. Once a line can't be written there are no more.
pub struct Log {
    /// None to be quiet.
    requests: RefCell<Option<Box<dyn io::Write>>>,
    troubles: RefCell<Option<Box<dyn io::Write>>>,
    count: Cell<u64>,
    exhaustion_said: Cell<bool>,
}

impl Log {
    /// Requests go to `requests`, if given, and what goes wrong to `troubles`.
    pub fn new(requests: Option<Box<dyn io::Write>>, troubles: Box<dyn io::Write>) -> Log {
        Log {
            requests: RefCell::new(requests),
            troubles: RefCell::new(Some(troubles)),
            count: Cell::new(0),
            exhaustion_said: Cell::new(false),
        }
    }

    /// Notes a request, in the form of the book's server: `#{count} - {delay}ms: {message}`, the
    /// message with its control characters escaped, so that it stays one line and leaves the
    /// terminal alone.
    fn request(&self, plan: &Plan) {
        self.count.set(self.count.get() + 1);
        let mut requests = self.requests.borrow_mut();
        if let Some(out) = &mut *requests {
            let mut line = format!("#{} - {}ms: ", self.count.get(), plan.delay_ms);
            for character in plan.message.chars() {
                match character.is_control() {
                    true => line.extend(character.escape_default()),
                    false => line.push(character),
                }
            }
            line.push('\n');
            if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
                *requests = None;
            }
        }
    }

    /// Says once that descriptors ran out: it would be said without end otherwise.
    fn accept_trouble(&self, error: &io::Error) {
        if !is_exhaustion(error) {
            self.trouble(&format!("accepting a connection: {error}"));
        } else if !self.exhaustion_said.replace(true) {
            self.trouble(&format!("accepting rests while there is no room: {error}"));
        }
    }

    fn trouble(&self, message: &str) {
        let mut troubles = self.troubles.borrow_mut();
        if let Some(out) = &mut *troubles {
            if writeln!(out, "{message}").is_err() {
                *troubles = None;
            }
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("count", &self.count.get()).finish_non_exhaustive()
    }
}

/// Connections that wait in a listener's queue.
const BACKLOG: u32 = 4096;

/// Listens at all addresses of `target`, such as those of IPv4 and IPv6, with one port: port 0
/// picks one that is free at the first address.
///
/// # Errors
/// Those of [`resolve`]; the last address's error if none can be listened at.
pub async fn listen(target: impl Addresses) -> io::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut last = None;
    let mut port = None;
    for mut address in addresses(target.target()?).await? {
        address.set_port(port.unwrap_or(address.port()));
        match listen_at(address) {
            Ok(listener) => {
                port = Some(listener.local_addr()?.port());
                listeners.push(listener);
            }
            // The same address twice in a row is the resolver's doing.
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

/// The addresses of `target`. For localhost these are both loopback addresses, whatever the
/// machine's table of hosts has of them (RFC 6761, section 6.3).
async fn addresses(target: Target) -> io::Result<Vec<SocketAddr>> {
    match target {
        Target::Named(host, port) if host.eq_ignore_ascii_case("localhost") => {
            Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()])
        }
        target => resolve(target).await,
    }
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuse_address(true)?;
    // Accepted connections inherit it, so that none needs a call of its own (`tcp(7)`).
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until one of `stop` comes. Then listeners and idle connections are closed, and requests
/// under way get [`ServiceOptions::drain`] to be answered, or until the next signal.
///
/// What is under way after that ends with the runtime.
///
/// # Errors
/// If the signals can't be waited for.
pub async fn serve(
    listeners: Vec<TcpListener>,
    options: ServiceOptions,
    log: Log,
    mut stop: Signals,
) -> io::Result<()> {
    let gate = Gate::new(options.connections_max);
    let (delay_ms_max, drain) = (options.delay_ms_max, options.drain);
    let log = Rc::new(log);
    let handler_log = Rc::clone(&log);
    let server = Rc::new(Server::new(options.http, move |request: &Request<'_>, _body| {
        let planned = plan(request, delay_ms_max);
        if let Ok(plan) = &planned {
            handler_log.request(plan);
        }
        answer(planned)
    }));
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let (gate, log, server) = (Rc::clone(&gate), Rc::clone(&log), Rc::clone(&server));
            crate::spawn(async move {
                loop {
                    let Some((stream, pass)) = accept(&listener, &gate, &log).await else {
                        continue;
                    };
                    let server = Rc::clone(&server);
                    crate::spawn(async move {
                        // A connection that breaks is its client's affair.
                        let _ = server.serve(stream).await;
                        drop(pass);
                    });
                }
            })
        })
        .collect();
    stop.recv().await?;
    accepting.iter().for_each(crate::task::JoinHandle::abort);
    server.drain();
    let drained = timeout(drain, gate.is_empty());
    match race(drained, stop.recv()).await {
        Either::First(Ok(())) => {}
        Either::First(Err(_)) | Either::Second(Ok(_)) => {
            log.trouble(&format!("stopped with {} connections open", gate.inside()));
        }
        Either::Second(Err(error)) => return Err(error),
    }
    Ok(())
}

/// The message, after its delay.
async fn answer(planned: Result<Plan, Answer>) -> Answer {
    match planned {
        Ok(plan) => {
            if plan.delay_ms > 0 {
                sleep(plan.delay()).await;
            }
            Answer::text(plan.message.into_bytes())
        }
        Err(refusal) => refusal,
    }
}

/// How long accepting rests when there are no descriptors, unless a connection ends before.
const BACK_OFF: Duration = Duration::from_millis(200);

/// Takes the next connection, when there is room for one. None after a trouble.
async fn accept(
    listener: &TcpListener,
    gate: &Rc<Gate>,
    log: &Log,
) -> Option<(crate::net::TcpStream, Pass)> {
    gate.has_room().await;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Several listeners may have seen the same room.
            gate.has_room().await;
            Some((stream, gate.enter()))
        }
        Err(error) => {
            log.accept_trouble(&error);
            race(sleep(BACK_OFF), gate.someone_leaves()).await;
            None
        }
    }
}

//! The delayserver.

use super::gate::{Gate, Pass};
use super::listen::BACKLOG;
use super::log::Log;
use super::plan::{Plan, plan};
use crate::future::{Either, race};
use crate::http::{Answer, Request, Server, ServerOptions};
use crate::net::{TcpListener, TcpStream};
use crate::task_set::TaskSet;
use crate::time::{sleep, timeout};
use std::future::Future;
use std::io;
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

impl ServiceOptions {
    /// The part of one worker of `count`: of the connections as many as of the others, but one at
    /// least, for the kernel gives each worker some.
    #[must_use]
    pub fn share(&self, index: usize, count: usize) -> ServiceOptions {
        let connections_max = match self.connections_max {
            usize::MAX => usize::MAX,
            bound => (bound / count + usize::from(index < bound % count)).max(1),
        };
        ServiceOptions { connections_max, ..self.clone() }
    }
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

/// Serves until `stop` is done, such as waiting for a signal. Then connections that are queued are
/// taken, listeners and idle connections are closed, and requests under way get
/// [`ServiceOptions::drain`] to be answered, or until `stop`, called again, is done once more.
///
/// What is under way after that ends with the runtime.
///
/// Cancel safety: dropping it closes the listeners and idle connections. Requests under way are
/// answered, by tasks of their own, and then their connections are closed.
///
/// # Errors
/// Those of `stop`; then all stands as if it had been dropped.
pub async fn serve(
    listeners: Vec<TcpListener>,
    options: ServiceOptions,
    log: Log,
    mut stop: impl AsyncFnMut() -> io::Result<()>,
) -> io::Result<()> {
    let drain = options.drain;
    let mut service = Service::start(listeners, options, log);
    stop().await?;
    service.close();
    match race(timeout(drain, service.end()), stop()).await {
        Either::First(Ok(())) => {}
        Either::First(Err(_)) | Either::Second(Ok(_)) => service.give_up(),
        Either::Second(Err(error)) => return Err(error),
    }
    service.log.finish().await;
    Ok(())
}

/// The service under way, which is the same whatever it is to be stopped by: so it is compiled with
/// this library, once.
struct Service {
    gate: Rc<Gate>,
    log: Rc<Log>,
    listeners: Vec<Rc<TcpListener>>,
    accepting: TaskSet<()>,
    serve_one: Rc<dyn Fn(TcpStream, Pass)>,
    drain: Box<dyn Fn()>,
}

impl Service {
    fn start(listeners: Vec<TcpListener>, options: ServiceOptions, log: Log) -> Service {
        let gate = Gate::new(options.connections_max);
        let delay_ms_max = options.delay_ms_max;
        let log = Rc::new(log);
        let handler_log = Rc::clone(&log);
        let server = Rc::new(Server::new(options.http, move |request: &Request<'_>, body| {
            let planned = plan(request, delay_ms_max);
            if let Ok(plan) = &planned {
                handler_log.request(plan);
            }
            answer(planned, body)
        }));
        let draining = Rc::clone(&server);
        let serve_one = move |stream: TcpStream, pass: Pass| {
            let server = Rc::clone(&server);
            crate::spawn(async move {
                // A connection that breaks is its client's affair.
                let _ = server.serve(stream).await;
                drop(pass);
            });
        };
        let mut service = Service {
            gate,
            log,
            listeners: listeners.into_iter().map(Rc::new).collect(),
            accepting: TaskSet::new(),
            serve_one: Rc::new(serve_one),
            drain: Box::new(move || draining.drain()),
        };
        service.accept();
        service
    }

    fn accept(&mut self) {
        for listener in &self.listeners {
            let (listener, serve_one) = (Rc::clone(listener), Rc::clone(&self.serve_one));
            let (gate, log) = (Rc::clone(&self.gate), Rc::clone(&self.log));
            self.accepting.spawn(async move {
                while let Either::Second(accepted) =
                    race(gate.closes(), accept(&listener, &gate, &log)).await
                {
                    if let Some(stream) = accepted {
                        // Several listeners may have seen the same room.
                        gate.has_room().await;
                        serve_one(stream, gate.enter());
                    }
                }
            });
        }
    }

    /// Ends the accepting, and has connections close instead of waiting for further requests: now,
    /// so that those that come yet are read without waiting to hear of bytes.
    fn close(&self) {
        self.gate.close();
        (self.drain)();
    }

    /// Takes the connections that are queued, closes the listeners, and waits for all to be served.
    async fn end(&mut self) {
        // A panic in one of them is in the panic hook's hands.
        while self.accepting.next().await.is_some() {}
        for listener in std::mem::take(&mut self.listeners) {
            // No more than were queued: clients that come back at once must not go on for ever.
            for _ in 0..BACKLOG {
                self.gate.has_room().await;
                let Ok(Some((stream, _))) = listener.try_accept() else { break };
                (self.serve_one)(stream, self.gate.enter());
                // A turn for whoever is about to enter or to leave.
                crate::yield_now().await;
            }
        }
        self.gate.is_empty().await;
    }

    fn give_up(&self) {
        self.log.trouble(&format!("stopped with {} connections open", self.gate.inside()));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        (self.drain)();
    }
}

/// The message, after its delay, or the refusal. `body` is that of the request, in whose place
/// comes the answer's.
fn answer(
    planned: Result<Plan<'_>, Answer>,
    body: Vec<u8>,
) -> impl Future<Output = Answer> + use<> {
    let (delay_ms, answer) = match planned {
        Ok(plan) => (plan.delay_ms, plan.answer(body)),
        Err(refusal) => (0, refusal),
    };
    async move {
        if delay_ms > 0 {
            sleep(Duration::from_millis(delay_ms)).await;
        }
        answer
    }
}

/// How long accepting rests when there are no descriptors, unless a connection ends before.
const BACK_OFF: Duration = Duration::from_millis(200);

/// Takes the next connection, when there is room for one. None after a trouble.
async fn accept(listener: &TcpListener, gate: &Gate, log: &Log) -> Option<TcpStream> {
    gate.has_room().await;
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            log.accept_trouble(&error);
            race(sleep(BACK_OFF), gate.someone_leaves()).await;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_the_bound_of_connections() {
        let all = ServiceOptions { connections_max: 7, ..ServiceOptions::default() };
        let shares = |count: usize| -> Vec<usize> {
            (0..count).map(|index| all.share(index, count).connections_max).collect()
        };
        assert_eq!(shares(3), [3, 2, 2]);
        assert_eq!(shares(8), [1; 8], "each takes one at least");
        assert_eq!(ServiceOptions::default().share(1, 2).connections_max, usize::MAX);
    }

    /// A connection's memory is this, a socket's source, and a few entries in tables.
    #[test]
    fn a_connections_future_is_small() {
        let bytes = crate::run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let handler = |request: &Request<'_>, body| answer(plan(request, 1), body);
            let server = Server::new(ServerOptions::default(), handler);
            size_of_val(&server.serve(stream))
        });
        assert!(bytes.as_ref().is_ok_and(|bytes| *bytes <= 1200), "{bytes:?}");
    }
}

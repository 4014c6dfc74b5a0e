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
    let gate = Gate::new(options.connections_max);
    let (delay_ms_max, drain) = (options.delay_ms_max, options.drain);
    let log = Rc::new(log);
    let handler_log = Rc::clone(&log);
    let server = Rc::new(Server::new(options.http, move |request: &Request<'_>, body| {
        let planned = plan(request, delay_ms_max);
        if let Ok(plan) = &planned {
            handler_log.request(plan);
        }
        answer(planned, body)
    }));
    let draining = Draining(Rc::clone(&server));
    let serving = Rc::clone(&server);
    let serve_one = Rc::new(move |(stream, pass): (TcpStream, Pass)| {
        let server = Rc::clone(&serving);
        crate::spawn(async move {
            // A connection that breaks is its client's affair.
            let _ = server.serve(stream).await;
            drop(pass);
        });
    });
    let listeners: Vec<_> = listeners.into_iter().map(Rc::new).collect();
    let mut accepting = TaskSet::new();
    for listener in &listeners {
        let (listener, serve_one) = (Rc::clone(listener), Rc::clone(&serve_one));
        let (gate, log) = (Rc::clone(&gate), Rc::clone(&log));
        accepting.spawn(async move {
            while let Either::Second(accepted) =
                race(gate.closes(), accept(&listener, &gate, &log)).await
            {
                if let Some(stream) = accepted {
                    // Several listeners may have seen the same room.
                    gate.has_room().await;
                    serve_one((stream, gate.enter()));
                }
            }
        });
    }
    stop().await?;
    gate.close();
    // First, so that the connections that come now are read without waiting to hear of bytes.
    drop(draining);
    let ending = async {
        // A panic in one of them is in the panic hook's hands.
        while accepting.next().await.is_some() {}
        for listener in listeners {
            // No more than were queued: clients that come back at once must not go on for ever.
            for _ in 0..BACKLOG {
                gate.has_room().await;
                let Ok(Some((stream, _))) = listener.try_accept() else { break };
                serve_one((stream, gate.enter()));
                // A turn for whoever is about to enter or to leave.
                crate::yield_now().await;
            }
        }
        gate.is_empty().await;
    };
    match race(timeout(drain, ending), stop()).await {
        Either::First(Ok(())) => {}
        Either::First(Err(_)) | Either::Second(Ok(_)) => {
            log.trouble(&format!("stopped with {} connections open", gate.inside()));
        }
        Either::Second(Err(error)) => return Err(error),
    }
    log.finish().await;
    Ok(())
}

/// Has a server close connections instead of waiting for further requests, once it is dropped.
struct Draining<H>(Rc<Server<H>>);

impl<H> Drop for Draining<H> {
    fn drop(&mut self) {
        self.0.drain();
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

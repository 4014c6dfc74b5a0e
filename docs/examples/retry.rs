//! A client that gives each attempt a limit, and tries again with twice the time.
//!
//! `cargo run --example retry` asks a delayserver of its own, on a free port, and ends. With an
//! address it asks the one there: `cargo run --example retry localhost:8080`.

use std::io;
use std::time::Duration;
use whirligig::delay::{Log, ServiceOptions, listen, serve};
use whirligig::http::{Reply, get};
use whirligig::net::{Addresses, Target};
use whirligig::time::timeout;

/// The answer comes after so long, and so the first limits are too short.
const DELAY_MS: u64 = 150;
const FIRST_LIMIT: Duration = Duration::from_millis(50);
const ATTEMPTS_MAX: u32 = 10;

fn main() -> io::Result<()> {
    let server = std::env::args().nth(1);
    whirligig::run(async {
        let target = match server {
            Some(server) => server.target()?,
            None => start_delayserver().await?,
        };
        let reply = get_patiently(&target, &format!("/{DELAY_MS}/patience")).await?;
        println!("{} {}", reply.status, String::from_utf8_lossy(&reply.body));
        Ok(())
    })?
}

async fn get_patiently(server: &Target, path: &str) -> io::Result<Reply> {
    let mut limit = FIRST_LIMIT;
    let mut last = io::ErrorKind::TimedOut.into();
    for attempt in 1..=ATTEMPTS_MAX {
        // When the time is over the request is dropped, and its connection closed with it.
        let tried = timeout(limit, get(server.clone(), "localhost", path)).await;
        // An `Elapsed` becomes an error of kind `TimedOut`.
        match tried.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(reply) => return Ok(reply),
            Err(error) if may_pass(&error) => {
                println!("attempt {attempt}, within {limit:?}: {error}");
                last = error;
            }
            Err(error) => return Err(error),
        }
        limit *= 2;
    }
    Err(last)
}

/// Whether another attempt may do better.
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof};
    [ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof].contains(&error.kind())
}

/// A delayserver on this runtime; it is dropped with it.
async fn start_delayserver() -> io::Result<Target> {
    let listeners = listen("127.0.0.1:0").await?;
    let mut addresses = Vec::new();
    for listener in &listeners {
        addresses.push(listener.local_addr()?);
    }
    let log = Log::new(Some(Box::new(io::stdout())), Box::new(io::stderr()));
    // It serves for as long as the program runs.
    whirligig::spawn(serve(listeners, ServiceOptions::default(), log, std::future::pending));
    Ok(Target::Known(addresses))
}

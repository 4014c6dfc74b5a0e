//! A server that stops gracefully: at SIGINT or SIGTERM it accepts no more, and what is under way
//! gets some time to end.
//!
//! `cargo run --example shutdown` has two clients, and sends itself SIGTERM while they wait.

use std::future::pending;
use std::io;
use std::time::Duration;
use whirligig::TaskSet;
use whirligig::future::{Either, race};
use whirligig::io::{AsyncRead, AsyncWrite, BufReader};
use whirligig::net::{SocketAddr, TcpListener, TcpStream};
use whirligig::signal::{Signal, Signals};
use whirligig::time::{sleep, timeout};

/// What connections under way get.
const DRAIN: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    whirligig::run(async {
        // Before anything can be under way: from here on a signal is noted, and ends nothing.
        let stop = Signals::new(&[Signal::Interrupt, Signal::Terminate])?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let clients = whirligig::spawn(two_clients(listener.local_addr()?));
        serve(listener, stop).await?;
        clients.await?
    })?
}

async fn serve(listener: TcpListener, mut stop: Signals) -> io::Result<()> {
    let mut connections = TaskSet::new();
    loop {
        // Each of the three is cancel safe: the losers of a race lose nothing.
        let event = race(stop.recv(), race(listener.accept(), next(&mut connections)));
        match event.await {
            Either::First(signal) => {
                println!("server: {:?}, {} connections open", signal?, connections.len());
                break;
            }
            Either::Second(Either::First(accepted)) => {
                let (stream, _) = accepted?;
                connections.spawn(work(stream));
            }
            Either::Second(Either::Second(result)) => report(result),
        }
    }
    drop(listener);
    let drained = timeout(DRAIN, async {
        while let Some(joined) = connections.next().await {
            report(joined.unwrap_or_else(|error| Err(error.into())));
        }
    });
    match drained.await {
        Ok(()) => println!("server: all done"),
        // Dropping the set aborts what is left of it.
        Err(_) => println!("server: {} connections cut off", connections.len()),
    }
    Ok(())
}

/// The result of the next connection that ends; if there are none, never.
async fn next(connections: &mut TaskSet<io::Result<()>>) -> io::Result<()> {
    match connections.next().await {
        Some(joined) => joined?,
        None => pending().await,
    }
}

fn report(result: io::Result<()>) {
    match result {
        Ok(()) => println!("server: a connection is done"),
        Err(error) => println!("server: a connection failed: {error}"),
    }
}

/// Something that takes its time.
async fn work(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"begun\n").await?;
    sleep(Duration::from_millis(200)).await;
    stream.write_all(b"done\n").await
}

async fn two_clients(server: SocketAddr) -> io::Result<()> {
    let (mut first, mut second) = (connect(server).await?, connect(server).await?);
    // Both have begun. What `kill` would do from outside:
    whirligig::sys::signal::raise(Signal::Terminate)?;
    print!("client: {}", line(&mut first).await?);
    print!("client: {}", line(&mut second).await?);
    Ok(())
}

async fn connect(server: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let mut stream = BufReader::new(TcpStream::connect(server).await?);
    print!("client: {}", line(&mut stream).await?);
    Ok(stream)
}

async fn line(stream: &mut BufReader<impl AsyncRead>) -> io::Result<String> {
    let mut line = Vec::new();
    stream.read_line(&mut line, 1024).await?;
    String::from_utf8(line).map_err(io::Error::other)
}

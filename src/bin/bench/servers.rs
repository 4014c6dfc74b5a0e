//! The two servers: one that sends back what comes, and one that answers later.

use crate::{Failure, say};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use whirligig::delay::plan;
use whirligig::http::{Request, Server, ServerOptions};
use whirligig::io::{AsyncRead, AsyncWrite};
use whirligig::net::{TcpListener, TcpSocket, TcpStream};
use whirligig::sys::{is_exhaustion, raise_descriptor_limit};
use whirligig::time::sleep;

/// Bytes of the buffer that each connection of the echo server has.
const BUFFER_BYTES: usize = 16 * 1024;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// How long accepting rests when there are no descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Says where it listens, and serves until something ends the process.
pub(crate) fn run<F>(address: SocketAddr, serve: fn(TcpListener) -> F) -> Result<(), Failure>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    // As many connections as the system lets us have; with fewer it works too.
    let _ = raise_descriptor_limit();
    whirligig::run(async move {
        let listener = listen(address)?;
        say(&format!("listening {}\n", listener.local_addr()?))?;
        Ok(whirligig::spawn(serve(listener)).await??)
    })?
}

/// A listener whose connections have `TCP_NODELAY`: they inherit it, so that none needs a call.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuse_address(true)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Sends back on each connection what comes.
pub(crate) async fn serve_echo(listener: TcpListener) -> io::Result<()> {
    loop {
        let stream = accept(&listener).await?;
        // A connection that breaks is its client's affair.
        whirligig::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    while stream.read_into(&mut buffer).await? > 0 {
        stream.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}

/// Answers `GET /{ms}/{message}` with the message after that many milliseconds.
pub(crate) async fn serve_delay(listener: TcpListener) -> io::Result<()> {
    let handler = |request: &Request<'_>, body| {
        let (delay_ms, answer) = match plan(request, u64::MAX) {
            Ok(plan) => (plan.delay_ms, plan.answer(body)),
            Err(refusal) => (0, refusal),
        };
        async move {
            if delay_ms > 0 {
                sleep(Duration::from_millis(delay_ms)).await;
            }
            answer
        }
    };
    let server = Rc::new(Server::new(ServerOptions::default(), handler));
    loop {
        let stream = accept(&listener).await?;
        let server = Rc::clone(&server);
        whirligig::spawn(async move {
            // As above.
            let _ = server.serve(stream).await;
        });
    }
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok(stream),
            // The connection stays in the queue. Asking again at once would only fail again.
            Err(error) if is_exhaustion(&error) => sleep(BACK_OFF).await,
            Err(error) => return Err(error),
        }
    }
}

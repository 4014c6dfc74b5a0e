//! A server's side of a connection.

use super::buffer::BUFFER_BYTES;
use super::exchange::Exchange;
use super::wire::Shared;
use super::{Answer, Limits, Request};
use crate::net::TcpStream;
use std::future::Future;
use std::io;
use std::time::Duration;

/// The bounds of a [`Server`].
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Bounds of a request's head. More than 16 KiB of head is never accepted.
    pub limits: Limits,
    /// Bytes of a request's body.
    pub body_bytes_max: u64,
    /// How long a connection may be idle between requests. Then it is closed, at most a quarter of
    /// that time later.
    pub idle_timeout: Duration,
    /// How long a request may take from its first byte to its last. Then it is answered 408.
    pub header_timeout: Duration,
    /// How long a response may wait for the client to read some of it. Then it is given up.
    pub send_timeout: Duration,
}

impl Default for ServerOptions {
    /// Bodies of up to 64 KiB, 60 s idle, 10 s for a request, 30 s for a response to move on.
    fn default() -> ServerOptions {
        ServerOptions {
            limits: Limits::default(),
            body_bytes_max: 64 * 1024,
            idle_timeout: Duration::from_secs(60),
            header_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(30),
        }
    }
}

/// An HTTP/1.1 server over `handler`, which turns each request into a future of its answer.
///
/// Requests of one connection are answered one after another, in order. While an answer is
/// awaited no buffer is held, and a client that goes away ends the wait: the end of its stream
/// counts as that, also when it could still read.
///
/// ```
/// use whirligig::http::{Answer, Request, Server, ServerOptions, get};
/// use whirligig::net::TcpListener;
///
/// whirligig::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     whirligig::spawn(async move {
///         let server = Server::new(ServerOptions::default(), |request: &Request<'_>, _body| {
///             let path = request.path().to_string();
///             async move { Answer::text(path.into_bytes()) }
///         });
///         let (stream, _) = listener.accept().await?;
///         server.serve(stream).await
///     });
///     let reply = get(address, "localhost", "/hello").await?;
///     assert_eq!((reply.status, &reply.body[..]), (200, &b"/hello"[..]));
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Server<H> {
    pub(super) handler: H,
    pub(super) shared: Shared,
}

/// Bytes of a head at most, whatever the options say: a buffer has to hold it, and some of a body.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const _: () = assert!(HEAD_BYTES_MAX < BUFFER_BYTES, "a body is read behind its head");

impl<H, F> Server<H>
where
    H: Fn(&Request<'_>, Vec<u8>) -> F,
    F: Future<Output = Answer>,
{
    /// A server over `handler`, which is given each request and its body.
    ///
    /// An empty body may have room, left of one that was sent before: an answer that is written to
    /// it costs no allocation.
    pub fn new(mut options: ServerOptions, handler: H) -> Server<H> {
        let head_bytes_max = &mut options.limits.head_bytes_max;
        *head_bytes_max = HEAD_BYTES_MAX.min(*head_bytes_max);
        Server { handler, shared: Shared::new(options) }
    }

    /// Serves one connection to its end: that the client closes it, that it is idle too long, that
    /// it sends what is no request, or that the server is drained.
    ///
    /// Cancel safety: dropping it closes the connection; an answer under way is lost.
    ///
    /// # Errors
    /// Those of the stream; `TimedOut` if the client takes no answer.
    pub fn serve(&self, stream: TcpStream) -> impl Future<Output = io::Result<()>> {
        Exchange::new(self, stream).run()
    }
}

impl<H> Server<H> {
    /// Ends connections that are idle, now, and the others after the requests that they are at.
    pub fn drain(&self) {
        self.shared.drain.start();
    }
}

impl<H> std::fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("shared", &self.shared).finish_non_exhaustive()
    }
}

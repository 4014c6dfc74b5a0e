//! A client's side of a connection.

use super::{
    BodyDecoder, Connection, Limits, Method, ParseError, RequestHead, RequestKind, ResponseParser,
    WriteError, write_request,
};
use crate::io::{AsyncRead, AsyncWrite};
use crate::net::{Addresses, TcpStream};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

/// A response, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers, in order; values as they came, but for white space around them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, decoded.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first value of the header called `name`, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let is_it = |(own, _): &&(String, Vec<u8>)| own.eq_ignore_ascii_case(name);
        self.headers.iter().find(is_it).map(|(_, value)| value.as_slice())
    }
}

/// Bytes of a response's body, where nothing else is said.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Room for one read at least.
const RECEIVE_BYTES_MIN: usize = 4096;

/// Bytes of a response that are read while the request is being sent.
const EARLY_BYTES_MAX: usize = 64 * 1024;

/// Interim responses (1xx) before the one that counts.
const INTERIMS_MAX: u32 = 100;

/// A connection to a server, for one request after another.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// What was received and not yet used.
    received: Vec<u8>,
    limits: Limits,
    body_bytes_max: u64,
    reusable: bool,
}

impl Client {
    /// Connects.
    ///
    /// Cancel safety: nothing is left behind.
    ///
    /// # Errors
    /// As [`TcpStream::connect`].
    pub async fn connect(target: impl Addresses) -> io::Result<Client> {
        Ok(Client::new(TcpStream::connect(target).await?))
    }

    /// A client on a connection that stands.
    #[must_use]
    pub fn new(stream: TcpStream) -> Client {
        let (received, limits) = (Vec::new(), Limits::default());
        Client { stream, received, limits, body_bytes_max: BODY_BYTES_MAX, reusable: true }
    }

    /// Accepts bodies of up to `bytes`, instead of 16 MiB.
    #[must_use]
    pub fn with_body_bytes_max(mut self, bytes: u64) -> Client {
        self.body_bytes_max = bytes;
        self
    }

    /// Whether another request can be made on this connection.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// Makes a request, and waits for the whole response.
    ///
    /// A response that comes before all of the request is sent, and ends the connection, is
    /// returned like any other: so an upload that is refused early is told why.
    ///
    /// Cancel safety: none. If it is dropped before it is done the connection is of no more use.
    ///
    /// # Errors
    /// Those of the stream; `UnexpectedEof` if the server closes before it answered; `InvalidData`
    /// with a [`ParseError`] if the answer is no HTTP, and `InvalidInput` with a [`WriteError`] if
    /// the request would be none; `NotConnected` if the connection is of no more use.
    pub async fn request(&mut self, head: &RequestHead<'_>, body: &[u8]) -> io::Result<Reply> {
        if !std::mem::replace(&mut self.reusable, false) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let mut request = Vec::new();
        write_request(&mut request, head, body).map_err(invalid_request)?;
        let sent = self.send(&request, RequestKind::from(head.method)).await;
        let sent = match sent {
            // What failed on this side nobody will answer; a server that ended its side may have.
            Err(error) if !is_peers_doing(&error) => return Err(error),
            sent => sent,
        };
        match self.receive_reply(head).await {
            Ok(reply) => {
                self.reusable &= matches!(sent, Ok(true));
                Ok(reply)
            }
            // Without an answer, that the request did not go through is what went wrong.
            Err(error) => Err(sent.err().unwrap_or(error)),
        }
    }

    /// Sends a request, and says whether all of it went: the server may refuse it before.
    async fn send(&mut self, request: &[u8], kind: RequestKind) -> io::Result<bool> {
        let mut sent = 0;
        let waits = WaitsForBoth(self);
        poll_fn(|cx| {
            while sent < request.len() {
                match waits.0.stream.poll_write(cx, &request[sent..]) {
                    Poll::Ready(count) => sent += count?,
                    Poll::Pending => {
                        ready!(waits.0.poll_refused(cx, kind))?;
                        return Poll::Ready(Ok(false));
                    }
                }
            }
            Poll::Ready(Ok(true))
        })
        .await
    }

    /// Waits until the server ends its side, or answers that it will read no further.
    fn poll_refused(&mut self, cx: &mut Context<'_>, kind: RequestKind) -> Poll<io::Result<()>> {
        while self.received.len() < EARLY_BYTES_MAX {
            let mut chunk = [0; 4096];
            let count = ready!(self.stream.poll_read(cx, &mut chunk))?;
            self.received.extend_from_slice(&chunk[..count]);
            if count == 0 || self.is_refusal(kind) {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }

    /// Whether what was received ends the connection, or is no HTTP at all.
    fn is_refusal(&self, kind: RequestKind) -> bool {
        let mut received = &self.received[..];
        let mut parser = ResponseParser::new(kind);
        loop {
            match parser.parse(received, &self.limits) {
                Ok(Some(response)) if response.is_interim() => {
                    received = &received[response.head_bytes..];
                }
                Ok(Some(response)) => return !response.keep_alive,
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    async fn receive_reply(&mut self, head: &RequestHead<'_>) -> io::Result<Reply> {
        let mut parser = ResponseParser::new(RequestKind::from(head.method));
        let mut interims = 0;
        let (mut reply, framing, keep_alive) = loop {
            let parsed = parser.parse(&self.received, &self.limits).map_err(invalid_response)?;
            if let Some(response) = parsed {
                let (bytes, interim) = (response.head_bytes, response.is_interim());
                let header = |(name, value): (&str, &[u8])| (name.to_string(), value.to_vec());
                let headers = response.headers().map(header).collect();
                let reply = Reply { status: response.status, headers, body: Vec::new() };
                let (framing, keep_alive) = (response.framing, response.keep_alive);
                self.received.drain(..bytes);
                if !interim {
                    break (reply, framing, keep_alive);
                }
                interims += 1;
                if interims > INTERIMS_MAX {
                    let text = "the server sends interim responses without end";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            } else if self.receive().await? == 0 {
                return Err(ended(self.received.is_empty()));
            }
        };
        let decoder = BodyDecoder::new(framing, self.body_bytes_max).map_err(invalid_response)?;
        self.read_body(decoder, &mut reply.body).await?;
        // After a 101, and a 2xx to CONNECT, no HTTP follows. Bytes behind the answer are none that
        // was asked for: taken for the answer to the next request they would poison it.
        let tunnel = head.method == Method::Connect && (200..300).contains(&reply.status);
        let speaks_http = reply.status != 101 && !tunnel && self.received.is_empty();
        self.reusable = keep_alive && head.connection != Connection::Close && speaks_http;
        Ok(reply)
    }

    async fn read_body(&mut self, mut decoder: BodyDecoder, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            while !decoder.is_done() && !self.received.is_empty() {
                let decoded = decoder.decode(&self.received).map_err(invalid_response)?;
                body.extend_from_slice(decoded.data);
                let consumed = decoded.consumed;
                self.received.drain(..consumed);
            }
            if decoder.is_done() {
                return Ok(());
            }
            if self.receive().await? == 0 {
                return decoder.finish().map_err(|_| ended(false));
            }
        }
    }

    async fn receive(&mut self) -> io::Result<usize> {
        // Room is made when there is something to read: a buffer that was lent to the wait would
        // lie in this future, once for each that is stacked in it.
        self.stream.readable().await?;
        self.received.reserve(RECEIVE_BYTES_MIN);
        self.stream.read_into(&mut self.received).await
    }
}

/// Polls both directions of a client's stream; takes its wakers out when it is dropped.
struct WaitsForBoth<'c>(&'c mut Client);

impl Drop for WaitsForBoth<'_> {
    fn drop(&mut self) {
        self.0.stream.forget_reader();
        self.0.stream.forget_writer();
    }
}

/// Whether a send failed since the peer reads no more.
fn is_peers_doing(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    [BrokenPipe, ConnectionAborted, ConnectionReset].contains(&error.kind())
}

/// Gets `target` from the server at `address`, on a connection of its own.
///
/// `host` is what the request says of the server, `target` a path with its query, both as they are
/// to be sent: percent-encoded.
///
/// Cancel safety: dropping it closes the connection.
///
/// # Errors
/// As [`Client::connect`] and [`Client::request`].
pub async fn get(address: impl Addresses, host: &str, target: &str) -> io::Result<Reply> {
    let mut client = Client::connect(address).await?;
    let connection = Connection::Close;
    let head = RequestHead { method: Method::Get, target, host, headers: &[], connection };
    client.request(&head, &[]).await
}

/// A connection that ended where it should not.
#[derive(Debug)]
struct Ended {
    before_answer: bool,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.before_answer {
            true => "the server closed the connection without an answer",
            false => "the server closed the connection inside its answer",
        })
    }
}

impl std::error::Error for Ended {}

fn ended(before_answer: bool) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, Ended { before_answer })
}

fn invalid_request(error: WriteError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

fn invalid_response(error: ParseError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

//! A server's side of a connection.

use super::buffer::{BufferPool, Input};
use super::drain::{Drain, Ticket};
use super::{
    BodyDecoder, CONTINUE, Connection, Framing, Limits, Method, ParseError, Request, RequestParser,
    ResponseHead, Version, reason_phrase, write_refusal, write_response_head, write_text,
};
use crate::future::{Either, race};
use crate::io::{AsyncRead, AsyncWrite};
use crate::net::{Shutdown, TcpStream};
use crate::time::timeout;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

/// The bounds of a [`Server`].
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Bounds of a request's head. More than 16 KiB of head is never accepted.
    pub limits: Limits,
    /// Bytes of a request's body.
    pub body_bytes_max: u64,
    /// How long a connection may be idle between requests. Then it is closed.
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

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code, 200 to 599.
    pub status: u16,
    /// Headers beside those that the server writes: `Content-Type`, `Content-Length`, `Connection`.
    pub headers: Vec<(&'static str, String)>,
    /// The body, plain text.
    pub body: Vec<u8>,
    /// Whether the connection is closed after this.
    pub close: bool,
}

impl Answer {
    /// 200 with this text.
    #[must_use]
    pub fn text(body: Vec<u8>) -> Answer {
        Answer { status: 200, headers: Vec::new(), body, close: false }
    }

    /// A status that refuses, with a reason of one line.
    #[must_use]
    pub fn refusal(status: u16, reason: &str) -> Answer {
        let body = format!("{} {}: {reason}\n", status, reason_phrase(status)).into_bytes();
        Answer { status, headers: Vec::new(), body, close: false }
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
///     Ok(())
/// })?
/// # ; Ok::<(), std::io::Error>(())
/// ```
pub struct Server<H> {
    handler: H,
    options: ServerOptions,
    buffers: BufferPool,
    drain: Drain,
}

/// Unused read buffers that a server keeps.
const FREE_BUFFERS_MAX: usize = 64;

/// Responses that are put together before they are sent.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// What is read of a client that was refused and still sends, so that it reads why: closing with
/// unread bytes would reset the connection and take the answer back.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// How long that is done.
const LINGER: Duration = Duration::from_secs(2);

impl<H, F> Server<H>
where
    H: Fn(&Request<'_>, Vec<u8>) -> F,
    F: Future<Output = Answer>,
{
    /// A server over `handler`, which is given each request and its body.
    pub fn new(options: ServerOptions, handler: H) -> Server<H> {
        let buffers = BufferPool::new(FREE_BUFFERS_MAX);
        Server { handler, options, buffers, drain: Drain::new() }
    }

    /// Serves one connection to its end: that the client closes it, that it is idle too long, that
    /// it sends what is no request, or that the server is drained.
    ///
    /// Cancel safety: dropping it closes the connection; an answer under way is lost.
    ///
    /// # Errors
    /// Those of the stream; `TimedOut` if the client takes no answer.
    pub async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let exchange = Exchange {
            server: self,
            stream,
            input: Input::new(&self.buffers),
            output: Vec::new(),
            ticket: self.drain.ticket(),
        };
        exchange.run().await
    }

    /// Ends connections that are idle, now, and the others after the requests that they are at.
    pub fn drain(&self) {
        self.drain.start();
    }
}

impl<H> std::fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("options", &self.options)
            .field("buffers", &self.buffers)
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

/// One connection.
struct Exchange<'s, H> {
    server: &'s Server<H>,
    stream: TcpStream,
    input: Input<'s>,
    /// Responses that are not sent yet.
    output: Vec<u8>,
    ticket: Ticket<'s>,
}

/// What the next request came to.
enum Next<F> {
    /// It is being answered.
    Answering { answering: F, head: bool, connection: Connection },
    /// It is none.
    Refused(ParseError),
    /// It did not come in time.
    TooSlow,
    /// None will come.
    Over,
}

impl<H, F> Exchange<'_, H>
where
    H: Fn(&Request<'_>, Vec<u8>) -> F,
    F: Future<Output = Answer>,
{
    async fn run(mut self) -> io::Result<()> {
        loop {
            match self.next_request().await? {
                Next::Over => return self.flush().await,
                Next::Refused(error) => {
                    write_refusal(&mut self.output, error);
                    return self.refuse().await;
                }
                Next::TooSlow => {
                    let answer = Answer::refusal(408, "the request took too long");
                    self.write_answer(&answer, false, Connection::Close);
                    return self.refuse().await;
                }
                Next::Answering { answering, head, connection } => {
                    let Some(answer) = self.answer(answering).await? else {
                        return Ok(());
                    };
                    let last = answer.close || self.server.drain.is_started();
                    let connection = if last { Connection::Close } else { connection };
                    self.write_answer(&answer, head, connection);
                    if connection == Connection::Close {
                        // Unread requests would turn the close into a reset.
                        let all_read = self.input.is_empty();
                        return if all_read { self.flush().await } else { self.refuse().await };
                    }
                    if self.output.len() > OUTPUT_BYTES_MAX {
                        self.flush().await?;
                    }
                }
            }
        }
    }

    /// Waits for the answer. None if the client went away meanwhile.
    async fn answer(&mut self, answering: F) -> io::Result<Option<Answer>> {
        let mut answering = pin!(answering);
        if let Some(answer) = poll_once(answering.as_mut()).await {
            return Ok(Some(answer));
        }
        self.flush().await?;
        self.input.release();
        self.output = Vec::new();
        match race(answering.as_mut(), self.stream.closed()).await {
            Either::First(answer) => Ok(Some(answer)),
            Either::Second(Ok(())) => Ok(None),
            // The kernel can't watch the stream: then the client's going is noticed later.
            Either::Second(Err(_)) => Ok(Some(answering.await)),
        }
    }

    /// Waits for a whole request and hands it to the handler.
    async fn next_request(&mut self) -> io::Result<Next<F>> {
        let mut parser = RequestParser::new();
        if !self.input.is_empty() {
            // Requests that came together are answered together.
            match self.parse(&mut parser) {
                Parsed::Incomplete => {}
                parsed => return self.take_request(parsed).await,
            }
        }
        self.flush().await?;
        if self.input.is_empty() && !self.wait_for_first_byte().await? {
            return Ok(Next::Over);
        }
        let header_timeout = self.server.options.header_timeout;
        let parsed = timeout(header_timeout, self.rest_of_head(&mut parser)).await;
        match parsed {
            Ok(parsed) => self.take_request(parsed?).await,
            Err(_) => Ok(Next::TooSlow),
        }
    }

    /// Waits without a buffer until there is something to read; false if the connection is to end.
    async fn wait_for_first_byte(&mut self) -> io::Result<bool> {
        self.input.release();
        self.output = Vec::new();
        let ticket = &mut self.ticket;
        let idle = race(self.stream.readable(), poll_fn(|cx| ticket.poll_started(cx)));
        match timeout(self.server.options.idle_timeout, idle).await {
            Ok(Either::First(readable)) => readable.map(|()| true),
            Ok(Either::Second(())) | Err(_) => Ok(false),
        }
    }

    /// Reads until the head is whole, or wrong.
    async fn rest_of_head(&mut self, parser: &mut RequestParser) -> io::Result<Parsed> {
        loop {
            if self.read_some().await? == 0 {
                // Whoever closes inside a request will not read why that is wrong.
                return Ok(Parsed::End);
            }
            match self.parse(parser) {
                Parsed::Incomplete => {}
                parsed => return Ok(parsed),
            }
        }
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        let count = self.stream.read(self.input.room()).await?;
        self.input.filled(count);
        Ok(count)
    }

    fn parse(&self, parser: &mut RequestParser) -> Parsed {
        match parser.parse(self.input.unread(), &self.server.options.limits) {
            Ok(None) => Parsed::Incomplete,
            Ok(Some(request)) => Parsed::Head {
                bytes: request.head_bytes,
                framing: request.framing,
                expects_continue: request.expects_continue,
            },
            Err(error) => Parsed::Wrong(error),
        }
    }

    /// Reads the body, if there is one, and asks the handler.
    async fn take_request(&mut self, parsed: Parsed) -> io::Result<Next<F>> {
        let (bytes, framing, expects_continue) = match parsed {
            Parsed::Head { bytes, framing, expects_continue } => (bytes, framing, expects_continue),
            Parsed::Wrong(error) => return Ok(Next::Refused(error)),
            Parsed::Incomplete | Parsed::End => return Ok(Next::Over),
        };
        let body = if framing.is_empty() {
            Vec::new()
        } else {
            let time = self.server.options.header_timeout;
            match timeout(time, self.read_body(bytes, framing, expects_continue)).await {
                Ok(Ok(Ok(body))) => body,
                Ok(Ok(Err(ParseError::UnexpectedEnd))) => return Ok(Next::Over),
                Ok(Ok(Err(error))) => return Ok(Next::Refused(error)),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(Next::TooSlow),
            }
        };
        // The head is still where it was: the body was read behind it.
        let mut parser = RequestParser::new();
        let request = match parser.parse(self.input.unread(), &self.server.options.limits) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(Next::Over),
            Err(error) => return Ok(Next::Refused(error)),
        };
        let head = request.method == Method::Head;
        let connection = match (request.keep_alive, request.version) {
            (false, _) => Connection::Close,
            (true, Version::Http10) => Connection::KeepAlive,
            (true, Version::Http11) => Connection::Unsaid,
        };
        let answering = (self.server.handler)(&request, body);
        self.input.consume(bytes);
        Ok(Next::Answering { answering, head, connection })
    }

    /// Reads a body behind its head, which stays in the buffer.
    async fn read_body(
        &mut self,
        head_bytes: usize,
        framing: Framing,
        expects_continue: bool,
    ) -> io::Result<Result<Vec<u8>, ParseError>> {
        let mut body = Vec::new();
        let mut decoder = match BodyDecoder::new(framing, self.server.options.body_bytes_max) {
            Ok(decoder) => decoder,
            Err(error) => return Ok(Err(error)),
        };
        let mut owes_continue = expects_continue;
        loop {
            loop {
                let decoded = match decoder.decode(&self.input.unread()[head_bytes..]) {
                    Ok(decoded) => decoded,
                    Err(error) => return Ok(Err(error)),
                };
                body.extend_from_slice(decoded.data);
                let (consumed, done) = (decoded.consumed, decoded.done);
                self.input.cut_out(head_bytes, consumed);
                if done {
                    return Ok(Ok(body));
                }
                if consumed == 0 {
                    break;
                }
            }
            if std::mem::take(&mut owes_continue) {
                self.output.extend_from_slice(CONTINUE);
            }
            self.flush().await?;
            if self.read_some().await? == 0 {
                return Ok(Err(ParseError::UnexpectedEnd));
            }
        }
    }

    fn write_answer(&mut self, answer: &Answer, head: bool, connection: Connection) {
        let is_plain = answer.status == 200 && answer.headers.is_empty();
        if is_plain && !head {
            write_text(&mut self.output, connection, &answer.body);
            return;
        }
        let mut headers = vec![("Content-Type", "text/plain; charset=utf-8")];
        headers.extend(answer.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let fields = ResponseHead { status: answer.status, headers: &headers, connection };
        let framing = Framing::Length(answer.body.len() as u64);
        match write_response_head(&mut self.output, &fields, framing) {
            Ok(()) if head => {}
            Ok(()) => self.output.extend_from_slice(&answer.body),
            // The handler asked for what can't be said in HTTP.
            Err(_) => {
                let sorry = Answer::refusal(500, "the answer could not be written");
                let fields = ResponseHead { status: 500, headers: &[], connection };
                let framing = Framing::Length(sorry.body.len() as u64);
                if write_response_head(&mut self.output, &fields, framing).is_ok() && !head {
                    self.output.extend_from_slice(&sorry.body);
                }
            }
        }
    }

    /// Sends what is written.
    async fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.output.len() {
            let sending = self.stream.write(&self.output[sent..]);
            sent += timeout(self.server.options.send_timeout, sending).await??;
        }
        self.output.clear();
        Ok(())
    }

    /// Sends what is written, and ends the connection so that the client can read it.
    async fn refuse(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown(Shutdown::Write)?;
        let _ = timeout(LINGER, async {
            let mut left = LINGER_BYTES_MAX;
            loop {
                self.input.consume(self.input.unread().len());
                match self.read_some().await {
                    Ok(count) if count > 0 && count < left => left -= count,
                    _ => return,
                }
            }
        })
        .await;
        Ok(())
    }
}

/// What is at the front of the input.
enum Parsed {
    Incomplete,
    Head { bytes: usize, framing: Framing, expects_continue: bool },
    Wrong(ParseError),
    End,
}

/// Polls once: the output, if it is there.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

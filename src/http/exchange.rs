//! One connection of a server: requests come in, answers go out.
//!
//! ```text
//!            first bytes            whole head             whole body
//!    idle ---------------> head ------------------> body --------------> answering ---.
//!    ^  |                   |                        |                       |        |
//!    |  |                   `-- wrong or too slow ---'                       | client |
//!    |  | end, idle too              v                                       | gone   |
//!    |  | long, drained           refused, lingers                           |        |
//!    |  v                            v                                       v        |
//!    | closed                      closed                                  closed     |
//!    `--------------------------------------------------------------------------------'
//! ```
//!
//! A server holds one of these for each connection, so it is kept small: what waits holds no
//! buffer, and waits are polls of `self` rather than futures inside futures.

use super::buffer::Input;
use super::drain::Ticket;
use super::server::{Answer, Server};
use super::{
    BodyDecoder, CONTINUE, Connection, Framing, Method, ParseError, Request, RequestParser,
    ResponseHead, Version, write_response, write_response_head, write_text,
};
use crate::io::{AsyncRead, AsyncWrite};
use crate::net::{Shutdown, TcpStream};
use crate::time::{Sleep, sleep};
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Responses that are put together before they are sent.
pub(super) const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// What is read of a client that was refused and still sends, so that it reads why: closing with
/// unread bytes would reset the connection and take the answer back.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// How long that is done.
const LINGER: Duration = Duration::from_secs(2);

/// One connection.
pub(super) struct Exchange<'s, H> {
    server: &'s Server<H>,
    stream: TcpStream,
    input: Input<'s>,
    /// Responses that are not sent yet.
    output: Vec<u8>,
    ticket: Ticket<'s>,
}

/// How a request is to be answered.
#[derive(Clone, Copy)]
struct Manner {
    /// Without the body.
    head: bool,
    connection: Connection,
}

/// What the next request came to.
enum Next {
    /// It is being answered.
    Answering(Manner),
    /// It is none.
    Refused(ParseError),
    /// It did not come in time.
    TooSlow,
    /// None will come.
    Over,
}

/// What is at the front of the input.
enum Front {
    /// Too little to tell.
    Incomplete,
    /// A head, with a body behind it that has to be read first.
    Head(Head),
    Next(Next),
}

struct Head {
    bytes: usize,
    framing: Framing,
    expects_continue: bool,
}

impl<'s, H, F> Exchange<'s, H>
where
    H: Fn(&Request<'_>, Vec<u8>) -> F,
    F: Future<Output = Answer>,
{
    pub(super) fn new(server: &'s Server<H>, stream: TcpStream) -> Exchange<'s, H> {
        let (input, ticket) = (Input::new(&server.buffers), server.drain.ticket());
        Exchange { server, stream, input, output: Vec::new(), ticket }
    }

    pub(super) async fn run(&mut self) -> io::Result<()> {
        let mut answering = pin!(None);
        loop {
            let manner = match self.next_request(answering.as_mut()).await? {
                Next::Answering(manner) => manner,
                Next::Over => return Ok(()),
                Next::Refused(error) => {
                    self.write_refusal(error.status(), error.reason());
                    return self.refuse().await;
                }
                Next::TooSlow => {
                    self.write_refusal(408, "the request took too long");
                    return self.refuse().await;
                }
            };
            let Some(answer) = self.answer(answering.as_mut()).await? else {
                return Ok(());
            };
            answering.set(None);
            if self.write_answer(answer, manner) == Connection::Close {
                return self.finish().await;
            }
            if self.output.len() > OUTPUT_BYTES_MAX {
                self.flush().await?;
            }
        }
    }

    /// Waits for a whole request, and puts the future of its answer into `answering`.
    async fn next_request(&mut self, mut answering: Pin<&mut Option<F>>) -> io::Result<Next> {
        let mut parser = RequestParser::new();
        let mut patience = None;
        let time = self.server.options.header_timeout;
        loop {
            if !self.input.is_empty() {
                // Requests that came together are answered together: nothing is sent before.
                match self.begin(&mut parser, answering.as_mut()) {
                    Front::Next(next) => return Ok(next),
                    Front::Head(head) => {
                        return self.request_with_body(head, &mut patience, answering).await;
                    }
                    Front::Incomplete => {}
                }
            }
            self.flush().await?;
            let count = if self.input.is_empty() {
                self.first_bytes().await?
            } else {
                match within(&mut patience, time, |cx| self.poll_fill(cx)).await {
                    Some(count) => count?,
                    None => return Ok(Next::TooSlow),
                }
            };
            if count == 0 {
                // Whoever closes inside a request will not read why that is wrong.
                return Ok(Next::Over);
            }
        }
    }

    /// Asks the handler, if all of a request is there.
    fn begin(&mut self, parser: &mut RequestParser, mut answering: Pin<&mut Option<F>>) -> Front {
        let request = match parser.parse(self.input.unread(), &self.server.options.limits) {
            Ok(Some(request)) => request,
            Ok(None) => return Front::Incomplete,
            Err(error) => return Front::Next(Next::Refused(error)),
        };
        let bytes = request.head_bytes;
        if !request.framing.is_empty() {
            let (framing, expects_continue) = (request.framing, request.expects_continue);
            return Front::Head(Head { bytes, framing, expects_continue });
        }
        answering.set(Some((self.server.handler)(&request, Vec::new())));
        let manner = Manner::of(&request);
        self.input.consume(bytes);
        Front::Next(Next::Answering(manner))
    }

    /// Reads the body, and asks the handler.
    async fn request_with_body(
        &mut self,
        head: Head,
        patience: &mut Option<Sleep>,
        mut answering: Pin<&mut Option<F>>,
    ) -> io::Result<Next> {
        let body = match self.read_body(head, patience).await? {
            Ok(body) => body,
            Err(next) => return Ok(next),
        };
        // The head is still where it was: the body was read behind it, and cut out.
        let mut parser = RequestParser::new();
        let request = match parser.parse(self.input.unread(), &self.server.options.limits) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(Next::Over),
            Err(error) => return Ok(Next::Refused(error)),
        };
        answering.set(Some((self.server.handler)(&request, body)));
        let (bytes, manner) = (request.head_bytes, Manner::of(&request));
        self.input.consume(bytes);
        Ok(Next::Answering(manner))
    }

    /// Reads a body behind its head, which stays in the buffer.
    async fn read_body(
        &mut self,
        head: Head,
        patience: &mut Option<Sleep>,
    ) -> io::Result<Result<Vec<u8>, Next>> {
        let options = &self.server.options;
        let mut body = Vec::new();
        let mut decoder = match BodyDecoder::new(head.framing, options.body_bytes_max) {
            Ok(decoder) => decoder,
            Err(error) => return Ok(Err(Next::Refused(error))),
        };
        let mut owes_continue = head.expects_continue;
        loop {
            match self.decode_body(head.bytes, &mut decoder, &mut body) {
                Ok(()) if decoder.is_done() => return Ok(Ok(body)),
                Ok(()) => {}
                Err(error) => return Ok(Err(Next::Refused(error))),
            }
            if mem::take(&mut owes_continue) {
                self.write(CONTINUE);
            }
            self.flush().await?;
            match within(patience, options.header_timeout, |cx| self.poll_fill(cx)).await {
                Some(Ok(0)) => return Ok(Err(Next::Over)),
                Some(count) => count?,
                None => return Ok(Err(Next::TooSlow)),
            };
        }
    }

    /// Moves what is there of the body out of the input.
    fn decode_body(
        &mut self,
        head_bytes: usize,
        decoder: &mut BodyDecoder,
        body: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        let mut rest = &self.input.unread()[head_bytes..];
        let mut consumed = 0;
        while !decoder.is_done() && !rest.is_empty() {
            let decoded = decoder.decode(rest)?;
            body.extend_from_slice(decoded.data);
            consumed += decoded.consumed;
            rest = &rest[decoded.consumed..];
        }
        // Once for all pieces, or a body in tiny chunks would be moved again for each.
        self.input.cut_out(head_bytes, consumed);
        Ok(())
    }

    /// Waits for the answer. None if the client went away meanwhile.
    async fn answer(&mut self, mut answering: Pin<&mut Option<F>>) -> io::Result<Option<Answer>> {
        let first = poll_fn(|cx| Poll::Ready(poll_some(answering.as_mut(), cx))).await;
        if let Poll::Ready(answer) = first {
            return Ok(Some(answer));
        }
        self.flush().await?;
        self.rest();
        Ok(poll_fn(|cx| {
            if let Poll::Ready(answer) = poll_some(answering.as_mut(), cx) {
                return Poll::Ready(Some(answer));
            }
            match self.stream.poll_closed(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(None),
                // If the kernel can't watch the stream the client's going is noticed later.
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
            }
        })
        .await)
    }

    /// Waits for the first bytes of a request without a buffer. 0 if the connection is to end.
    async fn first_bytes(&mut self) -> io::Result<usize> {
        self.rest();
        let time = self.server.options.idle_timeout;
        let mut patience = None;
        let filled = within(&mut patience, time, |cx| {
            // What came before the drain is answered, also on a connection that is not yet watched:
            // that one is read without knowing.
            let drained = self.server.drain.is_started();
            if drained || self.stream.poll_readable(cx)?.is_ready() {
                if let Poll::Ready(filled) = self.poll_fill(cx) {
                    return Poll::Ready(filled);
                }
            }
            self.ticket.poll_started(cx).map(|()| Ok(0))
        });
        filled.await.unwrap_or(Ok(0))
    }

    /// Reads what is there. While there is nothing only unread bytes are kept, no buffer.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let filled = self.stream.poll_read(cx, self.input.room());
        match filled {
            Poll::Ready(Ok(count)) => self.input.filled(count),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.input.release(),
        }
        filled
    }

    /// Gives the buffers back for the time of a wait.
    fn rest(&mut self) {
        self.input.release();
        self.server.keep_output(mem::take(&mut self.output));
    }

    fn write(&mut self, bytes: &[u8]) {
        self.output().extend_from_slice(bytes);
    }

    fn output(&mut self) -> &mut Vec<u8> {
        if self.output.capacity() == 0 {
            self.output = self.server.spare_output.take();
        }
        &mut self.output
    }

    /// Writes an answer, and says whether the connection persists.
    fn write_answer(&mut self, answer: Answer, manner: Manner) -> Connection {
        let last = answer.close || self.server.drain.is_started();
        let connection = if last { Connection::Close } else { manner.connection };
        let is_plain = answer.status == 200 && answer.headers.is_empty();
        if is_plain && !manner.head {
            write_text(self.output(), connection, &answer.body);
            return connection;
        }
        let manner = Manner { connection, ..manner };
        if !self.write_whole(&answer, manner) {
            // The handler asked for what can't be said in HTTP.
            self.write_whole(&Answer::refusal(500, "the answer could not be written"), manner);
        }
        connection
    }

    fn write_whole(&mut self, answer: &Answer, manner: Manner) -> bool {
        let has =
            |wanted: &str| answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        // The connection is the server's own to speak for.
        if !(200..=599).contains(&answer.status) || has("Connection") {
            return false;
        }
        let mut headers = Vec::new();
        if !has("Content-Type") {
            headers.push(("Content-Type", "text/plain; charset=utf-8"));
        }
        headers.extend(answer.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let Manner { connection, .. } = manner;
        let head = ResponseHead { status: answer.status, headers: &headers, connection };
        let output = self.output();
        let written = match (manner.head, answer.body.len()) {
            (true, 1..) => {
                let framing = Framing::Length(answer.body.len() as u64);
                write_response_head(output, &head, framing)
            }
            _ => write_response(output, &head, &answer.body),
        };
        written.is_ok()
    }

    /// Writes why a request is refused whose end is not known.
    fn write_refusal(&mut self, status: u16, reason: &str) {
        let head = self.input.unread().starts_with(b"HEAD ");
        let manner = Manner { head, connection: Connection::Close };
        self.write_answer(Answer::refusal(status, reason), manner);
    }

    /// Sends what is written.
    async fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.output.len() {
            let time = self.server.options.send_timeout;
            let sending = |cx: &mut Context<'_>| self.stream.poll_write(cx, &self.output[sent..]);
            sent += within(&mut None, time, sending).await.ok_or(io::ErrorKind::TimedOut)??;
        }
        self.output.clear();
        Ok(())
    }

    /// Sends the last answer, and ends the connection. Unread bytes would turn the close into a
    /// reset, and take back what the client has not read yet.
    async fn finish(&mut self) -> io::Result<()> {
        self.flush().await?;
        let more = poll_fn(|cx| {
            // What the last look at the kernel told costs no call.
            let known = self.stream.poll_readable(cx).is_ready();
            let read = if known { self.poll_fill(cx) } else { Poll::Pending };
            Poll::Ready(matches!(read, Poll::Ready(Ok(count)) if count > 0))
        });
        if more.await || !self.input.is_empty() { self.refuse().await } else { Ok(()) }
    }

    /// Sends what is written, and ends the connection so that the client can read it.
    async fn refuse(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown(Shutdown::Write)?;
        let mut left = LINGER_BYTES_MAX;
        within(&mut None, LINGER, |cx| {
            loop {
                self.input.consume(self.input.unread().len());
                match ready!(self.poll_fill(cx)) {
                    Ok(count) if count > 0 && count < left => left -= count,
                    _ => return Poll::Ready(()),
                }
            }
        })
        .await;
        Ok(())
    }
}

impl Manner {
    fn of(request: &Request<'_>) -> Manner {
        let connection = match (request.keep_alive, request.version) {
            (false, _) => Connection::Close,
            (true, Version::Http10) => Connection::KeepAlive,
            (true, Version::Http11) => Connection::Unsaid,
        };
        Manner { head: request.method == Method::Head, connection }
    }
}

/// Polls a future that is there.
fn poll_some<F: Future>(future: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<F::Output> {
    future.as_pin_mut().map_or(Poll::Pending, |future| future.poll(cx))
}

/// Waits for what `poll` waits for, for so long in all under one `patience`; None after that.
///
/// The time begins at the first wait: what needs none costs no look at the clock.
async fn within<T>(
    patience: &mut Option<Sleep>,
    time: Duration,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    poll_fn(|cx| match poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            let patience = patience.get_or_insert_with(|| sleep(time));
            Pin::new(patience).poll(cx).map(|()| None)
        }
    })
    .await
}

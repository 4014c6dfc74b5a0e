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
//! The common round, of requests that come whole and answers that the kernel takes at once, is one
//! function that is polled ([`Exchange::poll_rounds`]). What takes several waits is awaited apart
//! from it.

use super::answer::{Answer, Manner};
use super::request::common_request;
use super::server::Server;
use super::wire::{Head, OUTPUT_BYTES_MAX, Wire};
use super::{Connection, ParseError, Request, RequestParser};
use crate::net::TcpStream;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

/// One connection.
pub(super) struct Exchange<'s, H> {
    server: &'s Server<H>,
    wire: Wire<'s>,
    /// Of the request that is being answered.
    manner: Manner,
}

/// What comes next for a connection, when it is not the common round.
pub(super) enum Apart {
    /// Nothing: the request that came is being answered.
    Answering,
    /// What is to be sent has to wait.
    Sending,
    /// A request has a body, or has only come in part.
    InParts,
    /// What came is no request.
    Refused(ParseError),
    /// A request did not come in time.
    TooSlow,
    /// The last answer is written.
    Last,
    /// No further request will come, or nobody waits for the answer.
    Over,
}

impl<H, F> Server<H>
where
    H: Fn(&Request<'_>, Vec<u8>) -> F,
    F: Future<Output = Answer>,
{
    /// Asks the handler, whose answer will be what `answering` comes to.
    ///
    /// Of this there is one, into which the compiler can put the handler.
    #[inline(never)]
    fn ask(
        &self,
        request: &Request<'_>,
        body: Vec<u8>,
        mut answering: Pin<&mut Option<F>>,
    ) -> Manner {
        answering.set(Some((self.handler)(request, body)));
        Manner::of(request)
    }
}

impl<'s, H, F> Exchange<'s, H>
where
    H: Fn(&Request<'_>, Vec<u8>) -> F,
    F: Future<Output = Answer>,
{
    pub(super) fn new(server: &'s Server<H>, stream: TcpStream) -> Exchange<'s, H> {
        Exchange { server, wire: Wire::new(&server.shared, stream), manner: Manner::default() }
    }

    #[expect(clippy::manual_async_fn, reason = "an `async fn` holds what it is given twice")]
    pub(super) fn run(mut self) -> impl Future<Output = io::Result<()>> {
        async move {
            let mut answering = pin!(None);
            loop {
                let apart = poll_fn(|cx| self.poll_rounds(cx, answering.as_mut())).await?;
                let apart = match apart {
                    // Boxed: connections that wait for something else need no room for it.
                    Apart::InParts => Box::pin(self.in_parts(answering.as_mut())).await?,
                    apart => apart,
                };
                match apart {
                    Apart::Answering | Apart::InParts => {}
                    Apart::Sending => self.wire.flush().await?,
                    Apart::Last => return self.wire.finish().await,
                    Apart::Over => return Ok(()),
                    Apart::Refused(error) => {
                        self.write_refusal(error.status(), error.reason());
                        return self.wire.linger().await;
                    }
                    Apart::TooSlow => {
                        self.write_refusal(408, "the request took too long");
                        return self.wire.linger().await;
                    }
                }
            }
        }
    }

    /// Takes requests and answers them, until there is something that takes a wait of its own.
    fn poll_rounds(
        &mut self,
        cx: &mut Context<'_>,
        mut answering: Pin<&mut Option<F>>,
    ) -> Poll<io::Result<Apart>> {
        loop {
            if let Some(future) = answering.as_mut().as_pin_mut() {
                let Poll::Ready(answer) = future.poll(cx) else {
                    if !self.wire.try_flush(cx)? {
                        return Poll::Ready(Ok(Apart::Sending));
                    }
                    return self.wire.poll_gone(cx).map(|()| Ok(Apart::Over));
                };
                answering.set(None);
                if self.write_answer(answer) == Connection::Close {
                    return Poll::Ready(Ok(Apart::Last));
                }
            }
            // Requests that came together are answered together: nothing is sent before.
            if !self.wire.input.is_empty() && self.wire.output_bytes() <= OUTPUT_BYTES_MAX {
                match self.begin(answering.as_mut()) {
                    Apart::Answering => continue,
                    apart => return Poll::Ready(Ok(apart)),
                }
            }
            if self.wire.output_bytes() > 0 && !self.wire.try_flush(cx)? {
                return Poll::Ready(Ok(Apart::Sending));
            }
            // Whoever closes inside a request will not read why that is wrong.
            if self.wire.input.is_empty() && ready!(self.wire.poll_first_bytes(cx))? == 0 {
                return Poll::Ready(Ok(Apart::Over));
            }
        }
    }

    /// Asks the handler, if all of a request is there.
    #[inline]
    fn begin(&mut self, answering: Pin<&mut Option<F>>) -> Apart {
        let shared = &self.server.shared;
        let (unread, limits) = (self.wire.input.unread(), &shared.options.limits);
        let head_bytes = match common_request(unread, limits) {
            Some(request) if request.framing.is_empty() => {
                self.manner = self.server.ask(&request, shared.take_body(), answering);
                request.head_bytes
            }
            Some(_) => return Apart::InParts,
            None => match RequestParser::new().parse_any(unread, limits) {
                Ok(Some(request)) if request.framing.is_empty() => {
                    self.manner = self.server.ask(&request, shared.take_body(), answering);
                    request.head_bytes
                }
                Ok(_) => return Apart::InParts,
                Err(error) => return Apart::Refused(error),
            },
        };
        self.wire.input.consume(head_bytes);
        Apart::Answering
    }

    /// Waits for the whole of a request that has begun to come, and asks the handler.
    async fn in_parts(&mut self, answering: Pin<&mut Option<F>>) -> io::Result<Apart> {
        let options = &self.server.shared.options;
        let (mut parser, mut patience) = (RequestParser::new(), None);
        let head = loop {
            match parser.parse(self.wire.input.unread(), &options.limits) {
                Ok(Some(request)) => break Head::of(&request),
                Ok(None) => {}
                Err(error) => return Ok(Apart::Refused(error)),
            }
            match self.wire.fill(&mut patience).await? {
                Some(0) => return Ok(Apart::Over),
                Some(_) => {}
                None => return Ok(Apart::TooSlow),
            }
        };
        let body = match self.wire.read_body(head, &mut patience).await? {
            Ok(body) => body,
            Err(apart) => return Ok(apart),
        };
        // The head is still where it was: the body was read behind it, and cut out.
        let request = match parser.parse(self.wire.input.unread(), &options.limits) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(Apart::Over),
            Err(error) => return Ok(Apart::Refused(error)),
        };
        self.manner = self.server.ask(&request, body, answering);
        let head_bytes = request.head_bytes;
        self.wire.input.consume(head_bytes);
        Ok(Apart::Answering)
    }

    /// Writes an answer, and says whether the connection persists.
    #[inline]
    fn write_answer(&mut self, answer: Answer) -> Connection {
        if answer.close || self.server.shared.drain.is_started() {
            self.manner.connection = Connection::Close;
        }
        answer.write(self.wire.output(), self.manner);
        self.server.shared.keep_body(answer.body);
        self.manner.connection
    }

    /// Writes why a request is refused whose end is not known.
    fn write_refusal(&mut self, status: u16, reason: &str) {
        self.manner.head = self.wire.input.unread().starts_with(b"HEAD ");
        self.manner.connection = Connection::Close;
        self.write_answer(Answer::refusal(status, reason));
    }
}

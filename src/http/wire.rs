//! A server's connection below its requests: bytes that come, bytes that go, and how long to wait.
//!
//! A server holds one of these for each connection, so it is kept small: what waits holds no
//! buffer.

use super::buffer::{BUFFER_BYTES, Input};
use super::drain::{Drain, Ticket};
use super::exchange::Apart;
use super::server::ServerOptions;
use super::{BodyDecoder, CONTINUE, Framing, ParseError, Request};
use crate::io::{AsyncRead, AsyncWrite, BufferPool};
use crate::net::{Shutdown, TcpStream};
use crate::time::{Instant, Sleep, sleep};
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Responses that are put together before they are sent.
pub(super) const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// What is read of a client that was refused and still sends, so that it reads why: closing with
/// unread bytes would reset the connection and take the answer back.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// How long that is done.
const LINGER: Duration = Duration::from_secs(2);

/// Unused buffers that a server keeps.
const FREE_BUFFERS_MAX: usize = 64;

/// Bytes of a body whose memory is used again: what is small comes often.
const SPARE_BODY_BYTES_MAX: usize = 1024;

/// The idle time is counted in so many parts, so that a request sets no timer and reads no clock.
const IDLE_PARTS: u8 = 4;

/// What the connections of a server share.
pub(super) struct Shared {
    pub(super) options: ServerOptions,
    pub(super) buffers: BufferPool,
    pub(super) drain: Drain,
    /// An empty one with room, for the connection that writes next.
    spare_output: Cell<Vec<u8>>,
    /// The same, for the body that comes or is answered next.
    spare_body: Cell<Vec<u8>>,
}

impl Shared {
    pub(super) fn new(options: ServerOptions) -> Shared {
        let buffers = BufferPool::new(BUFFER_BYTES, FREE_BUFFERS_MAX);
        let (spare_output, spare_body) = (Cell::default(), Cell::default());
        Shared { options, buffers, drain: Drain::new(), spare_output, spare_body }
    }

    /// An empty body, with room if there is one to be used again.
    #[inline]
    pub(super) fn take_body(&self) -> Vec<u8> {
        self.spare_body.take()
    }

    /// Takes a body to be used again, unless that would hold much.
    #[inline]
    pub(super) fn keep_body(&self, mut body: Vec<u8>) {
        if (1..=SPARE_BODY_BYTES_MAX).contains(&body.capacity()) {
            body.clear();
            self.spare_body.set(body);
        }
    }

    #[inline]
    fn keep_output(&self, mut output: Vec<u8>) {
        if output.capacity() <= 2 * OUTPUT_BYTES_MAX {
            output.clear();
            self.spare_output.set(output);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("options", &self.options)
            .field("buffers", &self.buffers)
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

/// The head of a request that may have a body.
pub(super) struct Head {
    bytes: usize,
    framing: Framing,
    expects_continue: bool,
}

impl Head {
    pub(super) fn of(request: &Request<'_>) -> Head {
        let (framing, expects_continue) = (request.framing, request.expects_continue);
        Head { bytes: request.head_bytes, framing, expects_continue }
    }
}

/// One connection.
pub(super) struct Wire<'s> {
    shared: &'s Shared,
    stream: TcpStream,
    pub(super) input: Input,
    /// Responses that are not sent yet.
    output: Vec<u8>,
    ticket: Ticket<'s>,
    /// The end of the current part of the idle time; it goes on through requests.
    idle: Option<Sleep>,
    /// Parts that began since the last byte came, or since the timer was set.
    idle_parts: u8,
    /// Whether a wait for first bytes has begun.
    waits: bool,
}

impl<'s> Wire<'s> {
    pub(super) fn new(shared: &'s Shared, stream: TcpStream) -> Wire<'s> {
        let (input, ticket) = (Input::default(), shared.drain.ticket());
        let (output, idle) = (Vec::new(), None);
        Wire { shared, stream, input, output, ticket, idle, idle_parts: 0, waits: false }
    }

    /// Waits for the first bytes of a request without a buffer. 0 if the connection is to end.
    pub(super) fn poll_first_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // What came before the drain is answered, also on a connection that is not yet watched:
        // that one is read without knowing. Who was woken is so mostly for bytes.
        let try_first = mem::replace(&mut self.waits, true) || self.shared.drain.is_started();
        if try_first || self.stream.poll_readable(cx)?.is_ready() {
            if let Poll::Ready(filled) = self.poll_fill(cx) {
                self.idle_parts = 0;
                self.waits = false;
                return Poll::Ready(filled);
            }
        }
        self.input.release(&self.shared.buffers);
        if self.ticket.poll_started(cx).is_ready() {
            return Poll::Ready(Ok(self.last_bytes()));
        }
        self.poll_idle_too_long(cx).map(|()| Ok(0))
    }

    /// What came before the drain, but is not known of: the kernel was not looked at since. 0 if
    /// there is nothing.
    #[cold]
    fn last_bytes(&mut self) -> usize {
        let read = self.stream.try_read_into(self.input.room(&self.shared.buffers));
        if let Ok(Some(count @ 1..)) = read {
            self.waits = false;
            return count;
        }
        self.input.release(&self.shared.buffers);
        0
    }

    /// Waits until no byte has come for the idle timeout, or up to a part of it longer.
    fn poll_idle_too_long(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let part = || self.shared.options.idle_timeout / u32::from(IDLE_PARTS);
        let idle = self.idle.get_or_insert_with(|| {
            self.idle_parts = 1;
            sleep(part())
        });
        loop {
            ready!(Pin::new(&mut *idle).poll(cx));
            if self.idle_parts >= IDLE_PARTS {
                return Poll::Ready(());
            }
            self.idle_parts += 1;
            idle.reset(Instant::now() + part());
        }
    }

    /// Reads what is there. While there is nothing only unread bytes are kept, no buffer.
    #[inline]
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let filled = self.stream.poll_read_into(cx, self.input.room(&self.shared.buffers));
        if filled.is_pending() {
            self.input.release(&self.shared.buffers);
        }
        filled
    }

    /// Waits until the client goes away, for the time that an answer takes.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.input.release(&self.shared.buffers);
        // It would wake an answer for nothing, and takes room.
        self.idle = None;
        match self.stream.poll_closed(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            // If the kernel can't watch the stream the client's going is noticed later.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// Where responses are written to, to be sent together.
    #[inline]
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        if self.output.capacity() == 0 {
            self.output = self.shared.spare_output.take();
        }
        &mut self.output
    }

    #[inline]
    pub(super) fn output_bytes(&self) -> usize {
        self.output.len()
    }

    /// Sends what is written, and says whether the kernel took all of it at once; the rest is left
    /// to [`flush`](Wire::flush), which has patience.
    #[inline(always)]
    pub(super) fn try_flush(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.output.is_empty() {
            return Ok(true);
        }
        let Poll::Ready(sent) = self.stream.poll_write(cx, &self.output) else { return Ok(false) };
        let sent = sent?;
        if sent < self.output.len() {
            self.output.drain(..sent);
            return Ok(false);
        }
        self.shared.keep_output(mem::take(&mut self.output));
        Ok(true)
    }

    /// Sends what is written.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.output.len() {
            let time = self.shared.options.send_timeout;
            let sending = |cx: &mut Context<'_>| self.stream.poll_write(cx, &self.output[sent..]);
            sent += within(&mut None, time, sending).await.ok_or(io::ErrorKind::TimedOut)??;
        }
        if sent > 0 {
            self.shared.keep_output(mem::take(&mut self.output));
        }
        Ok(())
    }

    /// Sends what is written and waits for more of a request, for so long in all under one
    /// `patience`. How many bytes came, 0 at the end; None after that time.
    pub(super) async fn fill(&mut self, patience: &mut Option<Sleep>) -> io::Result<Option<usize>> {
        self.flush().await?;
        let time = self.shared.options.header_timeout;
        within(patience, time, |cx| self.poll_fill(cx)).await.transpose()
    }

    /// Reads a body behind its head, which stays in the input.
    pub(super) async fn read_body(
        &mut self,
        head: Head,
        patience: &mut Option<Sleep>,
    ) -> io::Result<Result<Vec<u8>, Apart>> {
        let mut body = self.shared.take_body();
        let body_bytes_max = self.shared.options.body_bytes_max;
        let mut decoder = match BodyDecoder::new(head.framing, body_bytes_max) {
            Ok(decoder) => decoder,
            Err(error) => return Ok(Err(Apart::Refused(error))),
        };
        let mut owes_continue = head.expects_continue;
        loop {
            match self.decode_body(head.bytes, &mut decoder, &mut body) {
                Ok(()) if decoder.is_done() => return Ok(Ok(body)),
                Ok(()) => {}
                Err(error) => return Ok(Err(Apart::Refused(error))),
            }
            if mem::take(&mut owes_continue) {
                self.output().extend_from_slice(CONTINUE);
            }
            match self.fill(patience).await? {
                Some(0) => return Ok(Err(Apart::Over)),
                Some(_) => {}
                None => return Ok(Err(Apart::TooSlow)),
            }
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

    /// Sends the last answer, and ends the connection. Unread bytes would turn the close into a
    /// reset, and take back what the client has not read yet.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.flush().await?;
        let more = poll_fn(|cx| {
            // What the last look at the kernel told costs no call.
            let known = self.stream.poll_readable(cx).is_ready();
            let read = if known { self.poll_fill(cx) } else { Poll::Pending };
            Poll::Ready(matches!(read, Poll::Ready(Ok(count)) if count > 0))
        });
        if more.await || !self.input.is_empty() { self.linger().await } else { Ok(()) }
    }

    /// Sends what is written, and ends the connection so that the client can read it.
    pub(super) async fn linger(&mut self) -> io::Result<()> {
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

impl Drop for Wire<'_> {
    fn drop(&mut self) {
        self.input.release(&self.shared.buffers);
    }
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

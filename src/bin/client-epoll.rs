//! The client on the bare event loop: no executor and no futures, only system calls, the event
//! parser, and one state for each request that says what it waits for.

use std::env;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use whirligig::delay::{Order, Planned, Report, client_main};
use whirligig::event::Interest;
use whirligig::http::{BodyDecoder, Limits, RequestKind, ResponseParser};
use whirligig::sys::{Connect, Descriptor, Epoll, EventBuffer, Family, KernelHandle};

const HOW: &str = "Makes requests of a delayserver, all at once, with a bare epoll loop.";

fn main() -> ExitCode {
    client_main("client-epoll", HOW, env::args_os().skip(1), run)
}

fn run(order: &Order) -> Result<(), Box<dyn Error>> {
    let addresses = match order.loopback() {
        Some(both) => both,
        None => order.server.to_socket_addrs()?.collect(),
    };
    let mut report = Report::new(io::stdout());
    let epoll = Epoll::new()?;
    let mut exchanges = Vec::new();
    for planned in order.planned() {
        let request = planned.to_bytes(&order.server)?;
        let exchange = Exchange::new(planned, request, &addresses)?;
        exchange.watch(&epoll, exchanges.len() as u64)?;
        exchanges.push(exchange);
    }
    let mut waiting = exchanges.len();
    let mut buffer = EventBuffer::with_capacity(256);
    while waiting > 0 {
        for event in epoll.wait(&mut buffer, None)? {
            let exchange = &mut exchanges[event.token() as usize];
            if exchange.is_answered() {
                continue;
            }
            // The registration is edge-triggered: go on until a call would block.
            exchange.advance(&epoll, event.token())?;
            if exchange.is_answered() {
                report.answered(&exchange.planned)?;
                waiting -= 1;
            }
        }
    }
    report.finish()?;
    Ok(())
}

/// One request and its answer.
///
/// ```text
///   Connecting ---> Sending ---> Receiving ---> Answered
///       `-- failed: the next address
/// ```
struct Exchange<'a> {
    planned: Planned,
    request: Vec<u8>,
    /// The addresses that are left to try, the current one first.
    addresses: &'a [SocketAddr],
    socket: Descriptor,
    state: State,
}

enum State {
    Connecting,
    Sending { sent: usize },
    Receiving(Vec<u8>),
    Answered,
}

impl<'a> Exchange<'a> {
    /// Begins to connect.
    fn new(
        planned: Planned,
        request: Vec<u8>,
        mut addresses: &'a [SocketAddr],
    ) -> io::Result<Exchange<'a>> {
        let socket = connecting(&mut addresses)?;
        Ok(Exchange { planned, request, addresses, socket, state: State::Connecting })
    }

    fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered)
    }

    fn watch(&self, epoll: &Epoll, token: u64) -> io::Result<()> {
        epoll.add(&self.socket, Interest::BOTH.edge().bits(), token)
    }

    /// Goes on as far as it gets without waiting.
    fn advance(&mut self, epoll: &Epoll, token: u64) -> io::Result<()> {
        loop {
            let step = match &self.state {
                State::Connecting => self.finish_connecting(epoll, token),
                State::Sending { sent } => self.send(*sent),
                State::Receiving(_) => self.receive(),
                State::Answered => return Ok(()),
            };
            match step {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                step => step?,
            }
        }
    }

    fn finish_connecting(&mut self, epoll: &Epoll, token: u64) -> io::Result<()> {
        match self.socket.connect(self.addresses[0]) {
            Ok(Connect::Done) => self.state = State::Sending { sent: 0 },
            Ok(Connect::InProgress) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => {
                pass_over(&mut self.addresses, error)?;
                // The old socket is closed by this, and so no longer watched.
                self.socket = connecting(&mut self.addresses)?;
                self.watch(epoll, token)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, sent: usize) -> io::Result<()> {
        let sent = sent + self.socket.send(&self.request[sent..])?;
        self.state = match sent == self.request.len() {
            true => State::Receiving(Vec::new()),
            false => State::Sending { sent },
        };
        Ok(())
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        let count = self.socket.recv(&mut chunk)?;
        if let State::Receiving(received) = &mut self.state {
            received.extend_from_slice(&chunk[..count]);
            if received.len() > ANSWER_BYTES_MAX {
                let text = "the answer is too long";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            match whole_answer(received, count == 0)? {
                Some((status, body)) => {
                    self.planned.check(status, &body)?;
                    self.state = State::Answered;
                }
                None if count == 0 => return Err(closed_too_early(received)),
                None => {}
            }
        }
        Ok(())
    }
}

/// A socket that connects to the first of `addresses` where that does not fail at once; it is the
/// first of those left.
fn connecting(addresses: &mut &[SocketAddr]) -> io::Result<Descriptor> {
    loop {
        let address = *addresses.first().ok_or(io::ErrorKind::NotFound)?;
        // Where the kernel lacks a family, an address of the other may do.
        let socket = KernelHandle::linux().socket(Family::of(&address));
        match socket.and_then(|socket| socket.connect(address).map(|_| socket)) {
            Ok(socket) => return Ok(socket),
            Err(error) => pass_over(addresses, error)?,
        }
    }
}

/// Drops the address that failed; the error if it was the last.
fn pass_over(addresses: &mut &[SocketAddr], error: io::Error) -> io::Result<()> {
    match **addresses {
        [_, _, ..] => {
            *addresses = &addresses[1..];
            Ok(())
        }
        [address] => {
            let text = format!("connect {address}: {error}");
            Err(io::Error::new(error.kind(), text))
        }
        [] => Err(error),
    }
}

/// The status and body of the answer, if all of it is there.
fn whole_answer(mut received: &[u8], ended: bool) -> io::Result<Option<(u16, Vec<u8>)>> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut parser = ResponseParser::new(RequestKind::Ordinary);
    let response = loop {
        let parsed = parser.parse(received, &Limits::default()).map_err(invalid)?;
        let Some(response) = parsed else { return Ok(None) };
        received = &received[response.head_bytes..];
        if !response.is_interim() {
            break response;
        }
    };
    let mut decoder = BodyDecoder::new(response.framing, BODY_BYTES_MAX).map_err(invalid)?;
    let mut body = Vec::new();
    while !decoder.is_done() && !received.is_empty() {
        let decoded = decoder.decode(received).map_err(invalid)?;
        body.extend_from_slice(decoded.data);
        received = &received[decoded.consumed..];
    }
    let whole = decoder.is_done() || (ended && decoder.finish().is_ok());
    Ok(whole.then_some((response.status, body)))
}

/// Bytes of an answer's body.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of an answer, with its heads and the frames of its body. It is looked at anew with each
/// piece that arrives, which only a bound makes harmless.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

fn closed_too_early(received: &[u8]) -> io::Error {
    let text = match received.is_empty() {
        true => "the server closed the connection without an answer",
        false => "the server closed the connection inside its answer",
    };
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

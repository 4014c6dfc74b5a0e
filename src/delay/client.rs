//! What the clients share: their arguments, their requests, and what they print.

use super::Usage;
use super::arguments::{ArgumentError, Arguments, Flag, with_port};
use crate::http::{
    Connection, Method, ParseError, RequestHead, WriteError, percent_encode, write_request,
};
use crate::sys::raise_descriptor_limit;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What a client is asked to do: so many requests, whose delays fall by a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Where the delayserver is, as `HOST:PORT`.
    pub server: String,
    /// How many requests.
    pub requests: u64,
    /// Milliseconds between their delays: the first of n waits n steps, the last one.
    pub step_ms: u64,
    /// Milliseconds that each waits instead, if all are to wait alike.
    pub delay_ms: Option<u64>,
    /// How many are under way at once at most; each that is answered makes room for the next.
    pub at_once: usize,
    /// Say at the end what the process has used.
    pub usage: bool,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Milliseconds after which it is to be answered.
    pub delay_ms: u64,
    /// What it is to be answered with.
    pub message: String,
}

/// Requests that one client makes at once at most: each takes a descriptor.
const REQUESTS_MAX: u64 = 100_000;

const FLAGS: &[Flag] = &[
    Flag { name: "--help", takes_value: false },
    Flag { name: "--delay", takes_value: true },
    Flag { name: "--at-once", takes_value: true },
    Flag { name: "--usage", takes_value: false },
];

impl Order {
    /// Reads the command line after the program's name: `[SERVER [REQUESTS [STEP_MS]]]`, by default
    /// `localhost:8080 5 1000`, with `--delay MS`, `--at-once N` and
    /// `--usage`. None if help is asked for.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn from_arguments(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Option<Order>, ArgumentError> {
        Order::read(&Arguments::parse(arguments, FLAGS, 3)?)
    }

    fn read(arguments: &Arguments) -> Result<Option<Order>, ArgumentError> {
        if arguments.has("--help") {
            return Ok(None);
        }
        let server = with_port(arguments.positional(0).unwrap_or("localhost"));
        let requests = arguments.positional_as(1, "REQUESTS")?.unwrap_or(5);
        let step_ms = arguments.positional_as(2, "STEP_MS")?.unwrap_or(1000);
        if requests > REQUESTS_MAX {
            let text = format!("{requests} is more than {REQUESTS_MAX} requests");
            return Err(ArgumentError::new(text));
        }
        let delay_ms = arguments.value("--delay")?;
        let longest = delay_ms.map_or(requests.checked_mul(step_ms), Some);
        // The report adds all delays up.
        if longest.and_then(|longest| longest.checked_mul(requests)).is_none() {
            return Err(ArgumentError::new(format!("steps of {step_ms} ms are too long")));
        }
        let at_once = arguments.value("--at-once")?.unwrap_or(REQUESTS_MAX as usize);
        if at_once == 0 {
            return Err(ArgumentError::new("with 0 at once there is no getting on"));
        }
        let usage = arguments.has("--usage");
        Ok(Some(Order { server, requests, step_ms, delay_ms, at_once, usage }))
    }

    /// What `--help` prints; `how` says in a line how this client works.
    #[must_use]
    pub fn help(program: &str, how: &str) -> String {
        format!(
            "{how}\n\n\
             USAGE: {program} [FLAGS] [SERVER [REQUESTS [STEP_MS]]]\n\n\
             SERVER       HOST[:PORT] of the delayserver     (localhost:8080)\n\
             REQUESTS     how many, all at once              (5)\n\
             STEP_MS      how much sooner than the one before each is answered (1000)\n\
             --delay MS   answer all after as long, instead of in steps\n\
             --at-once N  keep no more than N under way: an answer makes room for the next\n\
             --usage      say at the end, on standard error, what the process has used\n"
        )
    }

    /// The server's addresses, if its name needs no look-up: `localhost` means both loopback
    /// addresses, whatever the machine's table of hosts has of them (RFC 6761, section 6.3).
    #[must_use]
    pub fn loopback(&self) -> Option<Vec<SocketAddr>> {
        let (host, port) = self.server.rsplit_once(':')?;
        let port = port.parse().ok().filter(|_| host.eq_ignore_ascii_case("localhost"))?;
        Some(loopback(port).into())
    }

    /// The server's addresses. Blocks for as long as looking its name up takes.
    ///
    /// # Errors
    /// Those of the look-up, of which one is that the name has no port or a wrong one.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match self.loopback() {
            Some(both) => Ok(both),
            None => Ok(self.server.to_socket_addrs()?.collect()),
        }
    }

    /// The requests, in the order in which they are made. The last is answered first.
    pub fn planned(&self) -> impl Iterator<Item = Planned> + use<> {
        let (requests, step_ms, delay_ms) = (self.requests, self.step_ms, self.delay_ms);
        (0..requests).map(move |index| Planned {
            delay_ms: delay_ms.unwrap_or((requests - index) * step_ms),
            message: format!("request-{index}"),
        })
    }
}

/// Both addresses of localhost.
pub(super) fn loopback(port: u16) -> [SocketAddr; 2] {
    [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

impl Planned {
    /// The path to ask for.
    #[must_use]
    pub fn target(&self) -> String {
        format!("/{}/{}", self.delay_ms, percent_encode(self.message.as_bytes()))
    }

    /// The bytes of the request.
    ///
    /// # Errors
    /// If `host` is none.
    pub fn to_bytes(&self, host: &str) -> Result<Vec<u8>, WriteError> {
        let target = self.target();
        let mut bytes = Vec::new();
        let head = RequestHead {
            method: Method::Get,
            target: &target,
            host,
            headers: &[],
            connection: Connection::Close,
        };
        write_request(&mut bytes, &head, &[])?;
        Ok(bytes)
    }

    /// Whether this is the answer that was asked for.
    ///
    /// # Errors
    /// `InvalidData`, saying what came instead.
    pub fn check(&self, status: u16, body: &[u8]) -> io::Result<()> {
        if status == 200 && body == self.message.as_bytes() {
            return Ok(());
        }
        let came = String::from_utf8_lossy(&body[..body.len().min(80)]);
        let text = format!("{:?} was answered with {status} {came:?}", self.message);
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

/// What a client prints.
#[derive(Debug)]
pub struct Report<W> {
    out: W,
    start: Instant,
    answers: u64,
    one_after_another: Duration,
}

impl<W: Write> Report<W> {
    /// The time starts now.
    pub fn new(out: W) -> Report<W> {
        let one_after_another = Duration::ZERO;
        Report { out, start: Instant::now(), answers: 0, one_after_another }
    }

    /// Prints a line for an answer that has arrived.
    ///
    /// # Errors
    /// Those of the output.
    pub fn answered(&mut self, planned: &Planned) -> io::Result<()> {
        self.answers += 1;
        self.one_after_another += Duration::from_millis(planned.delay_ms);
        writeln!(self.out, "{}ms {}", self.start.elapsed().as_millis(), planned.message)?;
        self.out.flush()
    }

    /// Prints the last line: how many there were, how long it took, and how long it would have
    /// taken one after another.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(&mut self) -> io::Result<()> {
        let took = self.start.elapsed().as_millis();
        let instead = self.one_after_another.as_millis();
        let answers = self.answers;
        writeln!(self.out, "{answers} requests in {took}ms, one after another {instead}ms")?;
        self.out.flush()
    }
}

/// The frame of every client: reads the command line, runs it, and says what went wrong. The exit
/// code is 2 for a command line that makes no sense, and 1 for all that fails later.
pub fn client_main(
    program: &str,
    how: &str,
    arguments: impl IntoIterator<Item = OsString>,
    run: fn(&Order) -> Result<(), Box<dyn Error>>,
) -> ExitCode {
    client(program, how, Order::from_arguments(arguments), run)
}

/// Not generic, and so compiled with this library, once.
fn client(
    program: &str,
    how: &str,
    order: Result<Option<Order>, ArgumentError>,
    run: fn(&Order) -> Result<(), Box<dyn Error>>,
) -> ExitCode {
    let order = match order {
        Ok(Some(order)) => order,
        Ok(None) => {
            // Whoever closed the output does not want it.
            let _ = io::stdout().write_all(Order::help(program, how).as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{program}: {error}\nTry '{program} --help'.");
            return ExitCode::from(2);
        }
    };
    // As many connections as the system lets us have; with fewer it works too.
    let _ = raise_descriptor_limit();
    let done = run(&order).and_then(|()| match order.usage {
        true => Ok(writeln!(io::stderr(), "{}", Usage::of_this_process()?)?),
        false => Ok(()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a place to say it the exit code still does.
            let _ = writeln!(io::stderr(), "{program}: {}{error}", part_at_fault(&*error));
            ExitCode::FAILURE
        }
    }
}

/// What to say before an error that does not say by itself what it is about.
fn part_at_fault(error: &(dyn Error + 'static)) -> &'static str {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match inner.is_some_and(|inner| inner.is::<ParseError>()) {
        true => "the answer is not understood: ",
        false => "",
    }
}

impl ArgumentError {
    pub(super) fn new(text: impl fmt::Display) -> ArgumentError {
        ArgumentError(text.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(line: &str) -> Result<Option<Order>, ArgumentError> {
        Order::from_arguments(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn what_is_not_said_is_as_in_the_book() {
        let order = |line| order(line).unwrap().unwrap();
        let default = Order {
            server: "localhost:8080".into(),
            requests: 5,
            step_ms: 1000,
            delay_ms: None,
            at_once: 100_000,
            usage: false,
        };
        assert_eq!(order(""), default);
        assert_eq!(order("::1").server, "[::1]:8080");
        assert_eq!(order("[::1]:99").server, "[::1]:99");
        assert_eq!(order("host:99 2 10").step_ms, 10);
        let delays: Vec<u64> = default.planned().map(|planned| planned.delay_ms).collect();
        assert_eq!(delays, [5000, 4000, 3000, 2000, 1000]);
        let alike = order("host 3 --delay 500 --at-once 2");
        assert!(alike.planned().all(|planned| planned.delay_ms == 500));
        assert_eq!((alike.planned().count(), alike.at_once), (3, 2));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(order("--help"), Ok(None));
        for line in [
            "host x",
            "host 1 -1",
            "host 1 1 1",
            "host 100001",
            "host 9 9999999999999999999",
            "host 9 --delay 9999999999999999999",
            "host --at-once 0",
        ] {
            assert!(order(line).is_err(), "{line}");
        }
    }
}

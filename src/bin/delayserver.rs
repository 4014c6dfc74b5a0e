//! Answers `GET /{ms}/{message}` with the message after that many milliseconds.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;
use whirligig::WorkerEvent;
use whirligig::delay::{
    ArgumentError, Arguments, Flag, Log, RequestCount, ServiceOptions, listen, listen_shared,
    serve, serve_shared, with_port,
};
use whirligig::future::{Either, race};
use whirligig::http::ServerOptions;
use whirligig::net::TcpListener;
use whirligig::signal::{Signal, Signals};
use whirligig::sys::raise_descriptor_limit;

const HELP: &str = "\
Answers HTTP requests after a delay.

USAGE: delayserver [OPTIONS] [HOST[:PORT]]

HOST[:PORT] is where to listen, by default localhost:8080; port 0 picks a free one.

  --quiet                say nothing of requests
  --max-delay MS         refuse longer delays                      (no bound)
  --max-connections N    let further ones wait to be accepted      (no bound)
  --workers N            serve on so many threads, which share the
                         connections, and their bound in equal parts (1)
  --idle-timeout S       close a connection idle for so long       (60)
  --header-timeout S     refuse a request that takes longer        (10)
  --drain S              what requests under way get after SIGINT or SIGTERM,
                         until they are cut off; a second signal ends it at once (10)
  --help                 print this

Seconds may have fractions. A client that goes away while it waits is forgotten at once; one that
only ends its sending side (FIN) counts as gone too.
";

const EXPLANATION: &str = "\
Ask with an HTTP GET request of the form
http://{address}/{delay in ms}/{percent-encoded message}

Each request is reported here when it comes, as
#{count} - {delay in ms}ms: {message}

and answered with the message after the delay.
";

const FLAGS: &[Flag] = &[
    Flag { name: "--quiet", takes_value: false },
    Flag { name: "--max-delay", takes_value: true },
    Flag { name: "--max-connections", takes_value: true },
    Flag { name: "--workers", takes_value: true },
    Flag { name: "--idle-timeout", takes_value: true },
    Flag { name: "--header-timeout", takes_value: true },
    Flag { name: "--drain", takes_value: true },
    Flag { name: "--help", takes_value: false },
];

fn main() -> ExitCode {
    let arguments = match Arguments::parse(env::args_os().skip(1), FLAGS, 1) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    if arguments.has("--help") {
        say(HELP);
        return ExitCode::SUCCESS;
    }
    let options = match options(&arguments) {
        Ok(options) => options,
        Err(error) => return usage(&error),
    };
    let workers = match arguments.value("--workers") {
        Ok(workers) => workers.unwrap_or(NonZeroUsize::MIN),
        Err(error) => return usage(&error),
    };
    let host = arguments.positional(0).unwrap_or("localhost");
    match run(&with_port(host), options, arguments.has("--quiet"), workers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a place to say it the exit code still does.
            let _ = writeln!(io::stderr(), "delayserver: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(error: &ArgumentError) -> ExitCode {
    let _ = writeln!(io::stderr(), "delayserver: {error}\nTry 'delayserver --help'.");
    ExitCode::from(2)
}

fn run(
    target: &str,
    options: ServiceOptions,
    quiet: bool,
    workers: NonZeroUsize,
) -> Result<(), Box<dyn Error>> {
    // As many connections as the system lets us have; with fewer it works too.
    let _ = raise_descriptor_limit();
    whirligig::run(async {
        let mut stop = Signals::new(&[Signal::Interrupt, Signal::Terminate])?;
        // A name may take long to look up, and whoever asked may not.
        let mut listeners = match race(listen_for(target, workers), stop.recv()).await {
            Either::First(listeners) => listeners?,
            Either::Second(signal) => return signal.map(drop),
        };
        let mut text = format!("{EXPLANATION}\n");
        for listener in listeners.first().into_iter().flatten() {
            text += &format!("listening on {}\n", listener.local_addr()?);
        }
        say(&text);
        let stop = async || stop.recv().await.map(drop);
        let count = RequestCount::default();
        let log = move || log(quiet, &count);
        match listeners.len() {
            1 => serve(listeners.remove(0), options, log(), stop).await,
            _ => serve_shared(listeners, &options, log, tell, stop).await,
        }
    })??;
    Ok(())
}

/// The listeners of each worker.
async fn listen_for(target: &str, workers: NonZeroUsize) -> io::Result<Vec<Vec<TcpListener>>> {
    match workers.get() {
        // Alone it shares its port with nobody.
        1 => Ok(vec![listen(target).await?]),
        several => listen_shared(target, several).await,
    }
}

fn log(quiet: bool, count: &RequestCount) -> Log {
    let requests = (!quiet).then(|| Box::new(io::stdout()) as Box<dyn io::Write + Send>);
    Log::new(requests, Box::new(io::stderr())).counting(count.clone())
}

/// Says what there is to tell of a worker.
fn tell(event: WorkerEvent) {
    let _ = writeln!(io::stderr(), "{event}");
}

/// Prints `text`. Whoever closed the output does not want it, and gets served all the same.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn options(arguments: &Arguments) -> Result<ServiceOptions, ArgumentError> {
    let default = ServiceOptions::default();
    let seconds = |name, default: Duration| {
        Ok::<_, ArgumentError>(arguments.value::<Seconds>(name)?.map_or(default, |given| given.0))
    };
    let http = ServerOptions {
        idle_timeout: seconds("--idle-timeout", default.http.idle_timeout)?,
        header_timeout: seconds("--header-timeout", default.http.header_timeout)?,
        ..default.http
    };
    let connections_max = arguments.value::<NonZeroUsize>("--max-connections")?;
    Ok(ServiceOptions {
        delay_ms_max: arguments.value("--max-delay")?.unwrap_or(default.delay_ms_max),
        connections_max: connections_max.map_or(default.connections_max, NonZeroUsize::get),
        drain: seconds("--drain", default.drain)?,
        http,
    })
}

/// A time in seconds, with or without a fraction.
struct Seconds(Duration);

impl std::str::FromStr for Seconds {
    type Err = &'static str;

    /// By hand, as all that a program needs to read floating-point numbers is 16 kB.
    fn from_str(text: &str) -> Result<Seconds, Self::Err> {
        const NANOS_DIGITS: usize = 9;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = || whole.bytes().chain(fraction.bytes());
        if digits().next().is_none() || !digits().all(|digit| digit.is_ascii_digit()) {
            return Err("not a number of seconds");
        }
        let seconds = match whole {
            "" => 0,
            whole => whole.parse().map_err(|_| "too many seconds")?,
        };
        // What is finer than a nanosecond is left out.
        let places = fraction.bytes().chain(std::iter::repeat(b'0')).take(NANOS_DIGITS);
        let nanos = places.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
        Ok(Seconds(Duration::new(seconds, nanos)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_with_and_without_fractions() {
        let nanos = |text: &str| text.parse().map(|Seconds(time)| time.as_nanos());
        assert_eq!(nanos("60"), Ok(60_000_000_000));
        assert_eq!(nanos("0.25"), Ok(250_000_000));
        assert_eq!(nanos(".000000001"), Ok(1));
        assert_eq!(nanos("1.0000000019"), Ok(1_000_000_001));
        assert_eq!(nanos("2."), Ok(2_000_000_000));
        let most = Duration::new(u64::MAX, 0).as_nanos();
        assert_eq!(nanos("18446744073709551615"), Ok(most));
        for text in ["", ".", "-1", "+1", "1e3", "inf", "nan", "1.2.3", " 1", "1s"] {
            assert_eq!(nanos(text), Err("not a number of seconds"), "{text:?}");
        }
        assert_eq!(nanos("18446744073709551616"), Err("too many seconds"));
    }
}

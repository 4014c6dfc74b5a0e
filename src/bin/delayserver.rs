//! Answers `GET /{ms}/{message}` with the message after that many milliseconds.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;
use whirligig::delay::{
    ArgumentError, Arguments, Flag, Log, ServiceOptions, listen, serve, with_port,
};
use whirligig::future::{Either, race};
use whirligig::http::ServerOptions;
use whirligig::signal::{Signal, Signals};
use whirligig::sys::raise_descriptor_limit;

const HELP: &str = "\
Answers HTTP requests after a delay.

USAGE: delayserver [OPTIONS] [HOST[:PORT]]

HOST[:PORT] is where to listen, by default localhost:8080; port 0 picks a free one.

  --quiet                say nothing of requests
  --max-delay MS         refuse longer delays                      (no bound)
  --max-connections N    let further ones wait to be accepted      (no bound)
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
    let host = arguments.positional(0).unwrap_or("localhost");
    match run(&with_port(host), options, arguments.has("--quiet")) {
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

fn run(target: &str, options: ServiceOptions, quiet: bool) -> Result<(), Box<dyn Error>> {
    // As many connections as the system lets us have; with fewer it works too.
    let _ = raise_descriptor_limit();
    whirligig::run(async {
        let mut stop = Signals::new(&[Signal::Interrupt, Signal::Terminate])?;
        // A name may take long to look up, and whoever asked may not.
        let listeners = match race(listen(target), stop.recv()).await {
            Either::First(listeners) => listeners?,
            Either::Second(signal) => return signal.map(drop),
        };
        let mut text = format!("{EXPLANATION}\n");
        for listener in &listeners {
            text += &format!("listening on {}\n", listener.local_addr()?);
        }
        say(&text);
        let requests = (!quiet).then(|| Box::new(io::stdout()) as Box<dyn io::Write + Send>);
        serve(listeners, options, Log::new(requests, Box::new(io::stderr())), stop).await
    })??;
    Ok(())
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
    type Err = Box<dyn Error>;

    fn from_str(text: &str) -> Result<Seconds, Self::Err> {
        Ok(Seconds(Duration::try_from_secs_f64(text.parse()?)?))
    }
}

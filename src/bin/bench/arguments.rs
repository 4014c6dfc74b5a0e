//! The command line.

use crate::compare::Comparison;
use crate::models::Models;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use whirligig::delay::{ArgumentError, Arguments, Flag};

pub(crate) const HELP: &str = "\
Measures what the runtime costs.

USAGE: bench echo --addr IP:PORT
       bench delay --addr IP:PORT
       bench micro CASE N
       bench compare [OPTIONS]
       bench chart --figures FILE --chart FILE
       bench models [--figures FILE] [--chart FILE] [--brief]
       bench instructions --kept FILE [--update]

echo             serve: send back what comes, with a buffer of 16 KiB for each connection
delay            serve: answer GET /{ms}/{message} with the message after that many ms
  --addr IP:PORT   where to listen; port 0 picks a free one, and a line says which

micro CASE N     run a case with N operations, and print what it took as a line of JSON
  CASE             spawn, yield-one, yield-many, pingpong, wake-remote, sleep-many,
                   timer-churn, sleep-accuracy, tcp-pingpong, tcp-fan or connect-churn

compare          run cases again and again, in processes of their own, and print tables
  --peers DIR      compare with the programs of other runtimes in DIR, and load servers with
                   the load generator there
  --cases A,B      these cases alone                                     (all)
  --rounds R       how often                                             (5)
  --seconds S      of load, in each round of a case with a server        (2)
  --figures FILE   write the figures there
  --chart FILE     draw them there, as SVG

chart            draw figures that compare wrote

models           run the client of every style on the same work, and print tables
  --figures FILE   write the figures there
  --chart FILE     draw them there, as SVG
  --brief          do a hundredth of the work, once, and count no system calls

instructions     count instructions by callgrind, and fail if they are not those in FILE
  --kept FILE      the counts to compare with
  --update         write them there instead

  --help           print this
";

const FLAGS: &[Flag] = &[
    Flag { name: "--addr", takes_value: true },
    Flag { name: "--peers", takes_value: true },
    Flag { name: "--cases", takes_value: true },
    Flag { name: "--rounds", takes_value: true },
    Flag { name: "--seconds", takes_value: true },
    Flag { name: "--figures", takes_value: true },
    Flag { name: "--chart", takes_value: true },
    Flag { name: "--kept", takes_value: true },
    Flag { name: "--brief", takes_value: false },
    Flag { name: "--update", takes_value: false },
    Flag { name: "--help", takes_value: false },
];

/// The flags that each order takes, and how many words stand behind it.
const ORDERS: &[(&str, &[&str], usize)] = &[
    ("echo", &["--addr"], 0),
    ("delay", &["--addr"], 0),
    ("micro", &[], 2),
    ("compare", &["--peers", "--cases", "--rounds", "--seconds", "--figures", "--chart"], 0),
    ("chart", &["--figures", "--chart"], 0),
    ("models", &["--figures", "--chart", "--brief"], 0),
    ("instructions", &["--kept", "--update"], 0),
];

/// What the program is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    Help,
    Echo(SocketAddr),
    Delay(SocketAddr),
    Micro { case: String, n: u64 },
    Compare(Comparison),
    Chart { figures: PathBuf, chart: PathBuf },
    Models(Models),
    Instructions { kept: PathBuf, update: bool },
}

/// Reads the command line after the program's name, or says what is wrong with it.
pub(crate) fn order(arguments: impl IntoIterator<Item = OsString>) -> Result<Order, String> {
    let arguments = Arguments::parse(arguments, FLAGS, 3).map_err(text)?;
    if arguments.has("--help") {
        return Ok(Order::Help);
    }
    let order = arguments.positional(0).ok_or("nothing to do")?;
    let Some((_, flags, words)) = ORDERS.iter().find(|(name, ..)| *name == order) else {
        return Err(format!("there is no order {order:?}"));
    };
    if let Some(word) = arguments.positional(words + 1) {
        return Err(format!("unexpected argument {word:?}"));
    }
    let given = FLAGS
        .iter()
        .map(|flag| flag.name)
        .find(|flag| arguments.has(flag) && !flags.contains(flag));
    if let Some(flag) = given {
        return Err(format!("{order} takes no {flag}"));
    }
    match order {
        "echo" => Ok(Order::Echo(needed(&arguments, "--addr")?)),
        "delay" => Ok(Order::Delay(needed(&arguments, "--addr")?)),
        "micro" => {
            let case = arguments.positional(1).ok_or("CASE is missing")?.to_string();
            let n: Option<NonZeroU64> = arguments.positional_as(2, "N").map_err(text)?;
            Ok(Order::Micro { case, n: n.ok_or("N is missing")?.get() })
        }
        "compare" => comparison(&arguments).map(Order::Compare),
        "models" => Ok(Order::Models(Models {
            figures: arguments.value("--figures").map_err(text)?,
            chart: arguments.value("--chart").map_err(text)?,
            brief: arguments.has("--brief"),
        })),
        "chart" => Ok(Order::Chart {
            figures: needed(&arguments, "--figures")?,
            chart: needed(&arguments, "--chart")?,
        }),
        _ => Ok(Order::Instructions {
            kept: needed(&arguments, "--kept")?,
            update: arguments.has("--update"),
        }),
    }
}

fn comparison(arguments: &Arguments) -> Result<Comparison, String> {
    let rounds: Option<NonZeroUsize> = arguments.value("--rounds").map_err(text)?;
    let seconds: f64 = arguments.value("--seconds").map_err(text)?.unwrap_or(2.0);
    if !(seconds > 0.0 && seconds.is_finite()) {
        return Err(format!("\"{seconds}\" is no value for --seconds"));
    }
    Ok(Comparison {
        rounds: rounds.map_or(5, NonZeroUsize::get),
        seconds,
        cases: arguments.value("--cases").map_err(text)?,
        peers: arguments.value("--peers").map_err(text)?,
        figures: arguments.value("--figures").map_err(text)?,
        chart: arguments.value("--chart").map_err(text)?,
    })
}

fn needed<T: std::str::FromStr>(arguments: &Arguments, flag: &str) -> Result<T, String> {
    arguments.value(flag).map_err(text)?.ok_or_else(|| format!("{flag} is missing"))
}

fn text(error: ArgumentError) -> String {
    error.to_string()
}

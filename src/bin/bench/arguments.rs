//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use whirligig::delay::{ArgumentError, Arguments, Flag};

pub(crate) const HELP: &str = "\
Measures what the runtime costs.

USAGE: bench echo --addr IP:PORT
       bench delay --addr IP:PORT
       bench micro CASE N

echo            serve: send back what comes, with a buffer of 16 KiB for each connection
delay           serve: answer GET /{ms}/{message} with the message after that many ms
micro CASE N    run a case with N operations, and print what it took as a line of JSON

  --addr IP:PORT  where to listen; port 0 picks a free one, and a line says which
  --help          print this

The cases are spawn, yield-one, yield-many, pingpong, wake-remote, sleep-many, timer-churn,
sleep-accuracy, tcp-pingpong, tcp-fan and connect-churn.
";

const FLAGS: &[Flag] =
    &[Flag { name: "--addr", takes_value: true }, Flag { name: "--help", takes_value: false }];

/// What the program is asked to do.
pub(crate) enum Order {
    Help,
    Echo(SocketAddr),
    Delay(SocketAddr),
    Micro { case: String, count: u64 },
}

/// Reads the command line after the program's name, or says what is wrong with it.
pub(crate) fn order(arguments: impl IntoIterator<Item = OsString>) -> Result<Order, String> {
    let arguments = Arguments::parse(arguments, FLAGS, 3).map_err(text)?;
    if arguments.has("--help") {
        return Ok(Order::Help);
    }
    let words: Vec<&str> = (0..3).map_while(|index| arguments.positional(index)).collect();
    let serves = matches!(words[..], ["echo" | "delay", ..]);
    if arguments.has("--addr") != serves {
        let text = if serves { "--addr is missing" } else { "only a server takes --addr" };
        return Err(text.to_string());
    }
    match words[..] {
        ["echo"] => address(&arguments).map(Order::Echo),
        ["delay"] => address(&arguments).map(Order::Delay),
        ["micro", case, _] => {
            let count: Option<NonZeroU64> = arguments.positional_as(2, "N").map_err(text)?;
            let count = count.ok_or("N is missing")?.get();
            Ok(Order::Micro { case: case.to_string(), count })
        }
        ["micro", _] => Err("N is missing".to_string()),
        ["micro"] => Err("CASE is missing".to_string()),
        [] => Err("nothing to do".to_string()),
        ["echo" | "delay", second, ..] => Err(format!("unexpected argument {second:?}")),
        [first, ..] => Err(format!("{first:?} is no order")),
    }
}

fn address(arguments: &Arguments) -> Result<SocketAddr, String> {
    arguments.value("--addr").map_err(text)?.ok_or_else(|| "--addr is missing".to_string())
}

fn text(error: ArgumentError) -> String {
    error.to_string()
}

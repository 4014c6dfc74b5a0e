//! What the runtime costs: servers to load and cases to measure, on a command line that programs
//! of other runtimes speak too, so that they can be compared.

mod arguments;
mod cases;
mod chart;
mod compare;
mod figures;
mod instructions;
mod json;
mod load;
mod measure;
mod micro;
mod models;
mod picture;
mod process;
mod servers;
mod table;
mod tasks;
mod tcp;
mod timers;

use arguments::{HELP, Order};
use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

/// Whatever went wrong.
type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let order = match arguments::order(env::args_os().skip(1)) {
        Ok(order) => order,
        Err(error) => {
            let _ = writeln!(io::stderr(), "bench: {error}\nTry 'bench --help'.");
            return ExitCode::from(2);
        }
    };
    let done = match order {
        Order::Help => say(HELP),
        Order::Echo(address) => servers::run(address, servers::serve_echo),
        Order::Delay(address) => servers::run(address, servers::serve_delay),
        Order::Micro { case, n } => micro::run(&case, n),
        Order::Compare(comparison) => compare::run(&comparison),
        Order::Chart { figures, chart } => compare::draw(&figures, &chart),
        Order::Models(models) => models::run(&models),
        Order::Instructions { kept, update } => instructions::run(&kept, update),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a place to say it the exit code still does.
            let _ = writeln!(io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints `text`, at once also where the output is a pipe.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

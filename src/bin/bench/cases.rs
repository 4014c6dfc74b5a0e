//! What is compared: the cases, and the programs that run them.

use crate::Failure;
use crate::process::Line;
use std::env;
use std::fs;
use std::path::Path;

/// A case of the comparison.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What one operation is.
    pub(crate) operation: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// `micro CASE N`, on one processor, or on as many as the system gives it.
    Micro { case: &'static str, n: u64, pinned: bool },
    /// A server, and how it is loaded.
    Server { server: &'static str, load: &'static [&'static str] },
}

const fn micro(name: &'static str, n: u64, operation: &'static str) -> Case {
    Case { name, operation, kind: Kind::Micro { case: name, n, pinned: true } }
}

const fn echo(name: &'static str, load: &'static [&'static str], operation: &'static str) -> Case {
    Case { name, operation, kind: Kind::Server { server: "echo", load } }
}

const fn delay(name: &'static str, load: &'static [&'static str], operation: &'static str) -> Case {
    Case { name, operation, kind: Kind::Server { server: "delay", load } }
}

pub(crate) const CASES: &[Case] = &[
    micro("spawn", 1_000_000, "a task is spawned and joined"),
    micro("yield-one", 2_000_000, "a task gives way, alone"),
    micro("yield-many", 5_000_000, "one of 1,000 tasks gives way"),
    micro("pingpong", 500_000, "there and back over two channels"),
    micro("wake-remote", 50_000, "to a thread and back, one processor"),
    Case {
        name: "wake-remote-2cpus",
        operation: "the same, two processors",
        kind: Kind::Micro { case: "wake-remote", n: 10_000, pinned: false },
    },
    micro("sleep-many", 20_000, "one of 20,000 sleeps in a second"),
    micro("timer-churn", 500_000, "a timeout is set and taken back"),
    micro("sleep-accuracy", 300, "a sleep of 1 to 5 ms"),
    micro("tcp-pingpong", 30_000, "64 bytes there and back, both ends"),
    micro("tcp-fan", 51_200, "the same over 256 connections"),
    micro("connect-churn", 5_000, "connect, 64 bytes and back, close"),
    echo("echo-1", &["--conns", "1", "--size", "64"], "64 bytes echoed, 1 client"),
    echo("echo-64", &["--conns", "64", "--size", "64"], "64 bytes echoed, 64 clients"),
    echo("echo-1000", &["--conns", "1000", "--size", "64"], "64 bytes echoed, 1,000 clients"),
    echo("echo-10000", &["--conns", "10000", "--size", "64"], "64 bytes echoed, 10,000 clients"),
    echo("echo-64-16k", &["--conns", "64", "--size", "16384"], "16 KiB echoed, 64 clients"),
    delay("delay-64", &["--conns", "64", "--ms", "0"], "an HTTP answer, 64 clients"),
    delay(
        "delay-10000-500ms",
        &["--conns", "10000", "--ms", "500", "--warmup", "1.5"],
        "an HTTP answer after 500 ms, 10,000 clients",
    ),
];

/// The cases of that names, or all.
pub(crate) fn chosen(names: Option<&str>) -> Result<Vec<&'static Case>, Failure> {
    let Some(names) = names else { return Ok(CASES.iter().collect()) };
    let find = |name: &str| {
        let case = CASES.iter().find(|case| case.name == name);
        case.ok_or_else(|| format!("there is no case {name:?}").into())
    };
    names.split(',').map(find).collect()
}

/// Our own name among the programs.
pub(crate) const OWN: &str = "whirligig";

/// Ourselves once more, to see how far two runs of one program lie apart.
pub(crate) const AGAIN: &str = "again";

/// Programs that are compared with ours: name, executable with its flags, the package that it is
/// made with. The last two are loops written by hand.
const PEERS: &[(&str, &[&str], &str)] = &[
    ("tokio", &["peer-tokio"], "tokio"),
    ("smol", &["peer-smol"], "async-io"),
    ("monoio", &["peer-monoio"], "monoio"),
    ("monoio-legacy", &["peer-monoio", "--driver", "legacy"], "monoio"),
    ("compio", &["peer-compio"], "compio-runtime"),
    ("may", &["peer-may"], "may"),
    ("mio", &["peer-mio"], "mio"),
    ("raw", &["peer-raw"], ""),
];

/// Programs that are no runtimes, but what can be had without one.
pub(crate) const BY_HAND: &[&str] = &["mio", "raw"];

/// A program that speaks the command line of this one.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) line: Line,
    /// What it is made with, where the executable tells.
    pub(crate) version: Option<String>,
}

impl Program {
    fn is_made_with(&self, version: &str) -> bool {
        self.version.as_ref().is_some_and(|own| own.contains(version))
    }
}

/// This program, and if `peers` is a directory those in it: ours comes first, and again last.
pub(crate) fn programs(peers: Option<&Path>) -> Result<Vec<Program>, Failure> {
    let own = env::current_exe()?;
    let own = Line::new([own.to_str().ok_or("the path of this program is not UTF-8")?]);
    let version = Some(format!("{OWN} {}", env!("CARGO_PKG_VERSION")));
    let mut programs = vec![Program { name: OWN, line: own.clone(), version }];
    let Some(directory) = peers else { return Ok(programs) };
    for (name, words, package) in PEERS {
        let path = directory.join(words[0]);
        let Ok(executable) = fs::read(&path) else {
            eprintln!("bench: there is no {}: left out", path.display());
            continue;
        };
        let path = path.to_str().ok_or("the path of a program is not UTF-8")?;
        let line = Line::new([path]).with(words[1..].iter().copied());
        // Said once of a package, and whose it is where it is not called as the runtime is.
        let told = |told: &String| programs.iter().any(|other| other.is_made_with(told));
        let version = version_within(&executable, package).filter(|version| !told(version));
        let version = version.map(|version| match version.starts_with(name) {
            true => version,
            false => format!("{name} ({version})"),
        });
        programs.push(Program { name, line, version });
    }
    if programs.len() == 1 {
        return Err(format!("{} holds none of the programs", directory.display()).into());
    }
    programs.push(Program { name: AGAIN, line: own, version: None });
    Ok(programs)
}

/// The version of a package, from the paths that the compiler leaves in an executable: they hold
/// `/package-1.2.3/`.
fn version_within(executable: &[u8], package: &str) -> Option<String> {
    let mark = format!("/{package}-").into_bytes();
    let starts = executable.windows(mark.len()).enumerate().filter(|(_, part)| *part == mark);
    starts.map(|(at, _)| &executable[at + mark.len()..]).find_map(|rest| {
        let end = rest.iter().position(|byte| *byte == b'/').filter(|end| *end < 40)?;
        let version = std::str::from_utf8(&rest[..end]).ok()?;
        let is_version = version.starts_with(|first: char| first.is_ascii_digit())
            && version.matches('.').count() >= 2;
        is_version.then(|| format!("{package} {version}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_a_path_within_an_executable() {
        let executable = b"\0/tokio-util/x\0/tokio-9/x\0/src/tokio-1.54.1/src/lib.rs\0";
        assert_eq!(version_within(executable, "tokio").as_deref(), Some("tokio 1.54.1"));
        assert_eq!(version_within(executable, "toki"), None);
        assert_eq!(version_within(b"/mio-1.2", "mio"), None);
    }

    #[test]
    fn cases_are_chosen_by_name() {
        assert_eq!(chosen(None).unwrap().len(), CASES.len());
        let two: Vec<_> = chosen(Some("echo-1,spawn")).unwrap().iter().map(|c| c.name).collect();
        assert_eq!(two, ["echo-1", "spawn"]);
        assert!(chosen(Some("spawn,")).is_err());
    }
}

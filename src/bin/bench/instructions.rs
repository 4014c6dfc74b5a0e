//! Instructions an operation, counted by callgrind and held against those that were kept.
//!
//! Each case runs with two numbers of operations, so that the difference is free of what starting
//! and ending cost. Unlike times these counts come out the same in every run.

use crate::process::{Line, Running};
use crate::table::table;
use crate::{Failure, load, say};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// How far a count may lie from the one that was kept.
const CHANGE_MAX: f64 = 0.02;

/// What runs: its name, and the two numbers of operations.
const MICRO: &[(&str, u64, u64)] = &[
    ("spawn", 2_000, 12_000),
    ("yield-one", 2_000, 12_000),
    ("yield-many", 10_000, 50_000),
    ("pingpong", 2_000, 12_000),
    ("sleep-many", 1_000, 5_000),
    ("timer-churn", 2_000, 12_000),
    ("tcp-pingpong", 1_000, 4_000),
    ("tcp-fan", 2_560, 12_800),
    ("connect-churn", 200, 1_000),
];
const SERVERS: &[(&str, &str)] = &[("echo-1", "echo"), ("delay-1", "delay")];
const REQUESTS: (u64, u64) = (500, 3_000);

/// Callgrind counts `rep stosb` as an instruction a byte, which it is not. Without those the C
/// library sets and copies memory in a way that can be counted.
const ENVIRONMENT: &[(&str, &str)] = &[(
    "GLIBC_TUNABLES",
    "glibc.cpu.x86_rep_stosb_threshold=1000000000:glibc.cpu.x86_rep_movsb_threshold=1000000000",
)];

/// Counts, and compares with the counts in the file at `kept`, or writes them there.
pub(crate) fn run(kept: &Path, update: bool) -> Result<(), Failure> {
    if update {
        let written = fs::write(kept, document(&count_all()?));
        return Ok(written.map_err(|error| format!("{}: {error}", kept.display()))?);
    }
    let text = fs::read_to_string(kept);
    let text = text.map_err(|error| format!("{}: {error}", kept.display()))?;
    let counts = count_all()?;
    let (table, changed) = compare(&counts, &counts_in(&text));
    say(&format!("\n{table}\n"))?;
    if changed.is_empty() {
        return say("no count changed by more than 2 %\n");
    }
    if let Some(other) = other_compiler(&text) {
        say(&format!("the counts that were kept are those of {other}\n"))?;
    }
    Err(format!("changed by more than 2 %: {}", changed.join(", ")).into())
}

fn count_all() -> Result<Vec<(&'static str, f64)>, Failure> {
    let mut counts = Vec::new();
    let mut keep = |name, fewer, more, (few, many): (u64, u64)| -> Result<(), Failure> {
        let count = (many as f64 - few as f64) / (more - fewer) as f64;
        counts.push((name, count));
        say(&format!("{name:14}{count:10.1}\n"))
    };
    for (case, fewer, more) in MICRO {
        keep(*case, *fewer, *more, (count_micro(case, *fewer)?, count_micro(case, *more)?))?;
    }
    let (fewer, more) = REQUESTS;
    for (name, server) in SERVERS {
        keep(*name, fewer, more, (count_server(server, fewer)?, count_server(server, more)?))?;
    }
    Ok(counts)
}

/// This program under callgrind, which reports on the standard output.
fn callgrind() -> Result<Line, Failure> {
    let own = env::current_exe()?;
    let own = own.to_str().ok_or("the path of this program is not UTF-8")?;
    let flags = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--vgdb=no", "--log-fd=1"];
    Ok(Line::new(["valgrind"]).with(flags).with([own]))
}

fn count_micro(case: &str, n: u64) -> Result<u64, Failure> {
    let line = callgrind()?.with(["micro", case, &n.to_string()]);
    let running = Running::start(line, ENVIRONMENT)?;
    let count = running.find(collected)?;
    running.finish()?;
    Ok(count)
}

fn count_server(server: &str, requests: u64) -> Result<u64, Failure> {
    let line = callgrind()?.with([server, "--addr", "127.0.0.1:0"]);
    let running = Running::start(line, ENVIRONMENT)?;
    let address = running.find(|line| line.strip_prefix("listening ").map(String::from))?;
    load::ask(&address, server, requests)?;
    let lines = running.end()?;
    Ok(lines.iter().find_map(|line| collected(line)).ok_or("callgrind tells no count")?)
}

/// The count in callgrind's line `==1234== Collected : 5678`.
fn collected(line: &str) -> Option<u64> {
    line.strip_prefix("==")?.split_once("== Collected : ")?.1.trim().parse().ok()
}

/// A table of old and new, and the names of those that changed too much or were not kept.
fn compare(
    counts: &[(&'static str, f64)],
    kept: &BTreeMap<String, f64>,
) -> (String, Vec<&'static str>) {
    let (mut rows, mut changed) = (Vec::new(), Vec::new());
    for (name, count) in counts {
        let old = kept.get(*name);
        if old.is_none_or(|old| (count - old).abs() > CHANGE_MAX * old) {
            changed.push(*name);
        }
        let change = old.map(|old| 100.0 * (count - old) / old);
        rows.push(vec![
            (*name).to_string(),
            old.map_or("-".to_string(), |old| format!("{old:.0}")),
            format!("{count:.0}"),
            change.map_or("-".to_string(), |change| format!("{change:+.1} %")),
        ]);
    }
    (table(&["instructions", "kept", "now", "change"], &rows), changed)
}

const INTRODUCTION: &str = "\
# Instructions

How many instructions an operation takes in user space, as callgrind counts them: with one number of
operations and with another, and the difference divided. The cases are those of `bench micro`; in
`echo-1` and `delay-1` one client asks the servers `bench echo` and `bench delay`, with pauses.

`make instructions` counts anew, and fails if a count lies more than 2 % from the one here, to
either side. `make instructions UPDATE=1` writes what it counts to this file. The counts depend on
the compiler.
";

fn document(counts: &[(&'static str, f64)]) -> String {
    let mut text = format!("{INTRODUCTION}\n{COUNTED_WITH}{}.\n\n", compiler());
    text += "| case | instructions |\n| --- | ---: |\n";
    for (name, count) in counts {
        text += &format!("| {name} | {count:.1} |\n");
    }
    text
}

const COUNTED_WITH: &str = "Counted with ";

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let version = text.as_deref().map(str::trim).filter(|text| !text.is_empty());
    format!("{} for {}", version.unwrap_or("an unknown compiler"), env::consts::ARCH)
}

/// The compiler of the counts in a document, if it is not the one that is here.
fn other_compiler(text: &str) -> Option<&str> {
    let named = text.lines().find_map(|line| line.strip_prefix(COUNTED_WITH))?;
    let named = named.trim_end_matches('.');
    (named != compiler()).then_some(named)
}

/// The counts in a document.
fn counts_in(text: &str) -> BTreeMap<String, f64> {
    let row = |line: &str| {
        let (name, count) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        Some((name.to_string(), count.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let text = document(&[("spawn", 123.4), ("yield-one", 56.0)]);
        let counts = counts_in(&text);
        assert_eq!(
            counts.into_iter().collect::<Vec<_>>(),
            [("spawn".to_string(), 123.4), ("yield-one".to_string(), 56.0)]
        );
        assert_eq!(other_compiler(&text), None);
        assert_eq!(other_compiler("Counted with rustc 0.1 for x."), Some("rustc 0.1 for x"));
    }

    #[test]
    fn every_case_is_kept_in_the_documents() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/INSTRUCTIONS.md");
        let kept = counts_in(&fs::read_to_string(path).unwrap());
        let names = MICRO.iter().map(|(name, ..)| name).chain(SERVERS.iter().map(|(name, _)| name));
        assert!(names.clone().all(|name| kept.contains_key(*name)), "{kept:?}");
        assert_eq!(names.count(), kept.len());
    }

    #[test]
    fn a_change_of_more_than_two_percent_is_told_to_either_side() {
        let kept = counts_in("| a | 100.0 |\n| b | 100.0 |\n| c | 100.0 |\n");
        let counts = [("a", 102.0), ("b", 102.1), ("c", 97.9), ("new", 1.0)];
        let (table, changed) = compare(&counts, &kept);
        assert_eq!(changed, ["b", "c", "new"]);
        assert!(table.contains("+2.1 %") && table.contains("-2.1 %"), "{table}");
    }

    #[test]
    fn callgrinds_count_is_found() {
        assert_eq!(collected("==12== Collected : 351944"), Some(351_944));
        assert_eq!(collected("==12== Events    : Ir"), None);
        assert_eq!(collected("listening 127.0.0.1:1"), None);
    }
}

//! The program `bench` beside other programs: its tables, its figures, and its picture.

mod common;

use common::{Ended, Program, Watchdog};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn bench(arguments: &[&str]) -> Ended {
    Program::start(Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments)).wait()
}

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// A directory of its own, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }

    /// A program of the shell. Another process writes it: were it open here for writing while some
    /// test starts a process, that would inherit it, and the system runs no file that is written.
    fn program(&self, name: &str, script: &str) {
        let write = "printf '#!/bin/sh\\n%s\\n' \"$2\" >\"$1\" && chmod +x \"$1\"";
        let arguments = ["-c", write, "sh", &self.path(name), script];
        assert!(Command::new("sh").args(arguments).status().unwrap().success());
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program that knows one case and one server.
const PEER: &str = r#"# /registry/tokio-1.2.3/src/lib.rs
case "$1 $2" in
"micro sleep-accuracy") echo '{"case":"sleep-accuracy","n":300,"ns":300,"ns_per_op":1,"cpu_ns":3000,"peak_rss_kb":7}';;
"micro "*) echo '{"case":"'$2'","skipped":"no such case"}';;
*) echo "listening 127.0.0.1:9"; exec sleep 600;;
esac"#;

/// A load generator that asks nobody.
const LOAD: &str = r#"echo '{"conns":1,"requests":1000,"req_per_s":5,"p50_us":1,"p99_us":2,"errors":0,"server_cpu_ns":4000,"server_rss_idle_kb":10,"server_rss_open_kb":14}'"#;

#[test]
fn programs_are_compared_and_the_figures_and_the_picture_kept() {
    let _watchdog = Watchdog::new("programs_are_compared_and_the_figures_and_the_picture_kept");
    let directory = Directory::new("compared");
    directory.program("peer-tokio", PEER);
    directory.program("peer-raw", "exit 3");
    directory.program("load", LOAD);
    let (figures, chart) = (directory.path("figures.tsv"), directory.path("chart.svg"));
    let peers = directory.path("");
    let ended = bench(&[
        "compare",
        "--cases=sleep-accuracy,echo-1",
        "--rounds=2",
        "--peers",
        &peers,
        "--figures",
        &figures,
        "--chart",
        &chart,
    ]);
    assert_eq!(ended.code, Some(0), "{:?}", ended.err);
    let complains = |words: &str| ended.err.iter().any(|line| line.contains(words));
    assert!(complains("there is no") && complains("peer-smol: left out"), "{:?}", ended.err);
    assert!(complains("raw sleep-accuracy: "), "{:?}", ended.err);
    let last = ended.out.last().map(String::as_str).unwrap_or_default();
    assert!(last.starts_with("echo-1 ") && last.contains("1.00"), "{:?}", ended.out);

    let figures = fs::read_to_string(figures).unwrap();
    let row = |start: &str| figures.lines().find(|line| line.starts_with(start));
    // 3,000 ns for 300 sleeps, and 4,000 ns for 1,000 requests.
    let theirs = row("sleep-accuracy\ttokio\tcpu_ns\t").unwrap();
    assert!(theirs.contains("\t10.000\t10.000\t10.000\t"), "{theirs}");
    let equal = row("echo-1\ttokio\tcpu_ns\t");
    assert_eq!(equal, Some("echo-1\ttokio\tcpu_ns\t4.000\t4.000\t4.000\t1.000"));
    assert!(row("sleep-accuracy\twhirligig\tlate_p99_us\t").is_some(), "{figures}");
    assert!(row("echo-1\twhirligig\tconnection_kb\t4.000\t").is_some(), "{figures}");
    assert!(row("# date\t").is_some() && row("# rounds\t2").is_some(), "{figures}");
    assert!(row("# versions\t").is_some_and(|line| line.contains("tokio 1.2.3")), "{figures}");
    assert!(!figures.contains("\traw\t"), "{figures}");

    let drawn = fs::read_to_string(chart).unwrap();
    assert!(drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"), "{drawn}");
    assert!(drawn.contains(">10.0 ns<") && drawn.contains(">4.00 ns<"), "{drawn}");
}

#[test]
fn alone_it_measures_itself() {
    let _watchdog = Watchdog::new("alone_it_measures_itself");
    let ended = bench(&["compare", "--cases", "sleep-accuracy", "--rounds", "1"]);
    assert_eq!((ended.code, &ended.err[..]), (Some(0), &[][..]));
    assert!(ended.out.iter().any(|line| line.starts_with("whirligig ")), "{:?}", ended.out);
    assert!(!ended.out.iter().any(|line| line.contains("over theirs")), "{:?}", ended.out);
}

#[test]
fn what_can_not_be_measured_or_written_is_an_error() {
    let _watchdog = Watchdog::new("what_can_not_be_measured_or_written_is_an_error");
    let directory = Directory::new("nothing");
    let nowhere = directory.path("no/such/file");
    let peers = directory.path("");
    for (arguments, complaint) in [
        (&["compare", "--cases", "fly"][..], "there is no case \"fly\""),
        (&["compare", "--peers", &peers], "holds none of the programs"),
        (&["compare", "--cases", "echo-1"], "nothing could be measured"),
        (&["chart", "--figures", &nowhere, "--chart", &nowhere], &nowhere),
        (&["instructions", "--kept", &nowhere], &nowhere),
    ] {
        let ended = bench(arguments);
        assert_eq!((ended.code, &ended.out[..]), (Some(1), &[][..]), "{arguments:?}");
        let last = ended.err.last().map(String::as_str).unwrap_or_default();
        assert!(last.starts_with("bench: ") && last.contains(complaint), "{:?}", ended.err);
    }
}

#[test]
fn without_callgrind_instructions_are_an_error() {
    let kept = documents().join("INSTRUCTIONS.md");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.arg("instructions").arg("--kept").arg(kept).env("PATH", "");
    let ended = Program::start(&mut command).wait();
    assert_eq!(ended.code, Some(1));
    assert!(ended.err[0].starts_with("bench: valgrind: "), "{:?}", ended.err);
}

#[test]
fn the_picture_in_the_documents_is_that_of_the_figures_there() {
    let directory = Directory::new("drawn");
    let chart = directory.path("chart.svg");
    let figures = documents().join("bench.tsv");
    let ended = bench(&["chart", "--figures", figures.to_str().unwrap(), "--chart", &chart]);
    assert_eq!((ended.code, &ended.err[..]), (Some(0), &[][..]));
    let kept = fs::read_to_string(documents().join("bench.svg")).unwrap();
    assert!(fs::read_to_string(chart).unwrap() == kept, "make it anew: bench chart");
}

//! The comparison of the styles: `bench models`, on little work.

mod common;

use common::{Ended, Program, Watchdog};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const BENCH: &str = env!("CARGO_BIN_EXE_bench");

/// A directory of a test's own, which goes with it.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Directory {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        // That of an earlier run, if that was ended.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `bench models --brief`; what it prints, and the rows and the chart that it writes.
fn models(bench: &Path, directory: &Directory) -> (Ended, Vec<Vec<String>>, String) {
    let (figures, chart) = (directory.file("models.tsv"), directory.file("models.svg"));
    let mut command = Command::new(bench);
    command.args(["models", "--brief", "--figures"]).arg(&figures).arg("--chart").arg(&chart);
    let ended = Program::start(&mut command).wait();
    assert_eq!((ended.code, &ended.err[..]), (Some(0), &[][..]), "{ended:?}");
    let row = |line: &str| line.split('\t').map(String::from).collect();
    let rows = fs::read_to_string(figures).unwrap().lines().map(row).collect();
    (ended, rows, fs::read_to_string(chart).unwrap())
}

#[test]
fn every_client_that_is_there_has_a_row_for_each_work_and_a_bar_in_the_chart() {
    let _watchdog = Watchdog::new("every_client_that_is_there_has_a_row_for_each_work");
    let directory = Directory::new("models-all");
    let (ended, rows, chart) = models(Path::new(BENCH), &directory);
    let (head, rows) = rows.split_first().unwrap();
    for work in ["at-once", "in-sequence"] {
        for style in ["threads", "epoll", "callbacks", "fibers", "coroutines", "async"] {
            let row = rows.iter().find(|row| row[0] == work && row[1] == style).unwrap();
            assert_eq!((row.len(), &row[row.len() - 1][..]), (head.len(), "-"), "{row:?}");
            let cell = |name: &str| {
                let column = head.iter().position(|own| own == name).unwrap();
                row[column].parse::<f64>().unwrap_or_else(|_| panic!("{name}: {row:?}"))
            };
            let at_least = if work == "at-once" { 500.0 } else { 0.0 };
            assert!(cell("wall_ms") >= at_least, "{row:?}");
            assert!(cell("cpu_ms") > 0.0 && cell("peak_rss_kb") > 500.0, "{row:?}");
            assert!(cell("lines") > 20.0, "{row:?}");
            // Where answers are always there already, nobody needs to wait.
            let least_switches = if work == "at-once" { 1.0 } else { 0.0 };
            assert!(cell("voluntary_switches") >= least_switches, "{row:?}");
            match (work, style) {
                ("at-once", "threads") => assert_eq!(cell("threads"), 11.0, "10, and the first"),
                (_, "threads") => {}
                _ => assert_eq!(cell("threads"), 1.0, "{row:?}"),
            }
            assert!(chart.contains(&format!(">{style}</text>")), "{chart}");
        }
    }
    assert!(ended.out.iter().any(|line| line.contains("not counted: it is brief")));
}

#[test]
fn a_client_that_is_not_there_or_fails_is_a_row_that_says_why() {
    let _watchdog = Watchdog::new("a_client_that_is_not_there_or_fails_is_a_row_that_says_why");
    let directory = Directory::new("models-some");
    let bench = directory.file("bench");
    fs::copy(BENCH, &bench).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_delayserver"), directory.file("delayserver")).unwrap();
    for (name, script) in [
        ("client-async", "echo 'client-async: out of order' >&2; exit 1"),
        ("client-epoll", "echo 'used much' >&2; exit 0"),
    ] {
        let file = directory.file(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (ended, rows, chart) = models(&bench, &directory);
    for (style, why) in [
        ("async", "client-async: out of order"),
        ("epoll", "\"used much\" does not say what was used"),
        ("threads", "it was not built"),
    ] {
        let row = rows.iter().find(|row| row[1] == style).unwrap();
        assert_eq!(row.last().unwrap(), why);
        let note = format!("not measured: {why}");
        assert!(ended.out.iter().any(|line| line.ends_with(&note)), "{:?}", ended.out);
        assert!(chart.contains(&why.replace('"', "&quot;")), "{chart}");
    }
}

#[test]
fn a_file_that_can_not_be_written_is_an_error() {
    let _watchdog = Watchdog::new("a_file_that_can_not_be_written_is_an_error");
    let mut command = Command::new(BENCH);
    let ended =
        Program::start(command.args(["models", "--brief", "--figures", "/no/such/file"])).wait();
    assert_eq!((ended.code, ended.err.len()), (Some(1), 1));
    assert!(ended.err[0].contains("/no/such/file"), "{:?}", ended.err);
}

//! Replays the fuzzers' corpora, findings included, on the stable compiler.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

#[path = "../fuzz/bodies/mod.rs"]
pub mod bodies;

type Body = fn(&[u8]);

/// All targets, with what they do with an input.
const TARGETS: [(&str, Body); 7] = [
    ("event_parser", bodies::event_parser::run),
    ("http_request", bodies::http_request::run),
    ("http_response", bodies::http_response::run),
    ("kernels", bodies::kernels::run),
    ("reactor_events", bodies::reactor_events::run),
    ("timers", bodies::timers::run),
    ("url", bodies::url::run),
];

/// Runs `body` on each of `files`, and names the one that it fails on.
fn replay(files: &[PathBuf], body: Body) {
    for file in files {
        let data = fs::read(file).expect("a file that was just listed can be read");
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(&data))) {
            eprintln!("in the replay of {}", file.display());
            resume_unwind(panic);
        }
    }
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn corpus(target: &str) -> Vec<PathBuf> {
    let directory = fuzz().join("corpus").join(target);
    let entries = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("no corpus in {}: {error}", directory.display()));
    let files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a directory can be listed").path()).collect();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    files
}

fn replay_target(target: &str) {
    let (_, body) = TARGETS.iter().find(|(name, _)| *name == target).expect("it is in the list");
    replay(&corpus(target), *body);
}

#[test]
fn the_event_parser_passes_its_corpus() {
    replay_target("event_parser");
}

#[test]
fn requests_pass_their_corpus() {
    replay_target("http_request");
}

#[test]
fn responses_pass_their_corpus() {
    replay_target("http_response");
}

#[test]
fn a_reactor_passes_the_corpus_of_event_batches() {
    replay_target("reactor_events");
}

#[test]
fn the_simulated_kernel_does_as_linux_on_its_corpus() {
    replay_target("kernels");
}

#[test]
fn the_timer_queue_passes_its_corpus() {
    replay_target("timers");
}

#[test]
fn percent_coding_passes_its_corpus() {
    replay_target("url");
}

#[test]
fn every_target_and_every_corpus_is_replayed_here() {
    let stems = |directory: &str| {
        let entries = fs::read_dir(fuzz().join(directory)).expect("it is part of the repository");
        let mut stems: Vec<String> = entries
            .map(|entry| entry.expect("a directory can be listed").path())
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        stems.sort();
        stems
    };
    let listed: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(stems("targets"), listed);
    assert_eq!(stems("corpus"), listed);
}

#[test]
#[should_panic(expected = "the canary")]
fn a_body_that_panics_fails_its_replay() {
    replay(&corpus("url"), |_| panic!("the canary"));
}

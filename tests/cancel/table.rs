//! The table of what the documentation promises, made of the sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const TABLE: &str = "docs/CANCEL_SAFETY.md";

const HEADER: &str = "\
# Cancel safety

A future may be dropped before it is done: by a timeout, by a race that another has won, by an abort.
This is what each future of the library promises then, as its documentation says it. A test drops
each of them wherever it can be dropped, before each poll and after each that was pending, on the
[simulated kernel](guide/10-the-simulated-kernel.md), with calls that fail and without, and checks
the promise, and that no task, timer, registration, descriptor or connection is left
([tests/cancel.rs](../tests/cancel.rs)). The table is made of the sources:
`UPDATE=1 cargo test --features sim --test cancel table`.

| operation | dropped before it is done |
| --- | --- |
";

/// Futures that are no operations of their own, and where they come from.
const PARTS: &[(&str, &str)] = &[
    ("net::Accept", "net::TcpListener::accept"),
    ("net::Connecting", "net::TcpSocket::connect"),
    ("net::ConnectingTo", "net::TcpStream::connect"),
    ("time::Sleep", "time::sleep"),
    ("io::Read", "io::AsyncRead::read"),
    ("io::ReadExact", "io::AsyncRead::read_exact"),
    ("io::ReadInto", "io::AsyncRead::read_into"),
    ("io::Write", "io::AsyncWrite::write"),
    ("io::WriteAll", "io::AsyncWrite::write_all"),
    ("callback::Run", "callback::EventLoop::run"),
    ("coroutine::Ask", "coroutine::ask"),
    ("sync::Notified", "sync::Notify::notified"),
    ("sync::local::Notified", "sync::local::Notify::notified"),
    ("sync::local::mpsc::Receiving", "sync::local::mpsc::Receiver::recv"),
    ("sync::local::mpsc::Sending", "sync::local::mpsc::Sender::send"),
];

/// What is not tried, and why.
const NOT_TRIED: &[(&str, &str)] = &[
    ("generator::Yielder::suspend", "it is polled by its generator alone"),
    ("pinned::PollBoth", "a part of `future::join` and others; not public"),
    ("time::sleep_until", "`time::sleep` with another clock; tried with it"),
    ("time::timeout_at", "`time::timeout` with another clock; tried with it"),
];

/// Compares what is public with what is tried, and the table with the sources.
pub(crate) fn check(tried: &[&str]) {
    let found = operations();
    let excused = |name: &str| PARTS.iter().chain(NOT_TRIED).any(|(part, _)| *part == name);
    let missing: Vec<_> =
        found.keys().filter(|name| !tried.contains(&name.as_str()) && !excused(name)).collect();
    assert!(missing.is_empty(), "not tried: {missing:?}");
    let gone: Vec<_> = tried.iter().filter(|name| !found.contains_key(**name)).collect();
    assert!(gone.is_empty(), "tried, but not found in the sources: {gone:?}");
    let unsaid: Vec<_> =
        tried.iter().filter(|name| found.get(**name).is_some_and(Option::is_none)).collect();
    assert!(unsaid.is_empty(), "without a word on cancel safety: {unsaid:?}");

    let mut table = String::from(HEADER);
    for (name, promise) in &found {
        if let (Some(promise), true) = (promise, tried.contains(&name.as_str())) {
            table += &format!("| `{name}` | {promise} |\n");
        }
    }
    let path = root().join(TABLE);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &table).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == table, "{TABLE} is not what the sources say: see its head");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Each public function that returns a future, and each type that is one, with what its
/// documentation says of cancel safety.
fn operations() -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root().join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_other =
                ["tests", "bin", "sim", "tests.rs"].iter().any(|end| path.ends_with(end));
            if path.is_dir() && !is_other {
                directories.push(path);
            } else if !is_other && path.extension().is_some_and(|end| end == "rs") {
                look_through(&path, &mut found);
            }
        }
    }
    found
}

/// The path of a file's public items.
fn module(path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root().join("src")).unwrap().with_extension("");
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let public = match parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["runtime" | "task_set", ..] => vec![],
        ["sync", "local", "mpsc" | "oneshot", ..] => parts[..3].to_vec(),
        ["sync", "local" | "mpsc" | "oneshot", ..] => parts[..2].to_vec(),
        _ => parts[..1].to_vec(),
    };
    public.iter().map(|part| format!("{part}::")).collect()
}

fn look_through(path: &Path, found: &mut BTreeMap<String, Option<String>>) {
    let text = fs::read_to_string(path).unwrap();
    let module = module(path);
    let (mut docs, mut owner) = (Vec::new(), String::new());
    let lines: Vec<_> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        if let Some(words) = code.strip_prefix("///") {
            docs.push(words.trim());
            continue;
        }
        if code.starts_with('#') {
            continue;
        }
        if *line == "}" {
            owner.clear();
        }
        let promise = promise(&docs);
        docs.clear();
        let is_block = !line.starts_with(' ');
        if is_block && (code.starts_with("impl") || code.starts_with("pub trait ")) {
            owner = format!("{}::", type_of(code));
            if code.contains(" Future for ") {
                let name = format!("{module}{}", type_of(code));
                // The type's own documentation may have come before.
                found.entry(name).or_insert(None);
            }
            continue;
        }
        if let Some(name) = code.strip_prefix("pub struct ") {
            if promise.is_some() {
                found.insert(format!("{module}{}", identifier(name)), promise);
            }
            continue;
        }
        // Those of public traits are public as well.
        let is_trait = owner.starts_with("Async");
        let Some(rest) = code.strip_prefix("pub ").or(is_trait.then_some(code)) else { continue };
        let (is_async, rest) = match rest.strip_prefix("async ") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let Some(name) = rest.strip_prefix("fn ") else { continue };
        let signature: String =
            lines[at..].iter().take_while(|line| !line.contains('{')).copied().collect();
        let head = lines[at..].iter().find(|line| line.contains('{'));
        let returns = signature + head.copied().unwrap_or_default();
        let is_future = is_async || returns.split('{').next().is_some_and(gives_future);
        if is_future || promise.is_some() {
            found.insert(format!("{module}{owner}{}", identifier(name)), promise);
        }
    }
}

fn gives_future(signature: &str) -> bool {
    signature.rsplit("->").next().is_some_and(|output| output.contains("impl Future"))
        && signature.contains("->")
}

fn identifier(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// The type that an `impl` or a trait is about.
fn type_of(block: &str) -> String {
    let block = match block.split_once(" for ") {
        Some((_, name)) => name,
        None => block,
    };
    let mut depth = 0;
    // Without what stands in angle brackets, as parameters do.
    let plain: String = block
        .chars()
        .filter(|c| {
            depth += i32::from(*c == '<');
            let is_outside = depth == 0;
            depth -= i32::from(*c == '>');
            is_outside
        })
        .collect();
    let words = plain.trim_start_matches("impl").trim_start_matches("pub trait").trim_start();
    identifier(words).to_string()
}

/// What follows "Cancel safety:", to the end of its paragraph; in one line, as a table has it.
fn promise(docs: &[&str]) -> Option<String> {
    let first = docs.iter().position(|line| line.starts_with("Cancel safety:"))?;
    let paragraph: Vec<_> =
        docs[first..].iter().take_while(|line| !line.is_empty()).copied().collect();
    let text = paragraph.join(" ");
    let text = text.strip_prefix("Cancel safety: ")?;
    let plain = without_links(text);
    let mut letters = plain.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str())
}

/// Links of the documentation lead nowhere from here: their texts alone.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let (name, after) = link.split_once(']').unwrap_or((link, ""));
        plain = plain + before + name;
        let target = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    plain + rest
}

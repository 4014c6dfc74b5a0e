//! What the sources may look like: who uses whom, where unsafe code stands, what links where.
//!
//! Each check is a function from texts to complaints, so that a canary can show that it complains.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The floors of the house. A module uses what stands before it in this table: lower floors, and
/// its own floor up to itself, so that there are no circles.
///
/// `event` stands below `sys`: it is pure, and `sys` reads with it what the kernel wrote.
const FLOORS: &[&[&str]] = &[
    &["event", "timer", "slab", "budget", "contain", "lock", "pinned", "innermost"],
    &["sys"],
    &["reactor", "task", "executor"],
    &["instant", "runtime"],
    &[
        "future", "io", "time", "blocking", "signal", "net", "task_set", "sync", "workers",
        "callback",
    ],
    &["fiber", "generator"],
    &["http"],
    &["delay", "coroutine"],
    &["sim"],
];

/// What the order of the table would allow: the runtime alone joins tasks and reactor.
const STRANGERS: &[(&str, &str)] = &[("task", "reactor"), ("executor", "reactor")];

/// What the root of the crate hands on from `runtime`.
const ROOT: &[&str] = &["Builder", "Handle", "Runtime", "Turn", "run", "spawn", "yield_now"];

const LINES_MAX: usize = 550;
const COLUMNS_MAX: usize = 100;

/// Calls of `expect` outside of tests: each message says why it can't fail, or whose fault it is.
const EXPECTED: &[(&str, &str)] = &[
    ("src/fiber/coroutine/wait.rs", "a wait ends when the poll is ready"),
    ("src/net/connect.rs", "a connect is not polled after it is done"),
    ("src/net/half.rs", "only `reunite` takes it, and the half with it"),
    ("src/net/half.rs", "the halves are the only two references"),
    ("src/net/listener.rs", "nobody but the listener keeps it"),
    ("src/reactor/watched.rs", "only `into_parts` takes it, and all of this with it"),
    ("src/reactor/watched.rs", "only this takes it"),
    ("src/sync/mutex.rs", "a guard has the value until it is dropped"),
    // Misuse, documented under "Panics".
    ("src/runtime.rs", "`spawn` takes a runtime's turn: see `Runtime`"),
    ("src/sync/mutex.rs", "only a leaked guard keeps the value"),
    ("src/task/join.rs", "a join handle is not polled after it gave the output"),
    ("src/task/join.rs", "the output was not yet taken"),
    ("src/task/pool.rs", "a new chunk has room"),
    ("src/time/sleep.rs", "a sleep takes a runtime's turn"),
];

/// The files of `task` that share cells between threads; the pure state is none of them.
const UNSAFE_TASK_FILES: &[&str] = &[
    "src/task/cell.rs",
    "src/task/chunk.rs",
    "src/task/header.rs",
    "src/task/home.rs",
    "src/task/join.rs",
    "src/task/pool.rs",
    "src/task/queue.rs",
    "src/task/receive.rs",
    "src/task/remote.rs",
    "src/task/waker.rs",
];

/// A function on a stack of its own, and the switch between stacks.
const UNSAFE_FIBER_FILES: &[&str] = &[
    "src/fiber/coroutine.rs",
    "src/fiber/coroutine/wait.rs",
    "src/fiber/switch.rs",
    "src/fiber/switch/aarch64.rs",
    "src/fiber/switch/asan.rs",
    "src/fiber/switch/x86_64.rs",
];

/// The lesson on pinning, which has to follow pointers of a value into itself.
const UNSAFE_LESSON: &str = "src/coroutine.rs";

/// What futures that are written by hand need of pinning, once for all.
const UNSAFE_PINNED: &str = "src/pinned.rs";

fn may_be_unsafe(file: &str) -> bool {
    file.starts_with("src/sys/")
        || UNSAFE_TASK_FILES.contains(&file)
        || UNSAFE_FIBER_FILES.contains(&file)
        || [UNSAFE_LESSON, UNSAFE_PINNED].contains(&file)
}

/// A source file: its path from the root of the repository, and its text.
type Source = (String, String);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files under `directory`, by their paths from the root; none if it does not exist.
fn files_under(directory: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root().join(directory)) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.expect("a directory can be listed");
        let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn sources() -> Vec<Source> {
    let files = files_under("src").into_iter().filter(|file| file.ends_with(".rs"));
    let sources: Vec<Source> = files.map(|file| (file.clone(), read(&file))).collect();
    assert!(sources.len() > 30, "the sources are not where they should be");
    sources
}

fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// The text with comments blanked out, and strings and characters too if `strings` says so. Every
/// byte that is left stands where it stood.
fn blanked(text: &str, strings: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let word_before =
            at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let raw = if word_before && bytes[at - 1] != b'b' { None } else { raw_string(rest) };
        let (length, blank) = if rest.starts_with(b"//") {
            (find(rest, b"\n").unwrap_or(rest.len()), true)
        } else if rest.starts_with(b"/*") {
            (find(rest, b"*/").map_or(rest.len(), |end| end + 2), true)
        } else if let Some(length) = raw {
            (length, strings)
        } else if rest[0] == b'"' {
            (quoted(rest), strings)
        } else if rest[0] == b'\'' {
            // A character; else it is a lifetime.
            let text = &text[at + 1..];
            let first = text.chars().next().map_or(0, char::len_utf8);
            match rest.get(1) {
                Some(b'\\') => (quoted(rest), strings),
                _ if text[first..].starts_with('\'') => (first + 2, strings),
                _ => (1, false),
            }
        } else {
            (1, false)
        };
        if blank {
            out[at..at + length].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
        }
        at += length;
    }
    String::from_utf8(out).expect("only whole characters are blanked out")
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The length of a quoted literal, whose first byte is its quote.
fn quoted(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == bytes[0] => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The length of the raw string that starts here, if one does.
fn raw_string(bytes: &[u8]) -> Option<usize> {
    let hashes = bytes.strip_prefix(b"r")?.iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(hashes + 1) != Some(&b'"') {
        return None;
    }
    let end = [b"\"", &b"#".repeat(hashes)[..]].concat();
    Some(hashes + 2 + find(&bytes[hashes + 2..], &end)? + end.len())
}

/// Where the braces that open after `from` close.
fn end_of_block(code: &str, from: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// The text without its test modules.
fn without_tests(text: &str) -> String {
    let code = blanked(text, true);
    let mut kept = text.to_owned();
    for (at, found) in code.match_indices("#[cfg(test)]") {
        let after = code[at + found.len()..].trim_start();
        if after.starts_with("mod ") {
            let end = end_of_block(&code, code.len() - after.len());
            let gone = " ".repeat(end - at);
            kept.replace_range(at..end, &gone);
        }
    }
    kept
}

/// Where a word stands in code: not as a part of another.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let bytes = code.as_bytes();
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        !part(before) && !part(bytes.get(at + word.len()))
    })
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

// Floors.

/// The names that follow `crate::`, or each `crate::` of a group.
fn names_after(code: &str, at: usize) -> Vec<String> {
    let name = |text: &str| {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    let Some(group) = code[at..].strip_prefix('{') else { return vec![name(&code[at..])] };
    let group = &group[..end_of_block(code, at) - at - 2];
    let (mut names, mut depth, mut start) = (Vec::new(), 0, true);
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && !c.is_whitespace() => {
                names.push(name(&group[index..]));
                start = false;
            }
            _ => {}
        }
    }
    names
}

fn floor_complaints(sources: &[Source]) -> Vec<String> {
    let order: Vec<&str> = FLOORS.concat();
    let rank = |module: &str| order.iter().position(|other| *other == module);
    let mut complaints = Vec::new();
    for (file, text) in sources {
        let Some(path) = file.strip_prefix("src/").filter(|path| !path.starts_with("bin/")) else {
            continue;
        };
        let module = path.split(['/', '.']).next().unwrap_or_default();
        if module == "lib" || is_test(file) {
            continue;
        }
        let Some(own) = rank(module) else {
            complaints.push(format!("{file}: `{module}` stands on no floor"));
            continue;
        };
        let code = blanked(&without_tests(text), true);
        for at in words(&code, "crate").filter(|at| code[at + 5..].starts_with("::")) {
            for name in names_after(&code, at + 7) {
                let used = if ROOT.contains(&&name[..]) { "runtime" } else { &name };
                let allowed = rank(used).is_some_and(|used| used <= own)
                    && !STRANGERS.contains(&(module, used))
                    && !STRANGERS.contains(&(used, module));
                // `pub(in crate::sys)` and its like name the module itself.
                if !allowed {
                    let line = line_of(&code, at);
                    complaints.push(format!("{file}:{line}: `{module}` uses `{name}`"));
                }
            }
        }
        // By `super` one could get to the root as well: from a module's own file by one.
        let own_file = path.ends_with("mod.rs") || !path.contains('/');
        let to_the_root = if own_file { "super::" } else { "super::super::" };
        if path.matches('/').count() < 2 && code.contains(to_the_root) {
            complaints.push(format!("{file}: `{to_the_root}` leads out of the module"));
        }
    }
    complaints
}

#[test]
fn modules_use_only_what_stands_below_them() {
    assert_eq!(floor_complaints(&sources()), [""; 0]);
}

#[test]
fn a_use_of_a_higher_floor_is_found() {
    let found = |file: &str, text: &str| floor_complaints(&[(file.into(), text.into())]).len();
    assert_eq!(found("src/net/mod.rs", "use crate::http::Limits;"), 1);
    assert_eq!(found("src/sys/mod.rs", "use crate::{event::{self, Event}, io, slab};"), 1);
    assert_eq!(found("src/event.rs", "fn f(_: crate::sys::Epoll) {}"), 1);
    assert_eq!(found("src/executor/mod.rs", "use crate::reactor::Reactor;"), 1);
    assert_eq!(found("src/reactor/mod.rs", "use crate::task::Task;"), 1);
    assert_eq!(found("src/timer.rs", "fn f() { crate::spawn(g()) }"), 1);
    assert_eq!(found("src/timer/slab.rs", "use super::super::runtime;"), 1);
    assert_eq!(found("src/timer.rs", "use super::runtime;"), 1);
    assert_eq!(found("src/attic.rs", ""), 1);
    let fine = "/// [`crate::http`]\nuse crate::io;\n#[cfg(test)]\nmod tests { use crate::http; }";
    assert_eq!(found("src/net/mod.rs", fine), 0);
}

// Unsafe code.

fn unsafe_complaints(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, text) in sources {
        let code = blanked(text, true);
        let opened = code.contains("#![expect(unsafe_code");
        if words(&code, "unsafe_code").count() > usize::from(opened) {
            complaints.push(format!("{file}: opens unsafe code other than by one `#![expect]`"));
        }
        let used = words(&code, "unsafe").next().map(|at| line_of(&code, at));
        if !may_be_unsafe(file) && (opened || used.is_some()) {
            complaints.push(format!("{file}: is no place for unsafe code (line {used:?})"));
        }
        for at in words(&code, "macro_rules") {
            let block = &code[at..end_of_block(&code, at)];
            if words(block, "unsafe").next().is_some() {
                complaints.push(format!("{file}:{}: unsafe code in a macro", line_of(&code, at)));
            }
        }
    }
    complaints
}

#[test]
fn unsafe_code_stands_only_where_it_may() {
    assert_eq!(unsafe_complaints(&sources()), [""; 0]);
}

#[test]
fn unsafe_code_elsewhere_is_found() {
    let found = |file: &str, text: &str| unsafe_complaints(&[(file.into(), text.into())]).len();
    let block = "fn f() { unsafe { g() } }";
    assert_eq!(found("src/io/read.rs", block), 1);
    assert_eq!(found("src/sys/epoll.rs", block), 0);
    assert_eq!(found("src/task/state.rs", "#![expect(unsafe_code, reason = \"\")]"), 1);
    assert_eq!(found("src/sys/epoll.rs", "#[allow(unsafe_code)]"), 1);
    assert_eq!(found("src/sys/epoll.rs", "macro_rules! m { () => { unsafe { g() } } }"), 1);
    let fine =
        "// unsafe\nconst A: &str = \"unsafe\"; const B: char = '\"'; fn unsafe_not<'a>() {}";
    assert_eq!(found("src/io/read.rs", fine), 0);
}

// Dependencies.

fn dependency_complaints(manifest: &str, lock: &str) -> Vec<String> {
    let tables = manifest.lines().filter(|line| {
        line.trim_start().starts_with('[') && line.contains("dependencies")
            || line.split(['=', '.']).next().is_some_and(|key| key.trim().ends_with("dependencies"))
    });
    let mut complaints: Vec<String> = tables.map(str::to_owned).collect();
    let packages = lock.lines().filter(|line| line.trim() == "[[package]]").count();
    if packages != 1 {
        complaints.push(format!("Cargo.lock lists {packages} packages"));
    }
    complaints
}

#[test]
fn the_package_has_no_dependencies() {
    assert_eq!(dependency_complaints(&read("Cargo.toml"), &read("Cargo.lock")), [""; 0]);
}

#[test]
fn a_dependency_is_found() {
    let (own, other) = ("[[package]]\nname = \"own\"\n", "[[package]]\nname = \"other\"\n");
    for table in ["[dependencies]", "[target.'cfg(unix)'.dev-dependencies]", "[dependencies.x]"] {
        assert_eq!(dependency_complaints(table, own), [table]);
    }
    assert_eq!(dependency_complaints("build-dependencies.x = \"1\"", own).len(), 1);
    assert_eq!(dependency_complaints("[features]", &[own, other].concat()).len(), 1);
    assert_eq!(dependency_complaints("[package]", own), [""; 0]);
}

// Links.

/// The lines of a Markdown text that are not code, and those without the code in them.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(&line.split('`').step_by(2).collect::<Vec<_>>().join("`"));
            prose.push('\n');
        }
    }
    prose
}

/// The anchors of a text's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut anchors, mut fenced) = (BTreeSet::new(), false);
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().to_lowercase().replace(' ', "-");
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c));
        let anchor: String = kept.collect();
        let numbered = (1..).map(|number| format!("{anchor}-{number}"));
        let mut names = std::iter::once(anchor.clone()).chain(numbered);
        anchors.extend(names.find(|name| !anchors.contains(name)));
    }
    anchors
}

/// A path from the root, without `.` and `..`; None if it leads out.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::ParentDir => normal.pop().then_some(())?,
            _ => return None,
        }
    }
    Some(normal)
}

/// `texts` are README.md and the files of docs/, by path; `exists` knows all other files.
fn link_complaints(
    texts: &BTreeMap<String, String>,
    exists: impl Fn(&Path) -> bool,
) -> Vec<String> {
    let (mut complaints, mut linked) = (Vec::new(), BTreeSet::new());
    for (file, text) in texts.iter().filter(|(file, _)| file.ends_with(".md")) {
        let prose = prose(text);
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let named = prose.lines().filter(|line| line.starts_with('['));
        let named =
            named.filter_map(|line| line.split_once("]: ").map(|(_, target)| target.trim()));
        for link in inline.chain(named) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let from = Path::new(file);
            let joined = match path {
                "" => from.to_owned(),
                path => from.parent().unwrap_or(Path::new("")).join(path),
            };
            let Some(target) = normal(&joined) else {
                complaints.push(format!("{file}: {link} leads out of the repository"));
                continue;
            };
            let target_text = texts.get(&*target.to_string_lossy());
            if target_text.is_none() && !exists(&target) {
                complaints.push(format!("{file}: {link} leads nowhere"));
            }
            let is_heading = |text: &String| anchors(text).contains(anchor);
            if !anchor.is_empty() && target_text.is_some_and(|text| !is_heading(text)) {
                complaints.push(format!("{file}: {link} names no heading"));
            }
            if target != from {
                linked.insert(target);
            }
        }
    }
    for file in texts.keys().filter(|file| file.starts_with("docs/")) {
        let path = Path::new(file);
        // Code may be linked by its directory.
        let by_directory = || {
            !file.ends_with(".md") && path.ancestors().skip(1).any(|above| linked.contains(above))
        };
        if !linked.contains(path) && !by_directory() {
            complaints.push(format!("{file}: nothing links there"));
        }
    }
    complaints
}

#[test]
fn every_document_is_linked_and_every_link_leads_somewhere() {
    let mut files = files_under("docs");
    // Not there yet: then there is nothing to say.
    if root().join("README.md").exists() {
        files.push("README.md".into());
    } else {
        return;
    }
    let texts = files.into_iter().map(|file| (file.clone(), read(&file))).collect();
    assert_eq!(link_complaints(&texts, |path| root().join(path).exists()), [""; 0]);
}

#[test]
fn a_lost_document_and_a_dead_link_are_found() {
    let found = |files: &[(&str, &str)]| {
        let texts = files.iter().map(|(file, text)| ((*file).into(), (*text).into())).collect();
        link_complaints(&texts, |path| path == Path::new("src/lib.rs")).len()
    };
    let guide = ("docs/guide.md", "# The `guide`: 1\n[up](../README.md)\n# Twice\n# Twice\n");
    assert_eq!(found(&[("README.md", "[a](docs/guide.md#the-guide-1)"), guide]), 0);
    assert_eq!(found(&[("README.md", "[a](docs/guide.md#twice-1) [s](src/lib.rs)"), guide]), 0);
    assert_eq!(found(&[("README.md", "[a]\n\n[a]: docs/guide.md\n"), guide]), 0);
    assert_eq!(found(&[("README.md", "`[a](b)`\n```\n[a](b)\n```\n")]), 0);
    assert_eq!(found(&[("README.md", "no link"), guide]), 1);
    assert_eq!(found(&[("README.md", "[a](docs/guide.md#gone)"), guide]), 1);
    assert_eq!(found(&[("README.md", "[a](src/gone.rs)")]), 1);
    assert_eq!(found(&[("README.md", "[a](../elsewhere.md)")]), 1);
    assert_eq!(found(&[("README.md", "[a](docs/examples)"), ("docs/examples/a.rs", "")]), 1);
    let own = ("docs/own.md", "# Own\n[self](#own) [self](own.md)");
    assert_eq!(found(&[("README.md", ""), own]), 1);
}

// Sizes.

fn size_complaints(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, text) in sources {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            complaints.push(format!("{file}: {lines} lines hold two ideas"));
        }
        for (index, line) in text.lines().enumerate() {
            // A row of a table in the documentation can't be broken.
            let is_row = line.starts_with("//! | ") || line.trim_start().starts_with("/// | ");
            if line.chars().count() > COLUMNS_MAX && !is_row {
                complaints.push(format!("{file}:{}: more than {COLUMNS_MAX} columns", index + 1));
            }
        }
    }
    complaints
}

#[test]
fn files_and_lines_are_short() {
    assert_eq!(size_complaints(&sources()), [""; 0]);
}

#[test]
fn a_long_file_and_a_long_line_are_found() {
    let found = |text: String| size_complaints(&[("src/long.rs".into(), text)]).len();
    assert_eq!(found("\n".repeat(LINES_MAX + 1)), 1);
    assert_eq!(found("x".repeat(COLUMNS_MAX + 1)), 1);
    assert_eq!(found("é".repeat(COLUMNS_MAX) + &"\n".repeat(LINES_MAX)), 0);
}

// Panics.

fn panic_complaints(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, text) in sources.iter().filter(|(file, _)| !is_test(file)) {
        let text = blanked(&without_tests(text), false);
        for (at, call) in text.match_indices(".expect(").chain(text.match_indices(".unwrap(")) {
            let argument = text[at + call.len()..].trim_start();
            let message = argument.strip_prefix('"').and_then(|text| text.split('"').next());
            if !message.is_some_and(|message| EXPECTED.contains(&(file, message))) {
                complaints.push(format!("{file}:{}: {call}{message:?})", line_of(&text, at)));
            }
        }
    }
    complaints
}

#[test]
fn only_what_can_not_fail_is_unwrapped() {
    assert_eq!(panic_complaints(&sources()), [""; 0]);
}

#[test]
fn an_unwrapping_of_what_may_fail_is_found() {
    let found = |text: &str| panic_complaints(&[(EXPECTED[0].0.into(), text.into())]).len();
    assert_eq!(found("fn f() { g().unwrap() }"), 1);
    assert_eq!(found("fn f() { g().expect(\n    \"the peer sends a number\") }"), 1);
    assert_eq!(found(&format!("fn f() {{ g().expect(\"{}\") }}", EXPECTED[0].1)), 0);
    assert_eq!(found("/// f().unwrap()\nfn f() {}\n#[cfg(test)]\nmod tests { f().unwrap() }"), 0);
}

//! The styles of concurrent programs, compared: every client on the same work.

mod picture;
mod rows;

use crate::process::{Line, Running};
use crate::{Failure, say};
use rows::{Row, Took, Traced};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use whirligig::delay::Usage;

/// What is compared, and where it is written to.
#[derive(Debug)]
pub(crate) struct Models {
    pub(crate) figures: Option<PathBuf>,
    pub(crate) chart: Option<PathBuf>,
    /// A hundredth of the work, once, and without counting system calls: to see that it works.
    pub(crate) brief: bool,
}

/// The clients, in the order of the guide.
const STYLES: [&str; 7] =
    ["threads", "epoll", "callbacks", "fibers", "coroutines", "async", "workers"];

/// What the clients are asked to do.
struct Work {
    name: &'static str,
    requests: u64,
    flags: Vec<&'static str>,
}

/// How often each client does each work.
const RUNS: usize = 3;

/// Requests of each work that are traced, which takes its time.
const TRACED_MAX: u64 = 2000;

/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often the threads of a client are counted.
const COUNT_EVERY: Duration = Duration::from_millis(2);

fn works(brief: bool) -> [Work; 2] {
    let part = if brief { 100 } else { 1 };
    [
        Work { name: "at-once", requests: 1000 / part, flags: vec!["--delay", "500"] },
        Work {
            name: "in-sequence",
            requests: 20_000 / part,
            flags: vec!["--delay", "0", "--at-once", "50"],
        },
    ]
}

/// Runs every client on every work, and prints what they took.
pub(crate) fn run(models: &Models) -> Result<(), Failure> {
    let own = std::env::current_exe()?;
    let binaries = own.parent().ok_or("this program has no directory")?;
    let server = binaries.join("delayserver").display().to_string();
    let server = Running::start(Line::new([&server, "--quiet", "127.0.0.1:0"]), &[])?;
    let address = server.find(|line| line.strip_prefix("listening on ").map(String::from))?;
    let runs = if models.brief { 1 } else { RUNS };
    let tracer = if models.brief { Err("it is brief".to_string()) } else { tracer() };
    let mut rows = Vec::new();
    for work in works(models.brief) {
        let of_work = measure(&work, binaries, &address, runs, &tracer);
        say(&rows::text(&work_text(&work), &of_work))?;
        rows.extend(of_work);
    }
    if let Err(why) = &tracer {
        say(&format!("System calls were not counted: {why}.\n"))?;
    }
    if let Some(file) = &models.figures {
        write(file, &rows::to_tsv(&rows))?;
    }
    if let Some(file) = &models.chart {
        write(file, &picture::draw(&rows))?;
    }
    Ok(())
}

/// The rows of one work. The styles take turns, so that none has a better hour of the machine.
fn measure(
    work: &Work,
    binaries: &Path,
    address: &str,
    runs: usize,
    tracer: &Result<(), String>,
) -> Vec<Row> {
    let clients =
        STYLES.map(|style| Client { style, path: binaries.join(format!("client-{style}")) });
    let mut seen = STYLES.map(|_| Ok(Vec::new()));
    for _ in 0..runs {
        for (client, seen) in clients.iter().zip(&mut seen) {
            let run = client.run(&Client::words(work, address, work.requests));
            match (&mut *seen, run) {
                (Ok(all), Ok(run)) => all.push(run),
                (Ok(_), Err(why)) => *seen = Err(why),
                (Err(_), _) => {}
            }
        }
    }
    let row = |(client, seen): (&Client, _)| Row {
        work: work.name,
        style: client.style,
        requests: work.requests,
        lines: client.lines(),
        took: client.took(work, address, seen, tracer),
    };
    clients.iter().zip(seen).map(row).collect()
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    Ok(fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?)
}

fn work_text(work: &Work) -> String {
    format!("{}: {} requests, {}", work.name, work.requests, work.flags.join(" "))
}

/// Whether there is something to count system calls with.
fn tracer() -> Result<(), String> {
    let version = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    match version.is_ok_and(|status| status.success()) {
        true => Ok(()),
        false => Err("strace is not installed".to_string()),
    }
}

struct Client {
    style: &'static str,
    path: PathBuf,
}

impl Client {
    /// The command line for as many requests.
    fn words(work: &Work, address: &str, requests: u64) -> Vec<String> {
        let mut words = vec![address.to_string(), requests.to_string(), "--usage".into()];
        words.extend(work.flags.iter().map(|flag| (*flag).to_string()));
        words
    }

    /// What was seen, with what is measured once; or why it can't be done in this style.
    fn took(
        &self,
        work: &Work,
        address: &str,
        seen: Result<Vec<rows::Seen>, String>,
        tracer: &Result<(), String>,
    ) -> Result<Took, String> {
        let seen = seen?;
        let words = |requests| Client::words(work, address, requests);
        let one = self.run(&words(1))?;
        let traced = match tracer {
            Ok(()) => {
                let requests = work.requests.min(TRACED_MAX);
                let (all, one) = (self.trace(&words(requests))?, self.trace(&words(1))?);
                Some(Traced::new(&all, &one, requests))
            }
            Err(_) => None,
        };
        Ok(Took { seen, one, traced })
    }

    /// Runs it once.
    fn run(&self, words: &[String]) -> Result<rows::Seen, String> {
        if !self.path.exists() {
            return Err("it was not built".to_string());
        }
        let mut command = Command::new(&self.path);
        command.args(words).stdout(Stdio::null()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = Killed(command.spawn().map_err(|error| error.to_string())?);
        let mut threads = 0;
        let status = loop {
            if let Some(status) = child.0.try_wait().map_err(|error| error.to_string())? {
                break status;
            }
            if start.elapsed() > PATIENCE {
                return Err("it takes too long".to_string());
            }
            threads = threads.max(threads_of(child.0.id()).unwrap_or_default());
            thread::sleep(COUNT_EVERY);
        };
        let wall = start.elapsed();
        let said = child.said();
        match status.success() {
            true => Ok(rows::Seen { wall, threads, usage: last_line(&said).parse::<Usage>()? }),
            false => Err(said.lines().next().unwrap_or("it failed and says nothing").to_string()),
        }
    }

    /// How often it makes each system call.
    fn trace(&self, words: &[String]) -> Result<BTreeMap<String, u64>, String> {
        let mut command = Command::new("strace");
        // Its summary goes to standard error, behind what the client says.
        command.args(["-f", "-qq", "-c"]).arg(&self.path).args(words);
        let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output();
        let output = output.map_err(|error| format!("strace: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("strace: {}", said.lines().next().unwrap_or_default()));
        }
        Ok(rows::calls(&said))
    }

    /// Lines of code of the client's source, without blank ones and comments.
    fn lines(&self) -> Option<usize> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let lines = |file: &str| -> Option<usize> {
            let text = fs::read_to_string(sources.join(file)).ok()?;
            let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
            Some(text.lines().filter(is_code).count())
        };
        let client = lines(&format!("bin/client-{}.rs", self.style))?;
        // What is shared counts for nobody. This client's machine is shared with nobody: it stands
        // in the library only for its unsafe code.
        match self.style {
            "coroutines" => Some(client + lines("coroutine.rs")?),
            _ => Some(client),
        }
    }
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

/// How many threads a process has.
fn threads_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"))?;
    line.trim().parse().ok()
}

/// A process that is killed when it is dropped.
struct Killed(Child);

impl Killed {
    fn said(&mut self) -> String {
        let mut said = String::new();
        if let Some(err) = &mut self.0.stderr {
            // What can't be read is not said.
            let _ = err.read_to_string(&mut said);
        }
        said
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only if it is over and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

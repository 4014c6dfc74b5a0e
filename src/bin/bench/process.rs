//! Other programs: started, pinned to a processor, listened to, and ended.

use crate::Failure;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How long a program may take for what it is asked.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long one that was asked to end may take for that.
const FAREWELL: Duration = Duration::from_secs(10);

/// A program and its arguments, as a line of words.
#[derive(Clone, Debug)]
pub(crate) struct Line(pub(crate) Vec<String>);

impl Line {
    pub(crate) fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Line {
        Line(words.into_iter().map(String::from).collect())
    }

    /// The line with more words behind it.
    pub(crate) fn with<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Line {
        Line(self.0.iter().cloned().chain(Line::new(words).0).collect())
    }

    /// The line, run on one processor by `taskset`; None leaves it where the system puts it.
    pub(crate) fn pinned(&self, processor: Option<usize>) -> Line {
        match processor {
            Some(processor) => Line::new(["taskset", "-c", &processor.to_string()])
                .with(self.0.iter().map(String::as_str)),
            None => self.clone(),
        }
    }

    fn text(&self) -> String {
        self.0.join(" ")
    }
}

/// A program that runs. Dropped, it is killed.
pub(crate) struct Running {
    line: Line,
    child: Child,
    out: Receiver<String>,
}

impl Running {
    /// Starts it, with more in its environment.
    pub(crate) fn start(line: Line, environment: &[(&str, &str)]) -> Result<Running, Failure> {
        let (program, arguments) = line.0.split_first().ok_or("there is no program to run")?;
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
        let out = child.stdout.take().ok_or("a program's output is not piped")?;
        Ok(Running { line, child, out: lines(out) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first line that `wanted` finds something in.
    pub(crate) fn find<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> Result<T, Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.out.recv_timeout(left) {
                Ok(line) => match wanted(&line) {
                    Some(found) => return Ok(found),
                    None => continue,
                },
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("says nothing for too long: {}", self.line.text()).into());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("ended too early: {}", self.line.text()).into());
                }
            }
        }
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err(format!("does not end: {}", self.line.text()).into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("{status}: {}", self.line.text()).into())
        }
    }

    /// Asks it to end (SIGTERM) and returns the lines that it still says.
    pub(crate) fn end(mut self) -> Result<Vec<String>, Failure> {
        let kill = format!("kill -TERM {}", self.pid());
        Command::new("sh").args(["-c", &kill]).status()?;
        let end = Instant::now() + FAREWELL;
        let mut lines = Vec::new();
        loop {
            match self.out.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("does not end: {}", self.line.text()).into());
                }
            }
        }
        self.child.wait()?;
        Ok(lines)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it is over and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(out: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The two processors that measuring uses: one for what is measured, one for its load. None if
/// this process has only one, or nothing to pin others with.
pub(crate) fn two_processors() -> Option<(usize, usize)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut all = processors(list.trim());
    let both = (all.next()?, all.next()?);
    let probe = Command::new("taskset").arg("--version").stdout(Stdio::null()).status();
    probe.is_ok_and(|status| status.success()).then_some(both)
}

/// The numbers of a list such as `0-2,5`.
fn processors(list: &str) -> impl Iterator<Item = usize> + '_ {
    list.split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) => first..=last,
            // An empty range: what is not understood is not used.
            #[expect(clippy::reversed_empty_ranges, reason = "none is what is meant")]
            _ => 1..=0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_processors_is_read() {
        assert_eq!(processors("0-2,5").collect::<Vec<_>>(), [0, 1, 2, 5]);
        assert_eq!(processors("3").collect::<Vec<_>>(), [3]);
        assert_eq!(processors("x").count(), 0);
    }

    #[test]
    fn a_program_is_heard_and_its_bad_end_is_an_error() {
        let shell = |script: &str| Running::start(Line::new(["sh", "-c", script]), &[]).unwrap();
        let found = shell("echo one; echo two").find(|line| (line == "two").then_some(2));
        assert_eq!(found.unwrap(), 2);
        let missing = shell("echo one").find(|line| (line == "two").then_some(2));
        assert!(missing.unwrap_err().to_string().starts_with("ended too early"));
        assert!(shell("exit 3").finish().is_err());
        assert!(shell("exit 0").finish().is_ok());
        assert!(Running::start(Line::new(["/no/such/program"]), &[]).is_err());
    }
}

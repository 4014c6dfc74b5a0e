//! The comparison: each round runs every program once, in turn, so that a slow spell of the
//! machine hits all alike.

use crate::cases::{AGAIN, Case, Kind, OWN, Program, chosen, programs};
use crate::figures::{Figures, Row, median};
use crate::process::{Line, Running, two_processors};
use crate::table::{table, three_digits};
use crate::{Failure, json, picture, say};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use whirligig::sys::raise_descriptor_limit;

/// How to compare.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) rounds: usize,
    /// Of load in each round of a server case.
    pub(crate) seconds: f64,
    /// Names with commas between them; None for all.
    pub(crate) cases: Option<String>,
    /// Where the other programs are, if there are any.
    pub(crate) peers: Option<PathBuf>,
    /// Where to write the figures, and the picture of them.
    pub(crate) figures: Option<PathBuf>,
    pub(crate) chart: Option<PathBuf>,
}

/// What one run of one program in one case measured. None if it failed, or has no such case.
type Sample = Option<Vec<(&'static str, f64)>>;

/// The figure by which programs are compared.
pub(crate) const CPU: &str = "cpu_ns";

/// Runs it, prints its tables, and writes what is to be kept.
pub(crate) fn run(comparison: &Comparison) -> Result<(), Failure> {
    // Ten thousand connections; children inherit it.
    let _ = raise_descriptor_limit();
    let programs = programs(comparison.peers.as_deref())?;
    let processors = two_processors();
    let measuring = Measuring {
        load: comparison.peers.as_deref().map(|directory| directory.join("load")),
        seconds: comparison.seconds.to_string(),
        server_processor: processors.map(|(first, _)| first),
        load_processor: processors.map(|(_, second)| second),
    };
    let cases = chosen(comparison.cases.as_deref())?;
    let mut figures = Figures { facts: facts(comparison, &programs)?, rows: Vec::new() };
    for case in cases.into_iter().filter(|case| measuring.can(case)) {
        let rows = rows(case, &programs, &rounds(case, &programs, &measuring, comparison.rounds));
        say(&format!("\n{}: {}\n{}", case.name, case.operation, case_table(&programs, &rows)))?;
        figures.rows.extend(rows);
    }
    if programs.len() > 1 {
        let title = "Our processor time over theirs, in the median of the rounds:";
        say(&format!("\n{title}\n{}", ratio_table(&programs, &figures)))?;
    }
    let kept = figures.to_text();
    if let Some(path) = &comparison.figures {
        write(path, &kept)?;
    }
    if let Some(path) = &comparison.chart {
        write(path, &drawn(&kept)?)?;
    }
    if figures.rows.is_empty() { Err("nothing could be measured".into()) } else { Ok(()) }
}

/// Draws the picture of figures that were kept.
pub(crate) fn draw(figures: &Path, chart: &Path) -> Result<(), Failure> {
    let text = fs::read_to_string(figures);
    let text = text.map_err(|error| format!("{}: {error}", figures.display()))?;
    write(chart, &drawn(&text)?)
}

/// Of the figures as they are kept, rounded, so that drawing them again comes to the same.
fn drawn(kept: &str) -> Result<String, Failure> {
    Ok(picture::of(&Figures::from_text(kept)?))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    Ok(fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// When, where and with what.
fn facts(comparison: &Comparison, programs: &[Program]) -> Result<Vec<(String, String)>, Failure> {
    let first_line = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.lines().next().map(String::from)
    };
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let versions: Vec<_> = programs.iter().filter_map(|program| program.version.clone()).collect();
    let mut versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    versions.dedup();
    let known = [
        ("date", first_line("date", &["-u", "+%Y-%m-%d"])),
        ("kernel", first_line("uname", &["-r"]).map(|release| format!("Linux {release}"))),
        ("processor", model.map(|(_, model)| model.to_string())),
        ("compiler", first_line("rustc", &["--version"])),
        ("rounds", Some(comparison.rounds.to_string())),
        ("versions", Some(versions.join(", "))),
    ];
    Ok(known.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))).collect())
}

struct Measuring {
    /// The load generator, without which there are no server cases.
    load: Option<PathBuf>,
    seconds: String,
    server_processor: Option<usize>,
    load_processor: Option<usize>,
}

impl Measuring {
    fn can(&self, case: &Case) -> bool {
        self.load.is_some() || matches!(case.kind, Kind::Micro { .. })
    }

    fn sample(&self, case: &Case, program: &Program) -> Result<Sample, Failure> {
        match case.kind {
            Kind::Micro { case, n, pinned } => {
                let processor = self.server_processor.filter(|_| pinned);
                let line = program.line.with(["micro", case, &n.to_string()]).pinned(processor);
                micro_sample(&json_of(Running::start(line, &[])?)?, n)
            }
            Kind::Server { server, load } => self.server_sample(program, server, load),
        }
    }

    fn server_sample(
        &self,
        program: &Program,
        server: &str,
        load: &[&str],
    ) -> Result<Sample, Failure> {
        let line = program.line.with([server, "--addr", "127.0.0.1:0"]);
        let running = Running::start(line.pinned(self.server_processor), &[])?;
        let address = running.find(|line| line.strip_prefix("listening ").map(String::from))?;
        let path = self.load.as_deref().and_then(Path::to_str);
        let words = [path.ok_or("there is no load generator")?, server, "--addr", &address];
        let pid = running.pid().to_string();
        let line = Line::new(words)
            .with(["--seconds", &self.seconds, "--pid", &pid])
            .with(load.iter().copied());
        let json = json_of(Running::start(line.pinned(self.load_processor), &[])?)?;
        server_sample(&json)
    }
}

/// The line of JSON that a program prints, if it ends well.
fn json_of(running: Running) -> Result<String, Failure> {
    let line = running.find(|line| line.starts_with('{').then(|| line.to_string()))?;
    running.finish()?;
    Ok(line)
}

fn micro_sample(line: &str, n: u64) -> Result<Sample, Failure> {
    if line.contains("\"skipped\":") {
        return Ok(None);
    }
    let field = |name| json::number(line, name).ok_or_else(|| format!("no {name} in {line}"));
    let mut sample = vec![
        (CPU, field("cpu_ns")? / n as f64),
        ("wall_ns", field("ns")? / n as f64),
        ("rss_kb", field("peak_rss_kb")?),
    ];
    for name in ["late_p50_us", "late_p99_us", "late_max_us"] {
        sample.extend(json::number(line, name).map(|value| (name, value)));
    }
    Ok(Some(sample))
}

fn server_sample(line: &str) -> Result<Sample, Failure> {
    let field = |name| json::number(line, name).ok_or_else(|| format!("no {name} in {line}"));
    let (requests, errors) = (field("requests")?, field("errors")?);
    if errors > 0.0 || requests == 0.0 {
        return Err(format!("{errors} errors, {requests} requests").into());
    }
    let (idle, open) = (field("server_rss_idle_kb")?, field("server_rss_open_kb")?);
    Ok(Some(vec![
        (CPU, field("server_cpu_ns")? / requests),
        ("req_per_s", field("req_per_s")?),
        ("p50_us", field("p50_us")?),
        ("p99_us", field("p99_us")?),
        ("rss_kb", open),
        ("connection_kb", (open - idle) / field("conns")?),
    ]))
}

/// Every program's samples, round by round.
fn rounds(
    case: &Case,
    programs: &[Program],
    measuring: &Measuring,
    rounds: usize,
) -> Vec<Vec<Sample>> {
    let mut samples: Vec<Vec<Sample>> = programs.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (program, samples) in programs.iter().zip(&mut samples) {
            let sample = measuring.sample(case, program).unwrap_or_else(|error| {
                eprintln!("bench: {} {}: {error}", program.name, case.name);
                None
            });
            samples.push(sample);
        }
    }
    samples
}

/// What the rounds of a case came to.
fn rows(case: &Case, programs: &[Program], samples: &[Vec<Sample>]) -> Vec<Row> {
    let value = |sample: &Sample, figure: &str| {
        let (_, value) = sample.as_ref()?.iter().find(|(name, _)| *name == figure)?;
        Some(*value)
    };
    let mut rows = Vec::new();
    for (program, own_samples) in programs.iter().zip(samples) {
        let Some(first) = own_samples.iter().flatten().next() else { continue };
        for (figure, _) in first {
            let values: Vec<f64> = own_samples.iter().filter_map(|s| value(s, figure)).collect();
            let pairs = samples[0].iter().zip(own_samples);
            let ratios = pairs
                .filter_map(|(ours, theirs)| Some(value(ours, figure)? / value(theirs, figure)?));
            let ratio = median(ratios.filter(|ratio| ratio.is_finite()));
            rows.push(Row {
                case: case.name.to_string(),
                program: program.name.to_string(),
                figure: (*figure).to_string(),
                median: median(values.iter().copied()).unwrap_or_default(),
                low: values.iter().copied().fold(f64::INFINITY, f64::min),
                high: values.iter().copied().fold(0.0, f64::max),
                ratio: ratio.filter(|_| program.name != OWN),
            });
        }
    }
    rows
}

/// The medians of one case, a line for each program.
fn case_table(programs: &[Program], rows: &[Row]) -> String {
    let mut figures: Vec<&str> = Vec::new();
    for row in rows {
        if !figures.contains(&&row.figure[..]) {
            figures.push(&row.figure);
        }
    }
    let mut lines = Vec::new();
    for program in programs {
        let own: Vec<&Row> = rows.iter().filter(|row| row.program == program.name).collect();
        let find = |figure: &str| own.iter().find(|row| row.figure == figure);
        let Some(cpu) = find(CPU) else { continue };
        let text = |figure: &&str| find(figure).map_or("-".into(), |row| three_digits(row.median));
        let mut line = vec![program.name.to_string()];
        line.extend(figures.iter().map(text));
        line.push(format!(
            "±{:.0}%",
            50.0 * (cpu.high - cpu.low) / cpu.median.max(f64::MIN_POSITIVE)
        ));
        line.push(cpu.ratio.map_or(String::new(), |ratio| format!("{ratio:.3}")));
        lines.push(line);
    }
    let mut head = vec![""];
    head.extend(figures);
    head.push("spread");
    if programs.len() > 1 {
        head.push("ours over theirs");
    }
    table(&head, &lines)
}

/// Ours through theirs, for all cases and programs.
fn ratio_table(programs: &[Program], figures: &Figures) -> String {
    let others: Vec<&str> = programs[1..].iter().map(|program| program.name).collect();
    let mut cases: Vec<&str> = figures.rows.iter().map(|row| &row.case[..]).collect();
    cases.dedup();
    let line = |case: &&str| {
        let ratio = |other: &&str| figures.row(case, other, CPU)?.ratio;
        let text = |other| ratio(other).map_or("-".to_string(), |ratio| format!("{ratio:.2}"));
        std::iter::once((*case).to_string()).chain(others.iter().map(text)).collect()
    };
    let lines: Vec<Vec<String>> = cases.iter().map(line).collect();
    let names = others.iter().map(|name| if *name == AGAIN { "ourselves" } else { name });
    let head: Vec<&str> = std::iter::once("").chain(names).collect();
    table(&head, &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_with_errors_or_without_answers_measures_nothing() {
        let line = |requests: u32, errors: u32| {
            format!(
                "{{\"conns\":2,\"requests\":{requests},\"req_per_s\":5,\"p50_us\":1,\"p99_us\":2,\
                 \"errors\":{errors},\"server_cpu_ns\":4000,\"server_rss_idle_kb\":10,\
                 \"server_rss_open_kb\":14}}"
            )
        };
        let sample = server_sample(&line(1000, 0)).unwrap().unwrap();
        assert!(sample.contains(&(CPU, 4.0)) && sample.contains(&("connection_kb", 2.0)));
        assert!(server_sample(&line(1000, 1)).is_err());
        assert!(server_sample(&line(0, 0)).is_err());
        assert!(server_sample("{}").is_err());
    }
}

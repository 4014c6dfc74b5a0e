//! What the clients took, as tables for a terminal and for a file.

use crate::table::{table, three_digits};
use std::collections::BTreeMap;
use std::time::Duration;
use whirligig::delay::Usage;

/// One client on one work.
pub(super) struct Row {
    pub(super) work: &'static str,
    pub(super) style: &'static str,
    pub(super) requests: u64,
    /// Lines of code of the client, where its source is there.
    pub(super) lines: Option<usize>,
    /// What it took, or why it could not do it.
    pub(super) took: Result<Took, String>,
}

/// All that was measured of one client on one work.
pub(super) struct Took {
    /// Of each run; there is at least one.
    pub(super) seen: Vec<Seen>,
    /// Of one request alone.
    pub(super) one: Seen,
    pub(super) traced: Option<Traced>,
}

/// One run.
pub(super) struct Seen {
    pub(super) wall: Duration,
    /// The most that were there at once, when they were counted.
    pub(super) threads: u64,
    pub(super) usage: Usage,
}

/// System calls for each request, by name, those of starting and ending left out.
pub(super) struct Traced(Vec<(String, f64)>);

impl Traced {
    /// From those of `requests` requests and those of one.
    pub(super) fn new(
        all: &BTreeMap<String, u64>,
        one: &BTreeMap<String, u64>,
        requests: u64,
    ) -> Traced {
        let each = |(name, count): (&String, &u64)| {
            let more = count.saturating_sub(one.get(name).copied().unwrap_or_default());
            (name.clone(), more as f64 / (requests.saturating_sub(1)).max(1) as f64)
        };
        let mut calls: Vec<_> = all.iter().map(each).filter(|(_, each)| *each >= 0.005).collect();
        calls.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        Traced(calls)
    }

    pub(super) fn sum(&self) -> f64 {
        self.0.iter().map(|(_, each)| each).sum()
    }

    fn text(&self, between: &str) -> String {
        let call = |(name, each): &(String, f64)| format!("{name} {each:.2}");
        self.0.iter().map(call).collect::<Vec<_>>().join(between)
    }
}

/// The counts of a summary of strace, among other lines.
pub(super) fn calls(summary: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let table = summary.lines().skip_while(|line| !line.starts_with("------"));
    for line in table.skip(1).take_while(|line| !line.starts_with("------")) {
        // % time, seconds, microseconds a call, calls, errors if any, name.
        let words: Vec<&str> = line.split_whitespace().collect();
        if let (Some(Ok(count)), Some(name)) =
            (words.get(3).map(|n| n.parse::<u64>()), words.last())
        {
            *counts.entry((*name).to_string()).or_default() += count;
        }
    }
    counts
}

/// Least, median and most.
pub(super) struct Spread {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
}

impl Took {
    pub(super) fn spread(&self, of: impl Fn(&Seen) -> f64) -> Spread {
        let mut values: Vec<f64> = self.seen.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1);
        Spread { low: at(0), median: at(last / 2), high: at(last) }
    }

    /// Bytes of resident memory for each request that waits beside a first one.
    pub(super) fn waiting_bytes(&self, requests: u64) -> f64 {
        let most = self.spread(peak_kb).median;
        (most - peak_kb(&self.one)).max(0.0) * 1024.0 / requests.saturating_sub(1).max(1) as f64
    }
}

pub(super) fn wall_ms(seen: &Seen) -> f64 {
    seen.wall.as_secs_f64() * 1e3
}

pub(super) fn cpu_us(seen: &Seen) -> f64 {
    seen.usage.cpu.as_secs_f64() * 1e6
}

pub(super) fn peak_kb(seen: &Seen) -> f64 {
    seen.usage.peak_rss_kb as f64
}

pub(super) fn switches(seen: &Seen) -> f64 {
    seen.usage.voluntary_switches as f64
}

/// What is told of each row, beside its name.
const COLUMNS: [&str; 9] = [
    "wall_ms",
    "cpu_ms",
    "cpu_us_a_request",
    "peak_rss_kb",
    "bytes_a_waiting_request",
    "threads",
    "voluntary_switches",
    "calls_a_request",
    "lines",
];

impl Row {
    fn cells(&self, took: &Took) -> Vec<String> {
        let cpu = took.spread(cpu_us).median;
        let whole = |value: f64| format!("{value:.0}");
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_string());
        // Where few wait at once, nothing can be told of one that waits.
        let waits = (self.work == "at-once").then(|| whole(took.waiting_bytes(self.requests)));
        vec![
            whole(took.spread(wall_ms).median),
            three_digits(cpu / 1e3),
            three_digits(cpu / self.requests as f64),
            whole(took.spread(peak_kb).median),
            or_dash(waits),
            whole(took.spread(|seen| seen.threads as f64).high),
            whole(took.spread(switches).median),
            or_dash(took.traced.as_ref().map(|traced| three_digits(traced.sum()))),
            or_dash(self.lines.map(|lines| lines.to_string())),
        ]
    }
}

/// The rows of one work, and under them the calls by name and what could not be done.
pub(super) fn text(title: &str, rows: &[Row]) -> String {
    let (mut cells, mut notes) = (Vec::new(), String::new());
    for row in rows {
        let mut line = vec![row.style.to_string()];
        match &row.took {
            Ok(took) => {
                line.extend(row.cells(took));
                if let Some(traced) = &took.traced {
                    notes += &format!("  {:<12}{}\n", row.style, traced.text(", "));
                }
            }
            Err(why) => {
                line.extend(COLUMNS.map(|_| "-".to_string()));
                notes += &format!("  {:<12}not measured: {why}\n", row.style);
            }
        }
        cells.push(line);
    }
    let head: Vec<&str> = std::iter::once("").chain(COLUMNS).collect();
    let head: Vec<String> = head.iter().map(|name| name.replace('_', " ")).collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let heading =
        if notes.is_empty() { "" } else { "System calls a request, and what is missing:\n" };
    format!("{title}\n{}{heading}{notes}\n", table(&head, &cells))
}

/// All rows, with a line of names before them.
pub(super) fn to_tsv(rows: &[Row]) -> String {
    let names = ["work", "client", "requests"].into_iter().chain(COLUMNS);
    let names = names.chain(["calls_by_name", "why_not"]);
    let mut text = names.collect::<Vec<_>>().join("\t") + "\n";
    for row in rows {
        let mut cells = vec![row.work.to_string(), row.style.to_string(), row.requests.to_string()];
        match &row.took {
            Ok(took) => {
                cells.extend(row.cells(took));
                let traced = took.traced.as_ref().map(|traced| traced.text(","));
                cells.extend([traced.unwrap_or_else(|| "-".to_string()), "-".to_string()]);
            }
            Err(why) => {
                cells.extend(COLUMNS.map(|_| "-".to_string()));
                cells.extend(["-".to_string(), why.replace(['\t', '\n'], " ")]);
            }
        }
        text += &(cells.join("\t") + "\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_strace_is_read_among_what_the_client_says() {
        let summary = "used 1 us of processor time\n\
            % time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            \u{20}60.00    0.000030           3        10           sendto\n\
            \u{20}40.00    0.000020           2        20        10 connect\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000050                    30        10 total\n";
        let counts = calls(summary);
        assert_eq!((counts["sendto"], counts["connect"], counts.len()), (10, 20, 2));
        let one = BTreeMap::from([("connect".to_string(), 2)]);
        let traced = Traced::new(&counts, &one, 10);
        assert_eq!(traced.text(", "), "connect 2.00, sendto 1.11");
        assert_eq!(calls("strace: not there").len(), 0);
    }

    #[test]
    fn medians_and_waiting_bytes_are_what_they_should_be() {
        let seen = |ms, peak_rss_kb| Seen {
            wall: Duration::from_millis(ms),
            threads: 1,
            usage: Usage { cpu: Duration::ZERO, peak_rss_kb, voluntary_switches: 0 },
        };
        let runs = vec![seen(3, 1100), seen(1, 1100), seen(2, 5000)];
        let took = Took { seen: runs, one: seen(1, 1000), traced: None };
        let spread = took.spread(wall_ms);
        assert_eq!((spread.low, spread.median, spread.high), (1.0, 2.0, 3.0));
        assert_eq!(took.waiting_bytes(101), 1024.0);
    }
}

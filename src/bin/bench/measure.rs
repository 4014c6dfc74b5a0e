//! What a case took: time, processor time and memory, as a line of JSON.

use crate::{Failure, json, say};
use std::fs;
use std::future::Future;
use std::time::Instant;
use whirligig::Runtime;
use whirligig::sys::process_time;

/// What a case came to beside the time that it took.
pub(crate) trait Outcome {
    /// More fields for the line, each with a comma before it.
    fn fields(self) -> String;
}

impl Outcome for () {
    fn fields(self) -> String {
        String::new()
    }
}

/// How many nanoseconds after its deadline each sleep was over.
pub(crate) struct Lateness(pub(crate) Vec<u64>);

impl Outcome for Lateness {
    fn fields(mut self) -> String {
        let mut fields = String::new();
        for (name, percent) in [("p50", 50), ("p99", 99), ("max", 100)] {
            let index = self.0.len().saturating_sub(1) * percent / 100;
            let late = match self.0.is_empty() {
                true => 0,
                // The value that would be there in order, without putting all in order.
                false => *self.0.select_nth_unstable(index).1,
            };
            fields += &format!(",\"late_{name}_us\":{:.1}", late as f64 / 1000.0);
        }
        fields
    }
}

/// Runs `work` as a task, and prints what it took.
pub(crate) fn measure<O: Outcome + 'static>(
    case: &str,
    count: u64,
    work: impl Future<Output = Result<O, Failure>> + 'static,
) -> Result<(), Failure> {
    let runtime = Runtime::new()?;
    let processor = process_time();
    let start = Instant::now();
    let outcome = runtime.block_on(async { whirligig::spawn(work).await })??;
    let ns = start.elapsed().as_nanos();
    let cpu_ns = (process_time() - processor).as_nanos();
    say(&format!(
        "{{\"case\":{},\"n\":{count},\"ns\":{ns},\"ns_per_op\":{:.2},\"cpu_ns\":{cpu_ns},\
         \"peak_rss_kb\":{}{}}}\n",
        json::string(case),
        ns as f64 / count as f64,
        peak_rss_kb()?,
        outcome.fields(),
    ))
}

/// Says that there is no such case here.
pub(crate) fn skip(case: &str, reason: &str) -> Result<(), Failure> {
    let (case, reason) = (json::string(case), json::string(reason));
    say(&format!("{{\"case\":{case},\"skipped\":{reason}}}\n"))
}

/// The most memory that this process has had: that of `getrusage(2)` would be inherited from
/// whoever started it.
fn peak_rss_kb() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(number.ok_or("/proc/self/status has no VmHWM")?.parse()?)
}

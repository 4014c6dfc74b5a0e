//! What a process has used, in a line that another can read.

use crate::sys::{process_time, voluntary_switches};
use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

/// What a process has used since it was started.
///
/// ```
/// use whirligig::delay::Usage;
///
/// let usage = Usage::of_this_process()?;
/// assert!(usage.peak_rss_kb > 0);
/// assert_eq!(usage.to_string().parse(), Ok(usage));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all threads, in user space and in the kernel, to the microsecond.
    pub cpu: Duration,
    /// The most memory that was resident at once, in KiB.
    pub peak_rss_kb: u64,
    /// How often a thread waited, or gave way.
    pub voluntary_switches: u64,
}

impl Usage {
    /// That of this process, by now.
    ///
    /// # Errors
    /// If `/proc` is not there, or not what it is on Linux.
    pub fn of_this_process() -> io::Result<Usage> {
        // That of `getrusage(2)` would be inherited from whoever started this process.
        let status = std::fs::read_to_string("/proc/self/status")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        let unknown = || io::Error::other("/proc/self/status does not tell the peak of memory");
        Ok(Usage {
            cpu: Duration::from_micros(process_time().as_micros() as u64),
            peak_rss_kb: peak.ok_or_else(unknown)?,
            voluntary_switches: voluntary_switches(),
        })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Usage { cpu, peak_rss_kb, voluntary_switches } = self;
        let cpu = cpu.as_micros();
        write!(f, "used {cpu} us of processor time, {peak_rss_kb} KiB of memory, ")?;
        write!(f, "waited {voluntary_switches} times")
    }
}

impl FromStr for Usage {
    type Err = String;

    /// Reads the line that [`Display`](fmt::Display) writes.
    fn from_str(line: &str) -> Result<Usage, String> {
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        match (line.starts_with("used "), &numbers[..]) {
            (true, &[cpu, peak_rss_kb, voluntary_switches]) => {
                Ok(Usage { cpu: Duration::from_micros(cpu), peak_rss_kb, voluntary_switches })
            }
            _ => Err(format!("{line:?} does not say what was used")),
        }
    }
}

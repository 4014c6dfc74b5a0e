//! What happened in a world: a hash of all of it, and the last of it in words.

use std::fmt;

/// Lines that are kept; a power of two.
const LINES_MAX: usize = 256;

/// What a line of the trace tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum What {
    Epoll,
    Eventfd,
    Socket,
    Accept,
    Close,
    Bind,
    Listen,
    Connect,
    TakeError,
    Recv,
    Peek,
    Send,
    Shutdown,
    Address,
    GetOption,
    SetOption,
    Raise,
    EpollCtl,
    EpollWait,
    Resolve,
    Signal,
    /// A packet arrives: the detail is its kind.
    Packet,
    /// Blocking work is run.
    Work,
    /// A host looks at its events: polls and wakes of its tasks since the last look.
    Tasks,
    /// A turn of a host's runtime ends: number of tasks, sources and timers.
    Turn,
    /// The same of a worker's runtime.
    WorkerTurn,
    /// A fault was injected: the result is which.
    Fault,
    /// A host starts, crashes, or is cut off.
    World,
}

/// Every kind.
pub(super) const KINDS: [What; 28] = [
    What::Epoll,
    What::Eventfd,
    What::Socket,
    What::Accept,
    What::Close,
    What::Bind,
    What::Listen,
    What::Connect,
    What::TakeError,
    What::Recv,
    What::Peek,
    What::Send,
    What::Shutdown,
    What::Address,
    What::GetOption,
    What::SetOption,
    What::Raise,
    What::EpollCtl,
    What::EpollWait,
    What::Resolve,
    What::Signal,
    What::Packet,
    What::Work,
    What::Tasks,
    What::Turn,
    What::WorkerTurn,
    What::Fault,
    What::World,
];

/// One line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Nanoseconds of the world's time.
    pub(super) at: u64,
    /// The host's index.
    pub(super) host: usize,
    pub(super) what: What,
    /// The descriptor's number, or what else the line is about.
    pub(super) number: i64,
    /// What the call was given: a length, a port, bits.
    pub(super) detail: u64,
    /// What came of it: a count, or an error's number, negative.
    pub(super) result: i64,
}

/// Up to eight bytes as a word.
fn word(bytes: &[u8]) -> u64 {
    match bytes.try_into() {
        Ok(eight) => u64::from_le_bytes(eight),
        Err(_) => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

#[derive(Debug, Default)]
pub(super) struct Trace {
    hash: u64,
    count: u64,
    /// How many lines there were of each kind.
    of_kind: [u64; KINDS.len()],
    /// The last ones, in turn.
    lines: Vec<Line>,
}

impl Trace {
    pub(super) fn record(&mut self, line: Line) {
        let about = (line.host as u64) << 8 | line.what as u64 | (line.number as u64) << 32;
        self.mix(line.at, about);
        self.mix(line.detail, line.result as u64);
        self.of_kind[line.what as usize] += 1;
        let place = self.count as usize % LINES_MAX;
        self.count += 1;
        match self.lines.get_mut(place) {
            Some(oldest) => *oldest = line,
            None => self.lines.push(line),
        }
    }

    /// Takes two words into the hash alone.
    pub(super) fn mix(&mut self, one: u64, other: u64) {
        // Both halves of a product of words, of which the hash is a part, so that order counts.
        // The two numbers are no small ones, and odd: no word is multiplied away.
        let product = u128::from(one ^ self.hash ^ 0x9e37_79b9_7f4a_7c15)
            * u128::from(other ^ self.hash.rotate_left(32) ^ 0xd1b5_4a32_d192_ed03);
        self.hash = self.hash.rotate_left(5) ^ product as u64 ^ (product >> 64) as u64;
    }

    /// Takes `bytes` into the hash: what arrives counts, not only how much. What is received is of
    /// that, and isn't taken in again.
    pub(super) fn mix_bytes(&mut self, bytes: &[u8]) {
        let (pairs, rest) = bytes.split_at(bytes.len() / 16 * 16);
        for pair in pairs.chunks_exact(16) {
            let (one, other) = pair.split_at(8);
            self.mix(word(one), word(other));
        }
        let (one, other) = rest.split_at(rest.len().min(8));
        self.mix(word(one), word(other));
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Each kind of line, with how many there were.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (What, u64)> {
        KINDS.into_iter().zip(self.of_kind)
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The last lines, with the hosts' names.
    pub(super) fn last(&self, names: &[String]) -> String {
        let mut text = String::new();
        let oldest = if self.lines.len() < LINES_MAX { 0 } else { self.count as usize % LINES_MAX };
        let (newer, older) = self.lines.split_at(oldest);
        for line in older.iter().chain(newer) {
            let name = names.get(line.host).map_or("?", String::as_str);
            let Line { at, what, number, detail, result, .. } = line;
            let _ = fmt::Write::write_fmt(
                &mut text,
                format_args!(
                    "{:>6}.{:09} {name:<10} {:<10} {number:>4} ({detail:#x}) = {result}\n",
                    at / 1_000_000_000,
                    at % 1_000_000_000,
                    format!("{what:?}"),
                ),
            );
        }
        text
    }
}

//! What can go wrong in a world, and how often.

use std::time::Duration;

/// A kind of fault.
///
/// Each is something that Linux or a network does to a program: none breaks a promise that these
/// make. Bytes that a fault withholds arrive later, with an edge of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Fault {
    /// A call that may wait is interrupted (EINTR): an accept, a connect, a receive, a send. By
    /// call.
    Interrupt,
    /// A receive or an accept finds nothing, a send no room (EAGAIN), although a moment ago there
    /// was some. By call.
    WouldBlock,
    /// A receive finds, or a send takes, only a part. By call.
    Short,
    /// A wait brings an event that is not true. By wait.
    SpuriousEvent,
    /// A wait brings its events in another order. By wait.
    Reorder,
    /// A wait brings only some of its events; the others come with the next. By wait.
    Split,
    /// No descriptors are left (EMFILE, ENFILE). By call that opens one.
    NoDescriptors,
    /// No memory is left (ENOMEM, ENOBUFS; ENOSPC of `epoll_ctl(2)`). By call that takes some.
    NoMemory,
    /// A connection is gone before it is accepted (ECONNABORTED). By accept.
    AbortedAccept,
    /// A connection is refused. By connection.
    Refuse,
    /// The network is not reachable. By connection.
    Unreachable,
    /// Nobody answers a connection. By connection.
    Silence,
    /// A connection is reset on its way. By packet.
    Reset,
    /// A packet takes longer by up to a second. By packet.
    Stall,
    /// A packet arrives in pieces, apart in time. By packet.
    Pieces,
    /// The host's clock jumps ahead by up to ten seconds. By wait.
    ClockJump,
}

/// Every kind.
pub(super) const KINDS: [Fault; 16] = [
    Fault::Interrupt,
    Fault::WouldBlock,
    Fault::Short,
    Fault::SpuriousEvent,
    Fault::Reorder,
    Fault::Split,
    Fault::NoDescriptors,
    Fault::NoMemory,
    Fault::AbortedAccept,
    Fault::Refuse,
    Fault::Unreachable,
    Fault::Silence,
    Fault::Reset,
    Fault::Stall,
    Fault::Pieces,
    Fault::ClockJump,
];

impl Fault {
    /// Every kind.
    pub const ALL: [Fault; 16] = KINDS;
}

/// Which faults happen, how often, and when; by default none.
///
/// ```
/// use std::time::Duration;
/// use whirligig::sim::{Fault, Faults};
///
/// let faults = Faults::none()
///     .with(Fault::Short, 100_000) // a tenth of all receives and sends
///     .with(Fault::Reset, 500)
///     .between(Duration::from_secs(1), Duration::from_secs(5));
/// # let _ = faults;
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    per_million: [u32; KINDS.len()],
    from: u64,
    until: u64,
    /// The number of the call that fails, of all calls of all hosts that can, and with what.
    pub(super) kth: Option<(u64, i32)>,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults::none()
    }
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub const fn none() -> Faults {
        Faults { per_million: [0; KINDS.len()], from: 0, until: u64::MAX, kth: None }
    }

    /// `fault` happens to so many of a million of those that it can happen to. At most 900,000
    /// take effect, so that what is tried again comes to an end.
    #[must_use]
    pub fn with(mut self, fault: Fault, per_million: u32) -> Faults {
        self.per_million[fault as usize] = per_million.min(900_000);
        self
    }

    /// Faults happen only in this time of the world.
    #[must_use]
    pub fn between(mut self, from: Duration, until: Duration) -> Faults {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        (self.from, self.until) = (nanoseconds(from), nanoseconds(until));
        self
    }

    /// The `k`-th call of the world that can fail, from 1, fails with the error of this number, if
    /// it is one that the call can have; chance decides nothing of this.
    #[must_use]
    pub fn with_kth_call(mut self, k: u64, errno: i32) -> Faults {
        self.kth = Some((k, errno));
        self
    }

    /// How often `fault` happens at the time `now`.
    pub(super) fn per_million(&self, fault: Fault, now: u64) -> u32 {
        let active = (self.from..self.until).contains(&now);
        if active { self.per_million[fault as usize] } else { 0 }
    }
}

//! The network between hosts: how long packets take, and which hosts are cut off from each other.

use super::kernel::Packet;
use super::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How packets travel between two hosts, one way.
///
/// ```
/// use std::time::Duration;
/// use whirligig::sim::Link;
///
/// let slow = Link { latency: Duration::from_millis(80), ..Link::default() };
/// assert_eq!(slow.bytes_per_second, u64::MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// What every packet takes at least.
    pub latency: Duration,
    /// What a packet takes longer, at most: each takes a part of it that chance decides.
    pub jitter: Duration,
    /// What passes in a second; packets wait for those before them.
    pub bytes_per_second: u64,
    /// How many bytes may wait so; a packet for which there is no room is lost.
    pub queue_bytes: u64,
    /// Of a million packets, how many are lost. TCP sends them again, which takes 200 ms more; a
    /// datagram never arrives.
    pub lost_per_million: u32,
}

impl Default for Link {
    /// Half a millisecond, a tenth of it jitter, as in a computing centre; no loss, and no bound to
    /// what passes. With one, 256 KiB wait.
    fn default() -> Link {
        Link {
            latency: Duration::from_micros(500),
            jitter: Duration::from_micros(50),
            bytes_per_second: u64::MAX,
            queue_bytes: QUEUE_BYTES,
            lost_per_million: 0,
        }
    }
}

impl Link {
    /// No time at all, as between sockets of the same machine.
    #[must_use]
    pub const fn instant() -> Link {
        Link {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            bytes_per_second: u64::MAX,
            queue_bytes: QUEUE_BYTES,
            lost_per_million: 0,
        }
    }

    /// What a packet takes that waits for none.
    fn travels(&self, random: &mut Random) -> u64 {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let late = match nanoseconds(self.jitter) {
            0 => 0,
            most => random.below(most),
        };
        nanoseconds(self.latency).saturating_add(late)
    }

    /// How long so many bytes take to pass.
    fn takes(&self, bytes: u64) -> u64 {
        let time = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.max(1));
        u64::try_from(time).unwrap_or(u64::MAX)
    }
}

const QUEUE_BYTES: u64 = 256 * 1024;

/// The size of a packet without data: that of its headers.
const HEADER_BYTES: u64 = 40;

/// After what time TCP sends again what was lost, at least (RFC 6298; Linux's TCP_RTO_MIN).
const AGAIN: u64 = 200_000_000;

#[derive(Debug, Default)]
pub(super) struct Links {
    /// Between any two hosts of which nothing else is said.
    pub(super) between: Link,
    own: BTreeMap<(usize, usize), Link>,
    /// Until when a link with a bandwidth is busy.
    busy: BTreeMap<(usize, usize), u64>,
    cut: BTreeSet<(usize, usize)>,
    /// What was sent before a cut and arrived after: earlier than all that is held.
    arrived: Vec<Packet>,
    /// What was sent after a cut.
    held: Vec<Packet>,
}

impl Links {
    pub(super) fn set(&mut self, from: usize, to: usize, link: Link) {
        self.own.insert((from, to), link);
    }

    /// How long a packet of a stream takes; None if the hosts are cut off from each other. What is
    /// lost takes the time until it is sent again.
    pub(super) fn delay(
        &mut self,
        from: usize,
        to: usize,
        bytes: u64,
        now: u64,
        random: &mut Random,
    ) -> Option<u64> {
        if !self.cut.is_empty() && self.is_cut(from, to) {
            return None;
        }
        let link = self.link(from, to);
        let travels = link.travels(random);
        let is_lost = random.chance(link.lost_per_million);
        let waits = self.queue(&link, from, to, bytes, now);
        let again = if is_lost || waits.is_none() { AGAIN } else { 0 };
        Some(travels.saturating_add(again).saturating_add(waits.unwrap_or(0)))
    }

    /// How long a datagram takes; None if it does not arrive: nobody sends it again.
    pub(super) fn datagram_delay(
        &mut self,
        from: usize,
        to: usize,
        bytes: u64,
        now: u64,
        random: &mut Random,
    ) -> Option<u64> {
        if !self.cut.is_empty() && self.is_cut(from, to) {
            return None;
        }
        let link = self.link(from, to);
        let travels = link.travels(random);
        let waits = self.queue(&link, from, to, bytes, now)?;
        (!random.chance(link.lost_per_million)).then_some(travels.saturating_add(waits))
    }

    fn link(&self, from: usize, to: usize) -> Link {
        let own = || if from == to { Link::instant() } else { self.between };
        self.own.get(&(from, to)).copied().unwrap_or_else(own)
    }

    /// Queues a packet for a link with a bandwidth: how long until it has passed. None if there is
    /// no room for it.
    fn queue(&mut self, link: &Link, from: usize, to: usize, bytes: u64, now: u64) -> Option<u64> {
        if link.bytes_per_second == u64::MAX {
            return Some(0);
        }
        let busy = self.busy.entry((from, to)).or_insert(now);
        let ahead = busy.saturating_sub(now);
        if link.takes(link.queue_bytes) < ahead {
            return None;
        }
        *busy = (*busy).max(now).saturating_add(link.takes(bytes + HEADER_BYTES));
        Some(*busy - now)
    }

    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from.min(to), from.max(to)))
    }

    pub(super) fn cut(&mut self, one: usize, other: usize) {
        self.cut.insert((one.min(other), one.max(other)));
    }

    pub(super) fn heal(&mut self, one: usize, other: usize) {
        self.cut.remove(&(one.min(other), one.max(other)));
    }

    pub(super) fn heal_all(&mut self) {
        self.cut.clear();
    }

    /// Keeps what is sent while its way is cut.
    pub(super) fn hold(&mut self, packet: Packet) {
        self.held.push(packet);
    }

    /// Keeps what was on its way when that was cut.
    pub(super) fn hold_arrived(&mut self, packet: Packet) {
        self.arrived.push(packet);
    }

    /// The packets whose way is free again, of those that were on it when it was cut.
    pub(super) fn take_free_arrived(&mut self) -> Vec<Packet> {
        let arrived = std::mem::take(&mut self.arrived);
        let is_kept = |packet: &Packet| self.is_cut(packet.source, packet.target);
        let (arrived, free) = arrived.into_iter().partition(is_kept);
        self.arrived = arrived;
        free
    }

    /// The same of those that were sent later.
    pub(super) fn take_free(&mut self) -> Vec<Packet> {
        let held = std::mem::take(&mut self.held);
        let is_kept = |packet: &Packet| self.is_cut(packet.source, packet.target);
        let (held, free) = held.into_iter().partition(is_kept);
        self.held = held;
        free
    }
}

//! What a simulated machine has of its own: descriptors, addresses, ports and signals.

use super::addresses::overlap;
use super::clock::Clock;
use super::errno::{EADDRINUSE, EADDRNOTAVAIL, EBADF, EMFILE};
use super::net::{Id, Sys};
use super::tcp::Tcp;
use crate::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Ports that are given out unasked (`ip(7)`, ip_local_port_range).
const EPHEMERAL: std::ops::Range<u16> = 32_768..61_000;

/// Descriptors that a process has from the start.
const STANDARD: i32 = 3;

/// Whether a socket shares its port with others that do too: SO_REUSEADDR, SO_REUSEPORT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sharing {
    pub(super) reuse: bool,
    pub(super) share: bool,
}

impl Sharing {
    fn suits(self, other: Sharing) -> bool {
        self.reuse && other.reuse || self.share && other.share
    }
}

#[derive(Debug)]
pub(in crate::sim) struct Host {
    pub(in crate::sim) name: String,
    pub(in crate::sim) v4: Ipv4Addr,
    pub(in crate::sim) v6: Ipv6Addr,
    /// Crashed: it neither sends nor receives.
    pub(in crate::sim) down: bool,
    /// How often it was started; what is left of an earlier life concerns nobody.
    pub(in crate::sim) life: u64,
    /// Something of its epoll instances became ready since this was last cleared.
    pub(in crate::sim) roused: bool,
    pub(in crate::sim) clock: Clock,
    /// Descriptors at most (`RLIMIT_NOFILE`).
    pub(in crate::sim) descriptors_max: usize,
    table: Vec<Option<Id>>,
    /// The sockets that have a port, whichever address they have it at.
    ports: BTreeMap<u16, Vec<Id>>,
    /// Ports that all who have them shared when they came (`fastreuseport`), whatever they say now.
    shared: BTreeSet<u16>,
    /// The same as `ports` of datagram sockets, in the order in which they came to their addresses.
    udp_ports: BTreeMap<u16, Vec<Id>>,
    connections: HashMap<(SocketAddr, SocketAddr), Id, BuildHasherDefault<Mixer>>,
    /// Pairs of addresses in TIME-WAIT, until when, and who may have the port meanwhile.
    resting: BTreeMap<(SocketAddr, SocketAddr), (u64, Sharing)>,
    next_port: u16,
    signals: Vec<(Signal, u64)>,
    /// What signals raise.
    pub(super) signal_eventfds: Vec<Id>,
}

/// Hashes addresses: fast, and the same in every run. Nobody here chooses them to do harm.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            self.write_u64(part.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }
}

impl Host {
    pub(in crate::sim) fn new(name: &str, index: usize, first_port: u64, clock: Clock) -> Host {
        let [high, low] = (index as u16 + 1).to_be_bytes();
        let span = u64::from(EPHEMERAL.end - EPHEMERAL.start);
        Host {
            name: name.into(),
            v4: Ipv4Addr::new(10, 0, high, low),
            v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, index as u16 + 1),
            down: false,
            life: 0,
            roused: false,
            clock,
            descriptors_max: 1024,
            table: Vec::new(),
            ports: BTreeMap::new(),
            udp_ports: BTreeMap::new(),
            connections: HashMap::default(),
            resting: BTreeMap::new(),
            shared: BTreeSet::new(),
            next_port: EPHEMERAL.start + (first_port % span) as u16,
            signals: Vec::new(),
            signal_eventfds: Vec::new(),
        }
    }

    /// Whether `address` is one of this machine's, any address included.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.is_unspecified() || v4.is_loopback() || v4 == self.v4,
            IpAddr::V6(v6) => v6.is_unspecified() || v6.is_loopback() || v6 == self.v6,
        }
    }

    // Descriptors.

    /// The number that the next descriptor gets: the lowest that is free.
    pub(super) fn free_number(&self) -> Sys<i32> {
        let index = self.table.iter().position(Option::is_none).unwrap_or(self.table.len());
        let number = index as i32 + STANDARD;
        if number as usize >= self.descriptors_max { Err(EMFILE) } else { Ok(number) }
    }

    pub(super) fn set_number(&mut self, number: i32, id: Id) {
        let index = (number - STANDARD) as usize;
        if self.table.len() <= index {
            self.table.resize(index + 1, None);
        }
        self.table[index] = Some(id);
    }

    pub(super) fn id(&self, number: i32) -> Sys<Id> {
        let index = usize::try_from(number - STANDARD).map_err(|_| EBADF)?;
        self.table.get(index).copied().flatten().ok_or(EBADF)
    }

    pub(super) fn free(&mut self, number: i32) {
        if let Ok(index) = usize::try_from(number - STANDARD) {
            if let Some(place) = self.table.get_mut(index) {
                *place = None;
            }
        }
    }

    pub(in crate::sim) fn descriptor_count(&self) -> usize {
        self.table.iter().flatten().count()
    }

    // Ports and connections.

    pub(super) fn take_port(&mut self, port: u16, id: Id) {
        self.ports.entry(port).or_default().push(id);
    }

    pub(super) fn at_port(&self, port: u16) -> &[Id] {
        self.ports.get(&port).map_or(&[], Vec::as_slice)
    }

    /// A port that nobody has, in no connection that rests either.
    pub(super) fn free_port(&mut self, now: u64) -> Sys<u16> {
        self.resting.retain(|_, (until, _)| *until > now);
        for _ in EPHEMERAL {
            let port = self.take_next_port();
            let rests = || self.resting.keys().any(|(local, _)| local.port() == port);
            if !self.ports.contains_key(&port) && !rests() {
                return Ok(port);
            }
        }
        Err(EADDRNOTAVAIL)
    }

    fn take_next_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port + 1 == EPHEMERAL.end { EPHEMERAL.start } else { port + 1 };
        port
    }

    /// A port that no datagram socket has.
    pub(super) fn free_udp_port(&mut self) -> Sys<u16> {
        for _ in EPHEMERAL {
            let port = self.take_next_port();
            if !self.udp_ports.contains_key(&port) {
                return Ok(port);
            }
        }
        Err(EADDRINUSE)
    }

    pub(super) fn take_udp_port(&mut self, port: u16, id: Id) {
        self.udp_ports.entry(port).or_default().push(id);
    }

    pub(super) fn at_udp_port(&self, port: u16) -> &[Id] {
        self.udp_ports.get(&port).map_or(&[], Vec::as_slice)
    }

    pub(super) fn give_udp_port_back(&mut self, port: u16, id: Id) {
        give_back(&mut self.udp_ports, port, id);
    }

    pub(super) fn connection(&self, local: SocketAddr, peer: SocketAddr) -> Option<Id> {
        self.connections.get(&(local, peer)).copied()
    }

    pub(super) fn set_connection(&mut self, local: SocketAddr, peer: SocketAddr, id: Id) {
        self.resting.remove(&(local, peer));
        self.connections.insert((local, peer), id);
    }

    pub(super) fn end_connection(&mut self, local: SocketAddr, peer: SocketAddr) {
        self.connections.remove(&(local, peer));
    }

    pub(super) fn rest(&mut self, pair: (SocketAddr, SocketAddr), until: u64, sharing: Sharing) {
        self.resting.insert(pair, (until, sharing));
    }

    /// Ends a connection's rest; whether there was one.
    pub(super) fn end_rest(&mut self, pair: (SocketAddr, SocketAddr)) -> bool {
        self.resting.remove(&pair).is_some()
    }

    /// Whether a connection that rests keeps a socket from having `address`.
    pub(super) fn rests_at(
        &self,
        address: SocketAddr,
        v6_only: bool,
        now: u64,
        sharing: Sharing,
    ) -> bool {
        self.resting.iter().any(|((local, _), (until, other))| {
            local.port() == address.port()
                && *until > now
                && overlap(*local, true, address, v6_only)
                && !sharing.suits(*other)
        })
    }

    /// Notes whether who comes to a port, or is about to listen there, shares it.
    pub(super) fn note_sharing(&mut self, port: u16, share: bool, now: u64) {
        let rests = |((local, _), (until, _)): (&(SocketAddr, _), &(u64, _))| {
            local.port() == port && *until > now
        };
        if !share {
            self.shared.remove(&port);
        } else if self.at_port(port).is_empty() && !self.resting.iter().any(rests) {
            self.shared.insert(port);
        }
    }

    /// Whether all who have the port shared it when they came.
    pub(super) fn is_shared(&self, port: u16) -> bool {
        self.shared.contains(&port)
    }

    /// Takes a socket that is gone out of the tables.
    pub(super) fn forget(&mut self, id: Id, tcp: &Tcp) {
        if let Some(local) = tcp.local {
            self.give_port_back(local.port(), id);
            if let Some(peer) = tcp.peer {
                if self.connection(local, peer) == Some(id) {
                    self.end_connection(local, peer);
                }
            }
        }
    }

    pub(super) fn give_port_back(&mut self, port: u16, id: Id) {
        give_back(&mut self.ports, port, id);
    }

    /// All that is left of it after a crash.
    pub(in crate::sim) fn wipe(&mut self) {
        self.table.clear();
        self.resting.clear();
        self.shared.clear();
        self.signals.clear();
        self.signal_eventfds.clear();
        self.clock.reset();
    }

    // Signals.

    /// How often a signal came; None if nobody watches for it.
    pub(super) fn signal_count(&self, signal: Signal) -> Option<u64> {
        self.signals.iter().find(|(own, _)| *own == signal).map(|(_, count)| *count)
    }

    pub(super) fn watch_signal(&mut self, signal: Signal) {
        if self.signal_count(signal).is_none() {
            self.signals.push((signal, 0));
        }
    }

    /// Whether somebody watches for it.
    pub(super) fn raise_signal(&mut self, signal: Signal) -> bool {
        let own = self.signals.iter_mut().find(|(own, _)| *own == signal);
        own.map(|(_, count)| *count += 1).is_some()
    }
}

/// Takes a socket from those that have `port`.
fn give_back(ports: &mut BTreeMap<u16, Vec<Id>>, port: u16, id: Id) {
    if let Some(ids) = ports.get_mut(&port) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            ports.remove(&port);
        }
    }
}

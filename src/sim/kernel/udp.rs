//! udp(7), simulated: datagrams, after net/ipv4/udp.c, net/ipv4/datagram.c and net/core/datagram.c
//! of Linux.
//!
//! A datagram arrives whole, or not at all: links lose some, a partition all, and nobody sends them
//! again. Those of one sender can overtake each other where a link has jitter. One that reaches no
//! socket is answered by an error message (ICMP, port unreachable), which a connected sender sees
//! as ECONNREFUSED. There is neither broadcast nor multicast.

use super::addresses::{any_address, check_family, loopback, overlap, plain};
use super::errno::{
    EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, ECONNREFUSED, EDESTADDRREQ, EINVAL, EMSGSIZE,
    ENETUNREACH, ENOTCONN, EOPNOTSUPP, EPIPE,
};
use super::net::{Action, Body, Id, Net, Object, Packet, Sys};
use super::options::Options;
use super::segments::READABLE;
use super::tcp::{RECEIVE, SEND};
use crate::event::{EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP};
use crate::sim::fault::Fault;
use crate::sim::planted::Planted;
use crate::sys::{Connect, Family, SocketOption};
use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

/// Bytes that a receive buffer holds unless an option says otherwise (`net.core.rmem_default`,
/// halved as the options are).
const BUFFER_BYTES: usize = 106_496;

/// What a datagram takes of a buffer beside its bytes, about.
const DATAGRAM_OVERHEAD: usize = 512;

/// Bytes of a datagram at most, by the length fields of IP and UDP.
const BYTES_MAX_V4: usize = 65_507;
const BYTES_MAX_V6: usize = 65_527;

#[derive(Debug)]
pub(in crate::sim) struct Udp {
    pub(super) family: Family,
    /// None as long as it has no port.
    pub(super) local: Option<SocketAddr>,
    /// Who alone is sent to and heard.
    pub(super) peer: Option<SocketAddr>,
    pub(super) options: Options,
    pub(super) linger: Option<Duration>,
    /// `RECEIVE`, `SEND`, of `shutdown(2)`.
    shut: u8,
    pub(super) error: Option<i32>,
    received: VecDeque<(SocketAddr, Vec<u8>)>,
    /// What `received` takes of the buffer.
    buffered: usize,
    pub(super) receive_max: usize,
    /// A fault withholds all that is there, and what comes behind it.
    withheld: bool,
    /// A fault filled the send buffer.
    blocked: bool,
}

impl Udp {
    pub(super) fn new(family: Family) -> Udp {
        Udp {
            family,
            local: None,
            peer: None,
            options: Options::default(),
            linger: None,
            shut: 0,
            error: None,
            received: VecDeque::new(),
            buffered: 0,
            receive_max: BUFFER_BYTES,
            withheld: false,
            blocked: false,
        }
    }

    /// What `datagram_poll` of Linux says.
    pub(super) fn poll_bits(&self) -> u32 {
        let bit = |on: bool, bits: u32| if on { bits } else { 0 };
        bit(self.error.is_some(), EPOLLERR)
            | bit(self.shut & RECEIVE != 0, EPOLLIN | EPOLLRDHUP)
            | bit(self.shut == RECEIVE | SEND, EPOLLHUP)
            | bit(!self.received.is_empty() && !self.withheld, EPOLLIN)
            | bit(!self.blocked, EPOLLOUT)
    }

    /// How well it fits a datagram from `from` to `to` (`compute_score`); None if not at all.
    fn fit(&self, to: SocketAddr, from: SocketAddr, strangers: bool) -> Option<(bool, bool)> {
        let local = self.local?;
        let is_exact = local.ip() == to.ip();
        let is_any = local.ip().is_unspecified() && local.is_ipv4() == to.is_ipv4();
        let hears = strangers || self.peer.is_none_or(|peer| peer == from);
        ((is_exact || is_any) && hears).then_some((is_exact, self.peer.is_some()))
    }
}

impl Net {
    pub(super) fn is_udp(&self, id: Id) -> bool {
        matches!(self.objects[id].as_ref().map(|entry| &entry.object), Some(Object::Udp(_)))
    }

    fn udp(&mut self, id: Id) -> &mut Udp {
        match &mut self.entry(id).object {
            Object::Udp(udp) => udp,
            _ => unreachable!("only datagram sockets are asked for as such"),
        }
    }

    pub(super) fn family(&mut self, id: Id) -> Family {
        if self.is_udp(id) { self.udp(id).family } else { self.tcp(id).family }
    }

    /// `sendto(2)`. A stream does not look at the address.
    pub(super) fn send_to(
        &mut self,
        id: Id,
        parts: &mut dyn Iterator<Item = &[u8]>,
        to: SocketAddr,
    ) -> Sys<usize> {
        if self.is_udp(id) { self.send_udp(id, parts, Some(to)) } else { self.send(id, parts) }
    }

    /// `recvfrom(2)`, which is of no use on a stream.
    pub(super) fn recv_from(&mut self, id: Id, buffer: &mut [u8]) -> Sys<(usize, SocketAddr)> {
        if self.is_udp(id) { self.recv_udp(id, buffer, false) } else { Err(EOPNOTSUPP) }
    }

    pub(super) fn bind_udp(&mut self, id: Id, address: SocketAddr) -> Sys<()> {
        let host = self.entry(id).host;
        check_family(self.udp(id).family, &address)?;
        if !self.hosts[host].has(address.ip()) {
            return Err(EADDRNOTAVAIL);
        }
        if self.udp(id).local.is_some() {
            return Err(EINVAL);
        }
        let mut address = plain(address);
        if address.port() == 0 {
            address.set_port(self.hosts[host].free_udp_port()?);
        } else if self.conflicts_udp(id, address) {
            return Err(EADDRINUSE);
        }
        self.udp(id).local = Some(address);
        self.hosts[host].take_udp_port(address.port(), id);
        Ok(())
    }

    /// Whether another socket keeps `id` from having `address` (`udp_lib_lport_inuse`).
    fn conflicts_udp(&mut self, id: Id, address: SocketAddr) -> bool {
        let host = self.entry(id).host;
        let set = |udp: &Udp, option| udp.options.is_set(option);
        let own = self.udp(id);
        let reuse = set(own, SocketOption::ReuseAddress);
        let share = set(own, SocketOption::ReusePort);
        let only = set(own, SocketOption::V6Only);
        // The first that is in the way decides, the last that came being asked first.
        for other in self.hosts[host].at_udp_port(address.port()).to_vec().into_iter().rev() {
            let other = self.udp(other);
            let Some(bound) = other.local else { continue };
            let apart = !overlap(bound, set(other, SocketOption::V6Only), address, only);
            if apart || reuse && set(other, SocketOption::ReuseAddress) {
                continue;
            }
            return !(share && set(other, SocketOption::ReusePort));
        }
        false
    }

    /// Gives a socket that has none a port (`inet_autobind`).
    pub(super) fn bind_udp_if_needed(&mut self, id: Id) -> Sys<SocketAddr> {
        if let Some(local) = self.udp(id).local {
            return Ok(local);
        }
        let host = self.entry(id).host;
        let any = any_address(self.udp(id).family);
        // Linux names no other reason than this one (EAGAIN).
        let port = self.hosts[host].free_udp_port().map_err(|_| EAGAIN)?;
        let local = SocketAddr::new(any, port);
        self.udp(id).local = Some(local);
        self.hosts[host].take_udp_port(port, id);
        Ok(local)
    }

    pub(super) fn connect_udp(&mut self, id: Id, address: SocketAddr) -> Sys<Connect> {
        let local = self.bind_udp_if_needed(id)?;
        let host = self.entry(id).host;
        // Unlike `connect(2)` of a stream, and unlike `bind(2)`.
        if Family::of(&address) != self.udp(id).family {
            return Err(EAFNOSUPPORT);
        }
        let (peer, own) = self.route_udp(host, local, plain(address))?;
        self.udp(id).peer = Some(peer);
        if local != own {
            self.udp(id).local = Some(own);
            // Found again first of those at its port.
            self.hosts[host].give_udp_port_back(own.port(), id);
            self.hosts[host].take_udp_port(own.port(), id);
        }
        Ok(Connect::Done)
    }

    /// Where a datagram to `peer` goes, and the address that it comes from.
    fn route_udp(
        &mut self,
        host: usize,
        local: SocketAddr,
        mut peer: SocketAddr,
    ) -> Sys<(SocketAddr, SocketAddr)> {
        if peer.ip().is_unspecified() {
            // It stands for this machine.
            let family = Family::of(&peer);
            let any = local.ip().is_unspecified();
            peer.set_ip(if any { loopback(family) } else { local.ip() });
        }
        let target = self.host_of(host, peer.ip()).ok_or(ENETUNREACH)?;
        if target != host && local.ip().is_loopback() {
            // What never leaves the machine can't be where something comes from.
            return Err(EINVAL);
        }
        let mut own = local;
        if own.ip().is_unspecified() {
            own.set_ip(self.own_address(host, target, peer.ip()));
        }
        Ok((peer, own))
    }

    pub(super) fn send_udp(
        &mut self,
        id: Id,
        parts: &mut dyn Iterator<Item = &[u8]>,
        to: Option<SocketAddr>,
    ) -> Sys<usize> {
        let host = self.entry(id).host;
        let local = self.bind_udp_if_needed(id)?;
        let family = self.udp(id).family;
        let bytes = parts.fold(Vec::new(), |mut all, part| {
            all.extend_from_slice(part);
            all
        });
        let most = if family == Family::V4 { BYTES_MAX_V4 } else { BYTES_MAX_V6 };
        if family == Family::V4 && bytes.len() > usize::from(u16::MAX) {
            return Err(EMSGSIZE);
        }
        let peer = match to {
            Some(address) if Family::of(&address) != family => {
                return Err(if family == Family::V4 { EAFNOSUPPORT } else { ENETUNREACH });
            }
            Some(address) if address.port() == 0 => return Err(EINVAL),
            Some(address) => plain(address),
            None => self.udp(id).peer.ok_or(EDESTADDRREQ)?,
        };
        let (peer, own) = self.route_udp(host, local, peer)?;
        if bytes.len() > most {
            return Err(EMSGSIZE);
        }
        let udp = self.udp(id);
        if let Some(error) = udp.error.take() {
            return Err(error);
        }
        if udp.shut & SEND != 0 {
            return Err(EPIPE);
        }
        if udp.blocked || self.fault(Fault::WouldBlock, host) {
            if !std::mem::replace(&mut self.udp(id).blocked, true) {
                let (after, serial) = (self.random.below(20_000_000) + 1, self.serial(id));
                self.schedule(after, Action::Unblock(id, serial));
            }
            return Err(EAGAIN);
        }
        let count = bytes.len();
        self.send_datagram(host, own, peer, Body::Datagram(bytes));
        // The packet has left the send buffer (`sock_wfree`).
        self.wake(id, EPOLLOUT);
        Ok(count)
    }

    /// Sends what nobody sends again if it is lost.
    fn send_datagram(&mut self, source: usize, from: SocketAddr, to: SocketAddr, body: Body) {
        let Some(target) = self.host_of(source, to.ip()) else { return };
        let bytes = match &body {
            Body::Datagram(bytes) => bytes.len() as u64,
            _ => 0,
        };
        let now = self.now;
        let way = self.links.datagram_delay(source, target, bytes, now, &mut self.random);
        let Some(mut delay) = way.filter(|_| !self.hosts[source].down) else { return };
        if self.fault(Fault::Stall, source) {
            delay += self.random.below(1_000_000_000);
        }
        let packet = Packet { source, target, from, to, body };
        if delay == 0 {
            self.at_once.push_back(packet);
        } else {
            self.schedule(delay, Action::Arrive(packet));
        }
    }

    /// The socket that a datagram is for: one with just this address before one with any, a
    /// connected one before others, then the one that came last.
    fn udp_for(&mut self, host: usize, to: SocketAddr, from: SocketAddr) -> Option<Id> {
        let strangers = self.has(Planted::AConnectedDatagramSocketHearsStrangers);
        let ids = self.hosts[host].at_udp_port(to.port()).iter();
        let fits = ids.filter_map(|id| match &self.objects[*id].as_ref()?.object {
            Object::Udp(udp) => udp.fit(to, from, strangers).map(|fit| (fit, *id)),
            _ => None,
        });
        // Of equals `max_by_key` takes the last.
        fits.max_by_key(|(fit, _)| *fit).map(|(_, id)| id)
    }

    pub(super) fn receive_datagram(&mut self, packet: Packet) {
        let Packet { source, target, from, to, body } = packet;
        let found = self.udp_for(target, to, from);
        match (found, body) {
            (Some(id), Body::Datagram(bytes)) => {
                let udp = self.udp(id);
                let takes = bytes.len() + DATAGRAM_OVERHEAD;
                if udp.buffered + takes <= 2 * udp.receive_max {
                    udp.buffered += takes;
                    udp.received.push_back((from, bytes));
                    if !udp.withheld {
                        self.wake(id, READABLE);
                    }
                }
            }
            (None, Body::Datagram(_)) => {
                let quiet = self.has(Planted::AnUnreachablePortIsSilent);
                if self.hosts[source].has(from.ip()) && !quiet {
                    self.send_datagram(target, to, from, Body::Unreachable);
                }
            }
            (Some(id), Body::Unreachable) if self.udp(id).peer.is_some() => {
                self.udp(id).error = Some(ECONNREFUSED);
                self.wake(id, EPOLLERR);
            }
            _ => {}
        }
    }

    /// Receives a datagram, or a part of one: the rest of it is gone. One that is only looked at
    /// stays.
    pub(super) fn recv_udp(
        &mut self,
        id: Id,
        buffer: &mut [u8],
        peek: bool,
    ) -> Sys<(usize, SocketAddr)> {
        let host = self.entry(id).host;
        if let Some(error) = self.udp(id).error.take() {
            return Err(error);
        }
        let there = |udp: &Udp| !udp.received.is_empty() && !udp.withheld;
        if there(self.udp(id)) && self.fault(Fault::WouldBlock, host) {
            self.udp(id).withheld = true;
            self.schedule_reveal(id);
        }
        let keeps = self.has(Planted::ADatagramKeepsItsRest);
        let udp = self.udp(id);
        let Some((from, bytes)) = udp.received.front_mut().filter(|_| !udp.withheld) else {
            return Err(EAGAIN);
        };
        let (from, count) = (*from, bytes.len().min(buffer.len()));
        buffer[..count].copy_from_slice(&bytes[..count]);
        if keeps && count < bytes.len() && !peek {
            bytes.drain(..count);
        } else if !peek {
            udp.buffered -= bytes.len() + DATAGRAM_OVERHEAD;
            udp.received.pop_front();
        }
        Ok((count, from))
    }

    /// What a fault withheld is there.
    pub(super) fn reveal_udp(&mut self, id: Id) {
        let udp = self.udp(id);
        udp.withheld = false;
        if !udp.received.is_empty() {
            self.wake(id, READABLE);
        }
    }

    pub(super) fn unblock_udp(&mut self, id: Id) {
        self.udp(id).blocked = false;
        self.wake(id, EPOLLOUT);
    }

    /// Ends a direction for the program alone: the peer hears nothing of it, and datagrams go on
    /// arriving. It takes effect, and fails, on a socket that is not connected.
    pub(super) fn shutdown_udp(&mut self, id: Id, how: Shutdown) -> Sys<()> {
        let udp = self.udp(id);
        udp.shut |= match how {
            Shutdown::Read => RECEIVE,
            Shutdown::Write => SEND,
            Shutdown::Both => RECEIVE | SEND,
        };
        let connected = udp.peer.is_some();
        self.wake(id, 0);
        if connected { Ok(()) } else { Err(ENOTCONN) }
    }

    pub(super) fn local_udp(&mut self, id: Id) -> SocketAddr {
        let udp = self.udp(id);
        udp.local.unwrap_or(SocketAddr::new(any_address(udp.family), 0))
    }

    pub(super) fn peer_udp(&mut self, id: Id) -> Sys<SocketAddr> {
        self.udp(id).peer.ok_or(ENOTCONN)
    }
}

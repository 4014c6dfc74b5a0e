//! What a packet does to the socket that it reaches.

use super::errno::{ECONNREFUSED, ECONNRESET, EPIPE, ETIMEDOUT};
use super::host::Sharing;
use super::net::{Action, Body, Id, Net, Object, Packet};
use super::tcp::{RECEIVE, SEND, State, take_front};
use crate::event::{EPOLLERR, EPOLLIN, EPOLLOUT, EPOLLPRI};
use crate::sim::fault::Fault;
use crate::sim::planted::Planted;
use crate::sys::SocketOption;
use std::net::{IpAddr, SocketAddr};

const SECOND: u64 = 1_000_000_000;

/// How long a pair of addresses rests after a connection (TCP_TIMEWAIT_LEN).
const RESTS: u64 = 60 * SECOND;

/// How long a socket without a descriptor waits for its peer's end (tcp_fin_timeout).
const ORPHAN: u64 = 60 * SECOND;

/// How long what was sent may stay unacknowledged (tcp_retries2 at its default: 924.6 s).
const GIVE_UP: u64 = 924_600_000_000;

/// How often a SYN is sent again (tcp_syn_retries): 127 s in all.
const SYN_RETRIES: u32 = 6;

/// How soon it is sent again to whoever was still about an old connection (TCP_TIMEOUT_MIN).
const SYN_SOON: u64 = 8_000_000;

/// Bytes of a segment at most.
const SEGMENT_BYTES: usize = 16 * 1024;

/// What `sock_def_readable` wakes for.
pub(super) const READABLE: u32 = EPOLLIN | EPOLLPRI;

impl Net {
    /// Sends a packet on a connection.
    pub(super) fn emit(&mut self, id: Id, body: Body) {
        let source = self.entry(id).host;
        let tcp = self.tcp(id);
        let (Some(from), Some(to)) = (tcp.local, tcp.peer) else { return };
        let mut last = tcp.last_arrival;
        let Some(target) = self.host_of(source, to.ip()) else { return };
        self.send_packet(Packet { source, target, from, to, body }, &mut last);
        self.tcp(id).last_arrival = last;
    }

    /// The host that has `address`, seen from `source`.
    pub(super) fn host_of(&self, source: usize, address: IpAddr) -> Option<usize> {
        if self.hosts[source].has(address) {
            return Some(source);
        }
        self.hosts.iter().position(|host| host.has(address) && !address.is_loopback())
    }

    pub(super) fn receive(&mut self, packet: Packet) {
        let (local, peer) = (packet.to, packet.from);
        match self.hosts[packet.target].connection(local, peer) {
            Some(id) => self.receive_on(id, packet),
            None if matches!(packet.body, Body::Reset) => {}
            None if matches!(packet.body, Body::Syn) => self.receive_syn(packet),
            // Nobody knows of such a connection; an acknowledgement of an end is due to one that
            // rests.
            None if matches!(packet.body, Body::Ack(..) | Body::Urgent(..)) => {}
            None => self.answer(&packet, Body::Reset),
        }
    }

    fn answer(&mut self, packet: &Packet, body: Body) {
        let answer = Packet {
            source: packet.target,
            target: packet.source,
            from: packet.to,
            to: packet.from,
            body,
        };
        self.send_packet(answer, &mut 0);
    }

    fn receive_syn(&mut self, packet: Packet) {
        let rested = self.hosts[packet.target].end_rest((packet.to, packet.from));
        let Some(listener) = self.listener_for(packet.target, packet.to) else {
            if rested {
                // The old connection's acknowledgement confuses the new one, whose reset ends the
                // rest; the client tries again (RFC 1337).
                return self.answer(&packet, Body::Ack(0, 0));
            }
            return self.answer(&packet, Body::Reset);
        };
        let less = usize::from(self.has(Planted::ABacklogHoldsOneLess));
        let tcp = self.tcp(listener);
        if tcp.queue.len() + tcp.half_open + less > tcp.backlog {
            // Dropped: the client tries again.
            return;
        }
        tcp.half_open += 1;
        let mut child = tcp.child(listener, packet.to, packet.from);
        child.told_edge = child.edge_now();
        let edge = child.told_edge;
        let child = self.insert(packet.target, Object::Tcp(Box::new(child)));
        self.hosts[packet.target].take_port(packet.to.port(), child);
        self.hosts[packet.target].set_connection(packet.to, packet.from, child);
        self.emit(child, Body::SynAck(edge));
    }

    /// The listener that a connection to `local` goes to: one that is bound to just this address
    /// before one that is bound to any; among equals chance deals (`SO_REUSEPORT`).
    fn listener_for(&mut self, host: usize, local: SocketAddr) -> Option<Id> {
        let candidates: Vec<Id> = self.hosts[host].at_port(local.port()).to_vec();
        let (mut exact, mut any) = (Vec::new(), Vec::new());
        for id in candidates {
            let tcp = self.tcp(id);
            match tcp.local {
                Some(bound) if tcp.state == State::Listening => {
                    if bound.ip() == local.ip() {
                        exact.push(id);
                    } else if bound.ip().is_unspecified() && bound.is_ipv4() == local.is_ipv4() {
                        any.push(id);
                    }
                }
                _ => {}
            }
        }
        let best = if exact.is_empty() { any } else { exact };
        match best.len() {
            0 | 1 => best.first().copied(),
            count => Some(best[self.random.index(count)]),
        }
    }

    fn receive_on(&mut self, id: Id, packet: Packet) {
        let state = self.tcp(id).state;
        match packet.body {
            Body::Reset => self.reset_by_peer(id),
            // A connection to oneself: both ends ask at once (RFC 9293, figure 8).
            Body::Syn if state == State::SynSent => {
                let edge = self.tcp(id).edge_now();
                self.tcp(id).told_edge = edge;
                self.emit(id, Body::SynAck(edge));
            }
            Body::SynAck(edge) if state == State::SynSent => {
                let tcp = self.tcp(id);
                tcp.state = State::Established;
                tcp.edge = edge;
                let own = tcp.edge_now();
                tcp.told_edge = own;
                let to_itself = tcp.local == tcp.peer;
                self.wake(id, 0);
                self.emit(id, Body::Ack(0, own));
                if to_itself && self.tcp(id).shut & SEND != 0 {
                    self.close_sending(id);
                }
            }
            Body::Syn | Body::SynAck(_) | Body::Datagram(_) | Body::Unreachable => {}
            Body::Urgent(at, byte) => self.receive_urgent(id, at, byte),
            Body::Ack(..) if state == State::SynSent => {
                let serial = self.serial(id);
                self.schedule(SYN_SOON, Action::SynSoon(id, serial));
            }
            Body::Ack(until, edge) => self.receive_ack(id, until, edge),
            Body::Data(at, bytes) => self.receive_data(id, at, bytes),
            Body::Fin(at) => self.receive_end(id, at),
        }
    }

    fn receive_ack(&mut self, id: Id, until: u64, edge: u64) {
        if self.tcp(id).state == State::SynReceived {
            self.accept_child(id);
        }
        let tcp = self.tcp(id);
        tcp.acknowledged = tcp.acknowledged.max(until.min(tcp.sent));
        tcp.edge = tcp.edge.max(edge);
        // An end counts one.
        let end_arrived = tcp.end_sent && until > tcp.sent;
        self.check_space(id);
        self.transmit(id);
        if end_arrived {
            match self.tcp(id).state {
                State::FinWait1 => {
                    self.tcp(id).state = State::FinWait2;
                    if self.tcp(id).orphan {
                        let serial = self.serial(id);
                        self.schedule(ORPHAN, Action::Orphan(id, serial));
                    } else {
                        self.wake(id, 0);
                    }
                }
                State::Closing => self.rest(id),
                State::LastAck => self.done(id),
                _ => {}
            }
        }
    }

    /// The handshake is over: the connection can be accepted.
    pub(super) fn accept_child(&mut self, id: Id) {
        let tcp = self.tcp(id);
        tcp.state = State::Established;
        let Some(parent) = tcp.parent else { return };
        let listener = self.tcp(parent);
        listener.half_open -= 1;
        listener.queue.push_back(id);
        self.wake(parent, READABLE);
        if self.tcp(id).shut & SEND != 0 {
            self.close_sending(id);
        }
    }

    fn receive_data(&mut self, id: Id, at: u64, bytes: Vec<u8>) {
        let host = self.entry(id).host;
        if self.tcp(id).state == State::SynReceived {
            // The packet that ended the handshake is in this one as well.
            self.accept_child(id);
        }
        let tcp = self.tcp(id);
        debug_assert_eq!(at, tcp.next, "packets of a connection keep their order");
        let receives = matches!(tcp.state, State::Established | State::FinWait1 | State::FinWait2);
        // Nobody will ever read it (RFC 1122, 4.2.2.13).
        let refused = tcp.shut & RECEIVE != 0 && tcp.state != State::Established;
        if !receives || refused {
            self.emit(id, Body::Reset);
            return self.reset_by_peer(id);
        }
        tcp.received.extend(&bytes);
        tcp.next += bytes.len() as u64;
        if tcp.withheld > 0 {
            tcp.withheld += bytes.len();
        } else if self.fault(Fault::Pieces, host) {
            let later = 1 + self.random.index(bytes.len());
            self.withhold(id, later);
        }
        let tcp = self.tcp(id);
        if tcp.readable() > 0 {
            self.wake(id, READABLE);
        }
        let tcp = self.tcp(id);
        let edge = tcp.edge_now();
        tcp.told_edge = edge;
        let until = tcp.next;
        self.emit(id, Body::Ack(until, edge));
    }

    /// Has the last `count` bytes that were received arrive later.
    pub(super) fn withhold(&mut self, id: Id, count: usize) {
        let tcp = self.tcp(id);
        tcp.withheld = count.min(tcp.received.len());
        self.schedule_reveal(id);
    }

    pub(super) fn schedule_reveal(&mut self, id: Id) {
        let after = self.random.below(20_000_000) + 1;
        let serial = self.serial(id);
        self.schedule(after, Action::Reveal(id, serial));
    }

    /// What a fault withheld is there.
    pub(super) fn reveal(&mut self, id: Id) {
        let tcp = self.tcp(id);
        tcp.withheld = 0;
        tcp.queue_withheld = false;
        let ended = std::mem::take(&mut tcp.withheld_end);
        if !tcp.received.is_empty() || !tcp.queue.is_empty() {
            self.wake(id, READABLE);
        }
        if ended {
            self.end(id);
        }
    }

    /// A send buffer has room again.
    pub(super) fn unblock(&mut self, id: Id) {
        self.tcp(id).blocked = false;
        self.check_space(id);
    }

    /// Tells whoever found no room that there is some.
    pub(super) fn check_space(&mut self, id: Id) {
        let tcp = self.tcp(id);
        if tcp.no_space && tcp.is_writable() {
            tcp.no_space = false;
            self.wake(id, EPOLLOUT);
        }
    }

    /// Sends what the window allows, and the end behind the last of it.
    pub(super) fn transmit(&mut self, id: Id) {
        loop {
            let host = self.entry(id).host;
            let tcp = self.tcp(id);
            let sends = matches!(
                tcp.state,
                State::Established
                    | State::CloseWait
                    | State::FinWait1
                    | State::LastAck
                    | State::Closing
            );
            let window = tcp.edge.saturating_sub(tcp.sent) as usize;
            let count = tcp.unsent.len().min(window).min(SEGMENT_BYTES);
            if !sends || count == 0 {
                break;
            }
            let (at, bytes) = (tcp.sent, take_front(&mut tcp.unsent, count));
            tcp.sent += count as u64;
            let mark = tcp.mark_unsent.take_if(|(at, _)| *at < tcp.sent);
            if self.fault(Fault::Reset, host) {
                return self.break_off(id, at, bytes);
            }
            if let Some((at, byte)) = mark {
                self.emit(id, Body::Urgent(at, byte));
            }
            self.emit(id, Body::Data(at, bytes));
            self.watch_for_progress(id);
        }
        let tcp = self.tcp(id);
        if tcp.end_wanted && !tcp.end_sent && tcp.unsent.is_empty() {
            tcp.end_sent = true;
            let at = tcp.sent;
            self.emit(id, Body::Fin(at));
            self.watch_for_progress(id);
        }
    }

    /// Something between the hosts resets the connection, after some of the bytes.
    fn break_off(&mut self, id: Id, at: u64, mut bytes: Vec<u8>) {
        bytes.truncate(self.random.index(bytes.len() + 1));
        if !bytes.is_empty() {
            self.emit(id, Body::Data(at, bytes));
        }
        self.emit(id, Body::Reset);
        self.reset_by_peer(id);
    }

    fn watch_for_progress(&mut self, id: Id) {
        let serial = self.serial(id);
        let tcp = self.tcp(id);
        if !std::mem::replace(&mut tcp.watched_for_progress, true) {
            let acknowledged = tcp.acknowledged;
            self.schedule(GIVE_UP, Action::GiveUp(id, serial, acknowledged));
        }
    }

    /// Nothing beyond `until` was acknowledged for long: the peer is not there.
    pub(super) fn give_up(&mut self, id: Id, until: u64) {
        let tcp = self.tcp(id);
        tcp.watched_for_progress = false;
        let waits = tcp.sent > tcp.acknowledged
            || tcp.end_sent
                && matches!(tcp.state, State::FinWait1 | State::LastAck | State::Closing);
        if !waits {
            return;
        }
        if tcp.acknowledged > until {
            return self.watch_for_progress(id);
        }
        self.fail(id, ETIMEDOUT);
    }

    /// Sends a SYN, and again if nobody answers.
    pub(super) fn syn(&mut self, id: Id, silently: bool) {
        if !silently {
            self.emit(id, Body::Syn);
        }
        let serial = self.serial(id);
        self.schedule(SECOND, Action::SynAgain(id, serial, 1));
    }

    pub(super) fn syn_again(&mut self, id: Id, tries: u32) {
        if self.tcp(id).state != State::SynSent {
            return;
        }
        if tries > SYN_RETRIES {
            return self.fail(id, ETIMEDOUT);
        }
        self.emit(id, Body::Syn);
        let serial = self.serial(id);
        self.schedule(SECOND << tries, Action::SynAgain(id, serial, tries + 1));
    }

    /// Once more, without a change of when else it is.
    pub(super) fn syn_soon(&mut self, id: Id) {
        if self.tcp(id).state == State::SynSent {
            self.emit(id, Body::Syn);
        }
    }

    /// The peer's end of the stream arrived.
    fn receive_end(&mut self, id: Id, at: u64) {
        if self.tcp(id).state == State::SynReceived {
            self.accept_child(id);
        }
        let tcp = self.tcp(id);
        debug_assert_eq!(at, tcp.next, "packets of a connection keep their order");
        let (until, edge) = (tcp.next + 1, tcp.edge_now());
        tcp.told_edge = edge;
        self.emit(id, Body::Ack(until, edge));
        if self.tcp(id).withheld > 0 {
            self.tcp(id).withheld_end = true;
        } else {
            self.end(id);
        }
    }

    /// The program is told of the end of the stream.
    fn end(&mut self, id: Id) {
        let tcp = self.tcp(id);
        tcp.shut |= RECEIVE;
        tcp.ended = true;
        match tcp.state {
            State::Established => tcp.state = State::CloseWait,
            State::FinWait1 => tcp.state = State::Closing,
            State::FinWait2 => return self.rest(id),
            _ => {}
        }
        self.wake(id, 0);
    }

    /// Both ends of the stream arrived, and this side closed first.
    fn rest(&mut self, id: Id) {
        let host = self.entry(id).host;
        let until = self.now + RESTS;
        let tcp = self.tcp(id);
        if let (Some(local), Some(peer)) = (tcp.local, tcp.peer) {
            let sharing = Sharing {
                reuse: tcp.is_set(SocketOption::ReuseAddress),
                share: tcp.is_set(SocketOption::ReusePort),
            };
            self.hosts[host].rest((local, peer), until, sharing);
        }
        self.done(id);
    }

    /// The connection is over (`tcp_done`).
    pub(super) fn done(&mut self, id: Id) {
        let host = self.entry(id).host;
        let tcp = self.tcp(id);
        tcp.state = State::Closed;
        tcp.shut = RECEIVE | SEND;
        tcp.unsent.clear();
        tcp.sent = tcp.acknowledged;
        let (orphan, pair) = (tcp.orphan, tcp.local.zip(tcp.peer));
        if let Some((local, peer)) = pair {
            if self.hosts[host].connection(local, peer) == Some(id) {
                self.hosts[host].end_connection(local, peer);
            }
        }
        if orphan {
            self.remove(id);
        } else {
            self.release_port(id);
            self.wake(id, 0);
        }
    }

    /// A reset came (`tcp_reset`).
    fn reset_by_peer(&mut self, id: Id) {
        match self.tcp(id).state {
            State::Closed | State::Listening => {}
            State::SynReceived => self.drop_child(id),
            State::SynSent => self.fail(id, ECONNREFUSED),
            State::CloseWait => self.fail(id, EPIPE),
            _ => self.fail(id, ECONNRESET),
        }
    }

    /// The connection ends with an error.
    pub(super) fn fail(&mut self, id: Id, number: i32) {
        let takes = self.has(Planted::AResetTakesWhatWasReceived);
        let tcp = self.tcp(id);
        // What a fault withheld will not come any more; what is there can be read still.
        let there = tcp.readable();
        let gone = tcp.received.len() - if takes { 0 } else { there };
        tcp.received.truncate(tcp.received.len() - gone);
        tcp.next -= gone as u64;
        (tcp.withheld, tcp.withheld_end) = (0, false);
        tcp.error = Some(number);
        let orphan = tcp.orphan;
        self.done(id);
        if !orphan {
            self.wake(id, EPOLLERR);
        }
    }

    /// A connection in the making ends before anybody knew of it.
    fn drop_child(&mut self, id: Id) {
        if let Some(parent) = self.tcp(id).parent {
            self.tcp(parent).half_open -= 1;
        }
        self.remove(id);
    }

    /// Ends a connection at once, as `close(2)` with unread bytes does.
    pub(super) fn abort(&mut self, id: Id) {
        let connected = !matches!(self.tcp(id).state, State::Closed | State::SynSent);
        if connected {
            self.emit(id, Body::Reset);
        }
        self.tcp(id).orphan = true;
        self.remove(id);
    }
}

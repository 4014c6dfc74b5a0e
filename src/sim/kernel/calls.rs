//! The socket calls of a program, after net/ipv4/af_inet.c and net/ipv4/tcp.c of Linux.

use super::addresses::{any_address, check_family, loopback, overlap, plain};
use super::errno::{
    EADDRINUSE, EADDRNOTAVAIL, EAGAIN, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTUNREACH,
    EINVAL, EISCONN, ENETUNREACH, ENOTCONN, ENOTSOCK, EOPNOTSUPP, EPIPE,
};
use super::host::Sharing;
use super::net::{Action, Body, Id, Net, Object, Sys};
use super::tcp::{Progress, RECEIVE, SEND, State, copy_front};
use super::urgent::Limits;
use crate::event::EPOLLERR;
use crate::sim::fault::Fault;
use crate::sim::planted::Planted;
use crate::sys::{Connect, SocketOption};
use std::net::{Shutdown, SocketAddr};

impl Net {
    /// The socket behind a descriptor.
    pub(super) fn socket_of(&mut self, host: usize, number: i32) -> Sys<Id> {
        let id = self.object(host, number)?;
        match self.entry(id).object {
            Object::Tcp(_) | Object::Udp(_) => Ok(id),
            _ => Err(ENOTSOCK),
        }
    }

    pub(super) fn bind(&mut self, id: Id, address: SocketAddr) -> Sys<()> {
        if self.is_udp(id) {
            return self.bind_udp(id, address);
        }
        let host = self.entry(id).host;
        let tcp = self.tcp(id);
        check_family(tcp.family, &address)?;
        if !self.hosts[host].has(address.ip()) {
            return Err(EADDRNOTAVAIL);
        }
        let tcp = self.tcp(id);
        if tcp.state != State::Closed || tcp.holds_port {
            return Err(EINVAL);
        }
        let mut address = plain(address);
        let named = address.port() != 0;
        if !named {
            let now = self.now;
            address.set_port(self.hosts[host].free_port(now)?);
        } else if self.conflicts(id, address) {
            let tcp = self.tcp(id);
            let any = any_address(tcp.family);
            // The address that it showed after a connection is forgotten.
            tcp.local = tcp.local.map(|local| SocketAddr::new(any, local.port()));
            return Err(EADDRINUSE);
        }
        let tcp = self.tcp(id);
        tcp.port_named = named;
        // That one was named once is never forgotten (SOCK_BINDADDR_LOCK).
        tcp.address_named |= !address.ip().is_unspecified();
        self.set_local(id, address);
        Ok(())
    }

    fn set_local(&mut self, id: Id, address: SocketAddr) {
        let host = self.entry(id).host;
        let tcp = self.tcp(id);
        tcp.local = Some(address);
        let share = tcp.is_set(SocketOption::ReusePort);
        if !std::mem::replace(&mut tcp.holds_port, true) {
            let now = self.now;
            self.hosts[host].note_sharing(address.port(), share, now);
            self.hosts[host].take_port(address.port(), id);
        }
    }

    /// Whether another socket, or a connection that rests, keeps `id` from having `address`. The
    /// same keeps it from listening there (`inet_csk_bind_conflict`).
    fn conflicts(&mut self, id: Id, address: SocketAddr) -> bool {
        let host = self.entry(id).host;
        let tcp = self.tcp(id);
        let reuse = tcp.is_set(SocketOption::ReuseAddress);
        let share = tcp.is_set(SocketOption::ReusePort);
        let only = tcp.is_set(SocketOption::V6Only);
        if share && self.hosts[host].is_shared(address.port()) {
            return false;
        }
        for other in self.hosts[host].at_port(address.port()).to_vec() {
            let tcp = self.tcp(other);
            let Some(bound) = tcp.local.filter(|_| other != id) else { continue };
            if !overlap(bound, tcp.is_set(SocketOption::V6Only), address, only) {
                continue;
            }
            let both_reuse =
                reuse && tcp.is_set(SocketOption::ReuseAddress) && tcp.state != State::Listening;
            let both_share = share && tcp.is_set(SocketOption::ReusePort);
            if !both_reuse && !both_share {
                return true;
            }
        }
        let now = self.now;
        let sharing = Sharing { reuse, share };
        self.hosts[host].rests_at(address, only, now, sharing)
    }

    pub(super) fn listen(&mut self, id: Id, backlog: u32) -> Sys<()> {
        if self.is_udp(id) {
            return Err(EOPNOTSUPP);
        }
        let host = self.entry(id).host;
        let tcp = self.tcp(id);
        let may = matches!(tcp.state, State::Closed | State::Listening);
        if tcp.progress != Progress::Unconnected || !may {
            return Err(EINVAL);
        }
        // What `listen(2)` calls somaxconn.
        tcp.backlog = backlog.min(4096) as usize;
        if tcp.state == State::Listening {
            return Ok(());
        }
        match tcp.local.filter(|_| tcp.holds_port) {
            Some(local) => {
                if self.conflicts(id, local) {
                    return Err(EADDRINUSE);
                }
                let (now, share) = (self.now, self.tcp(id).is_set(SocketOption::ReusePort));
                self.hosts[host].note_sharing(local.port(), share, now);
            }
            None => {
                let any = any_address(tcp.family);
                let any = tcp.local.filter(|_| tcp.address_named).map_or(any, |own| own.ip());
                let now = self.now;
                let port = self.hosts[host].free_port(now)?;
                self.set_local(id, SocketAddr::new(any, port));
            }
        }
        let tcp = self.tcp(id);
        tcp.state = State::Listening;
        Ok(())
    }

    pub(super) fn connect(&mut self, id: Id, address: SocketAddr) -> Sys<Connect> {
        if self.is_udp(id) {
            return self.connect_udp(id, address);
        }
        let again = self.has(Planted::AConnectedSocketConnectsAgain);
        let tcp = self.tcp(id);
        match tcp.progress {
            Progress::Connected if again => return Ok(Connect::Done),
            Progress::Connected => return Err(EISCONN),
            Progress::Disconnecting => return Err(EINVAL),
            Progress::Connecting => match tcp.state {
                State::SynSent | State::SynReceived => return Ok(Connect::InProgress),
                State::Closed => {
                    let error = tcp.take_error().unwrap_or(ECONNABORTED);
                    self.disconnect(id);
                    return Err(error);
                }
                _ => {
                    tcp.progress = Progress::Connected;
                    return Ok(Connect::Done);
                }
            },
            Progress::Unconnected if tcp.state != State::Closed => return Err(EISCONN),
            Progress::Unconnected => {}
        }
        self.connect_anew(id, plain(address))
    }

    fn connect_anew(&mut self, id: Id, address: SocketAddr) -> Sys<Connect> {
        let host = self.entry(id).host;
        check_family(self.tcp(id).family, &address)?;
        let mut peer = address;
        if peer.ip().is_unspecified() {
            // It stands for this machine.
            peer.set_ip(loopback(self.tcp(id).family));
        }
        let Some(target) = self.host_of(host, peer.ip()) else { return Err(ENETUNREACH) };
        if self.fault(Fault::Unreachable, host) {
            return Err(if self.random.chance(500_000) { ENETUNREACH } else { EHOSTUNREACH });
        }
        let own_address = self.own_address(host, target, peer.ip());
        let tcp = self.tcp(id);
        if target != host && tcp.local.is_some_and(|local| local.ip().is_loopback()) {
            // What never leaves the machine can't be where something comes from.
            return Err(EINVAL);
        }
        let (holds, named) = (tcp.holds_port, tcp.address_named);
        let mut local = tcp.local.unwrap_or(SocketAddr::new(any_address(tcp.family), 0));
        if !holds {
            let now = self.now;
            local.set_port(self.hosts[host].free_port(now)?);
        }
        if !named || local.ip().is_unspecified() {
            local.set_ip(own_address);
        }
        if self.hosts[host].connection(local, peer).is_some() {
            return Err(EADDRNOTAVAIL);
        }
        self.set_local(id, local);
        self.hosts[host].set_connection(local, peer, id);
        let refused = self.fault(Fault::Refuse, host);
        let silent = !refused && self.fault(Fault::Silence, host);
        let tcp = self.tcp(id);
        tcp.peer = Some(peer);
        tcp.state = State::SynSent;
        tcp.progress = Progress::Connecting;
        (tcp.ended, tcp.error) = (false, None);
        (tcp.next, tcp.told_edge, tcp.sent, tcp.acknowledged, tcp.edge) = (0, 0, 0, 0, 0);
        (tcp.end_wanted, tcp.end_sent, tcp.no_space) = (false, false, false);
        (tcp.mark, tcp.mark_unsent) = (None, None);
        tcp.received.clear();
        if refused {
            self.fail(id, ECONNREFUSED);
        } else {
            self.syn(id, silent);
        }
        Ok(Connect::InProgress)
    }

    /// Makes a socket as if it had never been connected (`tcp_disconnect`).
    fn disconnect(&mut self, id: Id) {
        let host = self.entry(id).host;
        let tcp = self.tcp(id);
        let (local, peer) = (tcp.local, tcp.peer.take());
        let was = std::mem::replace(&mut tcp.state, State::Closed);
        tcp.progress = Progress::Unconnected;
        (tcp.shut, tcp.ended) = (0, false);
        // What was received and not read goes with the connection.
        tcp.received.clear();
        (tcp.withheld, tcp.mark, tcp.mark_unsent) = (0, None, None);
        // Who ends what is under way hears of it as of a reset.
        tcp.error = (was == State::SynSent).then_some(ECONNRESET);
        if let Some((local, peer)) = local.zip(peer) {
            if self.hosts[host].connection(local, peer) == Some(id) {
                self.hosts[host].end_connection(local, peer);
            }
        }
        if was != State::Closed {
            self.release_port(id);
        }
        let tcp = self.tcp(id);
        let any = any_address(tcp.family);
        if let Some(local) = tcp.local.as_mut().filter(|_| !tcp.address_named) {
            local.set_ip(any);
        }
        self.wake(id, EPOLLERR);
    }

    /// A socket that is closed keeps a port only if `bind(2)` named it; it goes on to show it.
    pub(super) fn release_port(&mut self, id: Id) {
        let host = self.entry(id).host;
        let tcp = self.tcp(id);
        if !tcp.port_named && std::mem::take(&mut tcp.holds_port) {
            if let Some(local) = tcp.local {
                self.hosts[host].give_port_back(local.port(), id);
            }
        }
    }

    /// Takes the next connection off the queue.
    pub(super) fn accept(&mut self, id: Id) -> Sys<(Id, SocketAddr)> {
        if self.is_udp(id) {
            return Err(EOPNOTSUPP);
        }
        let host = self.entry(id).host;
        let tcp = self.tcp(id);
        if tcp.state != State::Listening {
            return Err(EINVAL);
        }
        if tcp.queue.is_empty() || tcp.queue_withheld {
            return Err(EAGAIN);
        }
        if self.fault(Fault::WouldBlock, host) {
            self.tcp(id).queue_withheld = true;
            self.schedule_reveal(id);
            return Err(EAGAIN);
        }
        let aborted = self.fault(Fault::AbortedAccept, host);
        let Some(child) = self.tcp(id).queue.pop_front() else { return Err(EAGAIN) };
        if aborted {
            self.abort(child);
            return Err(ECONNABORTED);
        }
        let tcp = self.tcp(child);
        tcp.parent = None;
        let peer = tcp.peer.ok_or(ECONNABORTED)?;
        Ok((child, peer))
    }

    /// How many bytes a receive could bring now, at most.
    pub(super) fn receivable(&mut self, id: Id) -> usize {
        match &self.entry(id).object {
            Object::Tcp(tcp) => tcp.readable(),
            _ => usize::MAX,
        }
    }

    /// Receives into `buffer`; takes what it received unless it only peeks.
    pub(super) fn recv(&mut self, id: Id, buffer: &mut [u8], peek: bool) -> Sys<usize> {
        if self.is_udp(id) {
            return self.recv_udp(id, buffer, peek).map(|(count, _)| count);
        }
        let host = self.entry(id).host;
        let takes = self.has(Planted::APeekTakesWhatItSees);
        let tcp = self.tcp(id);
        if tcp.state == State::Listening {
            return Err(ENOTCONN);
        }
        if tcp.readable() > 0 && tcp.withheld == 0 && !tcp.ended && tcp.error.is_none() {
            // Only what was not announced with an end or an error behind it may be late.
            let there = tcp.readable();
            if self.fault(Fault::WouldBlock, host) {
                self.withhold(id, there);
            } else if there > 1 && self.fault(Fault::Short, host) {
                let later = 1 + self.random.index(there - 1);
                self.withhold(id, later);
            }
        }
        let tcp = self.tcp(id);
        let early_end = tcp.ended && self.has(Planted::TheEndComesBeforeTheLastBytes);
        let marked = self.tcp(id).mark.is_some();
        let free = Limits { skip: 0, most: usize::MAX };
        let Limits { skip, most } = if marked { self.limits(id, buffer.len(), peek) } else { free };
        let tcp = self.tcp(id);
        let there = tcp.readable() - skip;
        let count = there.min(buffer.len()).min(most);
        if there == 0 || early_end {
            return match tcp.state {
                _ if tcp.ended => Ok(0),
                _ if tcp.error.is_some() => Err(tcp.take_error().unwrap_or(ENOTCONN)),
                _ if tcp.shut & RECEIVE != 0 => Ok(0),
                State::Closed => Err(ENOTCONN),
                _ => Err(EAGAIN),
            };
        }
        if skip == 0 {
            copy_front(&tcp.received, &mut buffer[..count]);
        } else {
            // Only a look beyond an urgent byte comes here.
            let behind = tcp.received.range(skip..skip + count);
            buffer.iter_mut().zip(behind).for_each(|(place, byte)| *place = *byte);
        }
        if !peek || takes {
            tcp.received.drain(..count);
            if marked {
                tcp.pass_mark();
            }
            self.tell_window(id);
        }
        Ok(count)
    }

    /// Tells the peer of room in the receive buffer, when it is worth a packet.
    fn tell_window(&mut self, id: Id) {
        let tcp = self.tcp(id);
        let edge = tcp.edge_now();
        let grown = edge - tcp.told_edge;
        if tcp.state != State::Closed && grown >= (tcp.receive_max as u64 / 4).max(1) {
            tcp.told_edge = edge;
            let until = tcp.next + u64::from(tcp.ended || tcp.withheld_end);
            self.emit(id, Body::Ack(until, edge));
        }
    }

    pub(super) fn send(&mut self, id: Id, bytes: &mut dyn Iterator<Item = &[u8]>) -> Sys<usize> {
        if self.is_udp(id) {
            return self.send_udp(id, bytes, None);
        }
        let host = self.entry(id).host;
        let tcp = self.tcp(id);
        match tcp.state {
            State::Established | State::CloseWait if tcp.error.is_none() => {
                if tcp.shut & SEND != 0 {
                    return Err(EPIPE);
                }
            }
            State::SynSent | State::SynReceived if tcp.error.is_none() => return Err(EAGAIN),
            _ => return Err(tcp.take_error().unwrap_or(EPIPE)),
        }
        let mut room = tcp.send_max.saturating_sub(tcp.queued());
        if tcp.blocked {
            room = 0;
        } else if room > 0 {
            if self.fault(Fault::WouldBlock, host) {
                room = 0;
                self.block(id);
            } else if self.fault(Fault::Short, host) {
                room = 1 + self.random.index(room.min(64));
            }
        }
        let (mut count, mut asked) = (0, 0);
        let tcp = self.tcp(id);
        for part in bytes {
            let taken = part.len().min(room - count);
            tcp.unsent.extend(&part[..taken]);
            count += taken;
            asked += part.len();
        }
        if count < asked {
            tcp.no_space = true;
            // A fault cut it short although there is room: the room comes back later.
            if tcp.is_writable() {
                self.block(id);
            }
        }
        if count == 0 && asked > 0 {
            return Err(EAGAIN);
        }
        self.transmit(id);
        Ok(count)
    }

    fn block(&mut self, id: Id) {
        self.tcp(id).blocked = true;
        self.tcp(id).no_space = true;
        let after = self.random.below(20_000_000) + 1;
        let serial = self.serial(id);
        self.schedule(after, Action::Unblock(id, serial));
    }

    pub(super) fn shutdown(&mut self, id: Id, how: Shutdown) -> Sys<()> {
        if self.is_udp(id) {
            return self.shutdown_udp(id, how);
        }
        let how = match how {
            Shutdown::Read => RECEIVE,
            Shutdown::Write => SEND,
            Shutdown::Both => RECEIVE | SEND,
        };
        let tcp = self.tcp(id);
        if tcp.progress == Progress::Connecting {
            let under_way = matches!(tcp.state, State::SynSent | State::Closed);
            tcp.progress = if under_way { Progress::Disconnecting } else { Progress::Connected };
        }
        let result = match tcp.state {
            State::Closed => {
                self.tcp(id).shut |= how;
                Err(ENOTCONN)
            }
            State::Listening if how & RECEIVE == 0 => Ok(()),
            State::Listening => {
                self.end_queue(id);
                self.settle();
                self.disconnect(id);
                Ok(())
            }
            State::SynSent => {
                self.disconnect(id);
                Ok(())
            }
            _ => {
                self.tcp(id).shut |= how;
                if how & SEND != 0 {
                    self.close_sending(id);
                }
                Ok(())
            }
        };
        // The peer hears of it first.
        self.settle();
        self.wake(id, 0);
        result
    }

    pub(super) fn close_sending(&mut self, id: Id) {
        let tcp = self.tcp(id);
        tcp.state = match tcp.state {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            _ => return,
        };
        tcp.end_wanted = true;
        self.transmit(id);
    }

    /// The last descriptor of a socket is closed.
    pub(super) fn close_socket(&mut self, id: Id) {
        self.unwatch(id);
        let in_order = self.has(Planted::UnreadBytesEndInOrder);
        let tcp = self.tcp(id);
        let unread = !tcp.received.is_empty() && !in_order;
        let resets = unread || tcp.linger.is_some_and(|wait| wait.is_zero());
        match tcp.state {
            State::Listening => {
                self.end_queue(id);
                self.remove(id);
            }
            State::Closed | State::SynSent => self.remove(id),
            _ if resets => self.abort(id),
            _ => {
                tcp.orphan = true;
                tcp.shut = RECEIVE | SEND;
                self.close_sending(id);
                if self.objects[id].is_some() && self.tcp(id).state == State::FinWait2 {
                    let serial = self.serial(id);
                    self.schedule(60_000_000_000, Action::Orphan(id, serial));
                }
            }
        }
    }

    /// Resets the connections that a listener leaves behind.
    fn end_queue(&mut self, id: Id) {
        let queue = std::mem::take(&mut self.tcp(id).queue);
        self.tcp(id).half_open = 0;
        for child in queue {
            self.abort(child);
        }
        let port = self.tcp(id).local.map_or(0, |local| local.port());
        let host = self.entry(id).host;
        for child in self.hosts[host].at_port(port).to_vec() {
            if self.tcp(child).parent == Some(id) {
                self.abort(child);
            }
        }
    }

    pub(super) fn local_address(&mut self, id: Id) -> Sys<SocketAddr> {
        if self.is_udp(id) {
            return Ok(self.local_udp(id));
        }
        let tcp = self.tcp(id);
        Ok(tcp.local.unwrap_or(SocketAddr::new(any_address(tcp.family), 0)))
    }

    pub(super) fn peer_address(&mut self, id: Id) -> Sys<SocketAddr> {
        if self.is_udp(id) {
            return self.peer_udp(id);
        }
        let tcp = self.tcp(id);
        let connected = !matches!(tcp.state, State::Closed | State::SynSent | State::Listening);
        tcp.peer.filter(|_| connected).ok_or(ENOTCONN)
    }
}

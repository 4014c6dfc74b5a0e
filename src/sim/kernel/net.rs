//! The state of all simulated kernels of a world, and the network between them.
//!
//! ```text
//!   call ---> object ---> packet ---.--- same host, no latency ---> settled before the call ends
//!                                   `--- else ---> agenda ---> advance, at its time
//! ```
//!
//! There is one agenda, and one order of everything on it: time, then the order of entry.

use super::clock::Clock;
use super::epoll::{EVENTS, Epoll};
use super::host::Host;
use super::tcp::Tcp;
use super::udp::Udp;
use crate::event::Event;
use crate::sim::fault::{Fault, Faults, KINDS};
use crate::sim::link::Links;
use crate::sim::planted::Planted;
use crate::sim::random::Random;
use crate::sim::trace::{Line, Trace, What};
use crate::task::journal::Doings;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;

/// The place of an object among all; it is used again when the object is gone.
pub(in crate::sim) type Id = usize;

/// The result of a call: what it gives, or the error's number.
pub(in crate::sim) type Sys<T> = Result<T, i32>;

#[derive(Debug)]
pub(in crate::sim) enum Object {
    Tcp(Box<Tcp>),
    Udp(Box<Udp>),
    Epoll(Epoll),
    /// The counter.
    Eventfd(u64),
}

/// An object, and who watches it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) host: usize,
    /// Tells an object from those that had its place before.
    pub(super) serial: u64,
    pub(super) object: Object,
    /// The epoll instances that watch it.
    pub(super) watchers: Vec<Id>,
}

/// What a packet brings.
#[derive(Clone, Debug)]
pub(in crate::sim) enum Body {
    Syn,
    /// With the right edge of the window.
    SynAck(u64),
    /// All before this offset arrived; the window's right edge.
    Ack(u64, u64),
    /// Bytes from this offset on.
    Data(u64, Vec<u8>),
    /// The end of the stream, at this offset.
    Fin(u64),
    Reset,
    /// The byte at this offset is urgent; it follows.
    Urgent(u64, u8),
    /// All of a datagram.
    Datagram(Vec<u8>),
    /// No socket is where a datagram went: the addresses are those of the answer.
    Unreachable,
}

impl Body {
    fn code(&self) -> (u64, i64) {
        match self {
            Body::Syn => (1, 0),
            Body::SynAck(edge) => (2, *edge as i64),
            Body::Ack(until, _) => (3, *until as i64),
            Body::Data(_, bytes) => (4, bytes.len() as i64),
            Body::Fin(at) => (5, *at as i64),
            Body::Reset => (6, 0),
            Body::Urgent(at, _) => (7, *at as i64),
            Body::Datagram(bytes) => (8, bytes.len() as i64),
            Body::Unreachable => (9, 0),
        }
    }
}

#[derive(Clone, Debug)]
pub(in crate::sim) struct Packet {
    pub(in crate::sim) source: usize,
    pub(in crate::sim) target: usize,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) body: Body,
}

impl Packet {
    /// Whether it is UDP's.
    fn is_datagram(&self) -> bool {
        matches!(self.body, Body::Datagram(_) | Body::Unreachable)
    }
}

/// Work for another thread, which a world runs on its own.
pub(in crate::sim) type Work = Box<dyn FnOnce() + Send>;

/// What is to happen at a time.
pub(super) enum Action {
    Arrive(Packet),
    /// A SYN is sent again, for the how manieth time.
    SynAgain(Id, u64, u32),
    /// The same, since it met an old connection.
    SynSoon(Id, u64),
    /// Bytes or connections that a fault withheld are there.
    Reveal(Id, u64),
    /// A send buffer that a fault filled has room again.
    Unblock(Id, u64),
    /// Nothing sent was acknowledged beyond this offset for long.
    GiveUp(Id, u64, u64),
    /// An orphan waited for its peer's end for long.
    Orphan(Id, u64),
    Work(usize, u64, Work),
}

/// What is to happen, in the order of time, then of entry. What it is has its place elsewhere: a
/// heap moves its entries about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: u64,
    sequence: u64,
    /// The place in `Net::actions`.
    action: usize,
}

pub(in crate::sim) struct Net {
    /// Nanoseconds since the world was made.
    pub(in crate::sim) now: u64,
    /// What shows it to hosts.
    pub(in crate::sim) clock: Clock,
    sequence: u64,
    agenda: BinaryHeap<Reverse<Due>>,
    /// What the agenda is about; None at places that are free.
    actions: Vec<Option<Action>>,
    free_actions: Vec<usize>,
    /// Packets that need no time, in order.
    pub(super) at_once: VecDeque<Packet>,
    pub(in crate::sim) hosts: Vec<Host>,
    pub(super) objects: Vec<Option<Entry>>,
    free: Vec<Id>,
    pub(in crate::sim) links: Links,
    pub(in crate::sim) random: Random,
    pub(in crate::sim) faults: Faults,
    /// How often each kind of fault was injected.
    pub(in crate::sim) injected: [u64; KINDS.len()],
    /// Calls that a fault of `Faults::kth` can meet, so far.
    pub(in crate::sim) failable: u64,
    /// Calls of all hosts.
    pub(in crate::sim) calls: u64,
    /// How many events had each of `EVENTS`.
    pub(in crate::sim) events: [u64; EVENTS.len()],
    /// How often a task was polled, and how often woken.
    pub(in crate::sim) polls: u64,
    pub(in crate::sim) wakes: u64,
    /// What a call takes of the host's time, in nanoseconds.
    pub(in crate::sim) call_time: u64,
    /// A bug that is switched on.
    pub(in crate::sim) planted: Option<Planted>,
    pub(in crate::sim) trace: Trace,
    /// Blocking work that is due; it is run by the world, with nothing locked.
    pub(in crate::sim) work: VecDeque<(usize, u64, Work)>,
    /// What a wait collects; kept for its room.
    pub(super) collected: Vec<Event>,
    /// How many workers are roused: `Host::roused` is not about them.
    pub(super) workers_roused: usize,
    /// Who has workers take their turns.
    pub(in crate::sim) stepper: u64,
}

impl Net {
    pub(in crate::sim) fn new(seed: u64) -> Net {
        Net {
            now: 0,
            clock: Clock::default(),
            sequence: 0,
            agenda: BinaryHeap::new(),
            actions: Vec::new(),
            free_actions: Vec::new(),
            at_once: VecDeque::new(),
            hosts: Vec::new(),
            objects: Vec::new(),
            free: Vec::new(),
            links: Links::default(),
            random: Random::seeded(seed),
            faults: Faults::none(),
            injected: [0; KINDS.len()],
            failable: 0,
            calls: 0,
            events: [0; EVENTS.len()],
            polls: 0,
            wakes: 0,
            call_time: 0,
            planted: None,
            trace: Trace::default(),
            work: VecDeque::new(),
            collected: Vec::new(),
            workers_roused: 0,
            stepper: 0,
        }
    }

    /// Puts `action` on the agenda, `after` nanoseconds from now.
    pub(super) fn schedule(&mut self, after: u64, action: Action) {
        self.schedule_at(self.now.saturating_add(after), action);
    }

    fn schedule_at(&mut self, at: u64, action: Action) {
        let sequence = self.sequence;
        self.sequence += 1;
        let place = self.free_actions.pop().unwrap_or_else(|| {
            self.actions.push(None);
            self.actions.len() - 1
        });
        self.actions[place] = Some(action);
        self.agenda.push(Reverse(Due { at, sequence, action: place }));
    }

    /// When the next thing happens, if nobody does anything.
    pub(in crate::sim) fn next_at(&self) -> Option<u64> {
        self.agenda.peek().map(|Reverse(due)| due.at)
    }

    /// Whether something happened that a host is to look at.
    pub(in crate::sim) fn concerns_a_host(&self) -> bool {
        let any_host = || self.hosts.iter().any(|host| host.roused);
        !self.work.is_empty() || self.workers_roused > 0 || any_host()
    }

    pub(super) fn set_now(&mut self, now: u64) {
        self.now = now;
        self.clock.set_world(now);
    }

    /// Goes on to the time `to`, and does what was due until then.
    pub(in crate::sim) fn advance(&mut self, to: u64) {
        while let Some(Reverse(due)) = self.agenda.peek() {
            if due.at > to {
                break;
            }
            let Due { at, action, .. } = *due;
            self.agenda.pop();
            self.set_now(self.now.max(at));
            self.free_actions.push(action);
            if let Some(action) = self.actions[action].take() {
                self.act(action);
            }
            self.settle();
        }
        self.set_now(self.now.max(to));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Arrive(packet) => self.arrive(packet),
            Action::SynAgain(id, serial, tries) if self.is(id, serial) => self.syn_again(id, tries),
            Action::SynSoon(id, serial) if self.is(id, serial) => self.syn_soon(id),
            Action::Reveal(id, serial) if self.is(id, serial) => {
                if self.is_udp(id) {
                    self.reveal_udp(id);
                } else {
                    self.reveal(id);
                }
            }
            Action::Unblock(id, serial) if self.is(id, serial) => {
                if self.is_udp(id) {
                    self.unblock_udp(id);
                } else {
                    self.unblock(id);
                }
            }
            Action::GiveUp(id, serial, until) if self.is(id, serial) => self.give_up(id, until),
            Action::Orphan(id, serial) if self.is(id, serial) => self.remove(id),
            Action::Work(host, life, work) => self.work.push_back((host, life, work)),
            _ => {}
        }
    }

    /// Delivers what needs no time, until nothing is left of it.
    pub(in crate::sim) fn settle(&mut self) {
        while let Some(packet) = self.at_once.pop_front() {
            self.deliver(packet);
        }
    }

    /// Sends a packet. Those of one direction of a connection, whose last one arrives at `*last`,
    /// keep their order.
    pub(super) fn send_packet(&mut self, packet: Packet, last: &mut u64) {
        if self.hosts[packet.source].down {
            return;
        }
        let bytes = match &packet.body {
            Body::Data(_, bytes) => bytes.len() as u64,
            _ => 0,
        };
        let (source, target) = (packet.source, packet.target);
        let Some(mut delay) = self.links.delay(source, target, bytes, self.now, &mut self.random)
        else {
            // What is cut off is sent again until the cut is healed.
            self.links.hold(packet);
            return;
        };
        if self.fault(Fault::Stall, source) {
            delay += self.random.below(1_000_000_000);
        }
        // Of those that arrive now some may be on the agenda still; nothing was late at the start.
        if delay == 0 && (*last < self.now || *last == 0) {
            self.at_once.push_back(packet);
            return;
        }
        let at = self.now.saturating_add(delay).max(*last);
        *last = at;
        self.schedule_at(at, Action::Arrive(packet));
    }

    /// Sends what a partition held back.
    pub(in crate::sim) fn release_held(&mut self) {
        // Before those that were on their way behind them all the time, and now arrive.
        for packet in self.links.take_free_arrived() {
            if let Some(id) = self.hosts[packet.source].connection(packet.from, packet.to) {
                // What is sent at this very moment comes behind it.
                let now = self.now;
                let tcp = self.tcp(id);
                tcp.last_arrival = tcp.last_arrival.max(now);
            }
            self.schedule(0, Action::Arrive(packet));
        }
        // Of connections that their sender has forgotten since: when their last packet arrives.
        let mut forgotten = BTreeMap::new();
        for packet in self.links.take_free() {
            // The sender had tried less and less often: it takes a while to hear of the healing.
            let delay = self.random.below(400_000_000);
            let (from, to) = (packet.from, packet.to);
            let id = self.hosts[packet.source].connection(from, to);
            let before = forgotten.get(&(from, to)).copied().unwrap_or(0);
            let mut last = id.map_or(before, |id| self.tcp(id).last_arrival);
            last = last.max(self.now + delay);
            self.send_packet(packet, &mut last);
            match id {
                Some(id) => self.tcp(id).last_arrival = last,
                None => drop(forgotten.insert((from, to), last)),
            }
        }
    }

    fn arrive(&mut self, packet: Packet) {
        if self.links.is_cut(packet.source, packet.target) {
            // Nobody sends a datagram again.
            if !packet.is_datagram() {
                self.links.hold_arrived(packet);
            }
            return;
        }
        self.deliver(packet);
    }

    fn deliver(&mut self, packet: Packet) {
        let (kind, size) = packet.body.code();
        if let Body::Data(_, bytes) | Body::Datagram(bytes) = &packet.body {
            self.trace.mix_bytes(bytes);
        }
        self.record(packet.target, What::Packet, packet.to.port().into(), kind, size);
        if !self.hosts[packet.target].down {
            if packet.is_datagram() {
                self.receive_datagram(packet);
            } else {
                self.receive(packet);
            }
        }
    }

    pub(super) fn has(&self, bug: Planted) -> bool {
        self.planted == Some(bug)
    }

    /// Whether `fault` happens now, to `host`; it is counted and traced.
    pub(super) fn fault(&mut self, fault: Fault, host: usize) -> bool {
        let per_million = self.faults.per_million(fault, self.now);
        let happens = per_million > 0 && self.random.chance(per_million);
        if happens {
            self.note_fault(fault, host);
        }
        happens
    }

    pub(super) fn note_fault(&mut self, fault: Fault, host: usize) {
        self.injected[fault as usize] += 1;
        self.record(host, What::Fault, fault as i64, 0, 0);
    }

    pub(in crate::sim) fn record(
        &mut self,
        host: usize,
        what: What,
        number: i64,
        detail: u64,
        result: i64,
    ) {
        self.trace.record(Line { at: self.now, host, what, number, detail, result });
    }

    /// Takes what a host's tasks did into the trace.
    pub(in crate::sim) fn note_doings(&mut self, host: usize, doings: Doings) {
        self.polls += doings.polls;
        self.wakes += doings.wakes;
        self.trace.mix(doings.hash, doings.polls << 32 | doings.wakes);
        self.record(host, What::Tasks, doings.polls as i64, 0, doings.wakes as i64);
    }

    // Objects.

    /// Whether the object that had this serial is still at its place.
    fn is(&self, id: Id, serial: u64) -> bool {
        self.objects[id].as_ref().is_some_and(|entry| entry.serial == serial)
    }

    pub(super) fn insert(&mut self, host: usize, object: Object) -> Id {
        let serial = self.sequence;
        self.sequence += 1;
        let entry = Some(Entry { host, serial, object, watchers: Vec::new() });
        match self.free.pop() {
            Some(id) => {
                self.objects[id] = entry;
                id
            }
            None => {
                self.objects.push(entry);
                self.objects.len() - 1
            }
        }
    }

    /// Forgets an object, and who watched it forgets it too.
    pub(super) fn remove(&mut self, id: Id) {
        if matches!(self.entry(id).object, Object::Epoll(_)) {
            self.note_look(id);
        }
        self.unwatch(id);
        if let Some(entry) = self.objects[id].take() {
            let host = &mut self.hosts[entry.host];
            match &entry.object {
                Object::Tcp(tcp) => host.forget(id, tcp),
                Object::Udp(udp) => {
                    if let Some(local) = udp.local {
                        host.give_udp_port_back(local.port(), id);
                    }
                }
                _ => {}
            }
            self.free.push(id);
        }
    }

    pub(super) fn entry(&mut self, id: Id) -> &mut Entry {
        match &mut self.objects[id] {
            Some(entry) => entry,
            None => unreachable!("an object's place is not asked for after it is gone"),
        }
    }

    pub(super) fn serial(&self, id: Id) -> u64 {
        self.objects[id].as_ref().map_or(0, |entry| entry.serial)
    }

    /// The TCP socket at `id`.
    pub(super) fn tcp(&mut self, id: Id) -> &mut Tcp {
        match &mut self.entry(id).object {
            Object::Tcp(tcp) => tcp,
            _ => unreachable!("only sockets are in the tables of connections"),
        }
    }

    /// How many objects there are, descriptors and what outlives them.
    pub(in crate::sim) fn object_count(&self) -> usize {
        self.objects.iter().flatten().count()
    }
}

//! The simulated kernel against Linux: one program of system calls runs on both, and what each call
//! came to is compared.
//!
//! What may differ, since Linux promises neither:
//!
//! 1. Numbers of ports and of descriptors. Ports are compared by the order of their appearance.
//! 2. How many bytes a buffer takes before it is full. A flood is compared by the bytes that come
//!    out at the other end.
//! 3. How much time passes. A wait has to last as long as it was asked to, no more.
//! 4. When the acknowledgement of an end arrives, which Linux delays as it likes. It is an edge that
//!    repeats what was reported before, or what is left of that: such a repetition is left out. It
//!    also decides when a watch, of whatever kind, takes its place in the order: where that was
//!    possible the order of events is not compared, and a wait has room for all.
//! 5. What Nagle's algorithm or the congestion window holds back until such an acknowledgement, as
//!    the simulation has neither: the one is off in the programs, and they send too little for the
//!    other. All that they could change is when bytes arrive.
//! 6. When a packet that the machine's load kept back arrives: a program whose outcomes differ is
//!    run again, and only what differs every time is a difference.
//! 7. Which socket of a group (`SO_REUSEPORT`) gets a datagram: a hash decides that in Linux. The
//!    programs make no such groups of datagram sockets.
//!
//! Of 1, 3, 5 and 7 nothing is compared. How often the others were made use of is counted
//! ([`Compared`]).

mod datagrams;

use super::bytes::Bytes;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;
use whirligig::event::{EPOLLET, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, Event};
use whirligig::sim::World;
use whirligig::sys::{
    Connect, Descriptor, Epoll, EventBuffer, Family, KernelHandle, Notifier, SocketOption,
};

const EPOLLONESHOT: u32 = 1 << 30;
const SLOTS_MAX: usize = 10;
const STEPS_MAX: usize = 200;
/// Bytes that one side sends before somebody reads, floods apart: far from any buffer's end.
const SENT_MAX: usize = 12_000;
/// What a send counts for at least. So there are ten packets at most, as many as Linux has on their
/// way before it waits for an acknowledgement: one that sends as well delays those from the first.
const SENT_MIN: usize = SENT_MAX / 10;
/// The same of a datagram socket: what its peer has no room for is lost.
const DATAGRAMS_SENT_MAX: usize = 4000;
/// How long a connection is waited for; one that nobody answers is left as it is then.
const SETTLE_MS: u32 = 30;
/// How often a program is run whose outcomes differ; fewer with a bug planted, which has them differ
/// each time.
const TRIES: usize = 15;
const TRIES_WITH_A_BUG: usize = 6;

/// Runs `data` as a program on both kernels.
pub fn run(data: &[u8]) {
    compare(data, None);
}

/// What a comparison came to; of what may differ, how often it was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Calls that came to the same.
    pub calls: usize,
    /// Buffers that were filled (2).
    pub floods: usize,
    /// Events of Linux that were left out (4).
    pub repetitions: usize,
    /// Waits of which the order was not compared (4).
    pub unordered: usize,
    /// Times that a program was run again (6).
    pub again: usize,
}

impl std::ops::AddAssign for Compared {
    fn add_assign(&mut self, other: Compared) {
        self.calls += other.calls;
        self.floods += other.floods;
        self.repetitions += other.repetitions;
        self.unordered += other.unordered;
        self.again += other.again;
    }
}

/// Compares the kernels on `data`; panics if the outcomes of a call differ. `planted` is a bug of
/// the simulation that is switched on for this run.
pub fn compare(data: &[u8], planted: Option<whirligig::sim::Planted>) -> Compared {
    let world = World::seeded(1);
    world.set_call_time(Duration::ZERO);
    if let Some(bug) = planted {
        world.plant(bug);
    }
    let (simulated, _) = Machine::new(world.kernel()).run(data);
    let mut first = None;
    let tries = if planted.is_some() { TRIES_WITH_A_BUG } else { TRIES };
    for again in 0..tries {
        // What keeps a packet back may last.
        let pause_ms = [0, 0, 5, 5, 5, 5, 20, 20, 20].get(again).copied().unwrap_or(50);
        std::thread::sleep(Duration::from_millis(pause_ms));
        let (real, counts) = Machine::new(KernelHandle::linux()).run(data);
        if real == simulated {
            return Compared { calls: real.len(), again, ..counts };
        }
        first.get_or_insert(real);
    }
    let real = first.unwrap_or_default();
    let differs = real.iter().zip(&simulated).position(|(one, other)| one != other);
    let at = differs.unwrap_or(real.len().min(simulated.len()));
    let log = real[..at].join("\n");
    panic!("{log}\nLinux: {:?}\nsimulated: {:?}", real.get(at), simulated.get(at));
}

/// Something open.
enum Slot {
    Socket { descriptor: Descriptor, datagrams: bool, sent: usize, shut: bool },
    Eventfd(Notifier),
}

impl Slot {
    fn descriptor(&self) -> &Descriptor {
        match self {
            Slot::Socket { descriptor, .. } => descriptor,
            Slot::Eventfd(notifier) => notifier.descriptor(),
        }
    }

    fn is_for_datagrams(&self) -> bool {
        matches!(self, Slot::Socket { datagrams: true, .. })
    }
}

/// Whether it is a socket that sent its end, or reads no more.
fn is_shut(slot: &Option<Slot>) -> bool {
    matches!(slot, Some(Slot::Socket { shut: true, .. }))
}

/// Addresses that a program may use again.
#[derive(Default)]
struct Known {
    /// Those of all sockets there ever were.
    all: Vec<SocketAddr>,
    /// Those that sockets were bound to. A port that `connect(2)` picked may rest from a connection
    /// of some other program's.
    bound: Vec<SocketAddr>,
}

/// The program's state on one kernel.
struct Machine {
    kernel: KernelHandle,
    epolls: Vec<Epoll>,
    slots: Vec<Option<Slot>>,
    /// Those of stream sockets, and of datagram sockets: each kind has ports of its own.
    known: [Known; 2],
    /// The ports, in the order of their appearance.
    ports: Vec<(bool, u16)>,
    watches: Vec<Watch>,
    /// What each step came to.
    log: Vec<String>,
    counts: Compared,
    /// What is sent next.
    next_byte: u8,
    /// What the clock showed last.
    seen: u64,
}

/// What an epoll instance watches.
struct Watch {
    epoll: usize,
    slot: usize,
    edge_triggered: bool,
    /// What was reported last.
    reported: u32,
}

impl Machine {
    fn new(kernel: KernelHandle) -> Machine {
        let epolls = (0..2).map(|_| Epoll::on(&kernel).expect("epoll_create1")).collect();
        Machine {
            kernel,
            epolls,
            slots: Vec::new(),
            known: Default::default(),
            ports: Vec::new(),
            watches: Vec::new(),
            log: Vec::new(),
            counts: Compared::default(),
            next_byte: 0,
            seen: 0,
        }
    }

    fn run(mut self, data: &[u8]) -> (Vec<String>, Compared) {
        let mut program = Bytes(data);
        for _ in 0..STEPS_MAX {
            let Some(operation) = program.next() else { break };
            self.step(operation, &mut program);
        }
        // Whatever is left open goes in order, and the watchers look on.
        for index in 0..self.slots.len() {
            if self.slots[index].take().is_some() {
                self.watches.retain(|watch| watch.slot != index);
                self.wait(0, Duration::ZERO);
                self.wait(1, Duration::ZERO);
            }
        }
        (self.log, self.counts)
    }

    fn say(&mut self, what: &str, index: usize, result: io::Result<String>) {
        let outcome = match result {
            Ok(text) => text,
            Err(error) => match error.raw_os_error() {
                Some(number) => format!("errno {number}"),
                None => error.to_string(),
            },
        };
        self.log.push(format!("{what} {index}: {outcome}"));
    }

    fn name(&mut self, index: usize, address: SocketAddr) -> String {
        let port = address.port();
        let key = (self.is_for_datagrams(index), port);
        let known = self.ports.iter().position(|own| *own == key).unwrap_or_else(|| {
            self.ports.push(key);
            self.ports.len() - 1
        });
        if port == 0 { format!("{}:0", address.ip()) } else { format!("{}:#{known}", address.ip()) }
    }

    fn is_for_datagrams(&self, index: usize) -> bool {
        self.slots.get(index).and_then(Option::as_ref).is_some_and(Slot::is_for_datagrams)
    }

    fn known(&mut self, index: usize) -> &mut Known {
        let kind = usize::from(self.is_for_datagrams(index));
        &mut self.known[kind]
    }

    fn add(&mut self, slot: Slot) {
        match self.slots.iter_mut().find(|slot| slot.is_none()) {
            Some(free) => *free = Some(slot),
            None => self.slots.push(Some(slot)),
        }
    }

    fn open_count(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// The place of something open, which the program chooses.
    fn choose(&self, program: &mut Bytes<'_>) -> Option<usize> {
        let byte = usize::from(program.byte());
        let open: Vec<usize> =
            (0..self.slots.len()).filter(|index| self.slots[*index].is_some()).collect();
        (!open.is_empty()).then(|| open[byte % open.len()])
    }

    fn step(&mut self, operation: u8, program: &mut Bytes<'_>) {
        if operation >= 208 {
            return self.other_step(operation % 16, program);
        }
        match operation % 32 {
            0 | 1 => self.open(program),
            2 => self.bind(program),
            3 => self.listening(program),
            4 | 5 => self.connected(program),
            6..14 => self.socket_call(operation % 32, program),
            14 => self.flood(program),
            15 => self.pair(program),
            16..20 => self.control(program),
            20..25 => {
                let epoll = program.index(2);
                self.wait(epoll, Duration::ZERO);
            }
            25 if program.byte() < 40 => {
                let epoll = program.index(2);
                self.wait(epoll, Duration::from_millis(1));
            }
            26 => self.close(program),
            27 | 28 => self.options(program),
            29 => self.addresses_of(program),
            _ => self.socket_call(6 + operation % 8, program),
        }
    }

    fn open(&mut self, program: &mut Bytes<'_>) {
        if self.open_count() >= SLOTS_MAX {
            return;
        }
        let index = self.slots.len();
        match program.byte() % 8 {
            0 => match Notifier::on(&self.kernel) {
                Ok(notifier) => self.add(Slot::Eventfd(notifier)),
                Err(error) => self.say("eventfd", index, Err(error)),
            },
            1 => self.open_socket(Family::V6),
            _ => self.open_socket(Family::V4),
        }
    }

    fn open_socket(&mut self, family: Family) {
        match self.kernel.socket(family) {
            Ok(descriptor) => {
                let direct = descriptor.set_option(SocketOption::NoDelay, 1);
                assert!(direct.is_ok(), "{direct:?}");
                if family == Family::V6 {
                    let only = descriptor.set_option(SocketOption::V6Only, 1);
                    self.say("v6only", 0, only.map(|()| "done".into()));
                }
                self.add(Slot::Socket { descriptor, datagrams: false, sent: 0, shut: false });
            }
            Err(error) => self.say("socket", 0, Err(error)),
        }
    }

    /// An address of this machine, of another, or one that a socket has or had.
    fn address(addresses: &[SocketAddr], program: &mut Bytes<'_>) -> SocketAddr {
        let chosen = program.byte();
        let fixed = |text: &str| text.parse().expect("a literal address");
        match chosen % 16 {
            0 => fixed("0.0.0.0:0"),
            1 => fixed("[::1]:0"),
            2 => fixed("[::]:0"),
            3 => fixed("192.0.2.1:0"),
            4 | 5 if !addresses.is_empty() => {
                let mut address = addresses[usize::from(chosen / 16) % addresses.len()];
                if address.is_ipv4() {
                    address.set_ip(fixed("0.0.0.0:0").ip());
                }
                address
            }
            6..14 if !addresses.is_empty() => addresses[usize::from(chosen / 16) % addresses.len()],
            _ => fixed("127.0.0.1:0"),
        }
    }

    fn bind(&mut self, program: &mut Bytes<'_>) {
        let Some(index) = self.choose(program) else { return };
        let address = Machine::address(&self.known(index).bound, program);
        self.bind_to(index, address);
    }

    fn bind_to(&mut self, index: usize, address: SocketAddr) {
        let Some(slot) = &self.slots[index] else { return };
        let bound = slot.descriptor().bind(address);
        let local = slot.descriptor().local_address();
        if let (Ok(()), Ok(local)) = (&bound, local) {
            let known = self.known(index);
            known.all.push(local);
            known.bound.push(local);
            let name = self.name(index, local);
            return self.say("bind", index, Ok(name));
        }
        self.say("bind", index, bound.map(|()| "done".into()));
    }

    fn listening(&mut self, program: &mut Bytes<'_>) {
        let Some(index) = self.choose(program) else { return };
        let backlog = u32::from(program.byte() % 8);
        self.listen_at(index, backlog);
    }

    fn listen_at(&mut self, index: usize, backlog: u32) {
        let Some(slot) = &self.slots[index] else { return };
        let done = slot.descriptor().listen(backlog);
        if let (Ok(()), Ok(local)) = (&done, slot.descriptor().local_address()) {
            self.known(index).all.push(local);
        }
        self.say("listen", index, done.map(|()| "done".into()));
    }

    fn connected(&mut self, program: &mut Bytes<'_>) {
        let Some(index) = self.choose(program) else { return };
        let address = Machine::address(&self.known(index).all, program);
        // Port 0 means nothing to connect to, and other machines would have to be there.
        let here = self.is_for_datagrams(index) && address.ip().is_unspecified();
        if address.port() != 0 && (address.ip().is_loopback() || here) {
            self.connect_to(index, address);
        }
    }

    fn connect_to(&mut self, index: usize, address: SocketAddr) {
        let Some(slot) = &self.slots[index] else { return };
        let done = slot.descriptor().connect(address);
        let text = done.map(|connect| match connect {
            Connect::Done => "done".into(),
            Connect::InProgress => "in progress".into(),
        });
        if let Ok(local) = slot.descriptor().local_address() {
            if local.port() != 0 {
                self.known(index).all.push(local);
            }
        }
        if text.as_deref().is_ok_and(|text| text == "in progress") {
            self.settle(index);
        }
        self.say("connect", index, text);
    }

    /// Waits until a connection is made or refused: where an old one rests that takes some
    /// milliseconds, in which a program gets further or doesn't (3).
    fn settle(&self, index: usize) {
        let Some(slot) = &self.slots[index] else { return };
        let epolls = [Epoll::on(&self.kernel), Epoll::on(&self.kernel)];
        let [watch, pause] = epolls.map(|epoll| epoll.expect("epoll_create1"));
        watch.add(slot.descriptor(), EPOLLOUT, 0).expect("it is not watched there yet");
        let mut buffer = EventBuffer::with_capacity(1);
        for _ in 0..SETTLE_MS {
            let mut events = watch.wait(&mut buffer, Some(Duration::ZERO)).expect("epoll_wait");
            if events.any(|event| event.bits() & EPOLLOUT != 0) {
                return;
            }
            pause.wait(&mut buffer, Some(Duration::from_millis(1))).expect("epoll_wait");
        }
    }

    /// A connection, whole: a listener, a client, and what was accepted.
    fn pair(&mut self, program: &mut Bytes<'_>) {
        if self.open_count() + 3 > SLOTS_MAX {
            return;
        }
        let v6 = program.byte() % 8 == 0;
        let (family, any) = if v6 { (Family::V6, "[::1]:0") } else { (Family::V4, "127.0.0.1:0") };
        let first = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        self.open_socket(family);
        self.bind_to(first, any.parse().expect("a literal address"));
        self.listen_at(first, 4);
        let Some(&address) = self.known[0].all.last() else { return };
        let second = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        self.open_socket(family);
        self.connect_to(second, address);
        self.connect_to(second, address);
        self.accept(first);
    }

    fn accept(&mut self, index: usize) {
        let Some(slot) = &self.slots[index] else { return };
        match slot.descriptor().accept() {
            Ok((descriptor, peer)) => {
                if let Ok(local) = descriptor.local_address() {
                    self.known[0].all.push(local);
                }
                self.add(Slot::Socket { descriptor, datagrams: false, sent: 0, shut: false });
                let name = self.name(index, peer);
                self.say("accept", index, Ok(name));
            }
            Err(error) => self.say("accept", index, Err(error)),
        }
    }

    fn socket_call(&mut self, call: u8, program: &mut Bytes<'_>) {
        let Some(index) = self.choose(program) else { return };
        let length = match program.byte() {
            0..8 => 0,
            byte => usize::from(byte) * usize::from(byte) / 16,
        };
        match call {
            6 | 7 => self.send(index, length, call == 7),
            8 | 9 => self.recv(index, length, call == 9),
            10 => self.peek(index, length),
            11 => {
                let how = [Shutdown::Read, Shutdown::Write, Shutdown::Both][length % 3];
                let Some(slot) = &mut self.slots[index] else { return };
                let done = slot.descriptor().shutdown(how);
                if let Slot::Socket { shut, datagrams: false, .. } = slot {
                    // One that is not connected refuses, and reads no more for all that.
                    *shut |= done.is_ok() || how != Shutdown::Write;
                }
                self.say(&format!("shutdown {how:?}"), index, done.map(|()| "done".into()));
            }
            12 if self.open_count() < SLOTS_MAX => self.accept(index),
            _ => self.raise(index),
        }
    }

    fn send(&mut self, index: usize, length: usize, parts: bool) {
        let first = self.next_byte;
        let Some(Slot::Socket { descriptor, sent, datagrams, .. }) = &mut self.slots[index] else {
            return;
        };
        let most = if *datagrams { DATAGRAMS_SENT_MAX } else { SENT_MAX };
        let length = length.min(most.saturating_sub(*sent));
        let bytes: Vec<u8> = (0..length).map(|index| first.wrapping_add(index as u8)).collect();
        let done = if parts {
            let (one, other) = bytes.split_at(length / 3);
            descriptor.send_vectored(&[IoSlice::new(one), IoSlice::new(other)])
        } else {
            descriptor.send(&bytes)
        };
        let count = done.as_ref().copied().unwrap_or(0);
        *sent += if *datagrams { count } else { count.max(SENT_MIN) };
        self.next_byte = first.wrapping_add(count as u8);
        self.say("send", index, done.map(|count| count.to_string()));
    }

    fn recv(&mut self, index: usize, length: usize, parts: bool) {
        // An eventfd can be read by this as well, which the library never does.
        let Some(slot @ Slot::Socket { .. }) = &self.slots[index] else { return };
        let mut bytes = vec![0; length];
        let done = if parts {
            let (one, other) = bytes.split_at_mut(length / 3);
            slot.descriptor().recv_vectored(&mut [IoSliceMut::new(one), IoSliceMut::new(other)])
        } else {
            slot.descriptor().recv(&mut bytes)
        };
        self.say("recv", index, done.map(|count| digest(&bytes[..count])));
    }

    fn peek(&mut self, index: usize, length: usize) {
        let Some(slot) = &self.slots[index] else { return };
        let mut bytes = vec![0; length];
        let done = slot.descriptor().peek(&mut bytes);
        self.say("peek", index, done.map(|count| digest(&bytes[..count])));
    }

    fn raise(&mut self, index: usize) {
        let Some(Slot::Eventfd(notifier)) = &self.slots[index] else { return };
        let done = notifier.notify();
        self.say("raise", index, done.map(|()| "done".into()));
    }

    /// Sends until there is no room, then has everything read that was sent.
    fn flood(&mut self, program: &mut Bytes<'_>) {
        let Some(from) = self.choose(program) else { return };
        let Some(to) = self.choose(program) else { return };
        let (Some(sender), Some(receiver)) = (&self.slots[from], &self.slots[to]) else { return };
        // How much of it comes out of a socket that reads no more depends on the buffers.
        let is_shut = |slot: &Slot| matches!(slot, Slot::Socket { shut: true, .. });
        if is_shut(sender) || is_shut(receiver) || sender.is_for_datagrams() {
            return;
        }
        let (sender, receiver) = (sender.descriptor(), receiver.descriptor());
        let connected = sender.local_address().ok() == receiver.peer_address().ok()
            && receiver.local_address().ok() == sender.peer_address().ok()
            && sender.peer_address().is_ok();
        if !connected || from == to {
            return;
        }
        let (mut sent, mut received) = (0, 0);
        let chunk = [7; 8192];
        let ended = loop {
            match sender.send(&chunk) {
                Ok(count) => sent += count,
                Err(error) => break error.raw_os_error(),
            }
        };
        let mut buffer = vec![0; 65_536];
        let mut idle = 0;
        // What was there before the flood comes out with it.
        let read = loop {
            match receiver.recv(&mut buffer) {
                Ok(0) => break None,
                Ok(count) => received += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if received >= sent && idle > 2 || idle > 500 {
                        break error.raw_os_error();
                    }
                    idle += 1;
                    std::thread::sleep(Duration::from_millis(u64::from(idle > 2)));
                }
                Err(error) => break error.raw_os_error(),
            }
        };
        self.counts.floods += 1;
        let early = received as isize - sent as isize;
        let text = format!("{ended:?}, read beyond it {early}, {read:?}");
        self.say("flood", from, Ok(text));
    }

    fn control(&mut self, program: &mut Bytes<'_>) {
        let epoll = program.index(2);
        let Some(index) = self.choose(program) else { return };
        let Some(slot) = &self.slots[index] else { return };
        let choice = program.byte();
        let bit = |place: u32, bit: u32| if choice >> place & 1 != 0 { bit } else { 0 };
        let bits = bit(0, EPOLLIN)
            | bit(1, EPOLLOUT)
            | bit(2, EPOLLRDHUP)
            | bit(3, EPOLLET)
            | bit(4, EPOLLPRI)
            | if choice >= 0xe0 { EPOLLONESHOT } else { 0 };
        let token = index as u64 + 100;
        let watch = &self.epolls[epoll];
        let (what, done) = match program.byte() % 8 {
            0..5 => ("add", watch.add(slot.descriptor(), bits, token)),
            5 | 6 => ("modify", watch.modify(slot.descriptor(), bits, token)),
            _ => ("remove", watch.remove(slot.descriptor())),
        };
        if done.is_ok() {
            self.watches.retain(|watch| (watch.epoll, watch.slot) != (epoll, index));
            if what != "remove" {
                let edge_triggered = bits & EPOLLET != 0;
                self.watches.push(Watch { epoll, slot: index, edge_triggered, reported: 0 });
            }
        }
        self.say(&format!("{what} {bits:#x}"), index, done.map(|()| "done".into()));
    }

    fn wait(&mut self, epoll: usize, timeout: Duration) {
        // Room for one event, for some, and for all. An event that is left out must not have had
        // the place of another.
        let some = [1, 3, 16][self.log.len() % 3];
        let room = if self.may_repeat(epoll) { 16 } else { some };
        let mut buffer = EventBuffer::with_capacity(room);
        let before = self.kernel.now();
        let done = self.epolls[epoll].wait(&mut buffer, Some(timeout));
        let done = done.map(|events| events.collect::<Vec<Event>>());
        let lasted = Duration::from_nanos(self.kernel.now() - before);
        if done.as_ref().is_ok_and(Vec::is_empty) {
            assert!(lasted >= timeout, "a wait of {timeout:?} ended after {lasted:?}");
        }
        let done = done.map(|events| self.comparable(epoll, events));
        self.say("wait", epoll, done);
    }

    /// Whether an acknowledgement that Linux delays may report something again, or in another order.
    fn may_repeat(&self, epoll: usize) -> bool {
        let mut watches = self.watches.iter().filter(|watch| watch.epoll == epoll);
        watches.any(|watch| is_shut(&self.slots[watch.slot]))
    }

    /// The events of a wait in words, without what may differ.
    fn comparable(&mut self, epoll: usize, events: Vec<Event>) -> String {
        let mut words = Vec::new();
        for event in events {
            let index = (event.token() - 100) as usize;
            let is_shut = is_shut(&self.slots[index]);
            let watch = |watch: &&mut Watch| (watch.epoll, watch.slot) == (epoll, index);
            let edge = self.watches.iter_mut().find(watch).filter(|watch| watch.edge_triggered);
            match edge {
                // What was read meanwhile is not told again.
                Some(watch) if is_shut && event.bits() & !watch.reported == 0 => {
                    self.counts.repetitions += 1;
                    continue;
                }
                Some(watch) => watch.reported = event.bits(),
                None => {}
            }
            words.push(format!("{}:{:#x}", event.token(), event.bits()));
        }
        if self.may_repeat(epoll) {
            self.counts.unordered += usize::from(words.len() > 1);
            words.sort();
        }
        words.join(" ")
    }

    fn close(&mut self, program: &mut Bytes<'_>) {
        let Some(index) = self.choose(program) else { return };
        self.slots[index] = None;
        self.watches.retain(|watch| watch.slot != index);
        self.say("close", index, Ok("done".into()));
    }

    fn options(&mut self, program: &mut Bytes<'_>) {
        const OPTIONS: [SocketOption; 6] = [
            SocketOption::ReuseAddress,
            SocketOption::ReusePort,
            SocketOption::KeepAlive,
            SocketOption::NoDelay,
            SocketOption::Ttl,
            SocketOption::UrgentInline,
        ];
        let Some(index) = self.choose(program) else { return };
        let Some(Slot::Socket { descriptor, datagrams, .. }) = &self.slots[index] else { return };
        let option = OPTIONS[program.index(OPTIONS.len())];
        let is_left_alone = [SocketOption::Ttl, SocketOption::NoDelay].contains(&option)
            || *datagrams && option == SocketOption::ReusePort;
        let choice = program.byte();
        let (what, result) = match choice % 8 {
            0..3 if !is_left_alone => {
                let done = descriptor.set_option(option, i32::from(choice % 3));
                ("set", done.map(|()| "done".into()))
            }
            3 => {
                let wait = [None, Some(Duration::ZERO), Some(Duration::from_millis(300))];
                let done = descriptor.set_linger(wait[usize::from(choice / 8) % 2]);
                ("linger", done.map(|()| "done".into()))
            }
            4 => ("lingers", descriptor.linger().map(|wait| format!("{wait:?}"))),
            5 | 6 => (
                "error",
                descriptor
                    .take_error()
                    .map(|error| format!("{:?}", error.and_then(|error| error.raw_os_error()))),
            ),
            _ => ("get", descriptor.option(option).map(|value| value.to_string())),
        };
        self.say(&format!("{what} {option:?}"), index, result);
    }

    fn addresses_of(&mut self, program: &mut Bytes<'_>) {
        let Some(index) = self.choose(program) else { return };
        let Some(slot) = &self.slots[index] else { return };
        let (local, peer) = (slot.descriptor().local_address(), slot.descriptor().peer_address());
        let local = local.map(|address| self.name(index, address));
        self.say("local", index, local);
        let peer = peer.map(|address| self.name(index, address));
        self.say("peer", index, peer);
    }
}

/// How many bytes there are, and a sum that tells of their order.
fn digest(bytes: &[u8]) -> String {
    let sum =
        bytes.iter().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    format!("{} bytes {sum:x}", bytes.len())
}

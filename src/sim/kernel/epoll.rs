//! epoll(7), simulated: who is watched, and the list of those that are ready.
//!
//! It follows fs/eventpoll.c in what can be seen: a wake puts a watch at the end of the ready list
//! unless it is there; a wait takes watches from its head and asks each object anew; one that is
//! level-triggered goes back to the end, one that is edge-triggered not until the next wake.

use super::errno::{EBADF, EEXIST, EINVAL, ENOENT};
use super::net::{Id, Net, Object, Sys};
use crate::event::{EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, Event};
use crate::sim::fault::Fault;
use crate::sim::planted::Planted;
use crate::sys::Control;
use std::collections::{BTreeMap, VecDeque};

/// For registration only: one event, then none until the registration is changed.
const EPOLLONESHOT: u32 = 1 << 30;
/// What is no event but a way to be told of one.
const PRIVATE: u32 = EPOLLET | EPOLLONESHOT | (1 << 29) | (1 << 28);

/// The bits of an event that are counted.
pub(in crate::sim) const EVENTS: [(&str, u32); 6] = [
    ("EPOLLIN", EPOLLIN),
    ("EPOLLPRI", EPOLLPRI),
    ("EPOLLOUT", EPOLLOUT),
    ("EPOLLERR", EPOLLERR),
    ("EPOLLHUP", EPOLLHUP),
    ("EPOLLRDHUP", EPOLLRDHUP),
];

#[derive(Clone, Copy, Debug)]
struct Watch {
    bits: u32,
    token: u64,
    /// It is on the ready list.
    linked: bool,
}

#[derive(Debug, Default)]
pub(in crate::sim) struct Epoll {
    watches: BTreeMap<Id, Watch>,
    ready: VecDeque<Id>,
    /// It is that of a worker, which takes turns of its own: what becomes ready here rouses that
    /// worker, and not its host's first runtime.
    of_worker: bool,
    /// Something became ready since it was last looked at. Only kept for a worker's.
    roused: bool,
}

impl Epoll {
    fn link(&mut self, target: Id) {
        if let Some(watch) = self.watches.get_mut(&target) {
            if !watch.linked {
                watch.linked = true;
                self.ready.push_back(target);
            }
        }
    }

    pub(super) fn unlink(&mut self, target: Id) {
        if self.watches.remove(&target).is_some_and(|watch| watch.linked) {
            self.ready.retain(|other| *other != target);
        }
    }

    fn watched(&self) -> impl Iterator<Item = Id> + use<'_> {
        self.watches.keys().copied()
    }
}

impl Net {
    fn epoll(&mut self, id: Id) -> Sys<&mut Epoll> {
        match &mut self.entry(id).object {
            Object::Epoll(epoll) => Ok(epoll),
            _ => Err(EINVAL),
        }
    }

    /// What can be said of an object now, as `EPOLL*` bits.
    pub(super) fn poll_bits(&mut self, id: Id) -> u32 {
        match &mut self.entry(id).object {
            Object::Tcp(tcp) => tcp.poll_bits(),
            Object::Udp(udp) => udp.poll_bits(),
            Object::Eventfd(count) => {
                let mut bits = if *count > 0 { EPOLLIN } else { 0 };
                if *count < u64::MAX - 1 {
                    bits |= EPOLLOUT;
                }
                bits
            }
            Object::Epoll(epoll) => {
                if epoll.ready.is_empty() {
                    0
                } else {
                    EPOLLIN
                }
            }
        }
    }

    /// Something happened to an object: whoever watches it for one of `key` is told. A key of 0
    /// concerns everyone.
    pub(super) fn wake(&mut self, id: Id, key: u32) {
        let any = self.has(Planted::AnyWakeReachesEveryWatch);
        let stack = self.has(Planted::TheLastReadyIsReportedFirst);
        for index in 0..self.entry(id).watchers.len() {
            let watcher = self.entry(id).watchers[index];
            let Ok(epoll) = self.epoll(watcher) else { continue };
            let Some(watch) = epoll.watches.get(&id).copied() else { continue };
            let disabled = watch.bits & !PRIVATE == 0;
            let concerns = key == 0 || key & watch.bits != 0 || any;
            if !disabled && concerns {
                epoll.link(id);
                if stack {
                    epoll.ready.rotate_right(1);
                }
                self.rouse(watcher);
            }
        }
    }

    /// Whoever looks at an epoll instance is to have a turn.
    fn rouse(&mut self, id: Id) {
        let host = self.entry(id).host;
        match self.epoll(id) {
            Ok(epoll) if epoll.of_worker => {
                let first = !std::mem::replace(&mut epoll.roused, true);
                self.workers_roused += usize::from(first);
            }
            _ => self.hosts[host].roused = true,
        }
    }

    /// An epoll instance is about to be looked at, or to go.
    pub(super) fn note_look(&mut self, id: Id) {
        let host = self.entry(id).host;
        match self.epoll(id) {
            Ok(epoll) if epoll.of_worker => {
                let was = std::mem::replace(&mut epoll.roused, false);
                self.workers_roused -= usize::from(was);
            }
            Ok(_) => self.hosts[host].roused = false,
            Err(_) => {}
        }
    }

    /// Whether nothing has become ready in an epoll instance that was not looked at since.
    pub(super) fn has_nothing_ready(&self, id: Id) -> bool {
        let entry = self.objects[id].as_ref();
        entry.is_some_and(|entry| match &entry.object {
            Object::Epoll(epoll) => epoll.ready.is_empty(),
            _ => false,
        })
    }

    /// Makes an epoll instance that of a worker, and says which it is.
    pub(in crate::sim) fn give_to_worker(&mut self, host: usize, number: i32) -> Sys<Id> {
        let id = self.object(host, number)?;
        self.epoll(id)?.of_worker = true;
        Ok(id)
    }

    /// Whether something of a worker's epoll instance became ready since it looked.
    pub(in crate::sim) fn is_worker_roused(&mut self, id: Id) -> bool {
        self.epoll(id).is_ok_and(|epoll| epoll.roused)
    }

    /// Ends all watches of an object that is closed.
    pub(super) fn unwatch(&mut self, id: Id) {
        let watchers = std::mem::take(&mut self.entry(id).watchers);
        for watcher in watchers {
            if let Ok(epoll) = self.epoll(watcher) {
                epoll.unlink(id);
            }
        }
    }

    /// Ends all watches of an epoll instance that is closed.
    pub(super) fn unwatch_all(&mut self, id: Id) {
        let watched: Vec<Id> = self.epoll(id).map_or(Vec::new(), |epoll| epoll.watched().collect());
        for target in watched {
            self.entry(target).watchers.retain(|watcher| *watcher != id);
        }
    }

    pub(super) fn epoll_ctl(&mut self, id: Id, change: Control, target: Id) -> Sys<()> {
        if id == target {
            return Err(EINVAL);
        }
        let epoll = self.epoll(id)?;
        let found = epoll.watches.contains_key(&target);
        let (bits, token) = match change {
            Control::Add { .. } if found => return Err(EEXIST),
            Control::Modify { .. } | Control::Remove if !found => return Err(ENOENT),
            Control::Remove => {
                epoll.unlink(target);
                self.entry(target).watchers.retain(|watcher| *watcher != id);
                return Ok(());
            }
            Control::Add { bits, token } | Control::Modify { bits, token } => (bits, token),
        };
        let bits = bits | EPOLLERR | EPOLLHUP;
        let linked = epoll.watches.get(&target).is_some_and(|watch| watch.linked);
        epoll.watches.insert(target, Watch { bits, token, linked });
        if !found {
            self.entry(target).watchers.push(id);
        }
        let silent = found && self.has(Planted::AChangedWatchReportsNothing);
        if self.poll_bits(target) & bits != 0 && !silent {
            self.epoll(id)?.link(target);
            self.rouse(id);
        }
        Ok(())
    }

    /// Takes up to `room` events off the ready list, into `events`.
    pub(super) fn epoll_collect(
        &mut self,
        id: Id,
        room: usize,
        events: &mut Vec<Event>,
    ) -> Sys<()> {
        let host = self.entry(id).host;
        let mut room = room;
        if self.epoll(id)?.ready.len() > 1 {
            if self.fault(Fault::Split, host) {
                room = room.min(1);
            }
            if self.fault(Fault::Reorder, host) {
                let mut random = self.random.fork();
                let ready = self.epoll(id)?.ready.make_contiguous();
                for last in (1..ready.len()).rev() {
                    ready.swap(last, random.index(last + 1));
                }
            }
        }
        let mut again = Vec::new();
        while events.len() < room {
            let epoll = self.epoll(id)?;
            let Some(target) = epoll.ready.pop_front() else { break };
            let Some(watch) = epoll.watches.get_mut(&target) else { continue };
            watch.linked = false;
            let Watch { bits, token, .. } = *watch;
            let bits_now = self.poll_bits(target) & bits & !PRIVATE;
            if bits_now == 0 {
                continue;
            }
            events.push(Event::new(token, bits_now));
            for (count, (_, bit)) in self.events.iter_mut().zip(EVENTS) {
                *count += u64::from(bits_now & bit != 0);
            }
            if bits & EPOLLONESHOT != 0 {
                if let Some(watch) = self.epoll(id)?.watches.get_mut(&target) {
                    watch.bits &= PRIVATE;
                }
            } else if bits & EPOLLET == 0 || self.has(Planted::AnEdgeIsReportedTwice) {
                again.push(target);
            }
        }
        let loses = self.has(Planted::EventsBeyondTheRoomAreLost);
        let epoll = self.epoll(id)?;
        if loses {
            while let Some(target) = epoll.ready.pop_front() {
                if let Some(watch) = epoll.watches.get_mut(&target) {
                    watch.linked = false;
                }
            }
        }
        for target in again {
            epoll.link(target);
        }
        if !epoll.ready.is_empty() && room > 0 {
            self.rouse(id);
        }
        if events.len() < room && self.fault(Fault::SpuriousEvent, host) {
            self.add_spurious(id, events)?;
        }
        Ok(())
    }

    /// Whether a stream of which `awaited` says by its token what is waited for is ready for that,
    /// seen from an epoll instance of `host`: with which `EPOLL*` bits.
    pub(in crate::sim) fn first_ready(
        &self,
        host: usize,
        number: i32,
        awaited: &[(u64, u32)],
    ) -> Option<u32> {
        let id = self.object(host, number).ok()?;
        let wanted = |watch: &Watch| {
            let own = awaited.iter().find(|(token, _)| *token == watch.token);
            own.map(|(_, bits)| bits & watch.bits | EPOLLERR | EPOLLHUP)
        };
        let Object::Epoll(epoll) = &self.objects[id].as_ref()?.object else { return None };
        let mut waited_for =
            epoll.watches.iter().filter_map(|(target, watch)| Some((*target, wanted(watch)?)));
        waited_for.find_map(|(target, bits)| {
            Some(self.stream_bits(target) & bits).filter(|ready| *ready != 0)
        })
    }

    /// [`Net::poll_bits`] of a stream, without a trace of having asked. Of others nothing is known:
    /// a counter that nobody reads is ready all the time, and each of its edges counts.
    fn stream_bits(&self, id: Id) -> u32 {
        match self.objects[id].as_ref().map(|entry| &entry.object) {
            Some(Object::Tcp(tcp)) => tcp.bits(),
            _ => 0,
        }
    }

    /// An event that is not true, for something that is watched and not ready.
    fn add_spurious(&mut self, id: Id, events: &mut Vec<Event>) -> Sys<()> {
        let count = self.epoll(id)?.watches.len();
        let chosen = self.random.index(count);
        let either = if self.random.chance(500_000) { EPOLLIN } else { EPOLLOUT };
        let watch = self.epoll(id)?.watches.values().nth(chosen).copied();
        if let Some(watch) = watch.filter(|watch| watch.bits & either != 0) {
            if !events.iter().any(|event| event.token() == watch.token) {
                events.push(Event::new(watch.token, either));
            }
        }
        Ok(())
    }

    /// An epoll instance's or an eventfd's number of a host as an object.
    pub(super) fn object(&self, host: usize, number: i32) -> Sys<Id> {
        self.hosts.get(host).ok_or(EBADF)?.id(number)
    }
}

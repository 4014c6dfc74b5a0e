//! The simulated kernel: what [`Kernel`] promises, done by plain data.
//!
//! ```text
//!   sys::Descriptor ---> SimKernel (one a host) ---> Net (one a world, behind a lock)
//!                         |  faults, trace, time       objects, hosts, agenda
//! ```
//!
//! The lock is there for the sake of types alone: all calls come from the world's thread.

mod calls;
mod epoll;
pub(in crate::sim) mod errno;
mod host;
mod net;
mod outcome;
mod segments;
mod tcp;

pub(super) use host::Host;
pub(super) use net::{Net, Packet, Sys, Work};

use crate::sim::fault::Fault;
use crate::sim::planted::Planted;
use crate::sim::trace::What;
use crate::sys::signal::Signal;
use crate::sys::{Connect, Control, Descriptor, EventBuffer, Family, Hosted, Kernel, SocketOption};
use epoll::Epoll;
use errno::{EADDRNOTAVAIL, EBADF, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC};
use net::{Action, Id, Object};
use outcome::Outcome;
use std::cell::Cell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tcp::Tcp;

/// The kernel of one host.
pub(super) struct SimKernel {
    this: Weak<SimKernel>,
    host: usize,
    /// Which life of the host it serves.
    life: u64,
    net: Arc<Mutex<Net>>,
    /// What its descriptors lend: `/dev/null`.
    lent: Arc<OwnedFd>,
    /// The thread of the world.
    thread: u64,
}

/// Tells threads apart, cheaply.
pub(super) fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static OWN: Cell<u64> = const { Cell::new(0) };
    }
    OWN.with(|own| {
        if own.get() == 0 {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        own.get()
    })
}

impl SimKernel {
    pub(super) fn new(
        net: &Arc<Mutex<Net>>,
        lent: &Arc<OwnedFd>,
        host: usize,
        life: u64,
    ) -> Arc<SimKernel> {
        let (net, lent, thread) = (Arc::clone(net), Arc::clone(lent), thread_number());
        Arc::new_cyclic(|this| SimKernel { this: this.clone(), host, life, net, lent, thread })
    }

    fn net(&self) -> MutexGuard<'_, Net> {
        assert!(
            thread_number() == self.thread || std::thread::panicking(),
            "a simulated kernel was called from another thread than its world's: threads are not \
             simulated, so this could not be made to happen again; use `blocking::run`"
        );
        self.net.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call: faults that any call can meet, the call, what it sets off, the trace.
    fn call<T: Outcome>(
        &self,
        what: What,
        number: i32,
        detail: u64,
        call: impl FnOnce(&mut Net, usize) -> Sys<T>,
    ) -> io::Result<T> {
        let mut net = self.net();
        if net.hosts[self.host].life != self.life {
            // The machine crashed since, and with it all that was open.
            return Err(io::Error::from_raw_os_error(EBADF));
        }
        let result = net.enter(self.host, what).and_then(|()| call(&mut net, self.host));
        net.settle();
        let outcome = match &result {
            Ok(value) => value.outcome(),
            Err(number) => -i64::from(*number),
        };
        net.record(self.host, what, number.into(), detail, outcome);
        drop(net);
        result.map_err(io::Error::from_raw_os_error)
    }

    /// A call on a socket.
    fn on_socket<T: Outcome>(
        &self,
        what: What,
        number: i32,
        detail: u64,
        call: impl FnOnce(&mut Net, Id) -> Sys<T>,
    ) -> io::Result<T> {
        self.call(what, number, detail, |net, host| {
            let id = net.socket_of(host, number)?;
            call(net, id)
        })
    }

    /// Opens a descriptor on an object that `make` makes.
    fn open(&self, what: What, make: impl FnOnce() -> Object) -> io::Result<Hosted> {
        let number = self.call(what, 0, 0, |net, host| {
            let number = net.hosts[host].free_number()?;
            let id = net.insert(host, make());
            net.hosts[host].set_number(number, id);
            Ok(number)
        })?;
        self.hosted(number)
    }

    fn hosted(&self, number: i32) -> io::Result<Hosted> {
        let kernel = self.this.upgrade().ok_or(io::ErrorKind::NotFound)?;
        Ok(Hosted { kernel, number, lent: Arc::clone(&self.lent) })
    }
}

impl Net {
    /// What every call begins with: it takes its time, and may be interrupted or fail.
    fn enter(&mut self, host: usize, what: What) -> Sys<()> {
        self.calls += 1;
        if self.call_time > 0 {
            let takes = self.random.below(self.call_time);
            let now = self.now + takes;
            if self.next_at().is_some_and(|next| next <= now) {
                self.advance(now);
            }
            self.now = now;
        }
        let may_fail: &[i32] = match what {
            What::Epoll | What::Eventfd => &[EMFILE, ENFILE, ENOMEM],
            What::Socket => &[EMFILE, ENFILE, ENOBUFS, ENOMEM],
            What::Accept => &[EMFILE, ENFILE, ENOBUFS, ENOMEM],
            What::EpollCtl => &[ENOSPC, ENOMEM],
            What::Connect | What::Bind | What::Listen => &[EADDRNOTAVAIL],
            What::Recv | What::Send => &[EINTR],
            _ => return Ok(()),
        };
        self.failable += 1;
        if let Some((k, number)) = self.faults.kth {
            if k == self.failable && may_fail.contains(&number) {
                return Err(number);
            }
        }
        let may_be_interrupted =
            matches!(what, What::Accept | What::Connect | What::Recv | What::Send);
        if may_be_interrupted && self.fault(Fault::Interrupt, host) {
            return Err(EINTR);
        }
        if may_fail.contains(&EMFILE) && self.fault(Fault::NoDescriptors, host) {
            return Err(if self.random.chance(500_000) { EMFILE } else { ENFILE });
        }
        if may_fail.contains(&ENOMEM) && self.fault(Fault::NoMemory, host) {
            let numbers = &may_fail
                [may_fail.iter().position(|n| *n != EMFILE && *n != ENFILE).unwrap_or(0)..];
            return Err(numbers[self.random.index(numbers.len())]);
        }
        Ok(())
    }
}

impl std::fmt::Debug for SimKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimKernel").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Kernel for SimKernel {
    fn epoll(&self) -> io::Result<Hosted> {
        self.open(What::Epoll, || Object::Epoll(Epoll::default()))
    }

    fn eventfd(&self) -> io::Result<Hosted> {
        self.open(What::Eventfd, || Object::Eventfd(0))
    }

    fn socket(&self, family: Family) -> io::Result<Hosted> {
        self.open(What::Socket, || Object::Tcp(Box::new(Tcp::new(family))))
    }

    fn adopt(&self, _: OwnedFd) -> io::Result<Hosted> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn accept(&self, number: i32) -> io::Result<(Hosted, SocketAddr)> {
        let accepted = self.on_socket(What::Accept, number, 0, |net, id| {
            // Linux looks for a number first, for a connection then.
            let own = net.hosts[self.host].free_number()?;
            let (child, peer) = net.accept(id)?;
            net.hosts[self.host].set_number(own, child);
            Ok((own, peer))
        })?;
        Ok((self.hosted(accepted.0)?, accepted.1))
    }

    fn close(&self, number: i32) {
        let mut net = self.net();
        if net.hosts[self.host].life != self.life {
            // The machine it was on crashed since, and has forgotten it.
            return;
        }
        let Ok(id) = net.object(self.host, number) else { return };
        net.hosts[self.host].free(number);
        net.hosts[self.host].signal_eventfds.retain(|own| *own != id);
        match net.entry(id).object {
            Object::Tcp(_) => net.close_socket(id),
            Object::Epoll(_) => {
                net.unwatch_all(id);
                net.remove(id);
            }
            Object::Eventfd(_) => net.remove(id),
        }
        net.settle();
        net.record(self.host, What::Close, number.into(), 0, 0);
    }

    fn now(&self) -> u64 {
        let net = self.net();
        BOOTED + net.now + net.hosts[self.host].ahead
    }

    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut net = self.net();
        net.record(self.host, What::Resolve, 0, port.into(), 0);
        let ips: Vec<IpAddr> = if host.eq_ignore_ascii_case("localhost") {
            vec![std::net::Ipv4Addr::LOCALHOST.into()]
        } else {
            let named = net.hosts.iter().filter(|own| own.name == host);
            named.map(|own| own.v4.into()).collect()
        };
        drop(net);
        if ips.is_empty() {
            let message = format!("no host of this world is called {host:?}");
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    fn bind(&self, number: i32, address: SocketAddr) -> io::Result<()> {
        let port = address.port().into();
        self.on_socket(What::Bind, number, port, |net, id| net.bind(id, address))
    }

    fn listen(&self, number: i32, backlog: u32) -> io::Result<()> {
        let detail = backlog.into();
        self.on_socket(What::Listen, number, detail, |net, id| net.listen(id, backlog))
    }

    fn connect(&self, number: i32, address: SocketAddr) -> io::Result<Connect> {
        let port = address.port().into();
        self.on_socket(What::Connect, number, port, |net, id| net.connect(id, address))
    }

    fn take_error(&self, number: i32) -> io::Result<Option<io::Error>> {
        let taken = self.on_socket(What::TakeError, number, 0, |net, id| {
            let stays = net.has(Planted::AnErrorStaysWhenAsked);
            let tcp = net.tcp(id);
            Ok(if stays { tcp.error } else { tcp.take_error() })
        })?;
        Ok(taken.map(io::Error::from_raw_os_error))
    }

    fn recv(&self, number: i32, buffer: &mut [u8]) -> io::Result<usize> {
        let asked = buffer.len() as u64;
        self.on_socket(What::Recv, number, asked, |net, id| net.recv(id, buffer, false))
    }

    fn peek(&self, number: i32, buffer: &mut [u8]) -> io::Result<usize> {
        let asked = buffer.len() as u64;
        self.on_socket(What::Peek, number, asked, |net, id| net.recv(id, buffer, true))
    }

    fn recv_into(&self, number: i32, bytes: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        let start = bytes.len();
        let room = (bytes.capacity() - start).min(bytes_max);
        let received = self.on_socket(What::Recv, number, room as u64, |net, id| {
            // No more of the room is zeroed than will be written to.
            bytes.resize(start + room.min(net.receivable(id)), 0);
            net.recv(id, &mut bytes[start..], false)
        });
        bytes.truncate(start + received.as_ref().map_or(0, |count| *count));
        received
    }

    fn recv_vectored(&self, number: i32, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let asked: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        self.on_socket(What::Recv, number, asked as u64, |net, id| {
            if asked == 0 {
                // The kernel does not come as far as the socket.
                return Ok(0);
            }
            let mut bytes = vec![0; asked];
            let count = net.recv(id, &mut bytes, false)?;
            let mut left = &bytes[..count];
            for buffer in buffers {
                let (now, later) = left.split_at(left.len().min(buffer.len()));
                buffer[..now.len()].copy_from_slice(now);
                left = later;
            }
            Ok(count)
        })
    }

    fn send(&self, number: i32, bytes: &[u8]) -> io::Result<usize> {
        let asked = bytes.len() as u64;
        self.on_socket(What::Send, number, asked, |net, id| {
            net.send(id, &mut std::iter::once(bytes))
        })
    }

    fn send_vectored(&self, number: i32, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let asked: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        self.on_socket(What::Send, number, asked as u64, |net, id| {
            net.send(id, &mut buffers.iter().map(|buffer| &**buffer))
        })
    }

    fn shutdown(&self, number: i32, how: Shutdown) -> io::Result<()> {
        let detail = how as u64;
        self.on_socket(What::Shutdown, number, detail, |net, id| net.shutdown(id, how))
    }

    fn local_address(&self, number: i32) -> io::Result<SocketAddr> {
        self.on_socket(What::Address, number, 0, |net, id| net.local_address(id))
    }

    fn peer_address(&self, number: i32) -> io::Result<SocketAddr> {
        self.on_socket(What::Address, number, 1, |net, id| net.peer_address(id))
    }

    fn option(&self, number: i32, option: SocketOption) -> io::Result<i32> {
        let detail = option as u64;
        self.on_socket(What::GetOption, number, detail, |net, id| Ok(net.tcp(id).option(option)))
    }

    fn set_option(&self, number: i32, option: SocketOption, value: i32) -> io::Result<()> {
        self.on_socket(What::SetOption, number, option as u64, |net, id| {
            let hops = matches!(option, SocketOption::Ttl | SocketOption::HopLimit);
            if hops && !(-1..=255).contains(&value) {
                return Err(EINVAL);
            }
            net.tcp(id).set_option(option, value);
            Ok(())
        })
    }

    fn linger(&self, number: i32) -> io::Result<Option<Duration>> {
        self.on_socket(What::GetOption, number, 99, |net, id| Ok(net.tcp(id).linger))
    }

    fn set_linger(&self, number: i32, wait: Option<Duration>) -> io::Result<()> {
        self.on_socket(What::SetOption, number, 99, |net, id| {
            // In whole seconds, rounded up.
            let up = |wait: Duration| wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            net.tcp(id).linger = wait.map(|wait| Duration::from_secs(up(wait)));
            Ok(())
        })
    }

    fn raise(&self, number: i32) -> io::Result<()> {
        self.call(What::Raise, number, 0, |net, host| {
            let id = net.object(host, number)?;
            net.raise_eventfd(id)
        })
    }

    fn epoll_ctl(&self, number: i32, change: Control, target: &Descriptor) -> io::Result<()> {
        let target = target.hosted_number();
        let detail = match change {
            Control::Add { bits, .. } => 1 << 32 | u64::from(bits),
            Control::Modify { bits, .. } => 2 << 32 | u64::from(bits),
            Control::Remove => 3 << 32,
        };
        self.call(What::EpollCtl, number, detail, |net, host| {
            let id = net.object(host, number)?;
            let target = net.object(host, target.ok_or(EBADF)?)?;
            net.epoll_ctl(id, change, target)
        })
    }

    fn epoll_wait(
        &self,
        number: i32,
        buffer: &mut EventBuffer,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        // Whoever always has something to do keeps the other hosts from nothing.
        super::drive::let_others_go_on(&self.net, self.host);
        let deadline = timeout.map(|wait| u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let deadline = deadline.map(|wait| self.net().now.saturating_add(wait));
        loop {
            let mut tokens = 0;
            let room = buffer.capacity();
            let count = self.call(What::EpollWait, number, room as u64, |net, host| {
                if net.fault(Fault::Interrupt, host) {
                    return Err(EINTR);
                }
                if net.fault(Fault::ClockJump, host) {
                    net.hosts[host].ahead += net.random.below(10_000_000_000);
                }
                net.hosts[host].roused = false;
                let id = net.object(host, number)?;
                let events = net.epoll_collect(id, room)?;
                tokens = events.iter().fold(tokens, |sum: u64, event| {
                    sum.rotate_left(7) ^ event.token() ^ u64::from(event.bits()) << 32
                });
                net.trace.mix(tokens, events.len() as u64);
                Ok(buffer.fill(events))
            })?;
            if count > 0 || !super::drive::wait_for(&self.net, self.host, deadline) {
                return Ok(count);
            }
        }
    }

    fn start(&self, work: Work) -> Result<(), Work> {
        let mut net = self.net();
        let after = net.random.below(1_000_000) + 1;
        net.schedule(after, Action::Work(self.host, self.life, work));
        Ok(())
    }

    fn watch_signal(&self, signal: Signal) -> io::Result<()> {
        self.net().hosts[self.host].watch_signal(signal);
        Ok(())
    }

    fn signal_count(&self, signal: Signal) -> u64 {
        self.net().hosts[self.host].signal_count(signal).unwrap_or(0)
    }

    fn signal_descriptor(&self) -> io::Result<Hosted> {
        let hosted = self.eventfd()?;
        let mut net = self.net();
        if let Ok(id) = net.object(self.host, hosted.number) {
            net.hosts[self.host].signal_eventfds.push(id);
        }
        drop(net);
        Ok(hosted)
    }
}

/// What the clock shows when the world begins: a time of zero would hide what is only right there.
const BOOTED: u64 = 1_000_000_000_000;

impl Net {
    fn raise_eventfd(&mut self, id: Id) -> Sys<()> {
        let Object::Eventfd(count) = &mut self.entry(id).object else { return Err(EINVAL) };
        if *count >= u64::MAX - 1 {
            return Err(errno::EAGAIN);
        }
        *count += 1;
        self.wake(id, crate::event::EPOLLIN);
        Ok(())
    }

    /// A time of a host's clock as one of the world's.
    pub(super) fn world_time(&self, host: usize, time: u64) -> u64 {
        time.saturating_sub(BOOTED + self.hosts[host].ahead)
    }

    /// Sends a signal to a host's process; false if it does not watch for it, which ends it.
    pub(super) fn signal(&mut self, host: usize, signal: Signal) -> bool {
        self.record(host, What::Signal, signal as i64, 0, 0);
        let watched = self.hosts[host].raise_signal(signal);
        for id in self.hosts[host].signal_eventfds.clone() {
            // It fails only for a counter at its end, whose watchers are awake.
            let _ = self.raise_eventfd(id);
        }
        watched
    }

    /// Takes everything from a host at once, without telling anybody.
    pub(super) fn crash(&mut self, host: usize) {
        self.record(host, What::World, 0, 0, 0);
        self.hosts[host].down = true;
        self.hosts[host].life += 1;
        for id in 0..self.objects.len() {
            if self.objects[id].as_ref().is_some_and(|entry| entry.host == host) {
                self.remove(id);
            }
        }
        self.hosts[host].wipe();
    }
}

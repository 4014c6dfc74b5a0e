//! The simulated kernel: what [`Kernel`] promises, done by plain data.
//!
//! ```text
//!   sys::Descriptor ---> SimKernel (one a host) ---> Net (one a world, behind a lock)
//!                         |  faults, trace, time       objects, hosts, agenda
//! ```
//!
//! The lock is there for the sake of types alone: all calls come from the world's thread.

mod addresses;
mod calls;
mod clock;
mod epoll;
pub(in crate::sim) mod errno;
mod host;
mod net;
mod options;
mod outcome;
mod seam;
mod segments;
mod tcp;
mod udp;
mod urgent;

pub(super) use epoll::EVENTS;
pub(super) use host::Host;
pub(super) use net::{Id, Net, Packet, Sys, Work};

use crate::sim::fault::Fault;
use crate::sim::trace::What;
use crate::sys::Hosted;
use crate::sys::signal::Signal;
use clock::Clock;
use errno::{
    EADDRINUSE, EADDRNOTAVAIL, EBADF, EINTR, EINVAL, EMFILE, ENETUNREACH, ENFILE, ENOBUFS, ENOMEM,
    ENOSPC,
};
use net::Object;
use outcome::Outcome;
use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The kernel of one host.
pub(super) struct SimKernel {
    this: Weak<SimKernel>,
    host: usize,
    /// Which life of the host it serves.
    life: u64,
    net: Arc<Mutex<Net>>,
    clock: Clock,
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
        let clock = net.lock().unwrap_or_else(PoisonError::into_inner).hosts[host].clock.clone();
        Arc::new_cyclic(|this| SimKernel {
            this: this.clone(),
            host,
            life,
            net: Arc::clone(net),
            clock,
            lent: Arc::clone(lent),
            thread: thread_number(),
        })
    }

    /// Panics on another thread than the world's.
    fn check_thread(&self) {
        assert!(
            thread_number() == self.thread || std::thread::panicking(),
            "a simulated kernel was called from another thread than its world's: threads are not \
             simulated, so this could not be made to happen again; use `blocking::run`"
        );
    }

    fn net(&self) -> MutexGuard<'_, Net> {
        self.check_thread();
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

    /// Whether a look at an epoll instance would find nothing, or nothing but faults.
    fn is_quiet(&self, number: i32) -> bool {
        let net = self.net();
        let lives = net.hosts[self.host].life == self.life;
        lives && net.object(self.host, number).is_ok_and(|id| net.has_nothing_ready(id))
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
            self.set_now(now);
        }
        self.failable += 1;
        if let Some((k, number)) = self.faults.kth {
            if k == self.failable && may_fail_with(what, number) {
                return Err(number);
            }
        }
        let opens = matches!(what, What::Epoll | What::Eventfd | What::Socket | What::Accept);
        let takes_memory = opens || what == What::EpollCtl;
        if !takes_memory
            && !matches!(what, What::Connect | What::Bind | What::Listen | What::Recv | What::Send)
        {
            return Ok(());
        }
        if self.fault(Fault::Interrupt, host) {
            return Err(EINTR);
        }
        if opens && self.fault(Fault::NoDescriptors, host) {
            return Err(if self.random.chance(500_000) { EMFILE } else { ENFILE });
        }
        if takes_memory && self.fault(Fault::NoMemory, host) {
            let other = if what == What::EpollCtl { ENOSPC } else { ENOBUFS };
            let other = if may_fail_with(what, other) { other } else { ENOMEM };
            return Err(if self.random.chance(500_000) { other } else { ENOMEM });
        }
        Ok(())
    }
}

/// Whether a call can fail with this error whatever it is asked for, by its manual page (POSIX's
/// for ENOBUFS).
fn may_fail_with(what: What, number: i32) -> bool {
    let numbers: &[i32] = match what {
        What::Epoll | What::Eventfd => &[EMFILE, ENFILE, ENOMEM],
        What::Socket | What::Accept => &[EMFILE, ENFILE, ENOBUFS, ENOMEM],
        What::EpollCtl => &[ENOSPC, ENOMEM],
        What::Connect => &[EADDRNOTAVAIL, ENETUNREACH],
        What::Bind => &[EADDRINUSE, EADDRNOTAVAIL],
        What::Listen => &[EADDRINUSE],
        What::Recv | What::Peek => &[ENOMEM],
        What::Send => &[ENOBUFS, ENOMEM],
        What::Shutdown | What::Address | What::TakeError => &[ENOBUFS],
        What::GetOption | What::SetOption => &[ENOBUFS, ENOMEM],
        _ => &[],
    };
    number == EINTR || numbers.contains(&number)
}

impl std::fmt::Debug for SimKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimKernel").field("host", &self.host).finish_non_exhaustive()
    }
}

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
        self.hosts[host].clock.world_time(time)
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
        // Who watches goes together with what is watched.
        for entry in self.objects.iter_mut().flatten().filter(|entry| entry.host == host) {
            entry.watchers.clear();
        }
        for id in 0..self.objects.len() {
            if self.objects[id].as_ref().is_some_and(|entry| entry.host == host) {
                self.remove(id);
            }
        }
        self.hosts[host].wipe();
    }
}

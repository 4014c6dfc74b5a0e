//! A kernel that passes every call on to Linux, and counts, fails, shortens or rewrites those that
//! a rule picks.
//!
//! ```
//! use whirligig::Runtime;
//! use whirligig::net::TcpListener;
//! use whirligig::sys::fault::{Call, Fault, PassThrough};
//!
//! const EMFILE: i32 = 24;
//! let kernel = PassThrough::new();
//! kernel.set_rule(|call, nth| (call == Call::Socket && nth == 1).then_some(Fault::Error(EMFILE)));
//! let runtime = Runtime::on(kernel.handle())?;
//! runtime.block_on(async {
//!     assert!(TcpListener::bind("127.0.0.1:0").await.is_err());
//!     assert!(TcpListener::bind("127.0.0.1:0").await.is_ok());
//! });
//! assert_eq!(kernel.count(Call::Socket), 2);
//! # Ok::<(), std::io::Error>(())
//! ```

use super::epoll::{Control, EventBuffer};
use super::kernel::{Descriptor, Hosted, Kernel, KernelHandle};
pub use super::socket::send_urgent;
use super::socket::{Connect, Family, SocketOption};
use crate::event::Event;
use crate::lock::lock;
use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// The calls that a rule can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Call {
    /// `epoll_create1(2)`.
    Epoll,
    /// `eventfd(2)`.
    Eventfd,
    /// `socket(2)`.
    Socket,
    /// A descriptor taken over.
    Adopt,
    /// `accept4(2)`.
    Accept,
    /// `close(2)`, which can't fail here.
    Close,
    /// `bind(2)`.
    Bind,
    /// `listen(2)`.
    Listen,
    /// `connect(2)`.
    Connect,
    /// `recv(2)`, `readv(2)`, `recvfrom(2)`, and peeking.
    Recv,
    /// `send(2)`, `sendmsg(2)` and `sendto(2)`.
    Send,
    /// `shutdown(2)`.
    Shutdown,
    /// `getsockopt(2)`, `setsockopt(2)`, `getsockname(2)`, `getpeername(2)`, `sockatmark(3)`.
    Option,
    /// `write(2)` on an eventfd.
    Raise,
    /// `epoll_ctl(2)` with `EPOLL_CTL_ADD`.
    EpollAdd,
    /// `epoll_ctl(2)` with `EPOLL_CTL_MOD`.
    EpollModify,
    /// `epoll_ctl(2)` with `EPOLL_CTL_DEL`.
    EpollRemove,
    /// `epoll_pwait2(2)`.
    EpollWait,
    /// `getaddrinfo(3)`.
    Resolve,
}

const CALLS: usize = Call::Resolve as usize + 1;

/// What happens to a call in place of what Linux would do.
pub enum Fault {
    /// It fails with this number, without being made. After EAGAIN what is ready is reported anew,
    /// as if it came a moment later.
    Error(i32),
    /// A receive or a send transfers at most so many bytes, and what is ready then is reported
    /// anew; a wait brings at most so many events, and the others are lost.
    Limit(usize),
    /// A wait is made, and its events rewritten. Beyond the room that the caller gave they are
    /// cut off.
    Rewrite(Rewrite),
}

/// Changes the events of a wait.
pub type Rewrite = Box<dyn FnOnce(&mut Vec<Event>) + Send>;

type Rule = Box<dyn FnMut(Call, u64) -> Option<Fault> + Send>;

/// The kernel; see the [module](self).
pub struct PassThrough {
    this: Weak<PassThrough>,
    rule: Mutex<Option<Rule>>,
    counts: [AtomicU64; CALLS],
    open: Mutex<HashMap<i32, Arc<Open>>>,
}

/// One descriptor that this kernel gave out.
struct Open {
    descriptor: Descriptor,
    /// Who watches it, and how: to have it reported anew.
    watch: Mutex<Option<(Arc<Open>, u32, u64)>>,
}

impl PassThrough {
    /// A kernel without a rule, which only counts.
    pub fn new() -> Arc<PassThrough> {
        Arc::new_cyclic(|this| PassThrough {
            this: this.clone(),
            rule: Mutex::new(None),
            counts: [const { AtomicU64::new(0) }; CALLS],
            open: Mutex::new(HashMap::new()),
        })
    }

    /// What a runtime is made on.
    pub fn handle(self: &Arc<Self>) -> KernelHandle {
        KernelHandle::hosted(Arc::clone(self) as Arc<dyn Kernel>)
    }

    /// Asks `rule` about each call from now on: which call, and the how manieth of its kind it is
    /// since the kernel was made, from 1. It runs before the call is made, on the calling thread.
    pub fn set_rule(&self, rule: impl FnMut(Call, u64) -> Option<Fault> + Send + 'static) {
        *lock(&self.rule) = Some(Box::new(rule));
    }

    /// How many calls of this kind there were, failed ones included.
    pub fn count(&self, call: Call) -> u64 {
        self.counts[call as usize].load(Ordering::Acquire)
    }

    /// How many descriptors are open.
    pub fn open_count(&self) -> usize {
        lock(&self.open).len()
    }

    fn enter(&self, call: Call) -> io::Result<Option<Fault>> {
        let nth = self.counts[call as usize].fetch_add(1, Ordering::AcqRel) + 1;
        // Taken out for the time of its run: what it does may make calls of its own.
        let Some(mut rule) = lock(&self.rule).take() else {
            return Ok(None);
        };
        let fault = rule(call, nth);
        lock(&self.rule).get_or_insert(rule);
        match fault {
            Some(Fault::Error(number)) => Err(io::Error::from_raw_os_error(number)),
            fault => Ok(fault),
        }
    }

    fn open(&self, number: i32) -> io::Result<Arc<Open>> {
        const EBADF: i32 = 9;
        let open = lock(&self.open).get(&number).cloned();
        open.ok_or_else(|| io::Error::from_raw_os_error(EBADF))
    }

    /// Gives out a descriptor of Linux's under its own number.
    fn give_out(&self, descriptor: Descriptor) -> io::Result<Hosted> {
        let lent = Arc::new(descriptor.as_fd().try_clone_to_owned()?);
        let number = lent.as_raw_fd();
        let open = Open { descriptor, watch: Mutex::new(None) };
        lock(&self.open).insert(number, Arc::new(open));
        let kernel = self.this.upgrade().ok_or(io::ErrorKind::NotFound)?;
        Ok(Hosted { kernel, number, lent })
    }

    /// Has what is ready reported anew, as what comes later is.
    fn report_anew(&self, open: &Open) {
        if let Some((epoll, bits, token)) = &*lock(&open.watch) {
            let change = Control::Modify { bits: *bits, token: *token };
            // A watch that is over reports nothing.
            let _ = epoll.descriptor.epoll_ctl(change, &open.descriptor);
        }
    }

    /// A receive or a send of `asked` bytes, through `transfer`, which takes how many it may be.
    fn transfer(
        &self,
        call: Call,
        number: i32,
        asked: usize,
        transfer: impl FnOnce(&Descriptor, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let open = self.open(number)?;
        match self.enter(call) {
            Ok(Some(Fault::Limit(most))) if most < asked => {
                let result = transfer(&open.descriptor, most);
                self.report_anew(&open);
                result
            }
            Ok(_) => transfer(&open.descriptor, asked),
            Err(error) => {
                if error.kind() == io::ErrorKind::WouldBlock {
                    self.report_anew(&open);
                }
                Err(error)
            }
        }
    }
}

impl std::fmt::Debug for PassThrough {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PassThrough").field("open", &self.open_count()).finish_non_exhaustive()
    }
}

impl Kernel for PassThrough {
    fn epoll(&self) -> io::Result<Hosted> {
        self.enter(Call::Epoll)?;
        self.give_out(KernelHandle::linux().epoll()?)
    }

    fn eventfd(&self) -> io::Result<Hosted> {
        self.enter(Call::Eventfd)?;
        self.give_out(KernelHandle::linux().eventfd()?)
    }

    fn socket(&self, family: Family) -> io::Result<Hosted> {
        self.enter(Call::Socket)?;
        self.give_out(KernelHandle::linux().socket(family)?)
    }

    fn datagram_socket(&self, family: Family) -> io::Result<Hosted> {
        self.enter(Call::Socket)?;
        self.give_out(KernelHandle::linux().datagram_socket(family)?)
    }

    fn adopt(&self, fd: OwnedFd) -> io::Result<Hosted> {
        self.enter(Call::Adopt)?;
        self.give_out(fd.into())
    }

    fn accept(&self, number: i32) -> io::Result<(Hosted, SocketAddr)> {
        let open = self.open(number)?;
        if let Err(error) = self.enter(Call::Accept) {
            if error.kind() == io::ErrorKind::WouldBlock {
                self.report_anew(&open);
            }
            return Err(error);
        }
        let (descriptor, peer) = open.descriptor.accept()?;
        Ok((self.give_out(descriptor)?, peer))
    }

    fn close(&self, number: i32) {
        // A close that the rule fails has closed all the same, as on Linux.
        let _ = self.enter(Call::Close);
        let closed = lock(&self.open).remove(&number);
        drop(closed);
    }

    fn now(&self) -> u64 {
        KernelHandle::linux().now()
    }

    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.enter(Call::Resolve)?;
        KernelHandle::linux().resolve(host, port)
    }

    fn bind(&self, number: i32, address: SocketAddr) -> io::Result<()> {
        self.enter(Call::Bind)?;
        self.open(number)?.descriptor.bind(address)
    }

    fn listen(&self, number: i32, backlog: u32) -> io::Result<()> {
        self.enter(Call::Listen)?;
        self.open(number)?.descriptor.listen(backlog)
    }

    fn connect(&self, number: i32, address: SocketAddr) -> io::Result<Connect> {
        self.enter(Call::Connect)?;
        self.open(number)?.descriptor.connect(address)
    }

    fn take_error(&self, number: i32) -> io::Result<Option<io::Error>> {
        self.enter(Call::Option)?;
        self.open(number)?.descriptor.take_error()
    }

    fn recv(&self, number: i32, buffer: &mut [u8]) -> io::Result<usize> {
        self.transfer(Call::Recv, number, buffer.len(), |fd, most| fd.recv(&mut buffer[..most]))
    }

    fn peek(&self, number: i32, buffer: &mut [u8]) -> io::Result<usize> {
        self.transfer(Call::Recv, number, buffer.len(), |fd, most| fd.peek(&mut buffer[..most]))
    }

    fn recv_vectored(&self, number: i32, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let asked = buffers.iter().map(|buffer| buffer.len()).sum();
        self.transfer(Call::Recv, number, asked, |fd, most| {
            if most == asked {
                return fd.recv_vectored(buffers);
            }
            let mut bytes = vec![0; most];
            let count = fd.recv(&mut bytes)?;
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
        self.transfer(Call::Send, number, bytes.len(), |fd, most| fd.send(&bytes[..most]))
    }

    fn send_vectored(&self, number: i32, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let asked = buffers.iter().map(|buffer| buffer.len()).sum();
        self.transfer(Call::Send, number, asked, |fd, most| {
            if most == asked {
                return fd.send_vectored(buffers);
            }
            let bytes: Vec<u8> =
                buffers.iter().flat_map(|b| b.iter().copied()).take(most).collect();
            fd.send(&bytes)
        })
    }

    fn send_to(&self, number: i32, bytes: &[u8], address: SocketAddr) -> io::Result<usize> {
        // A datagram goes whole or not at all: no limit applies.
        self.enter(Call::Send)?;
        self.open(number)?.descriptor.send_to(bytes, address)
    }

    fn recv_from(&self, number: i32, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.enter(Call::Recv)?;
        self.open(number)?.descriptor.recv_from(buffer)
    }

    fn send_urgent(&self, number: i32, byte: u8) -> io::Result<()> {
        self.enter(Call::Send)?;
        self.open(number)?.descriptor.send_urgent(byte)
    }

    fn recv_urgent(&self, number: i32) -> io::Result<Option<u8>> {
        self.enter(Call::Recv)?;
        self.open(number)?.descriptor.recv_urgent()
    }

    fn is_at_mark(&self, number: i32) -> io::Result<bool> {
        self.enter(Call::Option)?;
        self.open(number)?.descriptor.is_at_mark()
    }

    fn shutdown(&self, number: i32, how: Shutdown) -> io::Result<()> {
        self.enter(Call::Shutdown)?;
        self.open(number)?.descriptor.shutdown(how)
    }

    fn local_address(&self, number: i32) -> io::Result<SocketAddr> {
        self.enter(Call::Option)?;
        self.open(number)?.descriptor.local_address()
    }

    fn peer_address(&self, number: i32) -> io::Result<SocketAddr> {
        self.enter(Call::Option)?;
        self.open(number)?.descriptor.peer_address()
    }

    fn option(&self, number: i32, option: SocketOption) -> io::Result<i32> {
        self.enter(Call::Option)?;
        self.open(number)?.descriptor.option(option)
    }

    fn set_option(&self, number: i32, option: SocketOption, value: i32) -> io::Result<()> {
        self.enter(Call::Option)?;
        self.open(number)?.descriptor.set_option(option, value)
    }

    fn linger(&self, number: i32) -> io::Result<Option<Duration>> {
        self.enter(Call::Option)?;
        self.open(number)?.descriptor.linger()
    }

    fn set_linger(&self, number: i32, wait: Option<Duration>) -> io::Result<()> {
        self.enter(Call::Option)?;
        self.open(number)?.descriptor.set_linger(wait)
    }

    fn raise(&self, number: i32) -> io::Result<()> {
        self.enter(Call::Raise)?;
        self.open(number)?.descriptor.raise()
    }

    fn epoll_ctl(&self, number: i32, change: Control, target: &Descriptor) -> io::Result<()> {
        self.enter(match change {
            Control::Add { .. } => Call::EpollAdd,
            Control::Modify { .. } => Call::EpollModify,
            Control::Remove => Call::EpollRemove,
        })?;
        let epoll = self.open(number)?;
        let Some(target) = target.hosted_number() else {
            return epoll.descriptor.epoll_ctl(change, target);
        };
        let target = self.open(target)?;
        epoll.descriptor.epoll_ctl(change, &target.descriptor)?;
        *lock(&target.watch) = match change {
            Control::Add { bits, token } | Control::Modify { bits, token } => {
                Some((Arc::clone(&epoll), bits, token))
            }
            Control::Remove => None,
        };
        Ok(())
    }

    fn epoll_wait(
        &self,
        number: i32,
        buffer: &mut EventBuffer,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let fault = self.enter(Call::EpollWait)?;
        let count = self.open(number)?.descriptor.epoll_wait(buffer, timeout)?;
        Ok(match fault {
            Some(Fault::Limit(most)) => count.min(most),
            Some(Fault::Rewrite(rewrite)) => {
                let mut events = buffer.first(count);
                rewrite(&mut events);
                buffer.fill(&events)
            }
            _ => count,
        })
    }
}

//! Each call of [`Kernel`], handed on to the state of the world.

use super::SimKernel;
use super::epoll::Epoll;
use super::errno::{EBADF, EINTR};
use super::net::{Action, Object};
use super::tcp::Tcp;
use super::udp::Udp;
use crate::sim::drive;
use crate::sim::fault::Fault;
use crate::sim::trace::What;
use crate::sys::signal::Signal;
use crate::sys::{
    Connect, Control, Descriptor, EventBuffer, Family, Hosted, Kernel, SocketOption, Work,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

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

    fn datagram_socket(&self, family: Family) -> io::Result<Hosted> {
        self.open(What::Socket, || Object::Udp(Box::new(Udp::new(family))))
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
            Object::Udp(_) => net.remove(id),
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
        self.check_thread();
        self.clock.now()
    }

    fn stepper(&self) -> Option<u64> {
        Some(self.net().stepper)
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
        let taken = self.on_socket(What::TakeError, number, 0, |net, id| Ok(net.take_error(id)))?;
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

    fn send_to(&self, number: i32, bytes: &[u8], address: SocketAddr) -> io::Result<usize> {
        let asked = bytes.len() as u64;
        self.on_socket(What::Send, number, asked, |net, id| {
            net.send_to(id, &mut std::iter::once(bytes), address)
        })
    }

    fn recv_from(&self, number: i32, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let asked = buffer.len() as u64;
        self.on_socket(What::Recv, number, asked, |net, id| net.recv_from(id, buffer))
    }

    fn send_urgent(&self, number: i32, byte: u8) -> io::Result<()> {
        self.on_socket(What::Send, number, u64::MAX, |net, id| net.send_urgent(id, byte))
    }

    fn recv_urgent(&self, number: i32) -> io::Result<Option<u8>> {
        self.on_socket(What::Recv, number, u64::MAX, |net, id| net.recv_urgent(id))
    }

    fn is_at_mark(&self, number: i32) -> io::Result<bool> {
        self.on_socket(What::GetOption, number, 98, |net, id| net.is_at_mark(id))
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
        self.on_socket(What::GetOption, number, detail, |net, id| net.option(id, option))
    }

    fn set_option(&self, number: i32, option: SocketOption, value: i32) -> io::Result<()> {
        self.on_socket(What::SetOption, number, option as u64, |net, id| {
            net.set_option(id, option, value)
        })
    }

    fn linger(&self, number: i32) -> io::Result<Option<Duration>> {
        self.on_socket(What::GetOption, number, 99, |net, id| Ok(*net.linger(id)))
    }

    fn set_linger(&self, number: i32, wait: Option<Duration>) -> io::Result<()> {
        self.on_socket(What::SetOption, number, 99, |net, id| {
            // In whole seconds, rounded up.
            let up = |wait: Duration| wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            *net.linger(id) = wait.map(|wait| Duration::from_secs(up(wait)));
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
        let main = drive::look_begins(&self.net, self.host);
        let deadline = timeout.map(|wait| u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let deadline = deadline.map(|wait| self.net().now.saturating_add(wait));
        loop {
            match &main {
                // Also before a look that will find something: whoever always has something to do
                // keeps the other hosts from nothing.
                Some(world) => world.drive(deadline),
                None if timeout != Some(Duration::ZERO) && self.is_quiet(number) => {
                    drive::wait_alone(&self.net, deadline);
                }
                None => {}
            }
            let mut is_over = false;
            let mut tokens = 0;
            let room = buffer.capacity();
            let count = self.call(What::EpollWait, number, room as u64, |net, host| {
                if net.fault(Fault::Interrupt, host) {
                    return Err(EINTR);
                }
                if net.fault(Fault::ClockJump, host) {
                    let ahead = net.random.below(10_000_000_000);
                    net.hosts[host].clock.jump(ahead);
                }
                let id = net.object(host, number)?;
                net.note_look(id);
                let mut events = std::mem::take(&mut net.collected);
                events.clear();
                let collected = net.epoll_collect(id, room, &mut events);
                tokens = events.iter().fold(tokens, |sum: u64, event| {
                    sum.rotate_left(7) ^ event.token() ^ u64::from(event.bits()) << 32
                });
                net.trace.mix(tokens, events.len() as u64);
                let count = buffer.fill(&events);
                net.collected = events;
                is_over = deadline.is_some_and(|deadline| deadline <= net.now);
                collected.map(|()| count)
            })?;
            if count > 0 || is_over {
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

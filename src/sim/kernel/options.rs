//! setsockopt(2) and its like, for sockets of every kind.

use super::errno::{EINVAL, ENOPROTOOPT, EOPNOTSUPP};
use super::net::{Id, Net, Object, Sys};
use crate::sim::planted::Planted;
use crate::sys::{Family, SocketOption};
use std::time::Duration;

/// The least that an option can make of a buffer, as payload.
const BUFFER_BYTES_MIN: usize = 1152;

/// The most, of a process without privileges (`net.core.wmem_max`).
const BUFFER_BYTES_MAX: usize = 212_992;

/// What was set of a socket's options.
#[derive(Clone, Debug, Default)]
pub(super) struct Options(Vec<(SocketOption, i32)>);

impl Options {
    pub(super) fn is_set(&self, option: SocketOption) -> bool {
        self.get(option).is_some_and(|value| value != 0)
    }

    fn get(&self, option: SocketOption) -> Option<i32> {
        self.0.iter().find(|(own, _)| *own == option).map(|(_, value)| *value)
    }

    fn set(&mut self, option: SocketOption, value: i32) {
        match self.0.iter_mut().find(|(own, _)| *own == option) {
            Some((_, own)) => *own = value,
            None => self.0.push((option, value)),
        }
    }
}

impl Net {
    pub(super) fn option(&mut self, id: Id, option: SocketOption) -> Sys<i32> {
        let (options, send_max, receive_max, family) = match &self.entry(id).object {
            Object::Tcp(tcp) => (&tcp.options, tcp.send_max, tcp.receive_max, None),
            Object::Udp(udp) => (&udp.options, udp.receive_max, udp.receive_max, Some(udp.family)),
            _ => return Err(EINVAL),
        };
        if let Some(family) = family.filter(|_| option == SocketOption::NoDelay) {
            return Err(if family == Family::V4 { EOPNOTSUPP } else { ENOPROTOOPT });
        }
        Ok(options.get(option).unwrap_or(match option {
            SocketOption::SendBuffer => 2 * send_max as i32,
            SocketOption::ReceiveBuffer => 2 * receive_max as i32,
            SocketOption::Ttl | SocketOption::HopLimit => 64,
            _ => 0,
        }))
    }

    pub(super) fn set_option(&mut self, id: Id, option: SocketOption, value: i32) -> Sys<()> {
        let hops = matches!(option, SocketOption::Ttl | SocketOption::HopLimit);
        if hops && !(-1..=255).contains(&value) {
            return Err(EINVAL);
        }
        let bytes = usize::try_from(value).unwrap_or(usize::MAX);
        let bytes = bytes.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
        let value = match option {
            // The kernel doubles what is set, for its own bookkeeping (`socket(7)`).
            SocketOption::SendBuffer | SocketOption::ReceiveBuffer => 2 * bytes as i32,
            _ if hops => value,
            _ => (value != 0).into(),
        };
        match &mut self.entry(id).object {
            Object::Tcp(tcp) => {
                match option {
                    SocketOption::SendBuffer => tcp.send_max = bytes,
                    SocketOption::ReceiveBuffer => tcp.receive_max = bytes,
                    _ => {}
                }
                tcp.options.set(option, value);
            }
            Object::Udp(_) if option == SocketOption::NoDelay => return Err(ENOPROTOOPT),
            Object::Udp(udp) => {
                if option == SocketOption::ReceiveBuffer {
                    udp.receive_max = bytes;
                }
                udp.options.set(option, value);
            }
            _ => return Err(EINVAL),
        }
        Ok(())
    }

    /// `SO_LINGER`; datagram sockets have it too, without an effect.
    pub(super) fn linger(&mut self, id: Id) -> &mut Option<Duration> {
        match &mut self.entry(id).object {
            Object::Udp(udp) => &mut udp.linger,
            Object::Tcp(tcp) => &mut tcp.linger,
            _ => unreachable!("only sockets are asked for it"),
        }
    }

    /// `SO_ERROR`: the pending error, which asking clears.
    pub(super) fn take_error(&mut self, id: Id) -> Option<i32> {
        let stays = self.has(Planted::AnErrorStaysWhenAsked);
        let error = match &mut self.entry(id).object {
            Object::Udp(udp) => &mut udp.error,
            Object::Tcp(tcp) => &mut tcp.error,
            _ => unreachable!("only sockets are asked for it"),
        };
        if stays { *error } else { error.take() }
    }
}

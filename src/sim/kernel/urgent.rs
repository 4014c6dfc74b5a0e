//! Urgent data of tcp(7), simulated after `tcp_check_urg`, `tcp_recv_urg` and `tcp_recvmsg` of
//! Linux.
//!
//! ```text
//!   stream   a b c d ! e f g        the mark is at `!`: one byte, which is urgent
//!            ^                      a receive from here ends before the mark
//!                    ^              at the mark `!` is left out, or is among the others
//!                                   (SO_OOBINLINE)
//! ```
//!
//! There is one mark at a time. A newer one takes the place of one that nobody came to, whose byte
//! is then a byte like others.

use super::errno::{EINVAL, ENOTCONN, ENOTTY, EOPNOTSUPP};
use super::net::{Id, Net, Sys};
use super::segments::READABLE;
use super::tcp::{State, Tcp};
use crate::event::EPOLLPRI;
use crate::sim::planted::Planted;
use crate::sys::{Family, SocketOption};

/// The urgent mark, as the receiver knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// The urgent byte's offset in the stream.
    at: u64,
    /// The byte itself, until it is received as such. It is there although a fault withholds the
    /// stream, or nobody will read that any more.
    byte: Option<u8>,
}

/// What the mark does to a receive.
pub(super) struct Limits {
    /// A byte that is passed over.
    pub(super) skip: usize,
    /// Bytes before the mark.
    pub(super) most: usize,
}

impl Tcp {
    /// The offset of the byte that is received next.
    fn read_offset(&self) -> u64 {
        self.next - self.received.len() as u64
    }

    fn is_inline(&self) -> bool {
        self.is_set(SocketOption::UrgentInline)
    }

    /// Bytes that are not to be counted as readable: the urgent one, if it is the next.
    pub(super) fn urgent_hole(&self) -> usize {
        let next = |mark: Mark| mark.at == self.read_offset() && !self.is_inline();
        self.mark.is_some_and(next).into()
    }

    /// `EPOLLPRI` as long as the urgent byte is there to be received.
    pub(super) fn urgent_bits(&self) -> u32 {
        if self.mark.is_some_and(|mark| mark.byte.is_some()) { EPOLLPRI } else { 0 }
    }

    /// Notes that what was received is beyond the mark.
    pub(super) fn pass_mark(&mut self) {
        let read = self.read_offset();
        self.mark = self.mark.filter(|mark| mark.at >= read);
    }
}

impl Net {
    /// What the mark does to a receive of at most `room` bytes, which begins here.
    pub(super) fn limits(&mut self, id: Id, room: usize, peek: bool) -> Limits {
        let stays = self.has(Planted::TheUrgentByteStaysInTheStream);
        let passes = self.has(Planted::AReadPassesTheMark);
        let tcp = self.tcp(id);
        let free = Limits { skip: 0, most: usize::MAX };
        let Some(Mark { at, .. }) = tcp.mark else { return free };
        let before = at.saturating_sub(tcp.read_offset()) as usize;
        if before > 0 {
            return Limits { most: if passes { usize::MAX } else { before }, ..free };
        }
        if tcp.is_inline() || stays || room == 0 || tcp.readable() == 0 {
            return free;
        }
        if peek {
            return Limits { skip: 1, ..free };
        }
        tcp.received.pop_front();
        tcp.mark = None;
        free
    }

    pub(super) fn send_urgent(&mut self, id: Id, byte: u8) -> Sys<()> {
        let mut part = std::iter::once(std::slice::from_ref(&byte));
        if self.is_udp(id) {
            self.bind_udp_if_needed(id)?;
            // For IPv6 Linux does not look at the flag.
            let looks = self.family(id) == Family::V4;
            return if looks {
                Err(EOPNOTSUPP)
            } else {
                self.send_udp(id, &mut part, None).map(drop)
            };
        }
        let tcp = self.tcp(id);
        let at = tcp.sent + tcp.unsent.len() as u64;
        let before = tcp.mark_unsent.replace((at, byte));
        let sent = self.send(id, &mut part);
        if sent.is_err() {
            self.tcp(id).mark_unsent = before;
        }
        sent.map(drop)
    }

    /// The urgent byte.
    pub(super) fn recv_urgent(&mut self, id: Id) -> Sys<Option<u8>> {
        if self.is_udp(id) {
            // Datagrams have none: the flag is not looked at.
            let mut byte = [0];
            return self
                .recv_udp(id, &mut byte, false)
                .map(|(count, _)| (count > 0).then_some(byte[0]));
        }
        let tcp = self.tcp(id);
        if tcp.state == State::Listening {
            return Err(ENOTCONN);
        }
        let inline = tcp.is_inline();
        let closed = tcp.state == State::Closed && !tcp.ended;
        match &mut tcp.mark {
            Some(Mark { byte: byte @ Some(_), .. }) if !inline => {
                if closed {
                    Err(ENOTCONN)
                } else {
                    Ok(byte.take())
                }
            }
            _ => Err(EINVAL),
        }
    }

    pub(super) fn is_at_mark(&mut self, id: Id) -> Sys<bool> {
        if self.is_udp(id) {
            return Err(ENOTTY);
        }
        let tcp = self.tcp(id);
        Ok(tcp.mark.is_some_and(|mark| mark.at == tcp.read_offset()))
    }

    /// The packet that comes next has this urgent byte, of offset `at`.
    pub(super) fn receive_urgent(&mut self, id: Id, at: u64, byte: u8) {
        if self.tcp(id).state == State::SynReceived {
            // The packet that ended the handshake is in this one as well.
            self.accept_child(id);
        }
        let tcp = self.tcp(id);
        let read = tcp.read_offset();
        if at < tcp.next || tcp.mark.is_some_and(|mark| at <= mark.at) {
            return;
        }
        if tcp.urgent_hole() > 0 && tcp.received.len() > tcp.withheld {
            debug_assert!(
                tcp.mark.is_some_and(|mark| mark.at == read),
                "the hole is the next byte"
            );
            tcp.received.pop_front();
        }
        tcp.mark = Some(Mark { at, byte: Some(byte) });
        self.wake(id, READABLE);
    }
}

//! tcp(7), simulated: one end of a connection, or a listener.
//!
//! ```text
//!                  connect                                  listen
//!      SynSent <------------ Closed -----------------------------------> Listening
//!         | SYN+ACK                    SYN to a listener: SynReceived
//!         '---------> Established <---------------------- ACK '
//!     shutdown, close /          \ FIN
//!            FinWait1              CloseWait
//!       ACK /       \ FIN              | shutdown, close
//!     FinWait2       Closing         LastAck
//!       FIN \       / ACK              | ACK
//!            Closed (the pair of addresses rests, TIME-WAIT, on the side that closed first)
//! ```
//!
//! Segments are never lost on the way, only late: so there are no sequence numbers but the offsets
//! of bytes, and nothing is sent twice.

use super::net::Id;
use super::options::Options;
use super::urgent::Mark;
use crate::event::{EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP};
use crate::sys::{Family, SocketOption};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum State {
    Closed,
    Listening,
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    Closing,
    CloseWait,
    LastAck,
}

/// What the descriptor knows of its connecting (`socket.state` in Linux).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Unconnected,
    Connecting,
    Connected,
    /// Shut down while it connected: it never will.
    Disconnecting,
}

/// The flags of `shutdown(2)`.
pub(super) const RECEIVE: u8 = 1;
pub(super) const SEND: u8 = 2;

/// Bytes that a buffer holds unless an option says otherwise.
const BUFFER_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(in crate::sim) struct Tcp {
    pub(super) family: Family,
    pub(super) state: State,
    pub(super) progress: Progress,
    pub(super) local: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    /// `local`'s port is its own; without it `local` is only what it was.
    pub(super) holds_port: bool,
    /// `bind(2)` named the port (SOCK_BINDPORT_LOCK), the address (SOCK_BINDADDR_LOCK).
    pub(super) port_named: bool,
    pub(super) address_named: bool,
    pub(super) options: Options,
    pub(super) linger: Option<Duration>,
    /// `RECEIVE`, `SEND`: no more of that.
    pub(super) shut: u8,
    /// The peer's end of the stream came.
    pub(super) ended: bool,
    /// No descriptor refers to it any more.
    pub(super) orphan: bool,
    /// The pending error's number.
    pub(super) error: Option<i32>,

    // Receiving.
    pub(super) received: VecDeque<u8>,
    /// The last so many of `received` are withheld: to the program they have not arrived.
    pub(super) withheld: usize,
    /// So is the end of the stream, behind them.
    pub(super) withheld_end: bool,
    /// The offset of the next byte.
    pub(super) next: u64,
    /// The window's right edge that the peer was told.
    pub(super) told_edge: u64,
    pub(super) receive_max: usize,
    pub(super) mark: Option<Mark>,

    // Sending.
    pub(super) unsent: VecDeque<u8>,
    /// All before this arrived.
    pub(super) acknowledged: u64,
    /// All before this is sent.
    pub(super) sent: u64,
    /// What may be sent.
    pub(super) edge: u64,
    pub(super) send_max: usize,
    /// An urgent byte that is not sent yet, and its offset.
    pub(super) mark_unsent: Option<(u64, u8)>,
    pub(super) end_wanted: bool,
    pub(super) end_sent: bool,
    /// Somebody found no room, and is to be told when there is some (SOCK_NOSPACE).
    pub(super) no_space: bool,
    /// A fault filled the send buffer.
    pub(super) blocked: bool,
    /// A look for progress is on the agenda.
    pub(super) watched_for_progress: bool,
    /// When the last packet to the peer arrives.
    pub(super) last_arrival: u64,

    // Listening.
    pub(super) backlog: usize,
    pub(super) queue: VecDeque<Id>,
    /// Connections of which the first packet came and the last of the handshake did not.
    pub(super) half_open: usize,
    /// A fault withholds the queue.
    pub(super) queue_withheld: bool,
    /// The listener that a connection in the making came by.
    pub(super) parent: Option<Id>,
}

impl Tcp {
    pub(super) fn new(family: Family) -> Tcp {
        Tcp {
            family,
            state: State::Closed,
            progress: Progress::Unconnected,
            local: None,
            peer: None,
            holds_port: false,
            port_named: false,
            address_named: false,
            options: Options::default(),
            linger: None,
            shut: 0,
            ended: false,
            orphan: false,
            error: None,
            received: VecDeque::new(),
            withheld: 0,
            withheld_end: false,
            next: 0,
            told_edge: 0,
            receive_max: BUFFER_BYTES,
            mark: None,
            unsent: VecDeque::new(),
            acknowledged: 0,
            sent: 0,
            edge: 0,
            send_max: BUFFER_BYTES,
            mark_unsent: None,
            end_wanted: false,
            end_sent: false,
            no_space: false,
            blocked: false,
            watched_for_progress: false,
            last_arrival: 0,
            backlog: 0,
            queue: VecDeque::new(),
            half_open: 0,
            queue_withheld: false,
            parent: None,
        }
    }

    /// A connection in the making, with what it inherits of its listener.
    pub(super) fn child(&self, listener: Id, local: SocketAddr, peer: SocketAddr) -> Tcp {
        Tcp {
            state: State::SynReceived,
            progress: Progress::Connected,
            local: Some(local),
            holds_port: true,
            address_named: self.address_named,
            peer: Some(peer),
            options: self.options.clone(),
            linger: self.linger,
            // So it is in Linux, for a listener that was shut down before it listened.
            shut: self.shut,
            receive_max: self.receive_max,
            send_max: self.send_max,
            parent: Some(listener),
            ..Tcp::new(self.family)
        }
    }

    /// What `tcp_poll` of Linux says. Who finds no room is told when there is some.
    pub(super) fn poll_bits(&mut self) -> u32 {
        let bits = self.bits();
        if bits & EPOLLOUT == 0 && self.is_past_its_handshake() {
            self.no_space = true;
        }
        bits
    }

    fn is_past_its_handshake(&self) -> bool {
        !matches!(self.state, State::Listening | State::SynSent | State::SynReceived)
    }

    /// The same without a trace of having asked.
    pub(super) fn bits(&self) -> u32 {
        if self.state == State::Listening {
            return if self.queue.is_empty() || self.queue_withheld { 0 } else { EPOLLIN };
        }
        let mut bits = 0;
        if self.shut == RECEIVE | SEND || self.state == State::Closed {
            bits |= EPOLLHUP;
        }
        if self.shut & RECEIVE != 0 {
            bits |= EPOLLIN | EPOLLRDHUP;
        }
        if self.is_past_its_handshake() {
            if self.readable() > self.urgent_hole() {
                bits |= EPOLLIN;
            }
            bits |= self.urgent_bits();
            if self.shut & SEND != 0 || self.is_writable() {
                bits |= EPOLLOUT;
            }
        }
        if self.error.is_some() {
            bits |= EPOLLERR;
        }
        bits
    }

    /// Bytes that can be read.
    pub(super) fn readable(&self) -> usize {
        self.received.len() - self.withheld
    }

    /// Bytes that the send buffer holds: unsent or not yet acknowledged.
    pub(super) fn queued(&self) -> usize {
        self.unsent.len() + (self.sent - self.acknowledged) as usize
    }

    /// Whether there is room enough to tell of it (`sk_stream_is_writeable`): a third.
    pub(super) fn is_writable(&self) -> bool {
        !self.blocked && 3 * self.queued() <= 2 * self.send_max
    }

    /// The window's right edge now.
    pub(super) fn edge_now(&self) -> u64 {
        let room = self.receive_max.saturating_sub(self.received.len());
        (self.next + room as u64).max(self.told_edge)
    }

    /// Takes the pending error.
    pub(super) fn take_error(&mut self) -> Option<i32> {
        self.error.take()
    }

    pub(super) fn is_set(&self, option: SocketOption) -> bool {
        self.options.is_set(option)
    }
}

/// Copies the first bytes of `queue` to `bytes`, as many as have room there and no more than there
/// are.
pub(super) fn copy_front(queue: &VecDeque<u8>, bytes: &mut [u8]) {
    let (front, back) = queue.as_slices();
    let split = front.len().min(bytes.len());
    let (to_front, to_back) = bytes.split_at_mut(split);
    to_front.copy_from_slice(&front[..split]);
    let rest = to_back.len().min(back.len());
    to_back[..rest].copy_from_slice(&back[..rest]);
}

/// Takes the first `count` bytes off `queue`.
pub(super) fn take_front(queue: &mut VecDeque<u8>, count: usize) -> Vec<u8> {
    let mut taken = Vec::with_capacity(count);
    let (front, back) = queue.as_slices();
    let split = front.len().min(count);
    taken.extend_from_slice(&front[..split]);
    taken.extend_from_slice(&back[..count - split]);
    queue.drain(..count);
    taken
}

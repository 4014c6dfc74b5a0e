//! The event parser: bytes that `epoll_wait(2)` wrote become [`Event`]s.
//!
//! It takes bytes and gives values; it makes no call and holds no descriptor. So every input can be
//! tried on every machine, the layouts of other architectures included.
//!
//! # Layouts
//!
//! `struct epoll_event` is packed on x86-64, so that 32-bit programs could share it there. Where
//! eight-byte integers are aligned to eight bytes, four bytes of padding follow the bits:
//!
//! ```text
//!            0       4               12
//!   Packed   | bits  | token         |             12 bytes   x86-64
//!
//!            0       4       8               16
//!   Padded   | bits  | (pad) | token         |     16 bytes   aarch64, riscv64, ...
//! ```
//!
//! Either way the bits are the first four bytes and the token is the last eight, both in the
//! machine's byte order.
//!
//! # What the bits mean
//!
//! A reader has to be woken when an event holds [`READABLE`](Readiness::READABLE), a writer when it
//! holds [`WRITABLE`](Readiness::WRITABLE). The other flags say what they will find.
//!
//! | bit | readiness | because |
//! | --- | --- | --- |
//! | [`EPOLLIN`] | `READABLE` | bytes, a connection to accept, or the end of the stream |
//! | [`EPOLLPRI`] | `READABLE`, `PRIORITY` | an urgent mark may end a read early: look again |
//! | [`EPOLLOUT`] | `WRITABLE` | there is room, or a connect has ended |
//! | [`EPOLLERR`] | `READABLE`, `WRITABLE`, `ERROR` | the next call of either side returns it |
//! | [`EPOLLHUP`] | `READABLE`, `WRITABLE`, `READ_CLOSED`, `WRITE_CLOSED` | both directions ended |
//! | [`EPOLLRDHUP`] | `READABLE`, `READ_CLOSED` | the peer will send no more |
//! | any other | nothing | kept in [`Event::bits`] for those who asked for it |
//!
//! `EPOLLERR` and `EPOLLHUP` come unasked and may come alone: that is why they wake both sides.
//! What was received before a direction closed can still be read.
//!
//! An event with several bits has the union. [`Interest`] is the way back: what to register for.
//!
//! # Example
//!
//! ```
//! use whirligig::event::{self, EPOLLIN, Event, Layout};
//!
//! // What the kernel would have written: one event for the source that was registered as 7.
//! let mut buffer = [0; 12];
//! Event::new(7, EPOLLIN).write_to(&mut buffer, Layout::Packed);
//!
//! for event in event::parse(&buffer, Layout::Packed) {
//!     assert_eq!(event.token(), 7);
//!     assert!(event.readiness().is_readable());
//! }
//! ```

use std::fmt;
use std::iter::FusedIterator;
use std::slice::ChunksExact;

mod interest;
mod readiness;
#[cfg(test)]
mod tests;

pub use interest::Interest;
pub use readiness::Readiness;

// The same numbers on every architecture of Linux (include/uapi/linux/eventpoll.h).

/// There is something to read: bytes, a connection to accept, or the end of the stream.
pub const EPOLLIN: u32 = 0x0001;
/// There is an exceptional condition: urgent data on a TCP socket, a change of a watched file.
pub const EPOLLPRI: u32 = 0x0002;
/// There is room to write, or a connect has ended.
pub const EPOLLOUT: u32 = 0x0004;
/// An error is pending. Reported whether asked for or not.
pub const EPOLLERR: u32 = 0x0008;
/// Both directions have ended. Reported whether asked for or not.
pub const EPOLLHUP: u32 = 0x0010;
/// The peer has shut down its writing half.
pub const EPOLLRDHUP: u32 = 0x2000;
/// Report changes, not states: edge-triggered. For registration only, never in an event.
pub const EPOLLET: u32 = 1 << 31;

/// How the kernel lays out one event in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Layout {
    /// Twelve bytes: the token follows the bits at once.
    Packed,
    /// Sixteen bytes: four bytes of padding stand between bits and token.
    Padded,
}

impl Layout {
    /// The layout of the machine this was compiled for.
    ///
    /// The kernel packs the structure on x86-64; elsewhere the alignment of `u64` decides (four
    /// bytes on 32-bit x86, eight nearly everywhere else).
    pub const NATIVE: Layout = if cfg!(target_arch = "x86_64") || align_of::<u64>() < 8 {
        Layout::Packed
    } else {
        Layout::Padded
    };

    /// How many bytes an event takes up.
    #[inline]
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Layout::Packed => 12,
            Layout::Padded => 16,
        }
    }
}

/// One event: which source, and what happened to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Event {
    token: u64,
    bits: u32,
}

impl Event {
    /// An event as the kernel would report it: `bits` are `EPOLL*` constants.
    #[inline]
    #[must_use]
    pub const fn new(token: u64, bits: u32) -> Event {
        Event { token, bits }
    }

    /// The number that the source was registered with.
    #[inline]
    #[must_use]
    pub const fn token(self) -> u64 {
        self.token
    }

    /// The `EPOLL*` bits as the kernel wrote them, unknown ones included.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.bits
    }

    /// What the bits mean, by the [table](self#what-the-bits-mean) above.
    #[inline]
    #[must_use]
    pub const fn readiness(self) -> Readiness {
        Readiness::from_epoll(self.bits)
    }

    /// Reads the event that all of `bytes` are, in either layout; None of fewer than 12.
    #[inline(always)]
    pub(crate) fn read(bytes: &[u8]) -> Option<Event> {
        // In both layouts the bits come first and the token last.
        let bits = u32::from_ne_bytes(*bytes.first_chunk()?);
        let token = u64::from_ne_bytes(*bytes.last_chunk()?);
        Some(Event { token, bits })
    }

    /// Writes the event at the start of `buffer` and returns how many bytes that took; the inverse
    /// of [`parse`], for tests, fuzzers and simulated kernels. Padding is zeroed.
    ///
    /// # Panics
    ///
    /// If `buffer` is shorter than [`layout.size()`](Layout::size).
    pub fn write_to(self, buffer: &mut [u8], layout: Layout) -> usize {
        let size = layout.size();
        let buffer = &mut buffer[..size];
        buffer.fill(0);
        buffer[..4].copy_from_slice(&self.bits.to_ne_bytes());
        buffer[size - 8..].copy_from_slice(&self.token.to_ne_bytes());
        size
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("token", &format_args!("{:#x}", self.token))
            .field("bits", &format_args!("{:#x}", self.bits))
            .field("readiness", &self.readiness())
            .finish()
    }
}

/// Reads the events that `bytes` hold, one after the other.
///
/// Pass the part of the buffer that the kernel filled: the number of events it returned times
/// [`layout.size()`](Layout::size) bytes. An incomplete event at the end is not an event;
/// [`Events::remainder`] counts its bytes. No input is an error and none panics.
///
/// With a constant layout this compiles to the loop one would write by hand.
#[inline]
#[must_use]
pub fn parse(bytes: &[u8], layout: Layout) -> Events<'_> {
    Events { chunks: bytes.chunks_exact(layout.size()) }
}

/// The events of a buffer, in the kernel's order; made by [`parse`].
#[derive(Clone, Debug)]
pub struct Events<'a> {
    /// One chunk an event. The layout need not be kept: see `next`.
    chunks: ChunksExact<'a, u8>,
}

impl Events<'_> {
    /// How many bytes at the end of the buffer are too few for an event.
    ///
    /// It doesn't change as the events are read. Zero for what a kernel wrote.
    #[inline]
    #[must_use]
    pub fn remainder(&self) -> usize {
        self.chunks.remainder().len()
    }
}

impl Iterator for Events<'_> {
    type Item = Event;

    #[inline]
    fn next(&mut self) -> Option<Event> {
        self.chunks.next().and_then(Event::read)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.chunks.size_hint()
    }
}

impl ExactSizeIterator for Events<'_> {}
impl FusedIterator for Events<'_> {}

//! What was received and not yet used, in a buffer that is held only while something is in it.

use crate::io::{BufferPool, PooledBuffer};
use std::mem;

/// Bytes of a buffer: a head of the largest size and some of a body behind it.
pub(super) const BUFFER_BYTES: usize = 16 * 1024 + 4 * 1024;

/// What was received and not yet used.
///
/// ```text
///   0        start             len            capacity
///   | used   | unread          | room         |
/// ```
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: Option<PooledBuffer>,
    start: usize,
    /// What is unread while there is no buffer.
    kept: Box<[u8]>,
}

impl Input {
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        match &self.buffer {
            Some(buffer) => &buffer[self.start..],
            None => &self.kept,
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.unread().is_empty()
    }

    /// Marks the first `count` unread bytes as used.
    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        match &self.buffer {
            Some(buffer) => {
                self.start += count;
                debug_assert!(self.start <= buffer.len(), "only what was received is used");
            }
            None => self.kept = self.kept[count..].into(),
        }
    }

    /// Drops the unread bytes from `from` on that a body was read into and decoded from.
    pub(super) fn cut_out(&mut self, from: usize, count: usize) {
        match &mut self.buffer {
            Some(buffer) => {
                let from = self.start + from;
                buffer.drain(from..from + count);
            }
            None => {
                let mut kept = mem::take(&mut self.kept).into_vec();
                kept.drain(from..from + count);
                self.kept = kept.into();
            }
        }
    }

    /// Where to read to: a buffer's spare capacity.
    #[inline]
    pub(super) fn room(&mut self, pool: &BufferPool) -> &mut Vec<u8> {
        let buffer = self.buffer.get_or_insert_with(|| {
            let mut buffer = pool.take();
            if !self.kept.is_empty() {
                buffer.extend_from_slice(&mem::take(&mut self.kept));
            }
            buffer
        });
        if self.start > 0 {
            buffer.drain(..self.start);
            self.start = 0;
        }
        buffer
    }

    /// Gives the buffer back for the time of a wait; unread bytes are kept in just the room that
    /// they take.
    #[inline]
    pub(super) fn release(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            if buffer.len() > self.start {
                self.kept = buffer[self.start..].into();
            }
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_bytes_survive_a_release_and_the_buffer_is_used_again() {
        let pool = BufferPool::new(BUFFER_BYTES, 1);
        let mut input = Input::default();
        input.room(&pool).extend_from_slice(b"hello");
        input.consume(2);
        input.release();
        assert_eq!((input.unread(), input.kept.len()), (&b"llo"[..], 3));
        assert_eq!(pool.unused(), 1);
        assert_eq!(input.room(&pool).len(), 3);
        assert_eq!((input.unread(), pool.unused()), (&b"llo"[..], 0));
        input.cut_out(1, 1);
        assert_eq!(input.unread(), b"lo");
        input.room(&pool).extend_from_slice(b"st");
        input.release();
        input.cut_out(1, 2);
        assert_eq!(input.unread(), b"lt");
        input.consume(1);
        assert_eq!(input.unread(), b"t");
        input.consume(1);
        assert!(input.is_empty());
    }
}

//! What was received and not yet used, in a buffer that is held only while something is in it.

use crate::io::BufferPool;
use std::mem;

/// Bytes of a buffer: a head of the largest size and some of a body behind it.
pub(super) const BUFFER_BYTES: usize = 16 * 1024 + 4 * 1024;

/// What was received and not yet used: in a buffer of the pool, or in just the room that it takes.
///
/// ```text
///   0        start             len            capacity
///   | used   | unread          | room         |
/// ```
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
}

impl Input {
    #[inline]
    fn is_of_pool(&self) -> bool {
        self.bytes.capacity() >= BUFFER_BYTES
    }

    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Marks the first `count` unread bytes as used.
    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.bytes.len(), "only what was received is used");
    }

    /// Drops the unread bytes from `from` on that a body was read into and decoded from.
    pub(super) fn cut_out(&mut self, from: usize, count: usize) {
        let from = self.start + from;
        self.bytes.drain(from..from + count);
    }

    /// Where to read to: a buffer's spare capacity.
    #[inline]
    pub(super) fn room(&mut self, pool: &BufferPool) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take_bytes();
        } else if self.start > 0 || !self.is_of_pool() {
            self.make_room(pool);
        }
        &mut self.bytes
    }

    #[inline(never)]
    fn make_room(&mut self, pool: &BufferPool) {
        if self.is_of_pool() {
            self.bytes.drain(..self.start);
        } else {
            let kept = mem::replace(&mut self.bytes, pool.take_bytes());
            self.bytes.extend_from_slice(&kept[self.start..]);
        }
        self.start = 0;
    }

    /// Gives the buffer back for the time of a wait; unread bytes are kept in just the room that
    /// they take.
    #[inline]
    pub(super) fn release(&mut self, pool: &BufferPool) {
        if self.is_of_pool() && self.is_empty() {
            self.start = 0;
            pool.give_back(mem::take(&mut self.bytes));
        } else if self.bytes.capacity() > 0 {
            self.shrink(pool);
        }
    }

    #[inline(never)]
    fn shrink(&mut self, pool: &BufferPool) {
        let unread = self.unread().to_vec();
        let bytes = mem::replace(self, Input { bytes: unread, start: 0 }).bytes;
        if bytes.capacity() >= BUFFER_BYTES {
            pool.give_back(bytes);
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
        input.release(&pool);
        assert_eq!((input.unread(), input.bytes.capacity()), (&b"llo"[..], 3));
        assert_eq!(pool.unused(), 1);
        assert_eq!(input.room(&pool).len(), 3);
        assert_eq!((input.unread(), pool.unused()), (&b"llo"[..], 0));
        input.cut_out(1, 1);
        assert_eq!(input.unread(), b"lo");
        input.room(&pool).extend_from_slice(b"st");
        input.release(&pool);
        input.cut_out(1, 2);
        assert_eq!(input.unread(), b"lt");
        input.consume(1);
        assert_eq!(input.unread(), b"t");
        input.consume(1);
        assert!(input.is_empty());
        assert_eq!((input.room(&pool).len(), pool.unused()), (0, 0));
    }
}

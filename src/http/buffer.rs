//! Read buffers that are held only while there is something in them.

use std::cell::RefCell;
use std::mem;

/// Bytes of a pooled buffer: a head of the largest size and some of a body behind it.
pub(super) const BUFFER_BYTES: usize = 16 * 1024 + 4 * 1024;

/// Buffers that nobody holds, to be used again.
///
/// A server with thousands of waiting connections needs only as many as have unread bytes at one
/// moment. A buffer is zeroed once, when it is made.
pub struct BufferPool {
    free: RefCell<Vec<Box<[u8]>>>,
    free_max: usize,
}

impl BufferPool {
    /// A pool that keeps at most `free_max` unused buffers of 20 KiB.
    #[must_use]
    pub fn new(free_max: usize) -> BufferPool {
        BufferPool { free: RefCell::new(Vec::new()), free_max }
    }

    fn take(&self) -> Box<[u8]> {
        let free = self.free.borrow_mut().pop();
        free.unwrap_or_else(|| vec![0; BUFFER_BYTES].into())
    }

    fn give_back(&self, buffer: Box<[u8]>) {
        let mut free = self.free.borrow_mut();
        if buffer.len() == BUFFER_BYTES && free.len() < self.free_max {
            free.push(buffer);
        }
    }
}

impl std::fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BufferPool").field("free", &self.free.borrow().len()).finish()
    }
}

/// What was received and not yet used.
///
/// ```text
///   0        start             end            capacity
///   | used   | unread          | room         |
/// ```
#[derive(Debug)]
pub(super) struct Input<'p> {
    pool: &'p BufferPool,
    /// Empty (and then without an allocation), from the pool, or just as large as what is unread.
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<'p> Input<'p> {
    pub(super) fn new(pool: &'p BufferPool) -> Input<'p> {
        Input { pool, bytes: Box::default(), start: 0, end: 0 }
    }

    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Marks the first `count` unread bytes as used.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "only what was received is used");
    }

    /// Drops the unread bytes from `from` on that a body was read into and decoded from.
    pub(super) fn cut_out(&mut self, from: usize, count: usize) {
        let (from, end) = (self.start + from, self.end);
        self.bytes.copy_within(from + count..end, from);
        self.end -= count;
    }

    /// Where to read to: all of the buffer that holds nothing, which may be none.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.bytes.len() != BUFFER_BYTES {
            let mut buffer = self.pool.take();
            let unread = self.end - self.start;
            buffer[..unread].copy_from_slice(&self.bytes[self.start..self.end]);
            (self.bytes, self.start, self.end) = (buffer, 0, unread);
        } else if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    /// Says that `count` bytes were read to the room.
    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.bytes.len(), "a read fits its buffer");
    }

    /// Gives the pool's buffer back for the time of a wait; unread bytes are kept in just the room
    /// that they take.
    pub(super) fn release(&mut self) {
        if self.bytes.len() == BUFFER_BYTES {
            let unread: Box<[u8]> = self.unread().into();
            (self.start, self.end) = (0, unread.len());
            self.pool.give_back(mem::replace(&mut self.bytes, unread));
        }
    }
}

impl Drop for Input<'_> {
    fn drop(&mut self) {
        self.pool.give_back(mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_bytes_survive_a_release_and_the_buffer_is_used_again() {
        let pool = BufferPool::new(1);
        let mut input = Input::new(&pool);
        input.room()[..5].copy_from_slice(b"hello");
        input.filled(5);
        input.consume(2);
        input.release();
        assert_eq!((input.unread(), input.bytes.len()), (&b"llo"[..], 3));
        assert_eq!(pool.free.borrow().len(), 1);
        assert_eq!(input.room().len(), BUFFER_BYTES - 3);
        assert_eq!(pool.free.borrow().len(), 0);
        assert_eq!(input.unread(), b"llo");
        input.cut_out(1, 1);
        assert_eq!(input.unread(), b"lo");
        drop(input);
        assert_eq!(pool.free.borrow().len(), 1);
    }
}

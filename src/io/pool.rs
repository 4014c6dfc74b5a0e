//! Buffers that are held only while there is something in them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// Buffers that nobody holds, to be used again: for one thread, and bounded.
///
/// A server with thousands of waiting connections needs only as many buffers as have bytes to read
/// at one moment. So wait first ([`TcpStream::readable`](crate::net::TcpStream::readable)), then
/// take a buffer, and drop it before the next wait. The one that was given back last, which the
/// processor still has at hand, is the next to be taken. Nothing in it is zeroed, ever.
///
/// A clone is the same pool.
///
/// ```
/// use whirligig::io::{AsyncRead, AsyncWrite, BufferPool};
/// use whirligig::net::{TcpListener, TcpStream};
///
/// async fn echo(mut stream: TcpStream, pool: BufferPool) -> std::io::Result<()> {
///     loop {
///         stream.readable().await?;
///         let mut buffer = pool.take();
///         if stream.read_into(&mut buffer).await? == 0 {
///             return Ok(());
///         }
///         stream.write_all(&buffer).await?;
///     }
/// }
///
/// whirligig::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let pool = BufferPool::new(16 * 1024, 64);
///     let server = whirligig::spawn(echo(listener.accept().await?.0, pool.clone()));
///     client.write_all(b"hello").await?;
///     let mut reply = [0; 5];
///     client.read_exact(&mut reply).await?;
///     assert_eq!((&reply, pool.unused()), (b"hello", 1));
///     drop(client);
///     server.await?
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BufferPool(Rc<Pool>);

struct Pool {
    /// The one that was given back last; without room there is none.
    last: Cell<Vec<u8>>,
    others: RefCell<Vec<Vec<u8>>>,
    buffer_bytes: usize,
    free_max: usize,
}

impl BufferPool {
    /// A pool of buffers with room for `buffer_bytes` each, which keeps at most `free_max` unused.
    #[must_use]
    pub fn new(buffer_bytes: usize, free_max: usize) -> BufferPool {
        let (last, others) = (Cell::default(), RefCell::default());
        BufferPool(Rc::new(Pool { last, others, buffer_bytes, free_max }))
    }

    /// An empty buffer: an unused one, or a new one if there is none.
    #[inline]
    #[must_use]
    pub fn take(&self) -> PooledBuffer {
        PooledBuffer { bytes: self.take_bytes(), pool: Rc::clone(&self.0) }
    }

    /// As [`take`](BufferPool::take), for who gives it back with
    /// [`give_back`](BufferPool::give_back).
    #[inline]
    pub(crate) fn take_bytes(&self) -> Vec<u8> {
        let last = self.0.last.take();
        if last.capacity() > 0 { last } else { self.0.take_other() }
    }

    #[inline]
    pub(crate) fn give_back(&self, bytes: Vec<u8>) {
        self.0.give_back(bytes);
    }

    /// How many buffers nobody holds.
    #[must_use]
    pub fn unused(&self) -> usize {
        let last = self.0.last.take();
        let count = usize::from(last.capacity() > 0);
        self.0.last.set(last);
        count + self.0.others.borrow().len()
    }
}

impl Pool {
    #[inline(never)]
    fn take_other(&self) -> Vec<u8> {
        let other = self.others.borrow_mut().pop();
        other.unwrap_or_else(|| Vec::with_capacity(self.buffer_bytes))
    }

    #[inline]
    fn give_back(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        // One that grew, or was exchanged, would make the pool's bound on memory untrue.
        let is_own = (self.buffer_bytes..2 * self.buffer_bytes).contains(&bytes.capacity());
        if is_own && self.free_max > 0 {
            let before = self.last.replace(bytes);
            if before.capacity() > 0 {
                self.keep_other(before);
            }
        }
    }

    #[inline(never)]
    fn keep_other(&self, bytes: Vec<u8>) {
        let mut others = self.others.borrow_mut();
        if others.len() + 1 < self.free_max {
            others.push(bytes);
        }
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("buffer_bytes", &self.0.buffer_bytes)
            .field("unused", &self.unused())
            .finish_non_exhaustive()
    }
}

/// A buffer of a [`BufferPool`]: a `Vec<u8>` that is given back, without what is in it, when this
/// is dropped.
pub struct PooledBuffer {
    bytes: Vec<u8>,
    pool: Rc<Pool>,
}

impl Deref for PooledBuffer {
    type Target = Vec<u8>;

    #[inline]
    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for PooledBuffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for PooledBuffer {
    #[inline]
    fn drop(&mut self) {
        self.pool.give_back(mem::take(&mut self.bytes));
    }
}

impl fmt::Debug for PooledBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_no_more_of_them_are_kept_than_allowed() {
        let pool = BufferPool::new(64, 2);
        let mut held: Vec<PooledBuffer> = (0..3).map(|_| pool.take()).collect();
        held[2].extend_from_slice(b"left over");
        let last = held[2].as_ptr();
        held.truncate(2);
        assert_eq!(pool.unused(), 1);
        let again = pool.take();
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (last, 0, 64));
        drop((held, again));
        assert_eq!(pool.unused(), 2);
    }

    #[test]
    fn a_buffer_that_grew_is_not_kept() {
        let pool = BufferPool::new(64, 2);
        let mut buffer = pool.take();
        buffer.extend_from_slice(&[1; 65]);
        drop(buffer);
        assert_eq!(pool.unused(), 0);
        let mut buffer = pool.take();
        *buffer = Vec::new();
        drop(buffer);
        assert_eq!(pool.unused(), 0);
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let mut buffer = BufferPool::new(8, 1).take();
        buffer.push(1);
        assert_eq!(*buffer, [1]);
    }
}

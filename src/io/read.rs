//! Reading bytes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What bytes can be read from.
pub trait AsyncRead {
    /// Reads into `buffer`, or arranges for a wake when there may be something to read. Returns
    /// how many bytes it read; 0 stands for the end of the stream, or for an empty buffer.
    ///
    /// One waiter at a time: a later call's waker takes the place of an earlier one's.
    ///
    /// # Errors
    /// Those of the stream. `WouldBlock` and `Interrupted` are not among them.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Takes back the waker that a pending [`poll_read`](AsyncRead::poll_read) left, since nobody
    /// waits for it any more. Only a courtesy: a wake too many does no harm.
    fn forget_reader(&mut self) {}

    /// Reads some bytes into `buffer`; 0 at the end of the stream.
    ///
    /// Cancel safety: if it is dropped before it is done, nothing was read.
    ///
    /// # Errors
    /// Those of the stream.
    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> Read<'a, Self>
    where
        Self: Sized,
    {
        Read { stream: self, buffer, waiting: false }
    }

    /// Fills the whole buffer.
    ///
    /// Cancel safety: none. What was read is in the buffer, but how much that is is lost.
    ///
    /// # Errors
    /// `UnexpectedEof` if the stream ends before; those of the stream.
    fn read_exact(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<()>>
    where
        Self: Sized,
    {
        async move {
            let mut filled = 0;
            while filled < buffer.len() {
                match self.read(&mut buffer[filled..]).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => filled += count,
                }
            }
            Ok(())
        }
    }

    /// Appends what is left of the stream to `bytes`, at most `bytes_max`, and returns how many
    /// bytes that were.
    ///
    /// Cancel safety: what was read so far is in `bytes`.
    ///
    /// # Errors
    /// `FileTooLarge` if there is more; then the first `bytes_max` were appended. Those of the
    /// stream.
    fn read_to_end(
        &mut self,
        bytes: &mut Vec<u8>,
        bytes_max: usize,
    ) -> impl Future<Output = io::Result<usize>>
    where
        Self: Sized,
    {
        async move {
            let start = bytes.len();
            loop {
                let left = bytes_max - (bytes.len() - start);
                let mut chunk = [0; 4096];
                // One byte beyond the bound tells the end of the stream from there being more.
                let room = left.saturating_add(1).min(chunk.len());
                let count = self.read(&mut chunk[..room]).await?;
                bytes.extend_from_slice(&chunk[..count.min(left)]);
                if count == 0 {
                    return Ok(bytes.len() - start);
                }
                if count > left {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
            }
        }
    }
}

/// The future of [`AsyncRead::read`].
#[must_use = "a read does nothing unless it is awaited"]
pub struct Read<'a, S: AsyncRead> {
    stream: &'a mut S,
    buffer: &'a mut [u8],
    waiting: bool,
}

impl<S: AsyncRead> Future for Read<'_, S> {
    type Output = io::Result<usize>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = this.stream.poll_read(cx, this.buffer);
        this.waiting = polled.is_pending();
        polled
    }
}

impl<S: AsyncRead> Drop for Read<'_, S> {
    #[inline]
    fn drop(&mut self) {
        if self.waiting {
            self.stream.forget_reader();
        }
    }
}

impl<S: AsyncRead> AsyncRead for &mut S {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        (**self).poll_read(cx, buffer)
    }

    fn forget_reader(&mut self) {
        (**self).forget_reader();
    }
}

impl AsyncRead for &[u8] {
    /// Bytes in memory are always there.
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(io::Read::read(self, buffer))
    }
}

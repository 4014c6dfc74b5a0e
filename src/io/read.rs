//! Reading bytes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Room that `read_to_end` makes at a time, at least.
const CHUNK_BYTES: usize = 4096;

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

    /// Reads into the spare capacity of `bytes` and adds what came to it, or arranges for a wake
    /// when there may be something to read. Returns how many bytes that were; 0 stands for the end
    /// of the stream, or for no spare capacity, which this does not enlarge.
    ///
    /// Streams that can fill memory that was never written do so; by default it is zeroed first.
    ///
    /// # Errors
    /// As for [`poll_read`](AsyncRead::poll_read).
    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let start = bytes.len();
        bytes.resize(bytes.capacity(), 0);
        let polled = self.poll_read(cx, &mut bytes[start..]);
        let count = match &polled {
            Poll::Ready(Ok(count)) => *count,
            _ => 0,
        };
        bytes.truncate(start + count);
        polled
    }

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

    /// Reads some bytes into the spare capacity of `bytes`, behind those that are there; 0 at the
    /// end of the stream, or without spare capacity.
    ///
    /// Sockets fill it without zeroing it first.
    ///
    /// Cancel safety: if it is dropped before it is done, nothing was read.
    ///
    /// ```
    /// use whirligig::io::AsyncRead;
    ///
    /// whirligig::run(async {
    ///     let mut stream = &b"hello, world"[..];
    ///     let mut bytes = Vec::with_capacity(5);
    ///     assert_eq!(stream.read_into(&mut bytes).await?, 5);
    ///     assert_eq!(bytes, b"hello");
    ///     assert_eq!(stream.read_into(&mut bytes).await?, 0, "there is no room");
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the stream.
    fn read_into<'a>(&'a mut self, bytes: &'a mut Vec<u8>) -> ReadInto<'a, Self>
    where
        Self: Sized,
    {
        ReadInto { stream: self, bytes, waiting: false }
    }

    /// Fills the whole buffer.
    ///
    /// Cancel safety: none. What was read is in the buffer, but how much that is is lost.
    ///
    /// # Errors
    /// `UnexpectedEof` if the stream ends before; those of the stream.
    fn read_exact<'a>(&'a mut self, buffer: &'a mut [u8]) -> ReadExact<'a, Self>
    where
        Self: Sized,
    {
        ReadExact(self.read(buffer))
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
                if bytes.len() == bytes.capacity() {
                    // One byte beyond the bound tells the end of the stream from there being more.
                    bytes.reserve(left.saturating_add(1).min(CHUNK_BYTES));
                }
                let count = self.read_into(bytes).await?;
                if count == 0 {
                    return Ok(bytes.len() - start);
                }
                if count > left {
                    bytes.truncate(start + bytes_max);
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

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match this.stream.poll_read(cx, this.buffer) {
            Poll::Pending => {
                this.waiting = true;
                Poll::Pending
            }
            ready => {
                this.waiting = false;
                ready
            }
        }
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

/// The future of [`AsyncRead::read_exact`].
#[must_use = "a read does nothing unless it is awaited"]
pub struct ReadExact<'a, S: AsyncRead>(
    /// What is left to be filled.
    Read<'a, S>,
);

impl<S: AsyncRead> Future for ReadExact<'_, S> {
    type Output = io::Result<()>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let left = &mut self.0;
        if left.buffer.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let length = left.buffer.len();
        match ready!(Pin::new(&mut *left).poll(cx)) {
            // More than there is room for would be the stream's fault, and fills it.
            Ok(count) if count >= length => {
                left.buffer = &mut [];
                Poll::Ready(Ok(()))
            }
            result => self.go_on(cx, result),
        }
    }
}

impl<S: AsyncRead> ReadExact<'_, S> {
    /// Goes on after a read that was not the last.
    #[cold]
    fn go_on(
        &mut self,
        cx: &mut Context<'_>,
        mut result: io::Result<usize>,
    ) -> Poll<io::Result<()>> {
        let left = &mut self.0;
        loop {
            match result {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    let buffer = std::mem::take(&mut left.buffer);
                    left.buffer = buffer.get_mut(count..).unwrap_or_default();
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            if left.buffer.is_empty() {
                return Poll::Ready(Ok(()));
            }
            result = ready!(Pin::new(&mut *left).poll(cx));
        }
    }
}

/// The future of [`AsyncRead::read_into`].
#[must_use = "a read does nothing unless it is awaited"]
pub struct ReadInto<'a, S: AsyncRead> {
    stream: &'a mut S,
    bytes: &'a mut Vec<u8>,
    waiting: bool,
}

impl<S: AsyncRead> Future for ReadInto<'_, S> {
    type Output = io::Result<usize>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match this.stream.poll_read_into(cx, this.bytes) {
            Poll::Pending => {
                this.waiting = true;
                Poll::Pending
            }
            ready => {
                this.waiting = false;
                ready
            }
        }
    }
}

impl<S: AsyncRead> Drop for ReadInto<'_, S> {
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

    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        (**self).poll_read_into(cx, bytes)
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

    fn poll_read_into(
        &mut self,
        _: &mut Context<'_>,
        bytes: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let (taken, left) = self.split_at(self.len().min(bytes.capacity() - bytes.len()));
        bytes.extend_from_slice(taken);
        *self = left;
        Poll::Ready(Ok(taken.len()))
    }
}

//! Writing bytes.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What bytes can be written to.
pub trait AsyncWrite {
    /// Writes some of `bytes`, or arranges for a wake when there may be room. Returns how many
    /// bytes it took.
    ///
    /// One waiter at a time: a later call's waker takes the place of an earlier one's.
    ///
    /// # Errors
    /// Those of the stream. `WouldBlock` and `Interrupted` are not among them.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends on what the stream itself has buffered.
    ///
    /// # Errors
    /// Those of the stream.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the stream in this direction, after what was written before.
    ///
    /// # Errors
    /// Those of the stream.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Takes back the waker that a pending [`poll_write`](AsyncWrite::poll_write) left. Only a
    /// courtesy: a wake too many does no harm.
    fn forget_writer(&mut self) {}

    /// Writes some of `bytes` and returns how many.
    ///
    /// Cancel safety: if it is dropped before it is done, nothing was written.
    ///
    /// # Errors
    /// Those of the stream.
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> Write<'a, Self>
    where
        Self: Sized,
    {
        Write { stream: self, bytes, waiting: false }
    }

    /// Writes all of `bytes`.
    ///
    /// Cancel safety: none. How much was written is lost.
    ///
    /// # Errors
    /// `WriteZero` if the stream takes no more; those of the stream.
    fn write_all<'a>(&'a mut self, bytes: &'a [u8]) -> WriteAll<'a, Self>
    where
        Self: Sized,
    {
        WriteAll(self.write(bytes))
    }

    /// Sends on what the stream itself has buffered.
    ///
    /// Cancel safety: it may be called again.
    ///
    /// # Errors
    /// Those of the stream.
    fn flush(&mut self) -> impl Future<Output = io::Result<()>>
    where
        Self: Sized,
    {
        poll_fn(|cx| self.poll_flush(cx))
    }

    /// Ends the stream in this direction, after what was written before.
    ///
    /// Cancel safety: it may be called again.
    ///
    /// # Errors
    /// Those of the stream.
    fn close(&mut self) -> impl Future<Output = io::Result<()>>
    where
        Self: Sized,
    {
        poll_fn(|cx| self.poll_close(cx))
    }
}

/// The future of [`AsyncWrite::write`].
#[must_use = "a write does nothing unless it is awaited"]
pub struct Write<'a, S: AsyncWrite> {
    stream: &'a mut S,
    bytes: &'a [u8],
    waiting: bool,
}

impl<S: AsyncWrite> Future for Write<'_, S> {
    type Output = io::Result<usize>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match this.stream.poll_write(cx, this.bytes) {
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

impl<S: AsyncWrite> Drop for Write<'_, S> {
    #[inline]
    fn drop(&mut self) {
        if self.waiting {
            self.stream.forget_writer();
        }
    }
}

/// The future of [`AsyncWrite::write_all`].
#[must_use = "a write does nothing unless it is awaited"]
pub struct WriteAll<'a, S: AsyncWrite>(
    /// What is left to be written.
    Write<'a, S>,
);

impl<S: AsyncWrite> Future for WriteAll<'_, S> {
    type Output = io::Result<()>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let left = &mut self.0;
        if left.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let length = left.bytes.len();
        match ready!(Pin::new(&mut *left).poll(cx)) {
            // More than it was given would be the stream's fault, and all of it is written.
            Ok(count) if count >= length => {
                left.bytes = &[];
                Poll::Ready(Ok(()))
            }
            result => self.go_on(cx, result),
        }
    }
}

impl<S: AsyncWrite> WriteAll<'_, S> {
    /// Goes on after a write that was not the last.
    #[cold]
    fn go_on(
        &mut self,
        cx: &mut Context<'_>,
        mut result: io::Result<usize>,
    ) -> Poll<io::Result<()>> {
        let left = &mut self.0;
        loop {
            match result {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => left.bytes = left.bytes.get(count..).unwrap_or_default(),
                Err(error) => return Poll::Ready(Err(error)),
            }
            if left.bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            result = ready!(Pin::new(&mut *left).poll(cx));
        }
    }
}

impl<S: AsyncWrite> AsyncWrite for &mut S {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        (**self).poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_close(cx)
    }

    fn forget_writer(&mut self) {
        (**self).forget_writer();
    }
}

impl AsyncWrite for Vec<u8> {
    /// Memory always has room.
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

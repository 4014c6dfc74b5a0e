//! The two halves of a stream.

use super::TcpStream;
use crate::io::{AsyncRead, AsyncWrite};
use crate::reactor::{Direction, Watched};
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Takes a direction's waker out again when the wait is over or given up.
pub(super) struct Waiting<'a> {
    pub(super) watched: &'a Watched,
    pub(super) direction: Direction,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.watched.forget_waiter(self.direction);
    }
}

pub(super) fn split(stream: &mut TcpStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (ReadHalf(stream), WriteHalf(stream))
}

pub(super) fn into_split(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Rc::new(stream);
    (OwnedReadHalf(Rc::clone(&stream)), OwnedWriteHalf(Some(stream)))
}

/// The reading half that [`TcpStream::split`] lends.
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a TcpStream);

/// The writing half that [`TcpStream::split`] lends.
#[derive(Debug)]
pub struct WriteHalf<'a>(&'a TcpStream);

/// The reading half that [`TcpStream::into_split`] gives. The stream is closed once both halves
/// are dropped.
#[derive(Debug)]
pub struct OwnedReadHalf(Rc<TcpStream>);

/// The writing half that [`TcpStream::into_split`] gives. Dropping it shuts writing down: the peer
/// reads the end of the stream.
#[derive(Debug)]
pub struct OwnedWriteHalf(
    /// None once the halves were put together again.
    Option<Rc<TcpStream>>,
);

impl OwnedWriteHalf {
    fn stream(&self) -> &TcpStream {
        self.0.as_ref().expect("only `reunite` takes it, and the half with it")
    }

    /// Puts the stream together again.
    ///
    /// # Errors
    /// Both halves, if they are of two streams.
    pub fn reunite(mut self, read: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        let same = self.0.as_ref().is_some_and(|stream| Rc::ptr_eq(stream, &read.0));
        if !same {
            return Err(ReuniteError(read, self));
        }
        self.0 = None;
        Ok(Rc::into_inner(read.0).expect("the halves are the only two references"))
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if let Some(stream) = &self.0 {
            stream.forget_waiter(Direction::Write);
            // A connection that is broken has nothing left to shut down.
            let _ = stream.shutdown_shared(Shutdown::Write);
        }
    }
}

/// Two halves that are not of one stream.
#[derive(Debug)]
pub struct ReuniteError(
    /// The reading half.
    pub OwnedReadHalf,
    /// The writing half.
    pub OwnedWriteHalf,
);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves are of two streams")
    }
}

impl std::error::Error for ReuniteError {}

impl AsyncRead for ReadHalf<'_> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read_shared(cx, buffer)
    }

    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read_into_shared(cx, bytes)
    }

    fn forget_reader(&mut self) {
        self.0.forget_waiter(Direction::Read);
    }
}

impl AsyncRead for OwnedReadHalf {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read_shared(cx, buffer)
    }

    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_read_into_shared(cx, bytes)
    }

    fn forget_reader(&mut self) {
        self.0.forget_waiter(Direction::Read);
    }
}

impl AsyncWrite for WriteHalf<'_> {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write_shared(cx, bytes)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown_shared(Shutdown::Write))
    }

    fn forget_writer(&mut self) {
        self.0.forget_waiter(Direction::Write);
    }
}

impl AsyncWrite for OwnedWriteHalf {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write_shared(cx, bytes)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream().shutdown_shared(Shutdown::Write))
    }

    fn forget_writer(&mut self) {
        self.stream().forget_waiter(Direction::Write);
    }
}

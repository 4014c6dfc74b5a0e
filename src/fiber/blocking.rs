//! `std::io` for fibers.

use super::wait;
use crate::io::{AsyncRead, AsyncWrite};
use std::future::poll_fn;
use std::io::{self, Read, Write};

/// Makes a stream one of the standard library's [`Read`] and [`Write`], for use within a fiber.
///
/// Calls seem to block, but only the fiber waits. So code that was written for blocking streams
/// runs in a fiber as it is.
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
/// use whirligig::fiber::{self, Blocking};
/// use whirligig::net::{TcpListener, TcpStream};
///
/// /// Knows nothing of fibers.
/// fn greet(stream: impl std::io::Read + Write) -> std::io::Result<()> {
///     let mut stream = BufReader::new(stream);
///     let mut name = String::new();
///     stream.read_line(&mut name)?;
///     write!(stream.get_mut(), "hello {name}")
/// }
///
/// whirligig::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     let server = fiber::spawn(move || {
///         let (stream, _) = fiber::wait(listener.accept())?;
///         greet(Blocking::new(stream))
///     });
///     let client = fiber::spawn(move || {
///         let mut stream = Blocking::new(fiber::wait(TcpStream::connect(address))?);
///         stream.write_all(b"world\n")?;
///         std::io::read_to_string(stream)
///     });
///     assert_eq!(client.await??, "hello world\n");
///     server.await?
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
/// As [`wait`]: outside of a fiber.
#[derive(Debug, Default)]
pub struct Blocking<S>(S);

impl<S> Blocking<S> {
    /// Wraps a stream.
    pub fn new(stream: S) -> Blocking<S> {
        Blocking(stream)
    }

    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.0
    }

    /// The stream, for what it alone can do.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.0
    }

    /// The stream back.
    pub fn into_inner(self) -> S {
        self.0
    }
}

impl<S: AsyncRead> Read for Blocking<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait(self.0.read(buffer))
    }
}

impl<S: AsyncWrite> Write for Blocking<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        wait(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        wait(poll_fn(|cx| self.0.poll_flush(cx)))
    }
}

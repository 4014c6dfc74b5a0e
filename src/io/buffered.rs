//! Reading through a buffer, line by line.

use super::AsyncRead;
use std::io;
use std::task::{Context, Poll};

/// A stream with a read buffer, for reading lines.
#[derive(Debug)]
pub struct BufReader<S> {
    stream: S,
    buffer: Box<[u8]>,
    /// What of the buffer is read from the stream and not yet taken.
    start: usize,
    end: usize,
}

impl<S: AsyncRead> BufReader<S> {
    /// A buffer of 8 KiB.
    pub fn new(stream: S) -> BufReader<S> {
        BufReader::with_capacity(8 * 1024, stream)
    }

    /// A buffer of `capacity` bytes, but at least one.
    pub fn with_capacity(capacity: usize, stream: S) -> BufReader<S> {
        BufReader { stream, buffer: vec![0; capacity.max(1)].into(), start: 0, end: 0 }
    }

    /// What is in the buffer; empty before the first read and at the end of the stream.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The stream itself. Bytes that are in the buffer are lost to it.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream, without what is in the buffer.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Bytes from the buffer, which is filled if it is empty; empty at the end of the stream. Call
    /// [`consume`](BufReader::consume) for those that were used.
    ///
    /// Cancel safety: nothing is lost.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn fill_buffer(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.end = self.stream.read(&mut self.buffer).await?;
        }
        Ok(self.buffer())
    }

    /// Marks the first `count` bytes of the buffer as used, or all if there are fewer.
    pub fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start.saturating_add(count));
    }

    /// Reads up to and with the next newline, or to the end of the stream, and appends it to
    /// `line`. Returns how many bytes that were; 0 at the end of the stream.
    ///
    /// Cancel safety: what was read so far is in `line`; calling again with it goes on.
    ///
    /// # Errors
    /// `FileTooLarge` once `line` would hold more than `bytes_max`. Those of the stream.
    pub async fn read_line(&mut self, line: &mut Vec<u8>, bytes_max: usize) -> io::Result<usize> {
        let mut count = 0;
        loop {
            let found = self.fill_buffer().await?;
            let newline = found.iter().position(|&byte| byte == b'\n');
            let part = &found[..newline.map_or(found.len(), |index| index + 1)];
            if part.len() > bytes_max.saturating_sub(line.len()) {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            line.extend_from_slice(part);
            let taken = part.len();
            self.consume(taken);
            count += taken;
            if newline.is_some() || taken == 0 {
                return Ok(count);
            }
        }
    }
}

impl<S: AsyncRead> AsyncRead for BufReader<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.start == self.end {
            return self.stream.poll_read(cx, into);
        }
        let count = into.len().min(self.end - self.start);
        into[..count].copy_from_slice(&self.buffer()[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }

    fn forget_reader(&mut self) {
        self.stream.forget_reader();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_whatever_the_size_of_the_buffer() {
        for capacity in 1..12 {
            let text: &[u8] = b"one\ntwo\r\n\nlast";
            let mut reader = BufReader::with_capacity(capacity, text);
            let lines = crate::run(async {
                let mut lines = Vec::new();
                loop {
                    let mut line = Vec::new();
                    if reader.read_line(&mut line, 5).await.unwrap() == 0 {
                        return lines;
                    }
                    lines.push(String::from_utf8(line).unwrap());
                }
            });
            assert_eq!(lines.unwrap(), ["one\n", "two\r\n", "\n", "last"], "{capacity}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_an_error() {
        let mut reader = BufReader::new(&b"123456\n"[..]);
        let result = crate::run(async { reader.read_line(&mut Vec::new(), 6).await }).unwrap();
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}

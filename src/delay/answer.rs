//! An answer on its way, for clients that read it in pieces.

use crate::http::{BodyDecoder, Limits, ParseError, RequestKind, ResponseParser};
use std::io;

/// Bytes of an answer's body.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of an answer, with its heads and the frames of its body. It is looked at anew with each
/// piece that arrives, which only a bound makes harmless.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// What has arrived of an answer.
///
/// ```
/// use whirligig::delay::Incoming;
///
/// let mut incoming = Incoming::default();
/// assert_eq!(incoming.receive(b"HTTP/1.1 200 OK\r\nContent-Le")?, None);
/// assert_eq!(incoming.receive(b"ngth: 2\r\n\r\nhi")?, Some((200, b"hi".to_vec())));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
}

impl Incoming {
    /// Takes in what a read gave: `piece` is empty at the end of the stream. The status and the
    /// body, once all of the answer is there.
    ///
    /// # Errors
    /// `UnexpectedEof` if the stream ends first; `InvalidData` if it is no HTTP, or too long.
    pub fn receive(&mut self, piece: &[u8]) -> io::Result<Option<(u16, Vec<u8>)>> {
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() > ANSWER_BYTES_MAX {
            let text = "the answer is too long";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let ended = piece.is_empty();
        match whole_answer(&self.bytes, ended).map_err(invalid)? {
            None if ended => Err(self.closed_too_early()),
            answer => Ok(answer),
        }
    }

    fn closed_too_early(&self) -> io::Error {
        let text = match self.bytes.is_empty() {
            true => "the server closed the connection without an answer",
            false => "the server closed the connection inside its answer",
        };
        io::Error::new(io::ErrorKind::UnexpectedEof, text)
    }
}

fn whole_answer(mut received: &[u8], ended: bool) -> Result<Option<(u16, Vec<u8>)>, ParseError> {
    let mut parser = ResponseParser::new(RequestKind::Ordinary);
    let response = loop {
        let parsed = parser.parse(received, &Limits::default())?;
        let Some(response) = parsed else { return Ok(None) };
        received = &received[response.head_bytes..];
        if !response.is_interim() {
            break response;
        }
    };
    let mut decoder = BodyDecoder::new(response.framing, BODY_BYTES_MAX)?;
    let mut body = Vec::new();
    while !decoder.is_done() && !received.is_empty() {
        let decoded = decoder.decode(received)?;
        body.extend_from_slice(decoded.data);
        received = &received[decoded.consumed..];
    }
    let whole = decoder.is_done() || (ended && decoder.finish().is_ok());
    Ok(whole.then_some((response.status, body)))
}

fn invalid(error: ParseError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_ends_too_early_or_goes_on_without_end_is_an_error() {
        let mut nothing = Incoming::default();
        assert_eq!(nothing.receive(b"").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut endless = Incoming::default();
        endless.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        // Chunks of one byte, whose frames are five: the body stays within its own bound.
        let error = std::iter::repeat_with(|| endless.receive(&b"1\r\nx\r\n".repeat(700)))
            .find_map(Result::err);
        assert_eq!(error.map(|error| error.to_string()), Some("the answer is too long".into()));
    }
}

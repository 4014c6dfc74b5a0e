//! Message bodies (RFC 9112, sections 6 and 7).
//!
//! ```text
//!            digit      CR              LF
//!   +---> Size ----> SizeEnd ---------------+--------------------+
//!   |      | ;  SP      ^ CR                | size is not 0      | size is 0
//!   |      v            |                   v                    v
//!   |    Extension -----+                 Data              TrailerStart <------------+
//!   |                                       | size bytes     | token   | CR           |
//!   |  LF                CR                 v                v         v              |
//!   +------- DataLineFeed <---- DataCarriageReturn     TrailerName    End --> Done    |
//!                                                            | ':'        LF          |
//!                                                            v                        |
//!                                                      TrailerValue -> TrailerEnd ----+
//!                                                                   CR           LF
//! ```

use super::ParseError;
use super::class::{TOKEN, VALUE, is};
use super::message::Framing;

/// How many hexadecimal digits a chunk's size may have: as many as 64 bits need.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 16;

/// How many bytes the chunk extensions of a whole body may have. They are for one hop only, and
/// hardly anyone sends them; without a bound they make a small body a large one.
pub const EXTENSION_BYTES_MAX: u32 = 4 * 1024;

/// How many bytes the trailer section of a body may have, the empty line that ends it included.
pub const TRAILER_BYTES_MAX: u32 = 8 * 1024;

/// What one call of [`BodyDecoder::decode`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// How many bytes of the input are dealt with; the next call starts after them.
    pub consumed: usize,
    /// The next piece of the body; empty if the bytes dealt with hold none.
    pub data: &'a [u8],
    /// Whether the body is complete. What follows `consumed` belongs to the next message.
    pub done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length,
    UntilClose,
    Chunks(Place),
    Done,
    Failed(ParseError),
}

/// Where in a chunked body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size { digits: u8 },
    SpaceAfterSize,
    Extension,
    SizeEnd,
    Data,
    DataCarriageReturn,
    DataLineFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    End,
}

/// Takes a body out of the bytes it is framed in.
///
/// It holds a few numbers and no bytes. Chunk extensions and trailers are checked and skipped.
///
/// # Examples
///
/// ```
/// use whirligig::http::{BodyDecoder, Framing};
///
/// let mut decoder = BodyDecoder::new(Framing::Chunked, 1024)?;
/// let (mut input, mut body) = (&b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nnext"[..], Vec::new());
/// while !decoder.is_done() {
///     let decoded = decoder.decode(input)?;
///     body.extend_from_slice(decoded.data);
///     input = &input[decoded.consumed..];
/// }
/// assert_eq!((&body[..], input), (&b"abcde"[..], &b"next"[..]));
/// # Ok::<(), whirligig::http::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BodyDecoder {
    state: State,
    /// Bytes of the body, or of the current chunk, that are still to come.
    remaining: u64,
    /// Bytes of data that may be announced yet, those already announced not counted.
    allowance: u64,
    extension_bytes: u32,
    trailer_bytes: u32,
}

impl BodyDecoder {
    /// A decoder at the start of a body of at most `body_bytes_max` bytes of data.
    ///
    /// # Errors
    ///
    /// [`ParseError::BodyTooLarge`] if the framing already tells so.
    pub fn new(framing: Framing, body_bytes_max: u64) -> Result<BodyDecoder, ParseError> {
        let (state, remaining) = match framing {
            Framing::None | Framing::Length(0) => (State::Done, 0),
            Framing::Length(length) if length > body_bytes_max => {
                return Err(ParseError::BodyTooLarge);
            }
            Framing::Length(length) => (State::Length, length),
            Framing::Chunked => (State::Chunks(Place::Size { digits: 0 }), 0),
            Framing::UntilClose => (State::UntilClose, 0),
        };
        let allowance = body_bytes_max;
        Ok(BodyDecoder { state, remaining, allowance, extension_bytes: 0, trailer_bytes: 0 })
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes the front of `input`, up to the end of one piece of data.
    ///
    /// Call it again with what follows [`Decoded::consumed`] until it says [`Decoded::done`] or the
    /// input is used up. Every call consumes something unless the input is empty or the body done.
    ///
    /// # Errors
    ///
    /// Says why this is not such a body or that it is too large; every further call says the same.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Decoded<'a>, ParseError> {
        let decoded = match self.state {
            State::Length => Ok(self.take(input, 0, State::Done)),
            State::UntilClose => self.decode_until_close(input),
            State::Chunks(place) => self.decode_chunks(input, place),
            State::Done => Ok((0, &input[..0])),
            State::Failed(error) => Err(error),
        };
        match decoded {
            Ok((consumed, data)) => Ok(Decoded { consumed, data, done: self.is_done() }),
            Err(error) => {
                self.state = State::Failed(error);
                Err(error)
            }
        }
    }

    /// Tells whether the body may end where the sender closed.
    ///
    /// # Errors
    ///
    /// [`ParseError::UnexpectedEnd`] if more was to come, or the error that `decode` returned.
    pub fn finish(&mut self) -> Result<(), ParseError> {
        match self.state {
            State::Done | State::UntilClose => self.state = State::Done,
            State::Failed(_) => {}
            State::Length | State::Chunks(_) => {
                self.state = State::Failed(ParseError::UnexpectedEnd);
            }
        }
        match self.state {
            State::Failed(error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes what `input` has, from `start`, of the `remaining` bytes; after the last, `next`
    /// follows.
    fn take<'a>(&mut self, input: &'a [u8], start: usize, next: State) -> (usize, &'a [u8]) {
        let rest = input.get(start..).unwrap_or_default();
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let data = rest.get(..wanted).unwrap_or(rest);
        self.remaining -= data.len() as u64;
        if self.remaining == 0 {
            self.state = next;
        }
        (start + data.len(), data)
    }

    /// Gives out what is allowed before it refuses the byte after it, so that the split of the
    /// input does not show in the data.
    fn decode_until_close<'a>(&mut self, input: &'a [u8]) -> Result<(usize, &'a [u8]), ParseError> {
        if self.allowance == 0 && !input.is_empty() {
            return Err(ParseError::BodyTooLarge);
        }
        self.remaining = self.allowance;
        let (consumed, data) = self.take(input, 0, State::UntilClose);
        self.allowance = self.remaining;
        Ok((consumed, data))
    }

    fn decode_chunks<'a>(
        &mut self,
        input: &'a [u8],
        mut place: Place,
    ) -> Result<(usize, &'a [u8]), ParseError> {
        for (index, &byte) in input.iter().enumerate() {
            if place == Place::Data {
                self.state = State::Chunks(place);
                return Ok(self.take(input, index, State::Chunks(Place::DataCarriageReturn)));
            }
            if place == Place::End && byte == b'\n' {
                self.state = State::Done;
                return Ok((index + 1, &[]));
            }
            place = match place {
                Place::Size { digits } => self.after_size_byte(byte, digits)?,
                Place::SpaceAfterSize | Place::Extension => {
                    self.after_extension_byte(place, byte)?
                }
                Place::SizeEnd if byte == b'\n' => match self.remaining {
                    0 => Place::TrailerStart,
                    _ => Place::Data,
                },
                Place::DataCarriageReturn if byte == b'\r' => Place::DataLineFeed,
                Place::DataCarriageReturn => return Err(ParseError::ChunkEnd),
                Place::DataLineFeed if byte == b'\n' => Place::Size { digits: 0 },
                Place::SizeEnd | Place::DataLineFeed => return Err(ParseError::LineEnding),
                _ => self.after_trailer_byte(place, byte)?,
            };
        }
        self.state = State::Chunks(place);
        Ok((input.len(), &[]))
    }

    fn after_size_byte(&mut self, byte: u8, digits: u8) -> Result<Place, ParseError> {
        let Some(digit) = char::from(byte).to_digit(16) else {
            // The size is whole; only now is it taken off what may be announced.
            self.allowance = self.allowance.saturating_sub(self.remaining);
            return match byte {
                _ if digits == 0 => Err(ParseError::ChunkSize),
                b'\r' => Ok(Place::SizeEnd),
                b'\n' => Err(ParseError::LineEnding),
                b';' | b' ' | b'\t' => self.after_extension_byte(Place::SpaceAfterSize, byte),
                _ => Err(ParseError::ChunkSize),
            };
        };
        let size = match self.remaining.checked_mul(16) {
            Some(size) if digits < CHUNK_SIZE_DIGITS_MAX => size | u64::from(digit),
            _ => return Err(ParseError::ChunkSize),
        };
        if size > self.allowance {
            return Err(ParseError::BodyTooLarge);
        }
        self.remaining = size;
        Ok(Place::Size { digits: digits + 1 })
    }

    /// Skips an extension. White space may stand before its `;` (RFC 9112, section 7.1.1), but not
    /// before the line's end: parsers differ on that.
    fn after_extension_byte(&mut self, place: Place, byte: u8) -> Result<Place, ParseError> {
        if place == Place::Extension && byte == b'\r' {
            return Ok(Place::SizeEnd);
        }
        if self.extension_bytes == EXTENSION_BYTES_MAX {
            return Err(ParseError::ExtensionsTooLong);
        }
        self.extension_bytes += 1;
        match (place, byte) {
            (_, b'\n') => Err(ParseError::LineEnding),
            (Place::SpaceAfterSize, b' ' | b'\t') => Ok(Place::SpaceAfterSize),
            (Place::SpaceAfterSize, b';') => Ok(Place::Extension),
            (Place::Extension, byte) if is(byte, VALUE) => Ok(Place::Extension),
            _ => Err(ParseError::ChunkExtension),
        }
    }

    /// Checks the trailer section as header lines are checked (RFC 9112, section 7.1.2).
    fn after_trailer_byte(&mut self, place: Place, byte: u8) -> Result<Place, ParseError> {
        // The line feed that ends the section is not seen here, hence the one less.
        if self.trailer_bytes == TRAILER_BYTES_MAX - 1 {
            return Err(ParseError::TrailersTooLong);
        }
        self.trailer_bytes += 1;
        match (place, byte) {
            (Place::TrailerStart, b'\r') => Ok(Place::End),
            (Place::TrailerValue, b'\r') => Ok(Place::TrailerEnd),
            (Place::TrailerEnd, b'\n') => Ok(Place::TrailerStart),
            (Place::TrailerStart, b' ' | b'\t') => Err(ParseError::Folding),
            (Place::End | Place::TrailerEnd, _) => Err(ParseError::LineEnding),
            (Place::TrailerStart | Place::TrailerValue, b'\n') => Err(ParseError::LineEnding),
            (Place::TrailerStart | Place::TrailerName, byte) if is(byte, TOKEN) => {
                Ok(Place::TrailerName)
            }
            (Place::TrailerName, b':') => Ok(Place::TrailerValue),
            (Place::TrailerValue, byte) if is(byte, VALUE) => Ok(Place::TrailerValue),
            (Place::TrailerValue, _) => Err(ParseError::HeaderValue),
            _ => Err(ParseError::HeaderName),
        }
    }
}

//! The header lines of a head (RFC 9112, section 5).
//!
//! ```text
//!               token byte             ':'               CR LF
//!   LineStart ------------->  Name  ---------->  Value  -------+
//!     |   ^                                                    |
//!     |   +-------------- Facts::judge ------------------------+
//!     | CR LF
//!     v
//!    end of the head
//! ```

use super::ParseError;
use super::class::{VALUE, all_are, skip_token, skip_value};
use super::facts::{Facts, Line, Side, trim};
use super::message::Version;

/// Why a scan stopped short of the end of what it scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The bytes so far are in order; the rest has not arrived.
    Incomplete,
    /// No continuation can make these bytes a message.
    Refused(ParseError),
}

impl From<ParseError> for Stop {
    fn from(error: ParseError) -> Stop {
        Stop::Refused(error)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    LineStart,
    Name,
    Value,
}

/// How far the header lines have been scanned; every byte before `position` is judged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeaderScan {
    place: Place,
    position: usize,
    line_start: usize,
    name_end: usize,
    lines: usize,
    pub(super) facts: Facts,
}

impl HeaderScan {
    pub(super) fn starting_at(position: usize) -> HeaderScan {
        HeaderScan { position, ..HeaderScan::default() }
    }

    /// Scans to the end of the head and returns the index after it.
    #[inline(always)]
    pub(super) fn advance(
        &mut self,
        head: &[u8],
        lines_max: usize,
        side: Side,
        version: Version,
    ) -> Result<usize, Stop> {
        loop {
            if self.place == Place::LineStart {
                match head.get(self.position) {
                    None => return Err(Stop::Incomplete),
                    Some(b'\r') => return after_line_end(head, self.position),
                    Some(b' ' | b'\t') => return Err(ParseError::Folding.into()),
                    Some(b'\n') => return Err(ParseError::LineEnding.into()),
                    Some(_) if self.lines >= lines_max => {
                        return Err(ParseError::TooManyHeaders.into());
                    }
                    Some(_) => {}
                }
                self.lines += 1;
                self.line_start = self.position;
                self.place = Place::Name;
            }
            if self.place == Place::Name {
                self.position = skip_token(head, self.position);
                match head.get(self.position) {
                    None => return Err(Stop::Incomplete),
                    Some(b':') if self.position > self.line_start => {}
                    Some(_) => return Err(ParseError::HeaderName.into()),
                }
                self.name_end = self.position;
                self.position += 1;
                self.place = Place::Value;
            }
            self.position = skip_value(head, self.position);
            match head.get(self.position) {
                None => return Err(Stop::Incomplete),
                Some(b'\r' | b'\n') => {}
                Some(_) => return Err(ParseError::HeaderValue.into()),
            }
            let next_line = after_line_end(head, self.position)?;
            self.facts.judge(self.line(head), side, version)?;
            self.position = next_line;
            self.place = Place::LineStart;
        }
    }

    /// The line just scanned.
    #[inline]
    fn line<'a>(&self, head: &'a [u8]) -> Line<'a> {
        let value_start = self.name_end + 1;
        Line {
            name: slice(head, self.line_start, self.name_end),
            value: slice(head, value_start, self.position),
            value_start,
        }
    }
}

/// The index after the CR LF that should stand at `position`, where there is a byte.
#[inline]
pub(super) fn after_line_end(head: &[u8], position: usize) -> Result<usize, Stop> {
    match (head.get(position), head.get(position + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(position + 2),
        (Some(b'\r'), None) => Err(Stop::Incomplete),
        _ => Err(ParseError::LineEnding.into()),
    }
}

/// `bytes[start..end]`; empty if that lies outside, which only a caller can bring about that
/// changed its buffer under the parser.
#[inline]
pub(super) fn slice(bytes: &[u8], start: usize, end: usize) -> &[u8] {
    match bytes.get(start..end) {
        Some(slice) => slice,
        None => outside(),
    }
}

/// Apart and cold, so that the compiler branches instead of computing both outcomes.
#[cold]
#[inline(never)]
fn outside() -> &'static [u8] {
    &[]
}

/// The header lines of a parsed head, in order, as names and values without white space around
/// them.
///
/// Made by [`Request::headers`](super::Request::headers) and
/// [`Response::headers`](super::Response::headers). The lines were validated when the head was
/// parsed; this cuts them again, so that a parse need not store them.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    lines: &'a [u8],
}

impl<'a> Headers<'a> {
    pub(super) fn new(lines: &'a [u8]) -> Headers<'a> {
        Headers { lines }
    }

    /// The first value of the header called `name`, whatever its case.
    #[must_use]
    pub fn value_of(mut self, name: &str) -> Option<&'a [u8]> {
        self.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<(&'a str, &'a [u8])> {
        let colon = skip_token(self.lines, 0);
        let (name, rest) = self.lines.split_at_checked(colon)?;
        let value_end = skip_value(rest, 1);
        let value = rest.get(1..value_end)?;
        self.lines = rest.get(value_end + 2..).unwrap_or_default();
        Some((std::str::from_utf8(name).ok()?, trim(value)))
    }
}

/// Whether `value` may be written as a header's value or a reason phrase.
pub(super) fn is_value(value: &[u8]) -> bool {
    all_are(value, VALUE)
}

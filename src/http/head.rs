//! The header lines of a head, and what they say about the message (RFC 9112, sections 5 to 7).
//!
//! ```text
//!               token byte             ':'               CR LF
//!   LineStart ------------->  Name  ---------->  Value  -------+
//!     |   ^                                                    |
//!     |   +----------------- judge_line -----------------------+
//!     | CR LF
//!     v
//!    end of the head
//! ```

use super::ParseError;
use super::class::{VALUE, is, is_token, skip_token, skip_value};
use super::message::Version;
use super::target::is_authority;

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

/// Which kind of message the lines belong to: `Host` and `Expect` mean something in requests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// What the header lines so far say about the message as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) content_length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    /// Where the value of `Host` starts and ends.
    pub(super) host: Option<(usize, usize)>,
}

impl Facts {
    /// Whether the connection outlives the message (RFC 9112, section 9.3): `close` wins.
    pub(super) fn keeps_alive(&self, version: Version) -> bool {
        !self.close && (self.keep_alive || version == Version::Http11)
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
    #[inline]
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
            self.judge_line(head, side, version)?;
            self.position = next_line;
            self.place = Place::LineStart;
        }
    }

    /// Recognises the few names that matter here by their lengths and first letters.
    #[inline]
    fn judge_line(&mut self, head: &[u8], side: Side, version: Version) -> Result<(), ParseError> {
        let name = slice(head, self.line_start, self.name_end);
        let is_named = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        let Some(first) = name.first() else {
            return Ok(());
        };
        match (name.len(), first | 0x20) {
            (4, b'h') if side == Side::Request && (name == b"Host" || is_named(b"host")) => {
                self.judge_host(head)
            }
            (6, b'e') if side == Side::Request && is_named(b"expect") => {
                self.judge_expect(head, version)
            }
            (10, b'c') if is_named(b"connection") => {
                self.judge_connection(head);
                Ok(())
            }
            (14, b'c') if is_named(b"content-length") => self.judge_content_length(head),
            (17, b't') if is_named(b"transfer-encoding") => {
                self.judge_transfer_encoding(head, version)
            }
            _ => Ok(()),
        }
    }

    /// Exactly one `Host`, and a well-formed one (RFC 9112, section 3.2). Its value may be empty, which
    /// is what a client sends when its target has no authority.
    fn judge_host(&mut self, head: &[u8]) -> Result<(), ParseError> {
        let (start, end) = self.value(head);
        let host = slice(head, start, end);
        if self.facts.host.is_some() || !(host.is_empty() || is_authority(host)) {
            return Err(ParseError::Host);
        }
        self.facts.host = Some((start, end));
        Ok(())
    }

    /// Only `100-continue` is known, and HTTP/1.0 knows no expectation (RFC 9110, section 10.1.1).
    #[cold]
    fn judge_expect(&mut self, head: &[u8], version: Version) -> Result<(), ParseError> {
        if version == Version::Http10 {
            return Ok(());
        }
        for expectation in self.value_list(head) {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                return Err(ParseError::Expectation);
            }
        }
        self.facts.expects_continue = true;
        Ok(())
    }

    /// A list of tokens, of which two matter (RFC 9110, section 7.6.1; RFC 9112, section 9.3).
    fn judge_connection(&mut self, head: &[u8]) {
        let (mut close, mut keep_alive) = (false, false);
        for option in self.value_list(head) {
            close |= option.eq_ignore_ascii_case(b"close");
            keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
        self.facts.close |= close;
        self.facts.keep_alive |= keep_alive;
    }

    /// One number, once. RFC 9112, section 6.3 lets a recipient forgive a repeated equal value; here
    /// it is refused, as the next program on the way may not read it so.
    fn judge_content_length(&mut self, head: &[u8]) -> Result<(), ParseError> {
        if self.facts.chunked {
            return Err(ParseError::ConflictingFraming);
        }
        let (start, end) = self.value(head);
        let length = decimal(slice(head, start, end)).ok_or(ParseError::ContentLength)?;
        match self.facts.content_length.replace(length) {
            None => Ok(()),
            Some(_) => Err(ParseError::ContentLength),
        }
    }

    /// `chunked`, once, and nothing else (RFC 9112, sections 6.1 and 7.1).
    fn judge_transfer_encoding(&mut self, head: &[u8], version: Version) -> Result<(), ParseError> {
        if version == Version::Http10 {
            return Err(ParseError::TransferEncoding);
        }
        if self.facts.content_length.is_some() {
            return Err(ParseError::ConflictingFraming);
        }
        let mut chunked = self.facts.chunked;
        for coding in self.value_list(head) {
            let name = trim(coding.split(|&byte| byte == b';').next().unwrap_or_default());
            let is_chunked = name.eq_ignore_ascii_case(b"chunked");
            // Nothing may follow `chunked`, and `chunked` takes no parameters.
            if chunked || !is_token(name) || (is_chunked && coding.len() > name.len()) {
                return Err(ParseError::TransferEncoding);
            }
            if !is_chunked {
                return Err(ParseError::TransferCoding);
            }
            chunked = true;
        }
        self.facts.chunked = chunked;
        Ok(())
    }

    /// The members of a comma-separated value (RFC 9110, section 5.6.1); there is at least one, which
    /// may be empty.
    fn value_list<'a>(&self, head: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (start, end) = self.value(head);
        slice(head, start, end).split(|&byte| byte == b',').map(trim)
    }

    /// Where the value of the line just scanned starts and ends, without white space around it.
    #[inline]
    fn value(&self, head: &[u8]) -> (usize, usize) {
        let (mut start, mut end) = (self.name_end + 1, self.position);
        while start < end && matches!(head.get(start), Some(b' ' | b'\t')) {
            start += 1;
        }
        while start < end && matches!(head.get(end - 1), Some(b' ' | b'\t')) {
            end -= 1;
        }
        (start, end)
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

/// `bytes[start..end]`; empty if that lies outside, which only a caller can bring about that changed
/// its buffer under the parser.
#[inline]
pub(super) fn slice(bytes: &[u8], start: usize, end: usize) -> &[u8] {
    bytes.get(start..end).unwrap_or_default()
}

/// A number of decimal digits alone, if it fits.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit <= 9)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// `bytes` without optional white space around it (RFC 9110, section 5.6.3).
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The header lines of a parsed head, in order, as names and values without white space around them.
///
/// Made by [`Request::headers`](super::Request::headers) and
/// [`Response::headers`](super::Response::headers). The lines were validated when the head was parsed;
/// this cuts them again, so that a parse need not store them.
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
    value.iter().all(|&byte| is(byte, VALUE))
}

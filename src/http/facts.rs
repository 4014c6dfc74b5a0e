//! What the header lines say about the message as a whole (RFC 9112, sections 3.2, 6 and 9.3).

use super::ParseError;
use super::class::is_token;
use super::message::{Framing, Version};
use super::target::is_authority;

/// Which kind of message the lines belong to: `Host` and `Expect` mean something in requests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// One header line, and where in the head the name starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) name: &'a [u8],
    /// As it stands after the colon, white space included.
    pub(super) value: &'a [u8],
    pub(super) value_start: usize,
}

/// What the header lines so far say.
///
/// To judge the line again that was refused gives the same refusal: so a refusal repeats.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    pub(super) expects_continue: bool,
    /// Where the value of `Host` starts and ends.
    pub(super) host: Option<(usize, usize)>,
}

impl Facts {
    /// The framing that the header asks for, if it does.
    pub(super) fn framing(&self) -> Option<Framing> {
        match self.content_length {
            _ if self.chunked => Some(Framing::Chunked),
            Some(length) => Some(Framing::Length(length)),
            None => None,
        }
    }

    /// Whether the connection outlives the message (RFC 9112, section 9.3): `close` wins.
    pub(super) fn keeps_alive(&self, version: Version) -> bool {
        !self.close && (self.keep_alive || version == Version::Http11)
    }

    /// Recognises the few names that matter here by their lengths and first letters.
    #[inline]
    pub(super) fn judge(
        &mut self,
        line: Line<'_>,
        side: Side,
        version: Version,
    ) -> Result<(), ParseError> {
        let name = line.name;
        let Some(first) = name.first() else { return Ok(()) };
        match (name.len(), first | 0x20, side) {
            (4, b'h', Side::Request) if name == b"Host" || is_named(name, b"host") => {
                self.judge_host(line)
            }
            (6, b'e', Side::Request) | (10 | 14, b'c', _) | (17, b't', _) => {
                self.judge_rest(line, side, version)
            }
            _ => Ok(()),
        }
    }

    /// Out of line, so that a head without any of these does not pay for them.
    #[inline(never)]
    fn judge_rest(
        &mut self,
        line: Line<'_>,
        side: Side,
        version: Version,
    ) -> Result<(), ParseError> {
        match line.name.len() {
            6 if side == Side::Request && is_named(line.name, b"expect") => {
                self.judge_expect(line, version)
            }
            10 if is_named(line.name, b"connection") => {
                self.judge_connection(line);
                Ok(())
            }
            14 if is_named(line.name, b"content-length") => self.judge_content_length(line),
            17 if is_named(line.name, b"transfer-encoding") => {
                self.judge_transfer_encoding(line, version)
            }
            _ => Ok(()),
        }
    }

    /// Exactly one `Host`, and a well-formed one (RFC 9112, section 3.2). Its value may be empty,
    /// which is what a client sends when its target has no authority.
    #[inline]
    fn judge_host(&mut self, line: Line<'_>) -> Result<(), ParseError> {
        let untrimmed = trim_start(line.value);
        let host = trim_end(untrimmed);
        if self.host.is_some() || !(host.is_empty() || is_authority(host)) {
            return Err(ParseError::Host);
        }
        let start = line.value_start + (line.value.len() - untrimmed.len());
        self.host = Some((start, start + host.len()));
        Ok(())
    }

    /// Only `100-continue` is known, and HTTP/1.0 knows no expectation (RFC 9110, section 10.1.1).
    fn judge_expect(&mut self, line: Line<'_>, version: Version) -> Result<(), ParseError> {
        if version == Version::Http10 {
            return Ok(());
        }
        for expectation in members(line.value) {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                return Err(ParseError::Expectation);
            }
        }
        self.expects_continue = true;
        Ok(())
    }

    /// A list of tokens, of which two matter (RFC 9110, section 7.6.1; RFC 9112, section 9.3).
    fn judge_connection(&mut self, line: Line<'_>) {
        for option in members(line.value) {
            match option.len() {
                5 => self.close |= option.eq_ignore_ascii_case(b"close"),
                10 => self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive"),
                _ => {}
            }
        }
    }

    /// One number, once. RFC 9112, section 6.3 lets a recipient forgive a repeated equal value;
    /// here it is refused, as the next program on the way may not read it so.
    fn judge_content_length(&mut self, line: Line<'_>) -> Result<(), ParseError> {
        if self.chunked {
            return Err(ParseError::ConflictingFraming);
        }
        let length = decimal(trim(line.value)).ok_or(ParseError::ContentLength)?;
        match self.content_length.replace(length) {
            None => Ok(()),
            Some(_) => Err(ParseError::ContentLength),
        }
    }

    /// `chunked`, once, and nothing else (RFC 9112, sections 6.1 and 7.1).
    fn judge_transfer_encoding(
        &mut self,
        line: Line<'_>,
        version: Version,
    ) -> Result<(), ParseError> {
        if version == Version::Http10 {
            return Err(ParseError::TransferEncoding);
        }
        if self.content_length.is_some() {
            return Err(ParseError::ConflictingFraming);
        }
        let mut chunked = self.chunked;
        for coding in members(line.value) {
            let name = coding.split(|&byte| byte == b';').next();
            let name = trim(name.unwrap_or_default());
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
        self.chunked = chunked;
        Ok(())
    }
}

#[inline(never)]
fn is_named(name: &[u8], wanted: &[u8]) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

/// The members of a comma-separated value (RFC 9110, section 5.6.1); there is at least one, which
/// may be empty.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
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
#[inline]
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

#[inline]
fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

#[inline]
fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

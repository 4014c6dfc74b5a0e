//! Response heads (RFC 9112, sections 4 and 6.3).
//!
//! ```text
//!            status and SP            CR LF
//!   Status --------------->  Reason  ------->  Headers  --->  end of the head
//! ```

use super::ParseError;
use super::class::skip_value;
use super::facts::Side;
use super::head::{HeaderScan, Headers, Stop, after_line_end, slice};
use super::message::{Framing, Limits, Method, Version};
use super::request::version_at;

/// What a response answers, as far as that decides where its body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// Any method not named below.
    #[default]
    Ordinary,
    /// `HEAD`: no response has a body, whatever its header says.
    Head,
    /// `CONNECT`: after a 2xx response the connection is a tunnel.
    Connect,
}

impl From<Method<'_>> for RequestKind {
    fn from(method: Method<'_>) -> RequestKind {
        match method {
            Method::Head => RequestKind::Head,
            Method::Connect => RequestKind::Connect,
            _ => RequestKind::Ordinary,
        }
    }
}

/// The head of a response; it borrows from the buffer it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The version of the protocol that the server speaks.
    pub version: Version,
    /// The status code, from 100 to 999. One that is not known means what `x00` of its class means,
    /// and 600 and above a server error (RFC 9110, section 15).
    pub status: u16,
    /// The words after the status, often none; not necessarily ASCII, and of no meaning.
    pub reason: &'a [u8],
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the connection may carry another exchange after this one (RFC 9112, section 9.3).
    pub keep_alive: bool,
    /// How many bytes of the buffer the head takes up; the body starts after them.
    pub head_bytes: usize,
    lines: &'a [u8],
}

impl<'a> Response<'a> {
    /// Whether another response to the same request follows: a 1xx, such as `100 Continue`, but for
    /// `101 Switching Protocols`, after which no HTTP follows (RFC 9110, section 15.2).
    #[must_use]
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// The header lines, in order.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        Headers::new(self.lines)
    }

    /// The first value of the header called `name`, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().value_of(name)
    }

    /// Appends the head to `out` as it would be sent: what is parsed from that is this response
    /// again, without the white space around values.
    pub fn write_back(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.version.as_str().as_bytes());
        out.push(b' ');
        super::write::write_number(out, u64::from(self.status), 10);
        out.push(b' ');
        out.extend_from_slice(self.reason);
        out.extend_from_slice(b"\r\n");
        super::write::write_lines(out, self.headers());
        out.extend_from_slice(b"\r\n");
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Status,
    Reason,
    Headers,
}

/// Parses the head of a response that arrives bit by bit; see
/// [`RequestParser`](super::RequestParser) for what it asks of the caller's buffer.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseParser {
    kind: RequestKind,
    place: Place,
    version: Version,
    status: u16,
    /// Every byte of the status line before it is judged.
    position: usize,
    reason_end: usize,
    headers: HeaderScan,
}

impl ResponseParser {
    /// A parser at the start of a response to a request of the kind `kind`.
    #[must_use]
    pub fn new(kind: RequestKind) -> ResponseParser {
        ResponseParser { kind, ..ResponseParser::default() }
    }

    /// Looks at `buffer`, which starts where the response should start, for a whole head.
    ///
    /// `Ok(None)` means that what is there is in order, but the head isn't complete. Once a
    /// response is returned the parser is as new, so that it takes what follows an
    /// [interim](Response::is_interim) one. `limits.target_bytes_max` is of no concern here.
    ///
    /// # Errors
    ///
    /// The first reason, in the order of the bytes, why this is not a response; calling again
    /// returns the same. A head that fills `limits.head_bytes_max` and isn't complete is refused at
    /// once.
    pub fn parse<'a>(
        &mut self,
        buffer: &'a [u8],
        limits: &Limits,
    ) -> Result<Option<Response<'a>>, ParseError> {
        let head = &buffer[..buffer.len().min(limits.head_bytes_max)];
        match self.advance(head, limits) {
            Ok(response) => {
                *self = ResponseParser::new(self.kind);
                Ok(Some(response))
            }
            Err(Stop::Refused(error)) => Err(error),
            Err(Stop::Incomplete) if buffer.len() >= limits.head_bytes_max => {
                Err(ParseError::HeadTooLong)
            }
            Err(Stop::Incomplete) => Ok(None),
        }
    }

    fn advance<'a>(&mut self, head: &'a [u8], limits: &Limits) -> Result<Response<'a>, Stop> {
        if self.place == Place::Status {
            self.scan_status(head)?;
        }
        if self.place == Place::Reason {
            self.position = skip_value(head, self.position);
            let end = match head.get(self.position) {
                None => return Err(Stop::Incomplete),
                Some(b'\r' | b'\n') => after_line_end(head, self.position)?,
                Some(_) => return Err(ParseError::StatusLine.into()),
            };
            self.reason_end = self.position;
            self.position = end;
            self.headers = HeaderScan::starting_at(end);
            self.place = Place::Headers;
        }
        let head_bytes =
            self.headers.advance(head, limits.headers_max, Side::Response, self.version)?;
        Ok(self.response(head, head_bytes))
    }

    /// The version, a space and the status: at most 13 bytes, so they are looked at anew on each
    /// call.
    ///
    /// The space after the status may be absent if the reason is: RFC 9112, section 4 has it
    /// always, but servers in wide use leave it out.
    fn scan_status(&mut self, head: &[u8]) -> Result<(), Stop> {
        let version = version_at(head)?;
        let mut status = 0;
        for place in 8..12 {
            let byte = *head.get(place).ok_or(Stop::Incomplete)?;
            match (place, byte) {
                (8, b' ') | (9, b'1'..=b'9') | (10 | 11, b'0'..=b'9') => {}
                _ => return Err(ParseError::StatusLine.into()),
            }
            if place > 8 {
                status = status * 10 + u16::from(byte - b'0');
            }
        }
        self.position = match head.get(12) {
            None => return Err(Stop::Incomplete),
            Some(b' ') => 13,
            Some(b'\r' | b'\n') => 12,
            Some(_) => return Err(ParseError::StatusLine.into()),
        };
        self.version = version;
        self.status = status;
        self.place = Place::Reason;
        Ok(())
    }

    fn response<'a>(&self, head: &'a [u8], head_bytes: usize) -> Response<'a> {
        let facts = &self.headers.facts;
        let framing = match (self.kind, self.status) {
            (RequestKind::Head, _) | (_, 100..200 | 204 | 304) => Framing::None,
            (RequestKind::Connect, 200..300) => Framing::None,
            _ => facts.framing().unwrap_or(Framing::UntilClose),
        };
        Response {
            version: self.version,
            status: self.status,
            reason: slice(head, 13, self.reason_end),
            framing,
            keep_alive: facts.keeps_alive(self.version) && framing != Framing::UntilClose,
            head_bytes,
            lines: slice(head, self.position, head_bytes - 2),
        }
    }
}

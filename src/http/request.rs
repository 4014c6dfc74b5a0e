//! Request heads (RFC 9112, sections 2.2 and 3).
//!
//! ```text
//!             first byte           SP            SP
//!   EmptyLines ---------> Method ------> Target ------> Version
//!     |    ^                                               | CR LF
//!     +----+ CR LF                                         v
//!                              end of the head <------- Headers
//! ```

use super::ParseError;
use super::class::{skip_name, skip_path, skip_target, skip_token, skip_value};
use super::facts::{Facts, Line, Side};
use super::head::{HeaderScan, Headers, Stop, after_line_end, slice};
use super::message::{Framing, Limits, Method, Version};
use super::target::{Parts, TargetForm, path_of, suits};
use std::fmt;

/// How many empty lines before a request line are ignored.
///
/// RFC 9112, section 2.2 asks for one at least: old clients send one too many after a body. More is
/// [`ParseError::RequestLine`], or a peer could keep a connection busy with nothing.
pub const LEADING_EMPTY_LINES_MAX: u8 = 2;

/// The head of a request; it borrows from the buffer it was parsed from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// What to do.
    pub method: Method<'a>,
    /// The version of the protocol that the client speaks.
    pub version: Version,
    /// Where the body ends; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether the connection may carry another request after this one (RFC 9112, section 9.3).
    pub keep_alive: bool,
    /// Whether the client holds its body back until it is sent [`CONTINUE`](super::CONTINUE) or a
    /// final response (RFC 9110, section 10.1.1). Never set if there is no body to wait for.
    pub expects_continue: bool,
    /// How many bytes of the buffer the head takes up; the body starts after them.
    pub head_bytes: usize,
    // Bytes, all of them ASCII: only who asks for text pays for making it text.
    target: &'a [u8],
    path: &'a [u8],
    host: &'a [u8],
    lines: &'a [u8],
}

impl<'a> Request<'a> {
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

    /// What to do it to, as it was sent: visible ASCII, in a form that suits the method. See
    /// [`path`](Request::path) and [`query`](Request::query).
    #[must_use]
    pub fn target(&self) -> &'a str {
        text(self.target)
    }

    /// Which of the four forms the target has.
    #[must_use]
    pub fn target_form(&self) -> TargetForm {
        self.parts().form
    }

    /// The path of the target, still percent-encoded: from `/` up to the query; `*` where the
    /// request is for the server as a whole; empty for `CONNECT`.
    #[must_use]
    pub fn path(&self) -> &'a str {
        text(self.path)
    }

    /// The [`path`](Request::path) as bytes, all of them ASCII; quicker to get.
    #[inline]
    #[must_use]
    pub fn path_bytes(&self) -> &'a [u8] {
        self.path
    }

    /// The query of the target, still percent-encoded and without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.parts().query
    }

    /// The host, and perhaps port, that the request is for: the target's own if it names one, else
    /// the `Host` header (RFC 9112, section 3.3). Empty if there is neither.
    #[must_use]
    pub fn host(&self) -> &'a str {
        self.parts().authority.unwrap_or_else(|| text(self.host))
    }

    /// Appends the head to `out` as it would be sent: what is parsed from that is this request
    /// again, without leading empty lines and the white space around values.
    pub fn write_back(&self, out: &mut Vec<u8>) {
        for part in [self.method.as_str(), " ", self.target(), " ", self.version.as_str(), "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        super::write::write_lines(out, self.headers());
        out.extend_from_slice(b"\r\n");
    }

    fn parts(&self) -> Parts<'a> {
        // The parser refused targets without a form; for those this would be the fallback.
        let (form, authority, query) = (TargetForm::Origin, None, None);
        let whole = Parts { form, authority, path: self.target(), query };
        Parts::of(self.method, self.target()).unwrap_or(whole)
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("target", &self.target())
            .field("version", &self.version)
            .field("framing", &self.framing)
            .field("keep_alive", &self.keep_alive)
            .field("expects_continue", &self.expects_continue)
            .field("head_bytes", &self.head_bytes)
            .field("host", &text(self.host))
            .finish_non_exhaustive()
    }
}

/// What the parser let through only as ASCII.
fn text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap_or_default()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    EmptyLines,
    Method,
    Target,
    Version,
    Headers,
}

/// Parses the head of a request that arrives bit by bit.
///
/// The parser holds no bytes, only how far it has looked into the caller's buffer. So between two
/// calls that did not return a request, the buffer may grow (and move) but not otherwise change. If
/// it does, verdicts are wrong, but nothing panics.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestParser {
    place: Place,
    empty_lines: u8,
    version: Version,
    /// Every byte of the request line before it is judged.
    position: usize,
    method_start: usize,
    method_end: usize,
    target_end: usize,
    headers: HeaderScan,
}

impl RequestParser {
    /// A parser at the start of a request.
    #[must_use]
    pub fn new() -> RequestParser {
        RequestParser::default()
    }

    /// Looks at `buffer`, which starts where the request should start, for a whole head.
    ///
    /// `Ok(None)` means that what is there is in order, but the head isn't complete: append to the
    /// buffer and call again. Once a request is returned the parser is as new: drop
    /// [`head_bytes`](Request::head_bytes) and the body from the front of the buffer, and parse on.
    ///
    /// # Errors
    ///
    /// The first reason, in the order of the bytes, why this is not a request; calling again
    /// returns the same. A head that fills `limits.head_bytes_max` and isn't complete is refused at
    /// once.
    #[inline]
    pub fn parse<'a>(
        &mut self,
        buffer: &'a [u8],
        limits: &Limits,
    ) -> Result<Option<Request<'a>>, ParseError> {
        if self.position == 0 {
            if let Some(request) = common_request(buffer, limits) {
                return Ok(Some(request));
            }
        }
        self.parse_any(buffer, limits)
    }

    /// As [`parse`](RequestParser::parse), for what may be as uncommon as can be.
    #[inline(never)]
    pub(super) fn parse_any<'a>(
        &mut self,
        buffer: &'a [u8],
        limits: &Limits,
    ) -> Result<Option<Request<'a>>, ParseError> {
        let head = &buffer[..buffer.len().min(limits.head_bytes_max)];
        match self.advance(head, limits) {
            Ok(request) => {
                *self = RequestParser::new();
                Ok(Some(request))
            }
            Err(Stop::Refused(error)) => Err(error),
            Err(Stop::Incomplete) if buffer.len() >= limits.head_bytes_max => {
                Err(ParseError::HeadTooLong)
            }
            Err(Stop::Incomplete) => Ok(None),
        }
    }

    #[inline(never)]
    fn advance<'a>(&mut self, head: &'a [u8], limits: &Limits) -> Result<Request<'a>, Stop> {
        if self.place == Place::EmptyLines {
            self.skip_empty_lines(head)?;
        }
        if self.place == Place::Method {
            self.position = skip_token(head, self.position);
            match head.get(self.position) {
                None => return Err(Stop::Incomplete),
                Some(b' ') if self.position > self.method_start => {}
                Some(b' ' | b'\r' | b'\n') => return Err(ParseError::RequestLine.into()),
                Some(_) => return Err(ParseError::Method.into()),
            }
            self.method_end = self.position;
            self.position += 1;
            self.place = Place::Target;
        }
        if self.place == Place::Target {
            self.scan_target(head, limits.target_bytes_max)?;
        }
        if self.place == Place::Version {
            let (version, end) = scan_version(head, self.position)?;
            if !suits(self.method(head), self.target(head)) {
                return Err(ParseError::Target.into());
            }
            self.version = version;
            self.position = end;
            self.headers = HeaderScan::starting_at(end);
            self.place = Place::Headers;
        }
        let (lines_max, version) = (limits.headers_max, self.version);
        let head_bytes = self.headers.advance(head, lines_max, Side::Request, version)?;
        self.request(head, head_bytes).map_err(Stop::Refused)
    }

    fn skip_empty_lines(&mut self, head: &[u8]) -> Result<(), Stop> {
        loop {
            match head.get(self.position) {
                None => return Err(Stop::Incomplete),
                Some(b'\r') if self.empty_lines == LEADING_EMPTY_LINES_MAX => {
                    return Err(ParseError::RequestLine.into());
                }
                Some(b'\r') => self.position = after_line_end(head, self.position)?,
                Some(b'\n') => return Err(ParseError::LineEnding.into()),
                Some(_) => break,
            }
            self.empty_lines += 1;
        }
        self.method_start = self.position;
        self.place = Place::Method;
        Ok(())
    }

    #[inline]
    fn scan_target(&mut self, head: &[u8], target_bytes_max: usize) -> Result<(), Stop> {
        let start = self.method_end + 1;
        self.position = skip_target(head, self.position);
        // First, as the byte that is one too many came before the one that ended the scan.
        if self.position - start > target_bytes_max {
            return Err(ParseError::TargetTooLong.into());
        }
        match head.get(self.position) {
            None => return Err(Stop::Incomplete),
            Some(b' ') if self.position > start => {}
            Some(b' ' | b'\r' | b'\n') => return Err(ParseError::RequestLine.into()),
            Some(_) => return Err(ParseError::Target.into()),
        }
        self.target_end = self.position;
        self.position += 1;
        self.place = Place::Version;
        Ok(())
    }

    /// What only the whole head can tell.
    fn request<'a>(&self, head: &'a [u8], head_bytes: usize) -> Result<Request<'a>, ParseError> {
        let facts = &self.headers.facts;
        let host = match facts.host {
            Some((start, end)) => slice(head, start, end),
            None if self.version == Version::Http10 => &[],
            None => return Err(ParseError::Host),
        };
        let framing = facts.framing().unwrap_or_default();
        let method = Method::from_token(self.method(head)).ok_or(ParseError::Method)?;
        let target = self.target(head);
        Ok(Request {
            method,
            target,
            path: path_of(method, target).ok_or(ParseError::Target)?,
            version: self.version,
            framing,
            keep_alive: facts.keeps_alive(self.version),
            expects_continue: facts.expects_continue && !framing.is_empty(),
            head_bytes,
            host,
            lines: slice(head, self.position, head_bytes - 2),
        })
    }

    #[inline]
    fn method<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        slice(head, self.method_start, self.method_end)
    }

    #[inline]
    fn target<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        slice(head, self.method_end + 1, self.target_end)
    }
}

/// The request that nearly all are: a whole head at once, `GET /path HTTP/1.1` and then its `Host`.
/// None for all that is different or wrong, about which [`RequestParser::advance`] has the word.
///
/// It remembers nothing on its way, which is most of what the other spends its time with. What this
/// takes the other takes too, and makes the same of it: each split of a head that the tests and the
/// fuzzer parse compares the two.
#[inline]
pub(super) fn common_request<'a>(buffer: &'a [u8], limits: &Limits) -> Option<Request<'a>> {
    const START: &[u8] = b"GET /";
    const END: &[u8] = b" HTTP/1.1\r\nHost: ";
    let head = &buffer[..buffer.len().min(limits.head_bytes_max)];
    let target_start = START.len() - 1;
    if !head.starts_with(START) || limits.headers_max == 0 {
        return None;
    }
    let path_end = skip_path(head, START.len());
    let mut target_end = path_end;
    if *head.get(path_end)? == b'?' {
        target_end = skip_target(head, path_end);
    }
    let after_target = head.get(target_end..)?;
    if target_end - target_start > limits.target_bytes_max || !after_target.starts_with(END) {
        return None;
    }
    // A plain name as the host: one look at each byte does.
    let host_start = target_end + END.len();
    let host_end = skip_name(head, host_start);
    let after_host = head.get(host_end..)?;
    let mut request = Request {
        method: Method::Get,
        version: Version::Http11,
        framing: Framing::None,
        keep_alive: true,
        expects_continue: false,
        head_bytes: host_end + 4,
        target: head.get(target_start..target_end)?,
        path: head.get(target_start..path_end)?,
        host: head.get(host_start..host_end)?,
        lines: head.get(target_end + 11..host_end + 2).unwrap_or_default(),
    };
    if !after_host.starts_with(b"\r\n\r\n") {
        let host = (host_start, host_end);
        let (facts, lines_end) = common_lines(head, host, limits.headers_max)?;
        request.framing = facts.framing().unwrap_or_default();
        request.keep_alive = facts.keeps_alive(Version::Http11);
        request.expects_continue = facts.expects_continue && !request.framing.is_empty();
        request.lines = head.get(target_end + 11..lines_end)?;
        request.head_bytes = lines_end + 2;
    }
    Some(request)
}

/// What the header lines say of which the first is that with the `host`, and where the empty line
/// begins that ends them.
#[inline(never)]
fn common_lines(head: &[u8], host: (usize, usize), lines_max: usize) -> Option<(Facts, usize)> {
    let mut facts = Facts::default();
    facts.host = Some(host);
    let mut position = host.1;
    for _ in 0..lines_max {
        let line = head.get(position..)?.strip_prefix(b"\r\n")?;
        position += 2;
        if line.starts_with(b"\r\n") {
            return Some((facts, position));
        }
        let name_end = skip_token(line, 0);
        if name_end == 0 || *line.get(name_end)? != b':' {
            return None;
        }
        let value_end = skip_value(line, name_end + 1);
        let (name, value) = (line.get(..name_end)?, line.get(name_end + 1..value_end)?);
        let judged = Line { name, value, value_start: position + name_end + 1 };
        facts.judge(judged, Side::Request, Version::Http11).ok()?;
        position += value_end;
    }
    None
}

/// The version and CR LF that should stand at `start`, and the index after them. Ten bytes, so they
/// are looked at anew on each call.
#[inline]
fn scan_version(head: &[u8], start: usize) -> Result<(Version, usize), Stop> {
    let Some(line) = head.get(start..) else { return Err(Stop::Incomplete) };
    if line.starts_with(b"HTTP/1.1\r\n") {
        return Ok((Version::Http11, start + 10));
    }
    let version = version_at(line)?;
    match line.get(8) {
        None => Err(Stop::Incomplete),
        Some(b'\r' | b'\n') => Ok((version, after_line_end(line, 8)? + start)),
        Some(_) => Err(ParseError::Version.into()),
    }
}

/// The version that should stand at the front of `bytes`, eight bytes long.
pub(super) fn version_at(bytes: &[u8]) -> Result<Version, Stop> {
    for place in 0..8 {
        let byte = *bytes.get(place).ok_or(Stop::Incomplete)?;
        let fits = match place {
            5 | 7 => byte.is_ascii_digit(),
            place => b"HTTP/1.1"[place] == byte,
        };
        if !fits {
            return Err(ParseError::Version.into());
        }
    }
    match (bytes[5], bytes[7]) {
        (b'1', b'0') => Ok(Version::Http10),
        (b'1', _) => Ok(Version::Http11),
        _ => Err(ParseError::VersionNotSupported.into()),
    }
}

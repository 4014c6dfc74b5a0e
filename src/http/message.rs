//! The words that requests and responses share: limits, versions, methods and framings.

use std::fmt;

/// The bounds on a message's head.
///
/// A limit is the largest size accepted; one more is refused. A head is judged by its own bytes,
/// never by how many arrived together, so the same message meets the same verdict however it is
/// split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head: start line, header lines, the empty line that ends it, and any
    /// empty lines before it. More is [`ParseError::HeadTooLong`](super::ParseError::HeadTooLong).
    pub head_bytes_max: usize,
    /// Bytes of the request target. More is
    /// [`ParseError::TargetTooLong`](super::ParseError::TargetTooLong).
    pub target_bytes_max: usize,
    /// Header lines. More is [`ParseError::TooManyHeaders`](super::ParseError::TooManyHeaders).
    pub headers_max: usize,
}

impl Default for Limits {
    /// 16 KiB of head, 8 KiB of target, 100 header lines.
    fn default() -> Limits {
        Limits { head_bytes_max: 16 * 1024, target_bytes_max: 8 * 1024, headers_max: 100 }
    }
}

/// The protocol version a message claims (RFC 9112, section 2.3).
///
/// A higher minor version than 1 counts as 1.1, as RFC 9110, section 2.5 asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// `HTTP/1.0`: no persistence unless asked for, no chunks, `Host` optional.
    Http10,
    /// `HTTP/1.1`, and any later `HTTP/1.x`.
    #[default]
    Http11,
}

impl Version {
    /// The version as it is written in a start line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A request method (RFC 9110, section 9, and RFC 5789). Methods are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method<'a> {
    /// `GET`: a representation of the target.
    Get,
    /// `HEAD`: the same head as `GET`, without the body.
    Head,
    /// `POST`: the target processes the body.
    Post,
    /// `PUT`: the body replaces the target.
    Put,
    /// `DELETE`: the target goes.
    Delete,
    /// `CONNECT`: a tunnel to the authority that is the target.
    Connect,
    /// `OPTIONS`: what the target, or with `*` the server, can do.
    Options,
    /// `TRACE`: the request comes back as it arrived.
    Trace,
    /// `PATCH`: the body changes the target.
    Patch,
    /// Any other token.
    Other(&'a str),
}

impl<'a> Method<'a> {
    /// The method whose name is `name`; the caller has checked that it is a token.
    #[inline]
    pub(super) fn from_token(name: &'a [u8]) -> Option<Method<'a>> {
        Some(match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            other => Method::Other(std::str::from_utf8(other).ok()?),
        })
    }

    /// The method as it is written in a request line.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        match *self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Patch => "PATCH",
            Method::Other(name) => name,
        }
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Where a message's body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is no body; the next message follows the head.
    #[default]
    None,
    /// The body has exactly so many bytes (`Content-Length`).
    Length(u64),
    /// The body comes in chunks, each with its size (`Transfer-Encoding: chunked`).
    Chunked,
    /// The body lasts until the sender closes. Only a response can end so.
    UntilClose,
}

impl Framing {
    /// Whether the body is known to be empty before a byte of it was seen.
    #[must_use]
    pub fn is_empty(self) -> bool {
        matches!(self, Framing::None | Framing::Length(0))
    }
}

/// What a written head says in its `Connection` field (RFC 9112, section 9.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Connection {
    /// Nothing: between two programs that speak 1.1 the connection persists.
    #[default]
    Unsaid,
    /// `keep-alive`: what a peer that speaks 1.0 and asked for it needs to hear.
    KeepAlive,
    /// `close`: this is the last message the sender puts on the connection.
    Close,
}

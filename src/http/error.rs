//! Why a message is refused, on the way in and on the way out.

use std::error::Error;
use std::fmt;

/// Why received bytes are not a message that this crate accepts.
///
/// After any of these the place where the next message starts is unknown or not to be trusted:
/// answer with [`status`](ParseError::status) and close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseError {
    /// The first line is not `method SP target SP version`; `GET /` alone (HTTP/0.9) is such a
    /// line.
    RequestLine,
    /// The first line is not `version SP status SP reason`.
    StatusLine,
    /// The method has a byte that no token has.
    Method,
    /// The target has a byte outside visible ASCII or a `#`, or has none of the four forms, or one
    /// that does not belong to the method.
    Target,
    /// The version is not `HTTP/digit.digit`.
    Version,
    /// The version is well-formed, but its major number is not 1.
    VersionNotSupported,
    /// A carriage return without a line feed, or a line feed without a carriage return.
    LineEnding,
    /// A header line starts with white space (RFC 9112, sections 2.2 and 5.2).
    Folding,
    /// A header name is empty, or has a byte that no token has, such as a space before the colon.
    HeaderName,
    /// A header value has a control byte.
    HeaderValue,
    /// `Host` is missing in HTTP/1.1, or repeated, or not `host` or `host:port`.
    Host,
    /// `Content-Length` is repeated or not one decimal number that fits 64 bits.
    ContentLength,
    /// `Transfer-Encoding` is malformed, does not end in one `chunked`, or stands in HTTP/1.0.
    TransferEncoding,
    /// `Transfer-Encoding` names a coding other than `chunked`.
    TransferCoding,
    /// Both `Content-Length` and `Transfer-Encoding` are there.
    ConflictingFraming,
    /// `Expect` asks for something other than `100-continue`.
    Expectation,
    /// The head is longer than [`Limits::head_bytes_max`](super::Limits::head_bytes_max).
    HeadTooLong,
    /// The target is longer than [`Limits::target_bytes_max`](super::Limits::target_bytes_max).
    TargetTooLong,
    /// There are more header lines than [`Limits::headers_max`](super::Limits::headers_max).
    TooManyHeaders,
    /// The body is, or says it will be, longer than the decoder allows.
    BodyTooLarge,
    /// A chunk's size is not a hexadecimal number of at most
    /// [`CHUNK_SIZE_DIGITS_MAX`](super::CHUNK_SIZE_DIGITS_MAX) digits.
    ChunkSize,
    /// A chunk's extension has a control byte, or follows white space without a `;`.
    ChunkExtension,
    /// A chunk's data goes on where the chunk should end.
    ChunkEnd,
    /// The chunk extensions of a body together exceed
    /// [`EXTENSION_BYTES_MAX`](super::EXTENSION_BYTES_MAX).
    ExtensionsTooLong,
    /// The trailer section exceeds [`TRAILER_BYTES_MAX`](super::TRAILER_BYTES_MAX).
    TrailersTooLong,
    /// The sender closed before the body was complete.
    UnexpectedEnd,
}

impl ParseError {
    /// The status code that tells a client why its request was refused (RFC 9110, section 15).
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            ParseError::BodyTooLarge => 413,
            ParseError::TargetTooLong => 414,
            ParseError::Expectation => 417,
            ParseError::HeadTooLong | ParseError::TooManyHeaders | ParseError::TrailersTooLong => {
                431
            }
            ParseError::TransferCoding => 501,
            ParseError::VersionNotSupported => 505,
            _ => 400,
        }
    }

    /// One line for a human, without a full stop.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            ParseError::RequestLine => "the request line is not `method target version`",
            ParseError::StatusLine => "the status line is not `version status reason`",
            ParseError::Method => "the method is not a token",
            ParseError::Target => "the request target is malformed or does not suit the method",
            ParseError::Version => "the version is not `HTTP/digit.digit`",
            ParseError::VersionNotSupported => "only HTTP/1.0 and HTTP/1.1 are spoken here",
            ParseError::LineEnding => "a line does not end in CR LF",
            ParseError::Folding => "a header line starts with white space",
            ParseError::HeaderName => "a header name is empty or not a token",
            ParseError::HeaderValue => "a header value has a control byte",
            ParseError::Host => "Host is missing, repeated or malformed",
            ParseError::ContentLength => "Content-Length is repeated or not a number",
            ParseError::TransferEncoding => "Transfer-Encoding is malformed or out of place",
            ParseError::TransferCoding => "a transfer coding other than chunked",
            ParseError::ConflictingFraming => "both Content-Length and Transfer-Encoding",
            ParseError::Expectation => "an expectation other than 100-continue",
            ParseError::HeadTooLong => "the head is too long",
            ParseError::TargetTooLong => "the request target is too long",
            ParseError::TooManyHeaders => "too many header lines",
            ParseError::BodyTooLarge => "the body is too large",
            ParseError::ChunkSize => "a chunk size is not a hexadecimal number",
            ParseError::ChunkExtension => "a chunk extension is malformed",
            ParseError::ChunkEnd => "a chunk is longer than its size",
            ParseError::ExtensionsTooLong => "the chunk extensions are too long",
            ParseError::TrailersTooLong => "the trailers are too long",
            ParseError::UnexpectedEnd => "the connection closed inside a message",
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.reason())
    }
}

impl Error for ParseError {}

/// Why a message is not written. Nothing of it has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteError {
    /// The method is not a token.
    Method,
    /// The target has bytes it may not have, or a form that does not suit the method.
    Target,
    /// The host is not `host` or `host:port`.
    Host,
    /// The status is not a number of three digits.
    Status,
    /// A header name is not a token.
    HeaderName,
    /// A header value has a CR, LF, NUL or other control byte, which would let it say more than one
    /// header (header injection).
    HeaderValue,
    /// A header is given that the head's own fields speak for: `Host` (in a request), `Connection`,
    /// `Content-Length` or `Transfer-Encoding`.
    ReservedHeader,
    /// The framing does not suit the message: a request until close, or a body where the status
    /// allows none.
    Framing,
}

impl fmt::Display for WriteError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            WriteError::Method => "the method is not a token",
            WriteError::Target => "the request target is malformed or does not suit the method",
            WriteError::Host => "the host is malformed",
            WriteError::Status => "the status is not a number of three digits",
            WriteError::HeaderName => "a header name is empty or not a token",
            WriteError::HeaderValue => "a header value has a control byte",
            WriteError::ReservedHeader => "a header that the head's own fields speak for",
            WriteError::Framing => "the framing does not suit the message",
        })
    }
}

impl Error for WriteError {}

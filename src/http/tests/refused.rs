//! Requests that are refused, each with the reason, and the statuses of the reasons.

use super::super::ParseError::{self, *};
use super::request;

/// Whole heads that are refused.
const REFUSED: &[(&[u8], ParseError)] = &[
    // The request line.
    (b"GET /\r\n\r\n", RequestLine),
    (b"GET\r\n\r\n", RequestLine),
    (b" GET / HTTP/1.1\r\n", RequestLine),
    (b"GET  / HTTP/1.1\r\n", RequestLine),
    (b"GET /  HTTP/1.1\r\n", Version),
    (b"GET / HTTP/1.1 \r\n", Version),
    (b"GET\t/ HTTP/1.1\r\n", Method),
    (b"G@T / HTTP/1.1\r\n", Method),
    (b"G\0T / HTTP/1.1\r\n", Method),
    (b"G\xc3\x84T / HTTP/1.1\r\n", Method),
    (b"\r\n\r\n\r\nGET / HTTP/1.1\r\n", RequestLine),
    (b"\nGET / HTTP/1.1\r\n", LineEnding),
    (b"\r\n\nGET / HTTP/1.1\r\n", LineEnding),
    (b"\rGET / HTTP/1.1\r\n", LineEnding),
    (b"\x16\x03\x01\x02\x00\x01\x00", Method),
    // The target.
    (b"GET /\x7f HTTP/1.1\r\n", Target),
    (b"GET /\t HTTP/1.1\r\n", Target),
    (b"GET /\0 HTTP/1.1\r\n", Target),
    (b"GET /\xc3\xa4 HTTP/1.1\r\n", Target),
    (b"GET /a#b HTTP/1.1\r\n", Target),
    (b"GET a HTTP/1.1\r\n", Target),
    (b"GET ?a HTTP/1.1\r\n", Target),
    (b"GET * HTTP/1.1\r\n", Target),
    (b"GET h:80 HTTP/1.1\r\n", Target),
    (b"GET http:/a HTTP/1.1\r\n", Target),
    (b"GET http:///a HTTP/1.1\r\n", Target),
    (b"GET http://:80/a HTTP/1.1\r\n", Target),
    (b"GET http://user@h/ HTTP/1.1\r\n", Target),
    (b"GET http://h:x/ HTTP/1.1\r\n", Target),
    (b"GET http://h:65536/ HTTP/1.1\r\n", Target),
    (b"GET 1http://h/ HTTP/1.1\r\n", Target),
    (b"GET ://h/ HTTP/1.1\r\n", Target),
    (b"OPTIONS ** HTTP/1.1\r\n", Target),
    (b"CONNECT / HTTP/1.1\r\n", Target),
    (b"CONNECT h HTTP/1.1\r\n", Target),
    (b"CONNECT h: HTTP/1.1\r\n", Target),
    (b"CONNECT :80 HTTP/1.1\r\n", Target),
    (b"CONNECT h:+80 HTTP/1.1\r\n", Target),
    (b"CONNECT http://h:80 HTTP/1.1\r\n", Target),
    (b"CONNECT h:80/ HTTP/1.1\r\n", Target),
    // The version.
    (b"GET / http/1.1\r\n", Version),
    (b"GET / HTTP/1\r\n", Version),
    (b"GET / HTTP/1.10\r\n", Version),
    (b"GET / HTTP/01.1\r\n", Version),
    (b"GET / HTTP/1,1\r\n", Version),
    (b"GET / HTTP 1.1\r\n", Version),
    (b"GET / HTTPS/1.1\r\n", Version),
    (b"GET / HTTP/2.0\r\n", VersionNotSupported),
    (b"GET / HTTP/0.9\r\n", VersionNotSupported),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VersionNotSupported),
    (b"GET / HTTP/1.1\nHost: h\r\n\r\n", LineEnding),
    (b"GET / HTTP/1.1\r\rHost: h\r\n\r\n", LineEnding),
    // Header lines.
    (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", Folding),
    (b"GET / HTTP/1.1\r\nHost: h\r\n\tx\r\n\r\n", Folding),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", Folding),
    (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", HeaderName),
    (b"GET / HTTP/1.1\r\nHost\t: h\r\n\r\n", HeaderName),
    (b"GET / HTTP/1.1\r\nHo st: h\r\n\r\n", HeaderName),
    (b"GET / HTTP/1.1\r\n: h\r\n\r\n", HeaderName),
    (b"GET / HTTP/1.1\r\nHost\r\n\r\n", HeaderName),
    (b"GET / HTTP/1.1\r\nH\xc3\xb6st: h\r\n\r\n", HeaderName),
    (b"GET / HTTP/1.1\r\n\0: h\r\n\r\n", HeaderName),
    (b"GET / HTTP/1.1\r\nA: \0\r\n\r\n", HeaderValue),
    (b"GET / HTTP/1.1\r\nA: \x0b\r\n\r\n", HeaderValue),
    (b"GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n", HeaderValue),
    (b"GET / HTTP/1.1\r\nA: b\nB: c\r\n\r\n", LineEnding),
    (b"GET / HTTP/1.1\r\nA: b\rB: c\r\n\r\n", LineEnding),
    (b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n", LineEnding),
    (b"GET / HTTP/1.1\r\nHost: h\r\n\n", LineEnding),
    (b"GET / HTTP/1.1\r\nHost: h\r\n\rX", LineEnding),
    // Host.
    (b"GET / HTTP/1.1\r\n\r\n", Host),
    (b"GET http://a/ HTTP/1.1\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", Host),
    (b"GET / HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: h/\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: h:80:80\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: h:8x\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: []\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", Host),
    (b"GET / HTTP/1.1\r\nHost: h\xc3\xa4\r\n\r\n", Host),
    // Framing.
    (b"GET / HTTP/1.1\r\nContent-Length:\r\n\r\n", ContentLength),
    (b"GET / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", ContentLength),
    (b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", ContentLength),
    (b"GET / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n", ContentLength),
    (b"GET / HTTP/1.1\r\nContent-Length: 5a\r\n\r\n", ContentLength),
    (b"GET / HTTP/1.1\r\nContent-Length: 5 5\r\n\r\n", ContentLength),
    (b"GET / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", ContentLength),
    (b"GET / HTTP/1.1\r\nContent-Length: 5.0\r\n\r\n", ContentLength),
    (b"GET / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n", ContentLength),
    (b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", ContentLength),
    (b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", ContentLength),
    (
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        ConflictingFraming,
    ),
    (
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        ConflictingFraming,
    ),
    (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncoding),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n", TransferEncoding),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: ,chunked\r\n\r\n", TransferEncoding),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked,\r\n\r\n", TransferEncoding),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", TransferEncoding),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", TransferEncoding),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", TransferEncoding),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked ;q\r\n\r\n", TransferEncoding),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", TransferEncoding),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: chun ked\r\n\r\n", TransferEncoding),
    (
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        TransferEncoding,
    ),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", HeaderValue),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n", HeaderName),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", TransferCoding),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip;q=1\r\n\r\n", TransferCoding),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", TransferCoding),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", TransferCoding),
    // Expectations.
    (b"GET / HTTP/1.1\r\nExpect: 200-ok\r\n\r\n", Expectation),
    (b"GET / HTTP/1.1\r\nExpect: 100-continue, x\r\n\r\n", Expectation),
    (b"GET / HTTP/1.1\r\nExpect:\r\n\r\n", Expectation),
];

#[test]
fn refused_requests_get_the_same_reason_however_they_are_split() {
    for &(bytes, error) in REFUSED {
        assert_eq!(request(bytes).err(), Some(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_follows_a_refused_byte_does_not_change_the_reason() {
    for &(bytes, error) in REFUSED {
        for tail in [&b"\r\n\r\n"[..], b"\n", b"\0", b"x: y\r\n\r\n"] {
            assert_eq!(request(&[bytes, tail].concat()).err(), Some(error));
        }
    }
}

#[test]
fn a_refusal_does_not_wait_for_more_bytes_than_it_needs() {
    for (bytes, error) in [
        (&b"G\x01"[..], Method),
        (b"GET /\r", RequestLine),
        (b"GET /\x80", Target),
        (b"GET / h", Version),
        (b"GET / HTTP/2.0", VersionNotSupported),
        (b"GET / HTTP/1.1\n", LineEnding),
        (b"GET / HTTP/1.1\r\n ", Folding),
        (b"GET / HTTP/1.1\r\nHost ", HeaderName),
        (b"GET / HTTP/1.1\r\nHost: \0", HeaderValue),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n", Host),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n", ContentLength),
    ] {
        assert_eq!(request(bytes), Err(error));
        assert_eq!(request(&bytes[..bytes.len() - 1]), Ok(None), "{}", bytes.escape_ascii());
    }
}

#[test]
fn each_reason_has_the_status_that_the_rfc_gives_it() {
    for (status, errors) in [
        (413, &[BodyTooLarge][..]),
        (414, &[TargetTooLong]),
        (417, &[Expectation]),
        (431, &[HeadTooLong, TooManyHeaders, TrailersTooLong]),
        (501, &[TransferCoding]),
        (505, &[VersionNotSupported]),
        (
            400,
            &[RequestLine, Method, Target, Version, LineEnding, Folding, HeaderName, HeaderValue],
        ),
        (400, &[Host, ContentLength, TransferEncoding, ConflictingFraming, StatusLine]),
        (400, &[ChunkSize, ChunkExtension, ChunkEnd, ExtensionsTooLong, UnexpectedEnd]),
    ] {
        for error in errors {
            assert_eq!(error.status(), status, "{error:?}");
            assert!(!error.to_string().is_empty() && !error.to_string().contains('\n'));
        }
    }
}

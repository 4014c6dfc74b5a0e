//! Responses: which are accepted, where their bodies end, and which are refused.

use super::super::ParseError::{self, *};
use super::super::RequestKind::{self, Connect, Head, Ordinary};
use super::super::{Framing, Limits, Method, ResponseParser};
use super::response;

/// Accepted heads, each with the request it answers, its status, reason, framing and persistence.
type Row = (RequestKind, &'static [u8], u16, &'static [u8], Framing, bool);

pub(super) const ACCEPTED: &[Row] = &[
    (Ordinary, b"HTTP/1.1 200 OK\r\n\r\n", 200, b"OK", Framing::UntilClose, false),
    (Ordinary, b"HTTP/1.1 200 \r\n\r\n", 200, b"", Framing::UntilClose, false),
    (Ordinary, b"HTTP/1.1 200\r\n\r\n", 200, b"", Framing::UntilClose, false),
    (Ordinary, b"HTTP/1.1 999 \t\xff x\r\n\r\n", 999, b"\t\xff x", Framing::UntilClose, false),
    (
        Ordinary,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\n",
        404,
        b"Not Found",
        Framing::Length(7),
        true,
    ),
    (
        Ordinary,
        b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n",
        200,
        b"OK",
        Framing::Length(7),
        false,
    ),
    (
        Ordinary,
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 7\r\n\r\n",
        200,
        b"OK",
        Framing::Length(7),
        true,
    ),
    (
        Ordinary,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\nConnection: close\r\n\r\n",
        200,
        b"OK",
        Framing::Chunked,
        false,
    ),
    (Ordinary, b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"No Content", Framing::None, true),
    (Ordinary, b"HTTP/1.1 304 x\r\nContent-Length: 7\r\n\r\n", 304, b"x", Framing::None, true),
    (Ordinary, b"HTTP/1.1 100 Continue\r\n\r\n", 100, b"Continue", Framing::None, true),
    (Ordinary, b"HTTP/1.1 101 x\r\nUpgrade: y\r\n\r\n", 101, b"x", Framing::None, true),
    (Head, b"HTTP/1.1 200 x\r\nContent-Length: 7\r\n\r\n", 200, b"x", Framing::None, true),
    (Head, b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", 200, b"x", Framing::None, true),
    (Connect, b"HTTP/1.1 200 x\r\nContent-Length: 7\r\n\r\n", 200, b"x", Framing::None, true),
    (Connect, b"HTTP/1.1 407 x\r\nContent-Length: 7\r\n\r\n", 407, b"x", Framing::Length(7), true),
    (
        Ordinary,
        b"HTTP/1.1 200 x\r\nHost: a b\r\nHost: c\r\nExpect: y\r\nContent-Length: 0\r\n\r\n",
        200,
        b"x",
        Framing::Length(0),
        true,
    ),
];

#[test]
fn accepted_responses_are_read_as_expected_however_they_are_split() {
    for &(kind, bytes, status, reason, framing, keep_alive) in ACCEPTED {
        let text = bytes.escape_ascii();
        let parsed = match response(kind, bytes) {
            Ok(Some(parsed)) => parsed,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!((parsed.status, parsed.reason), (status, reason), "{text}");
        assert_eq!((parsed.framing, parsed.keep_alive), (framing, keep_alive), "{text}");
        assert_eq!(parsed.head_bytes, bytes.len(), "{text}");
        assert_eq!(response(kind, &bytes[..bytes.len() - 1]), Ok(None), "{text}");
    }
}

#[test]
fn accepted_responses_written_back_are_the_same_responses() {
    for &(kind, bytes, ..) in ACCEPTED {
        let parsed = response(kind, bytes).ok().flatten().expect("accepted");
        let mut written = Vec::new();
        parsed.write_back(&mut written);
        let again = response(kind, &written).ok().flatten().expect("what was accepted still is");
        assert!(parsed.headers().eq(again.headers()));
        assert_eq!(
            (parsed.version, parsed.status, parsed.reason, parsed.framing, parsed.keep_alive),
            (again.version, again.status, again.reason, again.framing, again.keep_alive)
        );
    }
}

const REFUSED: &[(&[u8], ParseError)] = &[
    (b"\r\nHTTP/1.1 200 OK\r\n", Version),
    (b"http/1.1 200 OK\r\n", Version),
    (b"ICY 200 OK\r\n", Version),
    (b"HTTP/2.0 200 OK\r\n", VersionNotSupported),
    (b"HTTP/1.1  200 OK\r\n", StatusLine),
    (b"HTTP/1.1 20 OK\r\n", StatusLine),
    (b"HTTP/1.1 099 OK\r\n", StatusLine),
    (b"HTTP/1.1 2000 OK\r\n", StatusLine),
    (b"HTTP/1.1 +20 OK\r\n", StatusLine),
    (b"HTTP/1.1\r\n", StatusLine),
    (b"HTTP/1.1 200 O\0K\r\n", StatusLine),
    (b"HTTP/1.1 200 OK\n", LineEnding),
    (b"HTTP/1.1 200\n", LineEnding),
    (b"HTTP/1.1 200 O\rK\r\n", LineEnding),
    (b"HTTP/1.1 200 OK\r\n folded\r\n", Folding),
    (b"HTTP/1.1 200 OK\r\nA : b\r\n", HeaderName),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n", ContentLength),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n", TransferCoding),
    (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", TransferEncoding),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n", ConflictingFraming),
];

#[test]
fn refused_responses_get_the_same_reason_however_they_are_split() {
    for &(bytes, error) in REFUSED {
        assert_eq!(response(Ordinary, bytes), Err(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn one_parser_reads_interim_responses_and_then_the_final_one() {
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let mut parser = ResponseParser::new(Method::Head.into());
    let (mut rest, mut seen) = (&bytes[..], Vec::new());
    while let Ok(Some(parsed)) = parser.parse(rest, &Limits::default()) {
        seen.push((parsed.status, parsed.is_interim(), parsed.framing));
        rest = &rest[parsed.head_bytes..];
    }
    // That the request was `HEAD` is remembered to the last.
    let none = Framing::None;
    assert_eq!(seen, [(100, true, none), (103, true, none), (200, false, none)]);
}

#[test]
fn switching_protocols_is_final() {
    let parsed = response(Ordinary, b"HTTP/1.1 101 x\r\n\r\n").ok().flatten().expect("accepted");
    assert!(!parsed.is_interim());
}

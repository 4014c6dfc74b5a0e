//! Messages that are written: parsed again they say what was asked for, and no header can be
//! injected.

use super::super::{
    CONTINUE, Connection, Framing, Method, RequestHead, RequestKind, ResponseHead, WriteError,
    reason_phrase, write_chunk, write_last_chunk, write_request, write_request_head,
    write_response, write_response_head, write_text,
};
use super::{decoded, request, response};

const REQUEST: RequestHead<'static> = RequestHead {
    method: Method::Get,
    target: "/a?b",
    host: "localhost:80",
    headers: &[("X-A", "b"), ("X-C", "")],
    connection: Connection::Unsaid,
};
const RESPONSE: ResponseHead<'static> =
    ResponseHead { status: 200, headers: &[("X-A", "b")], connection: Connection::Unsaid };

#[test]
fn a_written_request_is_parsed_as_what_was_asked_for() {
    for (framing, connection, keep_alive) in [
        (Framing::None, Connection::Unsaid, true),
        (Framing::Length(0), Connection::KeepAlive, true),
        (Framing::Length(u64::MAX), Connection::Close, false),
        (Framing::Chunked, Connection::Unsaid, true),
    ] {
        let mut out = b"before".to_vec();
        let head = RequestHead { connection, ..REQUEST };
        assert_eq!(write_request_head(&mut out, &head, framing), Ok(()));
        let parsed = request(&out[6..]).ok().flatten().expect("written");
        assert_eq!(
            (parsed.method, parsed.target(), parsed.host()),
            (Method::Get, "/a?b", head.host)
        );
        assert_eq!((parsed.framing, parsed.keep_alive), (framing, keep_alive));
        assert_eq!((parsed.header("x-a"), parsed.header("x-c")), (Some(&b"b"[..]), Some(&b""[..])));
        assert_eq!(parsed.head_bytes, out.len() - 6);
    }
}

#[test]
fn a_whole_request_announces_an_empty_body_only_where_it_has_a_meaning() {
    for (method, body, framing) in [
        (Method::Get, &b""[..], Framing::None),
        (Method::Post, b"", Framing::Length(0)),
        (Method::Post, b"abc", Framing::Length(3)),
        (Method::Delete, b"abc", Framing::Length(3)),
    ] {
        let mut out = Vec::new();
        assert_eq!(write_request(&mut out, &RequestHead { method, ..REQUEST }, body), Ok(()));
        let parsed = request(&out).ok().flatten().expect("written");
        assert_eq!((parsed.framing, &out[parsed.head_bytes..]), (framing, body));
    }
}

#[test]
fn a_written_response_is_parsed_as_what_was_asked_for() {
    for (status, framing, read_as, keep_alive) in [
        (200, Framing::None, Framing::Length(0), true),
        (200, Framing::Length(12), Framing::Length(12), true),
        (599, Framing::Chunked, Framing::Chunked, true),
        (200, Framing::UntilClose, Framing::UntilClose, false),
        (204, Framing::None, Framing::None, true),
        (304, Framing::Length(12), Framing::None, true),
        (103, Framing::None, Framing::None, true),
    ] {
        let mut out = Vec::new();
        let head = ResponseHead { status, ..RESPONSE };
        assert_eq!(write_response_head(&mut out, &head, framing), Ok(()));
        let parsed = response(RequestKind::Ordinary, &out).ok().flatten().expect("written");
        assert_eq!((parsed.status, parsed.reason), (status, reason_phrase(status).as_bytes()));
        assert_eq!((parsed.framing, parsed.keep_alive), (read_as, keep_alive));
        assert_eq!((parsed.header("x-a"), parsed.head_bytes), (Some(&b"b"[..]), out.len()));
    }
}

#[test]
fn the_ready_made_text_response_is_the_one_written_in_full() {
    for connection in [Connection::Unsaid, Connection::KeepAlive, Connection::Close] {
        for length in [0, 1, 9, 10, 99, 12345] {
            let body = vec![b'x'; length];
            let mut fast = Vec::new();
            write_text(&mut fast, connection, &body);
            let mut slow = Vec::new();
            let headers = &[("Content-Type", "text/plain; charset=utf-8")];
            let head = ResponseHead { status: 200, headers, connection };
            assert_eq!(write_response(&mut slow, &head, &body), Ok(()));
            assert_eq!(fast, slow);
        }
    }
}

#[test]
fn what_would_inject_a_header_is_refused_and_nothing_is_written() {
    for (name, value, error) in [
        ("X", "a\r\nB: c", WriteError::HeaderValue),
        ("X", "a\nB: c", WriteError::HeaderValue),
        ("X", "a\r", WriteError::HeaderValue),
        ("X", "a\0", WriteError::HeaderValue),
        ("X\r\nB", "c", WriteError::HeaderName),
        ("X: a\r\nB", "c", WriteError::HeaderName),
        ("X ", "c", WriteError::HeaderName),
        ("X\0", "c", WriteError::HeaderName),
        ("", "c", WriteError::HeaderName),
        ("content-length", "5", WriteError::ReservedHeader),
        ("Transfer-Encoding", "chunked", WriteError::ReservedHeader),
    ] {
        let mut out = b"before".to_vec();
        let headers = &[("Fine", "fine"), (name, value)];
        let head = RequestHead { headers, ..REQUEST };
        assert_eq!(write_request_head(&mut out, &head, Framing::None), Err(error));
        assert_eq!(write_request(&mut out, &head, b"body"), Err(error));
        let head = ResponseHead { headers, ..RESPONSE };
        assert_eq!(write_response_head(&mut out, &head, Framing::None), Err(error));
        assert_eq!(write_response(&mut out, &head, b"body"), Err(error));
        assert_eq!(out, b"before", "{name:?}: {value:?}");
    }
}

#[test]
fn a_request_line_that_would_say_more_than_one_thing_is_refused() {
    let refused = |head: RequestHead<'_>| {
        let mut out = Vec::new();
        let error = write_request_head(&mut out, &head, Framing::None).err();
        assert!(out.is_empty());
        error
    };
    for method in ["", "GET ", "GET / HTTP/1.1\r\n"] {
        let method = Method::Other(method);
        assert_eq!(refused(RequestHead { method, ..REQUEST }), Some(WriteError::Method));
    }
    for target in ["", "a", "*", "/ HTTP/1.1\r\nA: b\r\n\r\n", "/\n", "/a b", "/#f", "/ä"] {
        assert_eq!(refused(RequestHead { target, ..REQUEST }), Some(WriteError::Target));
    }
    for host in ["a b", "h\r\nA: b", "u@h", "h/", "h:x"] {
        assert_eq!(refused(RequestHead { host, ..REQUEST }), Some(WriteError::Host));
    }
    let headers = &[("Host", "other")];
    assert_eq!(refused(RequestHead { headers, ..REQUEST }), Some(WriteError::ReservedHeader));
}

#[test]
fn a_framing_that_does_not_suit_is_refused() {
    let mut out = Vec::new();
    let framing = write_request_head(&mut out, &REQUEST, Framing::UntilClose);
    assert_eq!(framing, Err(WriteError::Framing));
    for status in [100, 103, 204] {
        let head = ResponseHead { status, ..RESPONSE };
        for framing in [Framing::Length(0), Framing::Chunked, Framing::UntilClose] {
            let written = write_response_head(&mut out, &head, framing);
            assert_eq!(written, Err(WriteError::Framing));
        }
    }
    for status in [204, 304] {
        let head = ResponseHead { status, ..RESPONSE };
        assert_eq!(write_response(&mut out, &head, b"body"), Err(WriteError::Framing));
        assert_eq!(write_response(&mut Vec::new(), &head, b""), Ok(()));
    }
    for status in [0, 99, 1000, u16::MAX] {
        let head = ResponseHead { status, ..RESPONSE };
        assert_eq!(write_response(&mut out, &head, b""), Err(WriteError::Status));
    }
    assert!(out.is_empty());
}

#[test]
fn written_chunks_decode_to_what_was_written() {
    let pieces: [&[u8]; 4] = [b"hello", b"", &[b'x'; 0x1af], b"\r\n"];
    let mut out = Vec::new();
    pieces.iter().for_each(|piece| write_chunk(&mut out, piece));
    assert!(out.starts_with(b"5\r\nhello\r\n1af\r\nxxx"));
    write_last_chunk(&mut out);
    let expected = (pieces.concat(), out.len(), Ok(true));
    assert_eq!(decoded(Framing::Chunked, &out, 1000), expected);
}

#[test]
fn the_continue_response_is_interim() {
    let parsed = response(RequestKind::Ordinary, CONTINUE).ok().flatten().expect("a response");
    assert!(parsed.is_interim() && parsed.head_bytes == CONTINUE.len());
}

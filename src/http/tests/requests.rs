//! Requests that are accepted, and what they are taken to say.

use super::super::{Framing, Limits, Method, RequestParser, TargetForm, Version};
use super::request;

/// Accepted heads, each with the host, path, query, framing and persistence it is read as.
type Row = (&'static [u8], &'static str, &'static str, Option<&'static str>, Framing, bool);

pub(super) const ACCEPTED: &[Row] = &[
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "localhost", "/", None, Framing::None, true),
    (b"GET / HTTP/1.1\r\nhOsT:\r\n\r\n", "", "/", None, Framing::None, true),
    (b"GET / HTTP/1.1\r\nHost:h:80\r\n\r\n", "h:80", "/", None, Framing::None, true),
    (b"GET / HTTP/1.1\r\nHost: h:\r\n\r\n", "h:", "/", None, Framing::None, true),
    (b"GET / HTTP/1.1\r\nHost:\t [::1]:80 \t\r\n\r\n", "[::1]:80", "/", None, Framing::None, true),
    (b"GET / HTTP/1.1\r\nHost: a%2Db\r\n\r\n", "a%2Db", "/", None, Framing::None, true),
    (b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "h", "/", None, Framing::None, true),
    (b"GET /a?b?c HTTP/1.1\r\nHost: h\r\n\r\n", "h", "/a", Some("b?c"), Framing::None, true),
    (b"GET /? HTTP/1.1\r\nHost: h\r\n\r\n", "h", "/", Some(""), Framing::None, true),
    (b"GET //x|\"%zz HTTP/1.1\r\nHost: h\r\n\r\n", "h", "//x|\"%zz", None, Framing::None, true),
    (b"GET http://a.b HTTP/1.1\r\nHost: c\r\n\r\n", "a.b", "/", None, Framing::None, true),
    (b"GET HTTP://a:1/b?c HTTP/1.1\r\nHost:\r\n\r\n", "a:1", "/b", Some("c"), Framing::None, true),
    (b"GET http://a?c HTTP/1.1\r\nHost: a\r\n\r\n", "a", "/", Some("c"), Framing::None, true),
    (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "h", "*", None, Framing::None, true),
    (b"OPTIONS http://a HTTP/1.1\r\nHost: h\r\n\r\n", "a", "*", None, Framing::None, true),
    (b"CONNECT h:443 HTTP/1.1\r\nHost: x\r\n\r\n", "h:443", "", None, Framing::None, true),
    (b"CONNECT [::1]:1 HTTP/1.1\r\nHost:\r\n\r\n", "[::1]:1", "", None, Framing::None, true),
    (b"get / HTTP/1.1\r\nHost: h\r\n\r\n", "h", "/", None, Framing::None, true),
    (b"M-SEARCH / HTTP/1.1\r\nHost: h\r\n\r\n", "h", "/", None, Framing::None, true),
    (b"GET / HTTP/1.9\r\nHost: h\r\n\r\n", "h", "/", None, Framing::None, true),
    (b"GET / HTTP/1.0\r\n\r\n", "", "/", None, Framing::None, false),
    (b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", "", "/", None, Framing::None, false),
    (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "", "/", None, Framing::None, true),
    (
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        "",
        "/",
        None,
        Framing::None,
        false,
    ),
    (b"GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", "", "/", None, Framing::None, false),
    (
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: ,TE ,\tCLOSE\r\nConnection: keep-alive\r\n\r\n",
        "h",
        "/",
        None,
        Framing::None,
        false,
    ),
    (
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: closed, not-close\r\n\r\n",
        "h",
        "/",
        None,
        Framing::None,
        true,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        "h",
        "/",
        None,
        Framing::Length(5),
        true,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\ncontent-length:0018446744073709551615 \r\n\r\n",
        "h",
        "/",
        None,
        Framing::Length(u64::MAX),
        true,
    ),
    (b"PUT / HTTP/1.0\r\nContent-Length: 0\r\n\r\n", "", "/", None, Framing::Length(0), false),
    (
        b"PATCH / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        "h",
        "/",
        None,
        Framing::Chunked,
        true,
    ),
    (
        b"GET / HTTP/1.1\r\nA:\r\nB: \t\r\n\
            !#$%&'*+-.^_`|~: \x80\xff\t\"(),/:;<=>?@[\\]{}\r\nHost: h\r\n\r\n",
        "h",
        "/",
        None,
        Framing::None,
        true,
    ),
    (
        b"GET / HTTP/1.1\r\nHos: a\r\nHosts: b\r\nhost: h\r\n\
            Content_Length: 5\r\nContent-Lengths: 5\r\n\r\n",
        "h",
        "/",
        None,
        Framing::None,
        true,
    ),
];

#[test]
fn accepted_requests_are_read_as_expected_however_they_are_split() {
    for &(bytes, host, path, query, framing, keep_alive) in ACCEPTED {
        let text = bytes.escape_ascii();
        let parsed = match request(bytes) {
            Ok(Some(parsed)) => parsed,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!((parsed.host(), parsed.path(), parsed.query()), (host, path, query), "{text}");
        assert_eq!((parsed.framing, parsed.keep_alive), (framing, keep_alive), "{text}");
        let empty_line = bytes.windows(4).skip(4).position(|window| window == b"\r\n\r\n");
        assert_eq!(Some(parsed.head_bytes), empty_line.map(|index| index + 8), "{text}");
    }
}

#[test]
fn accepted_requests_written_back_are_the_same_requests() {
    for (bytes, ..) in ACCEPTED {
        let parsed = request(bytes).ok().flatten().expect("accepted");
        let mut written = Vec::new();
        parsed.write_back(&mut written);
        let again = request(&written).ok().flatten().expect("what was accepted still is");
        assert!(parsed.headers().eq(again.headers()));
        assert_eq!(
            (parsed.method, parsed.target(), parsed.version, parsed.framing, parsed.host()),
            (again.method, again.target(), again.version, again.framing, again.host())
        );
        assert_eq!(
            (parsed.keep_alive, parsed.expects_continue, written.len()),
            (again.keep_alive, again.expects_continue, again.head_bytes)
        );
    }
}

#[test]
fn a_head_that_lacks_its_last_byte_is_incomplete() {
    for (bytes, ..) in ACCEPTED {
        let head_bytes = request(bytes).ok().flatten().expect("accepted").head_bytes;
        assert_eq!(request(&bytes[..head_bytes - 1]), Ok(None));
    }
}

#[test]
fn each_method_is_known_by_its_name_and_case_matters() {
    for method in [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Delete,
        Method::Trace,
        Method::Patch,
        Method::Options,
        Method::Other("get"),
        Method::Other("PROPFIND"),
    ] {
        let bytes = format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n");
        let parsed = request(bytes.as_bytes()).ok().flatten().expect("accepted");
        assert_eq!(parsed.method, method);
    }
}

#[test]
fn each_form_of_target_is_told() {
    for (line, form) in [
        ("GET /http://x", TargetForm::Origin),
        ("GET http://x/", TargetForm::Absolute),
        ("CONNECT x:1", TargetForm::Authority),
        ("OPTIONS *", TargetForm::Asterisk),
    ] {
        let bytes = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        let parsed = request(bytes.as_bytes()).ok().flatten().expect("accepted");
        assert_eq!(parsed.target_form(), form, "{line}");
    }
}

#[test]
fn a_later_minor_version_counts_as_the_highest_known() {
    let parsed = request(b"GET / HTTP/1.7\r\nHost: h\r\n\r\n").ok().flatten().expect("accepted");
    assert_eq!(parsed.version, Version::Http11);
}

#[test]
fn headers_come_in_order_without_white_space_and_are_found_in_any_case() {
    let bytes =
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: \t one two\t \r\nx-a:second\r\nEmpty:  \r\n\r\n";
    let parsed = request(bytes).ok().flatten().expect("accepted");
    let headers: Vec<_> = parsed.headers().collect();
    let expected: [(&str, &[u8]); 4] =
        [("Host", b"h"), ("X-A", b"one two"), ("x-a", b"second"), ("Empty", b"")];
    assert_eq!(headers, expected);
    assert_eq!(parsed.header("X-a"), Some(&b"one two"[..]));
    assert_eq!(parsed.header("X"), None);
}

#[test]
fn a_client_that_waits_for_leave_is_noticed_only_if_it_has_a_body() {
    for (framing, expects) in [
        ("Content-Length: 1", true),
        ("Transfer-Encoding: chunked", true),
        ("Content-Length: 0", false),
    ] {
        let bytes =
            format!("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n{framing}\r\n\r\n");
        let parsed = request(bytes.as_bytes()).ok().flatten().expect("accepted");
        assert_eq!(parsed.expects_continue, expects, "{framing}");
    }
}

#[test]
fn one_parser_reads_pipelined_requests_one_after_the_other() {
    let bytes = b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n";
    let (mut parser, mut rest, mut paths) = (RequestParser::new(), &bytes[..], Vec::new());
    while let Ok(Some(parsed)) = parser.parse(rest, &Limits::default()) {
        paths.push(parsed.path());
        rest = &rest[parsed.head_bytes..];
    }
    assert_eq!((paths, rest), (vec!["/1", "/2"], &b""[..]));
}

#[test]
fn a_buffer_that_changes_under_the_parser_gives_no_panic() {
    let (first, second) = (b"GET /some/path HTTP/1.1\r\nHost: name\r\nX: y", b"\r\n\r\n");
    for end in 0..=first.len() {
        let mut parser = RequestParser::new();
        let _ = parser.parse(&first[..end], &Limits::default());
        for other in [&b""[..], &second[..], b"\r", &[b'\n'; 80], &[b' '; 80], &[0xff; 80]] {
            let _ = parser.parse(other, &Limits::default());
        }
    }
}

#[test]
fn a_host_that_comes_first_counts_among_the_header_lines() {
    let head = b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nC: d\r\n\r\n";
    for (headers_max, fits) in [(0, false), (1, false), (2, false), (3, true)] {
        let limits = Limits { headers_max, ..Limits::default() };
        let parsed = RequestParser::new().parse(head, &limits);
        assert_eq!(matches!(parsed, Ok(Some(_))), fits, "{headers_max}: {parsed:?}");
    }
}

//! Responses: split anywhere is whole, and what is accepted is written back and parsed the same.

use super::split::{TIGHT, WIDE, each_message};
use whirligig::http::{
    Connection, Framing, Limits, RequestKind, Response, ResponseHead, ResponseParser,
    write_response_head,
};

/// `data` is what a server sends on one connection, to requests of one kind.
pub fn run(data: &[u8]) {
    for kind in [RequestKind::Ordinary, RequestKind::Head, RequestKind::Connect] {
        for limits in [Limits::default(), TIGHT] {
            let new_parser = || {
                let mut parser = ResponseParser::new(kind);
                move |bytes| parser.parse(bytes, &limits)
            };
            each_message(data, new_parser, |response: &Response<'_>| {
                check_write_back(kind, response);
                if kind == RequestKind::Ordinary {
                    check_writer(response);
                }
                (response.framing, response.head_bytes)
            });
        }
    }
}

/// Parses a head that must be one, and whole.
fn parse_again(kind: RequestKind, written: &[u8]) -> Response<'_> {
    let again = ResponseParser::new(kind).parse(written, &WIDE);
    let again = again.unwrap_or_else(|error| panic!("{error}: {}", written.escape_ascii()));
    let again = again.expect("a written head is whole");
    assert_eq!(again.head_bytes, written.len());
    again
}

fn check_write_back(kind: RequestKind, response: &Response<'_>) {
    let mut written = Vec::new();
    response.write_back(&mut written);
    let again = parse_again(kind, &written);
    assert_same(response, &again);
    assert!(response.headers().eq(again.headers()));
    assert_eq!((response.version, response.reason), (again.version, again.reason));
    let mut twice = Vec::new();
    again.write_back(&mut twice);
    assert_eq!(written, twice, "written back twice");
}

/// The writer makes of a response's parts what the parser took them from.
fn check_writer(response: &Response<'_>) {
    let own = ["connection", "content-length", "transfer-encoding"];
    let others = response
        .headers()
        .filter(|(name, _)| !own.iter().any(|own| name.eq_ignore_ascii_case(own)))
        .map(|(name, value)| Some((name, std::str::from_utf8(value).ok()?)));
    // Values that are not UTF-8 can be received but not sent.
    let Some(headers) = others.collect::<Option<Vec<_>>>() else { return };
    let head = ResponseHead {
        status: response.status,
        headers: &headers,
        connection: if response.keep_alive { Connection::KeepAlive } else { Connection::Close },
    };
    let mut written = Vec::new();
    write_response_head(&mut written, &head, response.framing).expect("its parts were accepted");
    assert_same(response, &parse_again(RequestKind::Ordinary, &written));
}

fn assert_same(response: &Response<'_>, again: &Response<'_>) {
    assert_eq!((response.status, response.is_interim()), (again.status, again.is_interim()));
    assert_eq!((response.framing, response.keep_alive), (again.framing, again.keep_alive));
    assert!(response.framing != Framing::UntilClose || !response.keep_alive);
}

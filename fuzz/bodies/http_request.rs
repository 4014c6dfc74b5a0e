//! Requests: split anywhere is whole, and what is accepted is written back and parsed the same.

use super::split::{TIGHT, WIDE, each_message};
use whirligig::http::{
    Connection, Limits, Request, RequestHead, RequestParser, Version, write_request_head,
};

/// `data` is what a client sends on one connection.
pub fn run(data: &[u8]) {
    for limits in [Limits::default(), TIGHT] {
        let new_parser = || {
            let mut parser = RequestParser::new();
            move |bytes| parser.parse(bytes, &limits)
        };
        each_message(data, new_parser, |request: &Request<'_>| {
            check_write_back(request);
            check_writer(request);
            (request.framing, request.head_bytes)
        });
    }
}

/// Parses a head that must be one, and whole.
fn parse_again(written: &[u8]) -> Request<'_> {
    let again = RequestParser::new().parse(written, &WIDE);
    let again = again.unwrap_or_else(|error| panic!("{error}: {}", written.escape_ascii()));
    let again = again.expect("a written head is whole");
    assert_eq!(again.head_bytes, written.len());
    again
}

fn check_write_back(request: &Request<'_>) {
    let mut written = Vec::new();
    request.write_back(&mut written);
    let again = parse_again(&written);
    assert_same(request, &again);
    assert!(request.headers().eq(again.headers()));
    assert_eq!((request.version, request.keep_alive), (again.version, again.keep_alive));
    let mut twice = Vec::new();
    again.write_back(&mut twice);
    assert_eq!(written, twice, "written back twice");
}

/// The writer makes of a request's parts what the parser took them from.
fn check_writer(request: &Request<'_>) {
    let hosts = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    assert!(hosts.count() <= 1);
    let host = request.header("host").unwrap_or_default();
    let mut own = vec!["host", "connection", "content-length", "transfer-encoding"];
    if request.version == Version::Http10 {
        // Without meaning there, whatever it says; what is written is 1.1.
        own.push("expect");
    }
    let others = request
        .headers()
        .filter(|(name, _)| !own.iter().any(|own| name.eq_ignore_ascii_case(own)))
        .map(|(name, value)| Some((name, std::str::from_utf8(value).ok()?)));
    // Values that are not UTF-8 can be received but not sent.
    let Some(headers) = others.collect::<Option<Vec<_>>>() else { return };
    let head = RequestHead {
        method: request.method,
        target: request.target(),
        host: std::str::from_utf8(host).expect("a host is ASCII"),
        headers: &headers,
        connection: if request.keep_alive { Connection::KeepAlive } else { Connection::Close },
    };
    let mut written = Vec::new();
    write_request_head(&mut written, &head, request.framing).expect("its parts were accepted");
    let again = parse_again(&written);
    assert_same(request, &again);
    assert_eq!(request.keep_alive, again.keep_alive);
}

fn assert_same(request: &Request<'_>, again: &Request<'_>) {
    assert_eq!((request.method, request.target()), (again.method, again.target()));
    assert_eq!(request.target_form(), again.target_form());
    assert_eq!((request.path(), request.query()), (again.path(), again.query()));
    assert_eq!((request.host(), request.framing), (again.host(), again.framing));
    assert_eq!(request.expects_continue, again.expects_continue);
}

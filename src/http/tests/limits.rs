//! Bounds: the largest size is accepted and one more is refused, however the bytes are split.

use super::super::ParseError::{
    BodyTooLarge, ChunkSize, ExtensionsTooLong, HeadTooLong, TargetTooLong, TooManyHeaders,
    TrailersTooLong,
};
use super::super::{
    EXTENSION_BYTES_MAX, Framing, Limits, ParseError, Request, RequestKind, RequestParser,
    ResponseParser, TRAILER_BYTES_MAX,
};
use super::{Verdict, agreed, decoded, decoded_in_pieces, every_cut};

fn request_within<'a>(bytes: &'a [u8], limits: &Limits) -> Verdict<Request<'a>> {
    agreed(bytes, every_cut(bytes.len()), || {
        let mut parser = RequestParser::new();
        move |bytes| parser.parse(bytes, limits)
    })
}

const HEAD: &[u8] = b"\r\nGET /target HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n";

#[test]
fn a_head_may_be_as_long_as_the_limit_and_no_longer() {
    let mut limits = Limits { head_bytes_max: HEAD.len(), ..Limits::default() };
    let with_body = [HEAD, b"body"].concat();
    assert!(matches!(request_within(&with_body, &limits), Ok(Some(_))));
    for head_bytes_max in 0..HEAD.len() {
        limits.head_bytes_max = head_bytes_max;
        assert_eq!(request_within(&with_body, &limits), Err(HeadTooLong));
        assert_eq!(request_within(&with_body[..head_bytes_max], &limits), Err(HeadTooLong));
    }
}

#[test]
fn a_fault_before_the_limit_is_told_rather_than_the_length() {
    let limits = Limits { head_bytes_max: 20, ..Limits::default() };
    let bytes = b"GET / HTTP/1.1\r\nA\0 and so on for longer than that";
    assert_eq!(request_within(bytes, &limits), Err(ParseError::HeaderName));
}

#[test]
fn a_target_may_be_as_long_as_the_limit_and_no_longer() {
    let mut limits = Limits { target_bytes_max: "/target".len(), ..Limits::default() };
    assert!(matches!(request_within(HEAD, &limits), Ok(Some(_))));
    limits.target_bytes_max -= 1;
    assert_eq!(request_within(HEAD, &limits), Err(TargetTooLong));
    assert_eq!(request_within(b"GET /target", &limits), Err(TargetTooLong));
    assert_eq!(request_within(b"GET /targe", &limits), Ok(None));
    assert_eq!(request_within(b"GET /targe\0", &limits), Err(ParseError::Target));
}

#[test]
fn there_may_be_as_many_header_lines_as_the_limit_and_no_more() {
    let mut limits = Limits { headers_max: 2, ..Limits::default() };
    assert!(matches!(request_within(HEAD, &limits), Ok(Some(_))));
    limits.headers_max = 1;
    assert_eq!(request_within(HEAD, &limits), Err(TooManyHeaders));
    let one_header = HEAD.split_last_chunk::<8>().map_or(&[][..], |(front, _)| front);
    assert_eq!(request_within(one_header, &limits), Ok(None));
}

#[test]
fn a_response_head_may_be_as_long_as_the_limit_and_no_longer() {
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let verdict = |head_bytes_max| {
        let limits = Limits { head_bytes_max, ..Limits::default() };
        agreed(bytes, every_cut(bytes.len()), || {
            let mut parser = ResponseParser::new(RequestKind::Ordinary);
            move |bytes| parser.parse(bytes, &limits)
        })
    };
    assert!(matches!(verdict(bytes.len()), Ok(Some(_))));
    (0..bytes.len()).for_each(|length| assert_eq!(verdict(length), Err(HeadTooLong)));
}

#[test]
fn the_default_limits_hold_where_they_say() {
    let limits = Limits::default();
    let with_path = |length: usize| {
        format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(length - 1)).into_bytes()
    };
    let parse = |bytes: &[u8]| {
        agreed(bytes, [1000, 5000, bytes.len() - 1].into_iter(), || {
            let mut parser = RequestParser::new();
            move |bytes| parser.parse(bytes, &limits).map(|request| request.map(|_| ()))
        })
    };
    assert_eq!(parse(&with_path(8 * 1024)), Ok(Some(())));
    assert_eq!(parse(&with_path(8 * 1024 + 1)), Err(TargetTooLong));
    let start = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
    let with_length = |length: usize| {
        format!("{start}{}\r\n\r\n", "a".repeat(length - start.len() - 4)).into_bytes()
    };
    assert_eq!(parse(&with_length(16 * 1024)), Ok(Some(())));
    assert_eq!(parse(&with_length(16 * 1024 + 1)), Err(HeadTooLong));
}

#[test]
fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
    let chunks = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(decoded(Framing::Chunked, chunks, 5), (b"abcde".to_vec(), chunks.len(), Ok(true)));
    assert_eq!(decoded(Framing::Chunked, chunks, 4), (b"abc".to_vec(), 0, Err(BodyTooLarge)));
    assert_eq!(decoded(Framing::Length(5), b"abcde", 5), (b"abcde".to_vec(), 5, Ok(true)));
    assert_eq!(decoded(Framing::Length(5), b"abcde", 4), (vec![], 0, Err(BodyTooLarge)));
    assert_eq!(decoded(Framing::UntilClose, b"abcde", 5), (b"abcde".to_vec(), 5, Ok(false)));
    assert_eq!(decoded(Framing::UntilClose, b"abcde", 4), (b"abcd".to_vec(), 0, Err(BodyTooLarge)));
}

#[test]
fn a_chunk_size_too_large_is_refused_at_its_digit() {
    assert_eq!(decoded(Framing::Chunked, b"10", 0xf).2, Err(BodyTooLarge));
    assert_eq!(decoded(Framing::Chunked, b"ffffffffffffffff", u64::MAX).2, Ok(false));
    assert_eq!(decoded(Framing::Chunked, b"10000000000000000", u64::MAX).2, Err(ChunkSize));
    assert_eq!(decoded(Framing::Chunked, b"0000000000000001\r\na", 9).0, b"a");
    assert_eq!(decoded(Framing::Chunked, b"00000000000000001", 9).2, Err(ChunkSize));
}

#[test]
fn chunk_sizes_that_overflow_together_are_refused() {
    // The first is taken off what is left of 64 bits.
    let bytes = b"2\r\nab\r\nffffffffffffffff\r\n";
    assert_eq!(decoded(Framing::Chunked, bytes, u64::MAX), (b"ab".to_vec(), 0, Err(BodyTooLarge)));
}

/// Whole and byte by byte; every cut in two would take long.
fn decoded_of_length(bytes: &[u8]) -> Result<bool, ParseError> {
    let end = bytes.len();
    let whole = decoded_in_pieces(Framing::Chunked, bytes, 9, &mut [end].into_iter());
    assert_eq!(decoded_in_pieces(Framing::Chunked, bytes, 9, &mut (0..=end)), whole);
    whole.2
}

#[test]
fn extensions_may_together_be_as_long_as_the_limit_and_no_longer() {
    let with_extensions = |length: usize| {
        let half = length / 2;
        let first = "x".repeat(half - 1);
        let second = "y".repeat(length - half - 1);
        format!("1;{first}\r\na\r\n0;{second}\r\n\r\n").into_bytes()
    };
    let most = EXTENSION_BYTES_MAX as usize;
    assert_eq!(decoded_of_length(&with_extensions(most)), Ok(true));
    assert_eq!(decoded_of_length(&with_extensions(most + 1)), Err(ExtensionsTooLong));
}

#[test]
fn trailers_may_be_as_long_as_the_limit_and_no_longer() {
    let with_trailers =
        |length: usize| format!("0\r\nA: b\r\nX:{}\r\n\r\n", "y".repeat(length - 12)).into_bytes();
    let most = TRAILER_BYTES_MAX as usize;
    assert_eq!(decoded_of_length(&with_trailers(most)), Ok(true));
    assert_eq!(decoded_of_length(&with_trailers(most + 1)), Err(TrailersTooLong));
}

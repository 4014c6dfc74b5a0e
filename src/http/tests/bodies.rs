//! Bodies: what each framing gives out, and what it refuses.

use super::super::ParseError::{self, *};
use super::super::{BodyDecoder, Framing};
use super::decoded;

/// Whole chunked bodies and the data in them.
pub(super) const CHUNKED: &[(&[u8], &[u8])] = &[
    (b"0\r\n\r\n", b""),
    (b"000\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"3\r\nabc\r\n0B\r\nhello world\r\n0\r\n\r\n", b"abchello world"),
    (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
    (b"1;a\r\nx\r\n0 \t;b=\"c;\td\"\r\n\r\n", b"x"),
    (b"1;\r\nx\r\n0;;\r\n\r\n", b"x"),
    (b"1\r\nx\r\n0\r\nA: b\r\nc:\r\nTransfer-Encoding: chunked\r\n\r\n", b"x"),
];

#[test]
fn chunks_give_the_same_data_however_they_are_split() {
    for &(bytes, data) in CHUNKED {
        let expected = (data.to_vec(), bytes.len(), Ok(true));
        assert_eq!(decoded(Framing::Chunked, bytes, 100), expected, "{}", bytes.escape_ascii());
        let with_next = [bytes, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(decoded(Framing::Chunked, &with_next, 100), expected);
    }
}

#[test]
fn malformed_chunks_are_refused_with_the_same_reason_however_they_are_split() {
    for &(bytes, data, error) in REFUSED {
        let expected = (data.to_vec(), 0, Err(error));
        assert_eq!(decoded(Framing::Chunked, bytes, 100), expected, "{}", bytes.escape_ascii());
    }
}

const REFUSED: &[(&[u8], &[u8], ParseError)] = &[
    (b"\r\n", b"", ChunkSize),
    (b";x\r\n", b"", ChunkSize),
    (b" 1\r\n", b"", ChunkSize),
    (b"+1\r\n", b"", ChunkSize),
    (b"-1\r\n", b"", ChunkSize),
    (b"0x1\r\n", b"", ChunkSize),
    (b"1g\r\n", b"", ChunkSize),
    (b"1_0\r\n", b"", ChunkSize),
    (b"\xd9\xa1\r\n", b"", ChunkSize),
    (b"1\n", b"", LineEnding),
    (b"1\rx", b"", LineEnding),
    (b"1;a\n", b"", LineEnding),
    (b"1;a\rb", b"", LineEnding),
    (b"1 \r\n", b"", ChunkExtension),
    (b"1 2\r\n", b"", ChunkExtension),
    (b"1;\0\r\n", b"", ChunkExtension),
    (b"1\r\nab", b"a", ChunkEnd),
    (b"1\r\na\n", b"a", ChunkEnd),
    (b"1\r\na\rb", b"a", LineEnding),
    (b"1\r\na\r\n\r\n", b"a", ChunkSize),
    (b"0\r\n\n", b"", LineEnding),
    (b"0\r\n\rx", b"", LineEnding),
    (b"0\r\n a: b\r\n", b"", Folding),
    (b"0\r\na: b\r\n c\r\n", b"", Folding),
    (b"0\r\n: b\r\n", b"", HeaderName),
    (b"0\r\na : b\r\n", b"", HeaderName),
    (b"0\r\na\r\n", b"", HeaderName),
    (b"0\r\na: \0\r\n", b"", HeaderValue),
    (b"0\r\na: b\n", b"", LineEnding),
    (b"0\r\na: b\rc", b"", LineEnding),
];

#[test]
fn a_body_of_known_length_ends_where_it_says() {
    let framing = Framing::Length(5);
    assert_eq!(decoded(framing, b"hello", 5), (b"hello".to_vec(), 5, Ok(true)));
    assert_eq!(decoded(framing, b"hello, next", 5), (b"hello".to_vec(), 5, Ok(true)));
    assert_eq!(decoded(framing, b"hell", 5), (b"hell".to_vec(), 4, Ok(false)));
}

#[test]
fn an_empty_body_is_done_before_the_first_byte() {
    for framing in [Framing::None, Framing::Length(0)] {
        assert!(framing.is_empty());
        assert_eq!(decoded(framing, b"next", 0), (vec![], 0, Ok(true)));
    }
}

#[test]
fn data_is_lent_from_the_input_and_not_copied() {
    let input = b"5\r\nhello\r\n";
    let mut decoder = BodyDecoder::new(Framing::Chunked, 5).expect("chunks have no length yet");
    let data = decoder.decode(input).expect("well-formed").data;
    assert_eq!(data.as_ptr_range(), input[3..8].as_ptr_range());
}

#[test]
fn only_a_body_until_close_may_end_by_closing() {
    let finished = |framing, input: &[u8]| {
        let mut decoder = BodyDecoder::new(framing, 100)?;
        let mut rest = input;
        while !rest.is_empty() && !decoder.is_done() {
            rest = &rest[decoder.decode(rest)?.consumed..];
        }
        decoder.finish()?;
        assert!(decoder.is_done());
        Ok(())
    };
    assert_eq!(finished(Framing::UntilClose, b""), Ok(()));
    assert_eq!(finished(Framing::UntilClose, b"abc"), Ok(()));
    assert_eq!(finished(Framing::None, b""), Ok(()));
    assert_eq!(finished(Framing::Length(3), b"abc"), Ok(()));
    assert_eq!(finished(Framing::Length(3), b"ab"), Err(UnexpectedEnd));
    let (chunks, _) = CHUNKED[3];
    assert_eq!(finished(Framing::Chunked, chunks), Ok(()));
    for end in 0..chunks.len() {
        assert_eq!(finished(Framing::Chunked, &chunks[..end]), Err(UnexpectedEnd), "at {end}");
    }
}

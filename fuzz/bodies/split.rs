//! Feeds a parser the same bytes in different pieces.

use std::fmt::Debug;
use whirligig::http::{BodyDecoder, Framing, Limits, ParseError, write_chunk, write_last_chunk};

pub(crate) type Verdict<T> = Result<Option<T>, ParseError>;

/// Limits so small that a fuzzer's messages cross them.
pub(crate) const TIGHT: Limits =
    Limits { head_bytes_max: 90, target_bytes_max: 12, headers_max: 3 };
/// No limits, for what is written back: it may be longer than what was accepted.
pub(crate) const WIDE: Limits =
    Limits { head_bytes_max: usize::MAX, target_bytes_max: usize::MAX, headers_max: usize::MAX };
/// Bytes that a body may have here.
const BODY_BYTES_MAX: u64 = 512;
/// Messages that are taken off one input.
const MESSAGES_MAX: usize = 8;

/// Two places to cut `length` bytes at, which depend on the bytes alone.
fn cuts(bytes: &[u8]) -> [usize; 2] {
    // FNV-1a.
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let length = bytes.len() as u64 + 1;
    [((hash >> 32) % length) as usize, (hash % length) as usize]
}

/// Cuts messages off `bytes` until one is refused, or not whole; each piece of each must be judged
/// alike, however it is split. `check` sees what is accepted, and says how its body is framed.
pub(crate) fn each_message<'a, T, Parse>(
    mut bytes: &'a [u8],
    new_parser: impl Fn() -> Parse,
    mut check: impl FnMut(&T) -> (Framing, usize),
) where
    T: PartialEq + Debug,
    Parse: FnMut(&'a [u8]) -> Verdict<T>,
{
    let mut one_for_all = new_parser();
    for _ in 0..MESSAGES_MAX {
        let verdict = agreed(bytes, &new_parser);
        assert_eq!(one_for_all(bytes), verdict, "a parser is as new after a message");
        let Ok(Some(message)) = verdict else { return };
        let (framing, head_bytes) = check(&message);
        let Some(body_bytes) = body(framing, &bytes[head_bytes..]) else { return };
        bytes = &bytes[head_bytes + body_bytes..];
    }
}

/// The verdict on `bytes` whole, having checked that it is the same byte by byte and cut.
fn agreed<'a, T, Parse>(bytes: &'a [u8], new_parser: &impl Fn() -> Parse) -> Verdict<T>
where
    T: PartialEq + Debug,
    Parse: FnMut(&'a [u8]) -> Verdict<T>,
{
    let fed = |ends: &mut dyn Iterator<Item = usize>| {
        let mut parse = new_parser();
        for end in ends {
            let verdict = parse(&bytes[..end]);
            if verdict.is_err() {
                assert_eq!(parse(&bytes[..end]), verdict, "a refusal repeats");
            }
            if verdict != Ok(None) {
                return verdict;
            }
        }
        Ok(None)
    };
    let whole = fed(&mut std::iter::once(bytes.len()));
    assert_eq!(fed(&mut (0..=bytes.len())), whole, "byte by byte: {}", bytes.escape_ascii());
    for cut in cuts(bytes) {
        let in_two = fed(&mut [cut, bytes.len()].into_iter());
        assert_eq!(in_two, whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    whole
}

/// What came of decoding: the data, how many bytes were consumed, and whether the body is whole.
type Decoding = (Vec<u8>, usize, Result<bool, ParseError>);

/// Decodes the body at the front of `bytes`; returns its length there if it is whole.
fn body(framing: Framing, bytes: &[u8]) -> Option<usize> {
    let whole = decode(framing, bytes, &mut std::iter::once(bytes.len()));
    let in_bytes = decode(framing, bytes, &mut (0..=bytes.len()));
    assert_eq!(in_bytes, whole, "byte by byte: {}", bytes.escape_ascii());
    for cut in cuts(bytes) {
        let in_two = decode(framing, bytes, &mut [cut, bytes.len()].into_iter());
        assert_eq!(in_two, whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    let (data, consumed, end) = whole;
    assert!(data.len() as u64 <= BODY_BYTES_MAX);
    match framing {
        Framing::None => assert_eq!((data.len(), consumed, &end), (0, 0, &Ok(true))),
        Framing::Length(_) | Framing::UntilClose => {
            assert!(bytes.starts_with(&data));
            assert!(end.is_err() || data.len() == consumed);
        }
        Framing::Chunked => check_chunked(&data),
    }
    (end == Ok(true)).then_some(consumed)
}

/// The same data in chunks of another size is the same data.
fn check_chunked(data: &[u8]) {
    let mut written = Vec::new();
    for chunk in data.chunks(7) {
        write_chunk(&mut written, chunk);
    }
    write_last_chunk(&mut written);
    let again = decode(Framing::Chunked, &written, &mut std::iter::once(written.len()));
    assert_eq!(again, (data.to_vec(), written.len(), Ok(true)));
}

fn decode(framing: Framing, bytes: &[u8], ends: &mut dyn Iterator<Item = usize>) -> Decoding {
    let (mut data, mut start) = (Vec::new(), 0);
    let mut decoder = match BodyDecoder::new(framing, BODY_BYTES_MAX) {
        Ok(decoder) => decoder,
        Err(error) => return (data, 0, Err(error)),
    };
    for end in ends {
        while start < end && !decoder.is_done() {
            match decoder.decode(&bytes[start..end]) {
                Ok(decoded) => {
                    assert!(decoded.consumed > 0, "every call consumes something");
                    assert_eq!(decoded.done, decoder.is_done());
                    data.extend_from_slice(decoded.data);
                    start += decoded.consumed;
                }
                Err(error) => {
                    assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(error), "a refusal repeats");
                    assert_eq!(decoder.finish(), Err(error), "a refusal repeats");
                    // Where in the bad piece it was is not said, so it is not compared.
                    return (data, 0, Err(error));
                }
            }
        }
    }
    let done = decoder.is_done();
    let may_end = done || framing == Framing::UntilClose;
    assert_eq!(decoder.finish(), if may_end { Ok(()) } else { Err(ParseError::UnexpectedEnd) });
    (data, start, Ok(done))
}

//! What the tests of this module share: ways to cut bytes, and a small source of randomness.

use std::fmt::Debug;

use super::{
    BodyDecoder, Framing, Limits, ParseError, Request, RequestKind, RequestParser, Response,
    ResponseParser,
};

mod bodies;
mod limits;
mod mutations;
mod refused;
mod requests;
mod responses;
mod server;
mod writers;

type Verdict<T> = Result<Option<T>, ParseError>;

/// Parses `bytes` whole, byte by byte and cut in two at every place; all must agree.
fn request(bytes: &[u8]) -> Verdict<Request<'_>> {
    agreed(bytes, every_cut(bytes.len()), || {
        let mut parser = RequestParser::new();
        move |bytes| parser.parse(bytes, &Limits::default())
    })
}

/// As [`request`], for a response to a request of kind `kind`.
fn response(kind: RequestKind, bytes: &[u8]) -> Verdict<Response<'_>> {
    agreed(bytes, every_cut(bytes.len()), || {
        let mut parser = ResponseParser::new(kind);
        move |bytes| parser.parse(bytes, &Limits::default())
    })
}

fn every_cut(length: usize) -> impl Iterator<Item = usize> {
    0..=length
}

/// The verdict of the parser that `new_parser` makes on `bytes` whole, having checked that it is
/// the same byte by byte and with each of `cuts`, and that a refusal repeats.
fn agreed<'a, T, Parse>(
    bytes: &'a [u8],
    cuts: impl Iterator<Item = usize>,
    new_parser: impl Fn() -> Parse,
) -> Verdict<T>
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
    let whole = fed(&mut [bytes.len()].into_iter());
    let text = bytes.escape_ascii();
    assert_eq!(fed(&mut (0..=bytes.len())), whole, "byte by byte: {text}");
    for cut in cuts {
        assert_eq!(fed(&mut [cut, bytes.len()].into_iter()), whole, "cut at {cut}: {text}");
    }
    whole
}

/// What came of decoding: the data, how many bytes were consumed, and how it ended.
type Decoding = (Vec<u8>, usize, Result<bool, ParseError>);

/// Decodes `bytes` whole, byte by byte and cut in two at every place; all must agree.
fn decoded(framing: Framing, bytes: &[u8], body_bytes_max: u64) -> Decoding {
    let cut_at = |ends: &mut dyn Iterator<Item = usize>| {
        decoded_in_pieces(framing, bytes, body_bytes_max, ends)
    };
    let whole = cut_at(&mut [bytes.len()].into_iter());
    let text = bytes.escape_ascii();
    assert_eq!(cut_at(&mut (0..=bytes.len())), whole, "byte by byte: {text}");
    for cut in every_cut(bytes.len()) {
        assert_eq!(cut_at(&mut [cut, bytes.len()].into_iter()), whole, "cut at {cut}: {text}");
    }
    whole
}

fn decoded_in_pieces(
    framing: Framing,
    bytes: &[u8],
    body_bytes_max: u64,
    ends: &mut dyn Iterator<Item = usize>,
) -> Decoding {
    let (mut data, mut start) = (Vec::new(), 0);
    let mut decoder = match BodyDecoder::new(framing, body_bytes_max) {
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
    (data, start, Ok(decoder.is_done()))
}

/// Xorshift: the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`, which isn't 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

#[test]
#[should_panic(expected = "byte by byte")]
fn a_parser_that_looks_at_the_split_is_found_out() {
    // The canary: it accepts whatever comes in one piece of three bytes or more.
    let _ = agreed(b"abc", every_cut(3), || {
        let mut calls = 0;
        move |bytes: &[u8]| {
            calls += 1;
            if bytes.len() >= 3 { Ok(Some(calls)) } else { Ok(None) }
        }
    });
}

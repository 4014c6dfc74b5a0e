//! Messages changed at random: nothing panics, no split matters, what is accepted is stable.
//!
//! The seeds are fixed, so that a failure repeats; each one's message is in the failure's text.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::super::{Framing, Limits, Request, RequestKind, RequestParser, ResponseParser};
use super::{Random, agreed, bodies, decoded_in_pieces, requests, responses};

const ROUNDS: u64 = 6_000;

const SPICES: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\0",
    b"\x7f",
    b"\x80",
    b"#",
    b"0",
    b"5",
    b"f",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"chunked",
    b"gzip",
    b"close",
    b"keep-alive",
    b"*",
    b"http://",
    b"Host: x\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"CONNECT ",
    b"OPTIONS ",
    b"18446744073709551615",
];

/// Changes `bytes` in one to four places.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(8)).min(bytes.len());
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            4 => bytes.truncate(at),
            _ => {
                let spice = random.one_of(SPICES);
                drop(bytes.splice(at..at, spice.iter().copied()));
            }
        }
    }
}

/// Runs `check` on a mutation of one of `corpus` for each seed, and says which failed.
fn for_each_mutation(corpus: &[&[u8]], check: impl Fn(&mut Random, &[u8])) {
    for seed in 1..=ROUNDS {
        // Spread, as xorshift starts slowly from small seeds.
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes = random.one_of(corpus).to_vec();
        mutate(&mut random, &mut bytes);
        let checked = catch_unwind(AssertUnwindSafe(|| check(&mut random, &bytes)));
        if let Err(panic) = checked {
            eprintln!("seed {seed}: {}", bytes.escape_ascii());
            resume_unwind(panic);
        }
    }
}

fn three_cuts(random: &mut Random, length: usize) -> impl Iterator<Item = usize> + use<> {
    let cuts = [0; 3].map(|_| random.below(length + 1));
    cuts.into_iter()
}

/// Limits small enough that mutations of the corpus cross them.
const TIGHT: Limits = Limits { head_bytes_max: 90, target_bytes_max: 12, headers_max: 3 };

#[test]
fn mutated_requests_meet_one_verdict_and_are_written_back_alike() {
    let corpus: Vec<&[u8]> = requests::ACCEPTED.iter().map(|row| row.0).collect();
    for_each_mutation(&corpus, |random, bytes| {
        for limits in [Limits::default(), TIGHT] {
            let cuts = three_cuts(random, bytes.len());
            let verdict = agreed(bytes, cuts, || {
                let mut parser = RequestParser::new();
                move |bytes| parser.parse(bytes, &limits)
            });
            if let Ok(Some(request)) = verdict {
                check_accepted(&request);
            }
        }
    });
}

/// What must hold of every request that is accepted, whatever it is.
fn check_accepted(request: &Request<'_>) {
    let mut written = Vec::new();
    request.write_back(&mut written);
    let again = RequestParser::new().parse(&written, &Limits::default());
    let again = again.ok().flatten().expect("what was accepted still is");
    assert!(request.headers().eq(again.headers()));
    assert_eq!((request.path(), request.query()), (again.path(), again.query()));
    assert_eq!((request.host(), request.framing), (again.host(), again.framing));
    let count = |name| request.headers().filter(|(n, _)| n.eq_ignore_ascii_case(name)).count();
    let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
    let expected = match request.framing {
        Framing::Chunked => (0, 1),
        Framing::Length(_) => (1, 0),
        _ => (0, 0),
    };
    assert_eq!((lengths, codings), expected);
    assert!(count("host") <= 1);
}

#[test]
fn mutated_responses_meet_one_verdict() {
    let corpus: Vec<&[u8]> = responses::ACCEPTED.iter().map(|row| row.1).collect();
    for_each_mutation(&corpus, |random, bytes| {
        let kind =
            *random.one_of(&[&RequestKind::Ordinary, &RequestKind::Head, &RequestKind::Connect]);
        for limits in [Limits::default(), TIGHT] {
            let cuts = three_cuts(random, bytes.len());
            let _ = agreed(bytes, cuts, || {
                let mut parser = ResponseParser::new(kind);
                move |bytes| parser.parse(bytes, &limits)
            });
        }
    });
}

#[test]
fn mutated_bodies_give_the_same_data_and_verdict() {
    let corpus: Vec<&[u8]> = bodies::CHUNKED.iter().map(|row| row.0).collect();
    for_each_mutation(&corpus, |random, bytes| {
        let framings =
            [&Framing::Chunked, &Framing::Chunked, &Framing::Length(9), &Framing::UntilClose];
        let (framing, most) = (*random.one_of(&framings), random.next() % 30);
        let decode =
            |ends: &mut dyn Iterator<Item = usize>| decoded_in_pieces(framing, bytes, most, ends);
        let whole = decode(&mut [bytes.len()].into_iter());
        assert_eq!(decode(&mut (0..=bytes.len())), whole);
        for cut in three_cuts(random, bytes.len()) {
            assert_eq!(decode(&mut [cut, bytes.len()].into_iter()), whole, "cut at {cut}");
        }
        assert!(whole.0.len() as u64 <= most);
    });
}

#[test]
fn the_mutations_reach_acceptance_and_refusal_alike() {
    // The canary: mutations that never change a verdict, or always, would test nothing.
    let corpus: Vec<&[u8]> = requests::ACCEPTED.iter().map(|row| row.0).collect();
    let tally = std::cell::Cell::new((0, 0, 0));
    for_each_mutation(&corpus, |_, bytes| {
        let (accepted, incomplete, refused) = tally.get();
        tally.set(match RequestParser::new().parse(bytes, &Limits::default()) {
            Ok(Some(_)) => (accepted + 1, incomplete, refused),
            Ok(None) => (accepted, incomplete + 1, refused),
            Err(_) => (accepted, incomplete, refused + 1),
        });
    });
    let (accepted, incomplete, refused) = tally.get();
    assert!(accepted.min(incomplete).min(refused) > ROUNDS / 20, "{:?}", tally.get());
}

//! What the parser makes of every combination of bits and of buffers of every length.

use super::*;

/// The bits that mean something, in the order of the truth table's index: bit 0 to bit 5.
const KNOWN: [u32; 6] = [EPOLLIN, EPOLLPRI, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLRDHUP];

/// What every combination means, written out: R readable, W writable, r reading closed, w writing
/// closed, E error, P priority.
#[rustfmt::skip]
const TRUTH: [&str; 64] = [
    "", "R", "RP", "RP", "W", "RW", "RWP", "RWP",
    "RWE", "RWE", "RWEP", "RWEP", "RWE", "RWE", "RWEP", "RWEP",
    "RWrw", "RWrw", "RWrwP", "RWrwP", "RWrw", "RWrw", "RWrwP", "RWrwP",
    "RWrwE", "RWrwE", "RWrwEP", "RWrwEP", "RWrwE", "RWrwE", "RWrwEP", "RWrwEP",
    "Rr", "Rr", "RrP", "RrP", "RWr", "RWr", "RWrP", "RWrP",
    "RWrE", "RWrE", "RWrEP", "RWrEP", "RWrE", "RWrE", "RWrEP", "RWrEP",
    "RWrw", "RWrw", "RWrwP", "RWrwP", "RWrw", "RWrw", "RWrwP", "RWrwP",
    "RWrwE", "RWrwE", "RWrwEP", "RWrwEP", "RWrwE", "RWrwE", "RWrwEP", "RWrwEP",
];

fn letters(readiness: Readiness) -> String {
    let flags = [
        (readiness.is_readable(), 'R'),
        (readiness.is_writable(), 'W'),
        (readiness.is_read_closed(), 'r'),
        (readiness.is_write_closed(), 'w'),
        (readiness.is_error(), 'E'),
        (readiness.is_priority(), 'P'),
    ];
    flags.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect()
}

/// All 64 combinations of the known bits, each with what it means.
fn combinations() -> impl Iterator<Item = (u32, &'static str)> {
    TRUTH.iter().enumerate().map(|(index, meaning)| {
        let chosen = KNOWN.iter().enumerate().filter(|(place, _)| index >> place & 1 == 1);
        (chosen.map(|(_, bit)| bit).sum(), *meaning)
    })
}

#[test]
fn every_combination_of_bits_means_what_the_table_says() {
    for (bits, meaning) in combinations() {
        assert_eq!(letters(Event::new(0, bits).readiness()), meaning, "{bits:#x}");
    }
}

#[test]
fn unknown_bits_change_nothing_and_are_kept() {
    let known: u32 = KNOWN.iter().sum();
    let strangers = (0..32).map(|place| 1 << place).filter(|bit| known & bit == 0);
    for stranger in strangers.chain([!known]) {
        for (bits, meaning) in combinations() {
            let event = Event::new(0, bits | stranger);
            assert_eq!(letters(event.readiness()), meaning, "{:#x}", event.bits());
            assert_eq!(event.bits(), bits | stranger);
        }
    }
}

/// `count` events that differ in all their bytes, as a kernel would write them.
fn written(count: u32, layout: Layout) -> (Vec<Event>, Vec<u8>) {
    let events: Vec<Event> = (1..=count)
        .map(|number| {
            let token = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Event::new(token, number.wrapping_mul(0x85eb_ca6b))
        })
        .collect();
    let mut bytes = vec![0; events.len() * layout.size()];
    for (event, chunk) in events.iter().zip(bytes.chunks_exact_mut(layout.size())) {
        assert_eq!(event.write_to(chunk, layout), layout.size());
    }
    (events, bytes)
}

#[test]
fn what_is_written_is_read_back_in_both_layouts() {
    for layout in [Layout::Packed, Layout::Padded] {
        let (events, bytes) = written(100, layout);
        let parsed = parse(&bytes, layout);
        assert_eq!((parsed.len(), parsed.remainder()), (100, 0));
        assert!(parsed.eq(events), "{layout:?}");
    }
}

#[test]
fn an_incomplete_event_is_not_an_event() {
    for layout in [Layout::Packed, Layout::Padded] {
        let (events, bytes) = written(5, layout);
        for length in 0..=bytes.len() {
            let mut parsed = parse(&bytes[..length], layout);
            let (whole, rest) = (length / layout.size(), length % layout.size());
            assert_eq!((parsed.len(), parsed.remainder()), (whole, rest));
            assert!(parsed.by_ref().eq(events[..whole].iter().copied()));
            assert_eq!((parsed.next(), parsed.remainder()), (None, rest));
        }
    }
}

#[test]
fn packed_is_bits_then_token() {
    let mut bytes = [0xaa; 13];
    Event::new(0x0102_0304_0506_0708, EPOLLIN).write_to(&mut bytes, Layout::Packed);
    assert_eq!(bytes[..4], 1u32.to_ne_bytes());
    assert_eq!(bytes[4..12], 0x0102_0304_0506_0708u64.to_ne_bytes());
    assert_eq!(bytes[12], 0xaa, "nothing is written behind the event");
}

#[test]
fn padded_is_bits_then_four_bytes_of_anything_then_token() {
    let mut bytes = [0xaa; 17];
    Event::new(0x0102_0304_0506_0708, EPOLLIN).write_to(&mut bytes, Layout::Padded);
    assert_eq!(bytes[..4], 1u32.to_ne_bytes());
    assert_eq!(bytes[4..8], [0; 4]);
    assert_eq!(bytes[8..16], 0x0102_0304_0506_0708u64.to_ne_bytes());
    assert_eq!(bytes[16], 0xaa, "nothing is written behind the event");

    bytes[4..8].fill(0xff);
    let event = parse(&bytes, Layout::Padded).next();
    assert_eq!(event, Some(Event::new(0x0102_0304_0506_0708, EPOLLIN)));
}

#[test]
fn an_event_is_read_from_any_address() {
    for layout in [Layout::Packed, Layout::Padded] {
        let (events, bytes) = written(3, layout);
        for offset in 0..16 {
            let mut buffer = vec![0; offset];
            buffer.extend(&bytes);
            assert!(parse(&buffer[offset..], layout).eq(events.iter().copied()));
        }
    }
}

#[test]
#[should_panic(expected = "out of range")]
fn an_event_is_not_written_to_a_buffer_that_is_too_short() {
    Event::new(0, 0).write_to(&mut [0; 15], Layout::Padded);
}

#[test]
fn the_native_layout_is_packed_on_x86_only() {
    let x86 = cfg!(any(target_arch = "x86_64", target_arch = "x86"));
    if x86 {
        assert_eq!(Layout::NATIVE, Layout::Packed);
    } else if cfg!(target_pointer_width = "64") {
        assert_eq!(Layout::NATIVE, Layout::Padded);
    }
}

#[test]
fn readiness_is_a_set() {
    let both = Readiness::READABLE | Readiness::WRITABLE;
    assert!(both.contains(Readiness::READABLE) && both.contains(both));
    assert!(!Readiness::READABLE.contains(both) && Readiness::READABLE.intersects(both));
    assert!(!both.intersects(Readiness::ERROR) && !both.intersects(Readiness::EMPTY));
    assert_eq!(both.intersection(Readiness::WRITABLE), Readiness::WRITABLE);
    assert_eq!(both.difference(Readiness::WRITABLE), Readiness::READABLE);

    let mut readiness = Readiness::default();
    assert!(readiness.is_empty() && readiness == Readiness::EMPTY);
    readiness |= both;
    readiness.insert(Readiness::ERROR);
    readiness.remove(Readiness::READABLE | Readiness::PRIORITY);
    assert_eq!(readiness, Readiness::WRITABLE | Readiness::ERROR);
}

#[test]
fn readiness_and_interest_print_their_names() {
    let closed = Readiness::READABLE | Readiness::READ_CLOSED;
    assert_eq!(format!("{closed:?}"), "READABLE | READ_CLOSED");
    assert_eq!(format!("{:?}", Readiness::EMPTY), "EMPTY");
    assert_eq!(format!("{:?}", Interest::BOTH.edge()), "READABLE | WRITABLE | edge");
    assert_eq!(format!("{:?}", Interest::WRITABLE), "WRITABLE");
}

#[test]
fn interest_becomes_the_bits_of_a_registration() {
    let read = EPOLLIN | EPOLLRDHUP | EPOLLPRI;
    assert_eq!(Interest::READABLE.bits(), read);
    assert_eq!(Interest::WRITABLE.bits(), EPOLLOUT);
    assert_eq!((Interest::READABLE | Interest::WRITABLE).bits(), read | EPOLLOUT);
    assert_eq!(Interest::BOTH.edge().bits(), read | EPOLLOUT | EPOLLET);
    assert_eq!(Interest::BOTH.edge().level(), Interest::BOTH);
    assert_eq!(Interest::READABLE.edge() | Interest::WRITABLE, Interest::BOTH.edge());
}

//! The event parser against a second one, written down bit by bit; and back to bytes again.

use whirligig::event::{
    EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, Event, Layout, Readiness, parse,
};

/// The table of the module's documentation, row by row.
const MEANINGS: [(u32, &[Readiness]); 6] = [
    (EPOLLIN, &[Readiness::READABLE]),
    (EPOLLPRI, &[Readiness::READABLE, Readiness::PRIORITY]),
    (EPOLLOUT, &[Readiness::WRITABLE]),
    (EPOLLERR, &[Readiness::READABLE, Readiness::WRITABLE, Readiness::ERROR]),
    (
        EPOLLHUP,
        &[
            Readiness::READABLE,
            Readiness::WRITABLE,
            Readiness::READ_CLOSED,
            Readiness::WRITE_CLOSED,
        ],
    ),
    (EPOLLRDHUP, &[Readiness::READABLE, Readiness::READ_CLOSED]),
];

/// `data` is what a kernel wrote.
pub fn run(data: &[u8]) {
    // (layout, bytes of an event, where its token starts)
    for (layout, size, token_at) in [(Layout::Packed, 12, 4), (Layout::Padded, 16, 8)] {
        assert_eq!(layout.size(), size);
        let events = parse(data, layout);
        assert_eq!(events.len(), data.len() / size);
        assert_eq!(events.remainder(), data.len() % size);

        let mut written = vec![0xff; events.len() * size];
        let mut count = 0;
        for (index, event) in events.clone().enumerate() {
            let (at, mut bits, mut token) = (index * size, 0, 0);
            for place in 0..4 {
                bits |= u32::from(data[at + in_order(place, 4)]) << (8 * place);
            }
            for place in 0..8 {
                token |= u64::from(data[at + token_at + in_order(place, 8)]) << (8 * place);
            }
            assert_eq!((event.bits(), event.token()), (bits, token), "{layout:?}, event {index}");
            assert_eq!(event, Event::new(token, bits));
            assert_eq!(event.readiness(), meaning(bits), "{bits:#x}");
            assert_eq!(event.write_to(&mut written[at..], layout), size);
            count += 1;
        }
        assert_eq!(count, data.len() / size);

        let again = parse(&written, layout);
        assert_eq!(again.remainder(), 0);
        assert!(again.eq(events), "written and parsed again: {layout:?}");
        for (index, byte) in written.iter().enumerate() {
            let padding = (4..token_at).contains(&(index % size));
            assert_eq!(*byte, if padding { 0 } else { data[index] }, "{layout:?}, byte {index}");
        }
    }
}

/// Where the byte of the `place`th-lowest value stands among `count`, in this machine's order.
fn in_order(place: usize, count: usize) -> usize {
    if cfg!(target_endian = "little") { place } else { count - 1 - place }
}

fn meaning(bits: u32) -> Readiness {
    let rows = MEANINGS.iter().filter(|(bit, _)| bits & bit != 0);
    rows.flat_map(|(_, flags)| flags.iter()).fold(Readiness::EMPTY, |all, &flag| all | flag)
}

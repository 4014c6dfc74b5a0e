//! What each byte may be part of: one table for all grammars, and the scans over it.

/// May stand in a token (RFC 9110, section 5.6.2): methods, header names, list members.
pub(super) const TOKEN: u8 = 1;
/// May stand in a header value or reason phrase (RFC 9110, section 5.5): no control byte but the
/// tab.
pub(super) const VALUE: u8 = 2;
/// May stand in a request target: visible ASCII but `#`, which starts a fragment.
pub(super) const TARGET: u8 = 4;
/// May stand in a registered name (RFC 3986, section 3.2.2), `%` aside.
pub(super) const NAME: u8 = 8;
/// May stand as itself in a path segment (`pchar` of RFC 3986, section 3.3), `%` aside.
pub(super) const SEGMENT: u8 = 16;
/// May stand in a request target before its query: as `TARGET`, but for the `?`.
pub(super) const PATH: u8 = 32;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = classes_of(byte as u8);
        byte += 1;
    }
    classes
};

const fn classes_of(byte: u8) -> u8 {
    let mut classes = 0;
    if byte.is_ascii_alphanumeric() {
        classes |= TOKEN | NAME | SEGMENT;
    }
    if matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+') {
        classes |= TOKEN;
    }
    if matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~') {
        classes |= TOKEN;
    }
    // Unreserved marks, then sub-delims (RFC 3986, sections 2.2 and 2.3).
    if matches!(byte, b'-' | b'.' | b'_' | b'~')
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
    {
        classes |= NAME | SEGMENT;
    }
    if matches!(byte, b':' | b'@') {
        classes |= SEGMENT;
    }
    if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
        classes |= VALUE;
    }
    if byte > b' ' && byte < 0x7f && byte != b'#' {
        classes |= TARGET;
        if byte != b'?' {
            classes |= PATH;
        }
    }
    classes
}

/// Whether `byte` belongs to one of `classes`.
#[inline]
pub(super) fn is(byte: u8, classes: u8) -> bool {
    CLASSES[usize::from(byte)] & classes != 0
}

/// Whether `bytes` is one token.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all_are(bytes, TOKEN)
}

/// Whether all of `bytes` belong to one of `classes`.
#[inline]
pub(super) fn all_are(bytes: &[u8], classes: u8) -> bool {
    skip(bytes, 0, classes) == bytes.len()
}

/// Where, at or after `from`, the first byte is that no token has; the end if there is none.
#[inline]
pub(super) fn skip_token(bytes: &[u8], from: usize) -> usize {
    skip(bytes, from, TOKEN)
}

/// Where, at or after `from`, the first byte is that no target has; the end if there is none.
#[inline]
pub(super) fn skip_target(bytes: &[u8], from: usize) -> usize {
    skip_unmarked(bytes, from, outside_target, TARGET)
}

/// Where, at or after `from`, the first byte is that no target has before its query: a `?`, or one
/// that no target has; the end if there is none.
#[inline]
pub(super) fn skip_path(bytes: &[u8], from: usize) -> usize {
    let mark = |word| outside_target(word) | (word ^ (ONES * b'?' as u64)).wrapping_sub(ONES);
    skip_unmarked(bytes, from, mark, PATH)
}

/// Marks the bytes of a word that no target has.
#[inline]
fn outside_target(word: u64) -> u64 {
    // Adding one takes 0x7f to the bytes above it, which are marked as they are.
    let hash = (word ^ (ONES * b'#' as u64)).wrapping_sub(ONES);
    word.wrapping_sub(ONES * 0x21) | hash | word | word.wrapping_add(ONES)
}

#[inline]
fn skip_unmarked(bytes: &[u8], from: usize, mark: impl Fn(u64) -> u64, classes: u8) -> usize {
    let Some(mut rest) = bytes.get(from..) else { return from };
    while let Some((word, after)) = rest.split_first_chunk() {
        let marks = mark(u64::from_le_bytes(*word)) & HIGHS;
        if marks != 0 {
            return bytes.len() - rest.len() + first_marked(marks);
        }
        rest = after;
    }
    skip(bytes, bytes.len() - rest.len(), classes)
}

/// Where, at or after `from`, the first byte is that no value has; the end if there is none.
#[inline]
pub(super) fn skip_value(bytes: &[u8], from: usize) -> usize {
    let Some(mut rest) = bytes.get(from..) else { return from };
    while let Some((word, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        let delete = (word ^ (ONES * 0x7f)).wrapping_sub(ONES);
        let below = word.wrapping_sub(ONES * 0x20);
        let marks = (below | delete) & !word & HIGHS;
        if marks == 0 {
            rest = after;
            continue;
        }
        rest = rest.get(first_marked(marks)..).unwrap_or_default();
        match rest {
            [b'\t', after @ ..] => rest = after,
            _ => return bytes.len() - rest.len(),
        }
    }
    skip(bytes, bytes.len() - rest.len(), VALUE)
}

/// Where, at or after `from`, the first byte is that no registered name has; the end if there is
/// none.
#[inline]
pub(super) fn skip_name(bytes: &[u8], from: usize) -> usize {
    skip(bytes, from, NAME)
}

/// Where the first `byte` is; None if there is none.
#[inline]
pub(crate) fn find(bytes: &[u8], byte: u8) -> Option<usize> {
    find_either(bytes, [byte])
}

/// Where the first of `wanted` is; None if there is none.
#[inline]
pub(crate) fn find_either<const COUNT: usize>(bytes: &[u8], wanted: [u8; COUNT]) -> Option<usize> {
    let mark = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        let marks = wanted.map(|byte| {
            let other = word ^ (ONES * u64::from(byte));
            other.wrapping_sub(ONES) & !other
        });
        marks.into_iter().fold(0, |all, marks| all | marks) & HIGHS
    };
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        let marks = mark(word);
        if marks != 0 {
            return Some(bytes.len() - rest.len() + first_marked(marks));
        }
        rest = after;
    }
    match bytes.last_chunk() {
        // Looks again at some bytes, among which there is none.
        Some(word) => match mark(word) {
            0 => None,
            marks => Some(bytes.len() - word.len() + first_marked(marks)),
        },
        None => rest.iter().position(|byte| wanted.contains(byte)),
    }
}

#[inline]
fn skip(bytes: &[u8], from: usize, classes: u8) -> usize {
    let Some(mut rest) = bytes.get(from..) else { return from };
    // Eight bytes at a time need no count and no bound.
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        if let Some(place) = eight.iter().position(|&byte| !is(byte, classes)) {
            return bytes.len() - rest.len() + place;
        }
        rest = after;
    }
    let left = rest.iter().position(|&byte| !is(byte, classes)).unwrap_or(rest.len());
    bytes.len() - rest.len() + left
}

// Eight bytes at a time, in one register: a mark is the high bit of a byte. Subtracting `n` from
// each byte marks those below `n` (and some above 0x7f, for which each caller has its own answer).
// A borrow or carry can also mark bytes above the first that matches, never below it, and only the
// first is used: the lowest, as words are read little-endian.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

#[inline]
fn first_marked(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::{NAME, PATH, TARGET, VALUE};
    use super::{find, find_either, is, skip_name, skip_path, skip_target, skip_value};

    #[test]
    fn eight_bytes_at_a_time_stop_where_the_table_stops() {
        for byte in 0..=255u8 {
            for filler in [b'!', b'~', b'"', b'$', b'a'] {
                for place in 0..20 {
                    let mut bytes = [filler; 20];
                    bytes[place] = byte;
                    let stop = |classes| if is(byte, classes) { 20 } else { place };
                    assert_eq!(skip_target(&bytes, 0), stop(TARGET), "{byte} at {place}");
                    assert_eq!(skip_path(&bytes, 0), stop(PATH), "{byte} at {place}");
                    assert_eq!(skip_value(&bytes, 0), stop(VALUE), "{byte} at {place}");
                }
            }
        }
    }

    #[test]
    fn a_name_stops_where_the_table_stops() {
        for byte in 0..=255u8 {
            for (length, place) in (0..20).flat_map(|end| (0..end).map(move |at| (end, at))) {
                let mut bytes = vec![b'a'; length];
                bytes[place] = byte;
                let stop = if is(byte, NAME) { length } else { place };
                assert_eq!(skip_name(&bytes, 0), stop, "{byte} at {place} of {length}");
                assert_eq!(skip_name(&bytes, place), stop, "{byte} at {place} of {length}");
            }
        }
        assert_eq!((skip_name(b"ab", 2), skip_name(b"ab", 3)), (2, 3));
    }

    #[test]
    fn a_byte_is_found_where_it_first_stands() {
        for byte in 0..=255u8 {
            for filler in [byte ^ 1, byte.wrapping_sub(1), byte.wrapping_add(1), byte ^ 0x80] {
                for (length, place) in (0..20).flat_map(|end| (0..end).map(move |at| (end, at))) {
                    let mut bytes = vec![filler; length];
                    assert_eq!(find(&bytes, byte), None);
                    assert_eq!(find_either(&bytes, [byte, filler]), Some(0));
                    bytes[length - 1] = byte;
                    bytes[place] = byte;
                    assert_eq!(find(&bytes, byte), Some(place), "{byte} in {filler}");
                    let unlike = byte ^ 0x40;
                    for wanted in [[byte, unlike], [unlike, byte]] {
                        assert_eq!(find_either(&bytes, wanted), Some(place), "{byte} in {filler}");
                    }
                }
            }
        }
    }
}

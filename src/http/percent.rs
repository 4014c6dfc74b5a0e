//! Percent-coding (RFC 3986, section 2.1).

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use super::class::{SEGMENT, find, is};

/// A `%` that two hexadecimal digits do not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PercentError {
    /// The index of the `%`.
    pub position: usize,
}

impl fmt::Display for PercentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no two hexadecimal digits after the % at byte {}", self.position)
    }
}

impl Error for PercentError {}

/// Decodes `%41` to `A`; a `+` stays a plus. Borrows where there is nothing to decode.
///
/// Split a path at its `/` first: `%2F` decodes to a slash that does not separate. What comes out
/// is bytes, as nothing says that it is UTF-8.
///
/// # Errors
///
/// The first `%` that two hexadecimal digits do not follow.
///
/// # Examples
///
/// ```
/// use whirligig::http::{percent_decode, percent_encode};
///
/// assert_eq!(percent_decode("two%20words").as_deref(), Ok(&b"two words"[..]));
/// assert_eq!(percent_encode(b"a/b"), "a%2Fb");
/// assert!(percent_decode("100%").is_err());
/// ```
pub fn percent_decode(text: &str) -> Result<Cow<'_, [u8]>, PercentError> {
    let bytes = text.as_bytes();
    let Some(first) = find(bytes, b'%') else {
        return Ok(Cow::Borrowed(bytes));
    };
    let (plain, mut rest) = bytes.split_at(first);
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(plain);
    while let [byte, after @ ..] = rest {
        if *byte != b'%' {
            decoded.push(*byte);
            rest = after;
            continue;
        }
        let position = bytes.len() - rest.len();
        let value = |digit: &u8| char::from(*digit).to_digit(16).map(|value| value as u8);
        match after {
            [high, low, after @ ..] => match (value(high), value(low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high << 4 | low);
                    rest = after;
                }
                _ => return Err(PercentError { position }),
            },
            _ => return Err(PercentError { position }),
        }
    }
    Ok(Cow::Owned(decoded))
}

/// Encodes `segment` to stand as one segment of a path: `/`, `?`, `%`, spaces and all that is not a
/// `pchar` become `%XX`.
///
/// The segments `.` and `..` have no encoded form that others don't take for the same: don't send
/// them.
#[must_use]
pub fn percent_encode(segment: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(segment.len());
    for &byte in segment {
        if is(byte, SEGMENT) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{PercentError, percent_decode, percent_encode};

    #[test]
    fn text_without_a_percent_sign_is_borrowed() {
        let decoded = percent_decode("plain+text");
        assert!(matches!(decoded, Ok(std::borrow::Cow::Borrowed(b"plain+text"))));
    }

    #[test]
    fn a_percent_sign_without_two_digits_is_refused_where_it_stands() {
        for (text, position) in
            [("%", 0), ("a%", 1), ("a%4", 1), ("%41%zz", 3), ("%4g", 0), ("%%41", 0), ("%+1", 0)]
        {
            assert_eq!(percent_decode(text), Err(PercentError { position }), "{text}");
        }
    }

    #[test]
    fn every_byte_comes_back_from_its_encoding() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let encoded = percent_encode(&every_byte);
        assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#".contains(&byte)));
        assert_eq!(percent_decode(&encoded).as_deref(), Ok(&every_byte[..]));
        assert_eq!(percent_decode(&encoded.to_lowercase()).map(|d| d.len()), Ok(256));
    }
}

//! Percent-coding there and back, and through a request's target.

use whirligig::http::{Limits, RequestParser, percent_decode, percent_encode};

/// `data` is text to decode, and bytes to encode.
pub fn run(data: &[u8]) {
    let encoded = percent_encode(data);
    assert_eq!(percent_decode(&encoded).as_deref(), Ok(data));
    assert_eq!(percent_decode(&encoded.to_ascii_lowercase()).map(|d| d.len()), Ok(data.len()));
    for byte in encoded.bytes() {
        // A segment of a path: RFC 3986, section 3.3.
        let fits = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte);
        assert!(fits, "{:?} in {encoded}", char::from(byte));
    }

    // It stands in a target as it is, and separates nothing there.
    let head = format!("GET /0/{encoded}?{encoded} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let limits =
        Limits { target_bytes_max: head.len(), head_bytes_max: head.len(), headers_max: 1 };
    let request = RequestParser::new().parse(head.as_bytes(), &limits);
    let request = request.expect("an encoded target is accepted").expect("the head is whole");
    assert_eq!(request.path().strip_prefix("/0/"), Some(&encoded[..]));
    assert_eq!(request.query(), Some(&encoded[..]));

    let text = String::from_utf8_lossy(data);
    match (percent_decode(&text), decode(text.as_bytes())) {
        (Ok(decoded), Ok(expected)) => {
            assert_eq!(decoded, expected);
            assert_eq!(percent_decode(&percent_encode(&decoded)).as_deref(), Ok(&expected[..]));
        }
        (Err(error), Err(position)) => assert_eq!(error.position, position),
        (decoded, expected) => panic!("{decoded:?}, but {expected:?}"),
    }
}

/// A second decoder, or the position of what it can't decode.
fn decode(text: &[u8]) -> Result<Vec<u8>, usize> {
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < text.len() {
        if text[at] == b'%' {
            let digits = text.get(at + 1..at + 3).unwrap_or_default();
            if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                return Err(at);
            }
            let digits: String = digits.iter().copied().map(char::from).collect();
            decoded.push(u8::from_str_radix(&digits, 16).map_err(|_| at)?);
            at += 3;
        } else {
            decoded.push(text[at]);
            at += 1;
        }
    }
    Ok(decoded)
}

//! JSON, as far as lines of figures need it.

/// `text` as a string of JSON (RFC 8259, section 7).
pub(crate) fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..='\x1f' => quoted += &format!("\\u{:04x}", character as u32),
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

/// The number that the flat object `line` has under `name`.
pub(crate) fn number(line: &str, name: &str) -> Option<f64> {
    let key = format!("\"{name}\":");
    let value = &line[line.find(&key)? + key.len()..];
    value[..value.find([',', '}'])?].trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_names() {
        let line = "{\"case\":\"a\",\"ns\":12,\"ns_per_op\":-1.5,\"last\": 3}";
        assert_eq!(number(line, "ns"), Some(12.0));
        assert_eq!(number(line, "ns_per_op"), Some(-1.5));
        assert_eq!(number(line, "last"), Some(3.0));
        assert_eq!((number(line, "case"), number(line, "op")), (None, None));
    }
}

//! Command lines: flags and positional arguments.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

/// A flag that a program knows.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its name, with the dashes.
    pub name: &'static str,
    /// Whether a value follows, as the next argument or after `=`.
    pub takes_value: bool,
}

/// A command line, taken apart.
#[derive(Debug, Default)]
pub struct Arguments {
    positional: Vec<String>,
    flags: Vec<(&'static str, String)>,
}

/// What is wrong with a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentError(pub(super) String);

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ArgumentError {}

impl Arguments {
    /// Takes apart the arguments after the program's name. After `--` nothing is a flag.
    ///
    /// # Errors
    /// Arguments that are not UTF-8, flags that are not in `known`, values that are missing or not
    /// expected, and more than `positional_max` other arguments.
    pub fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        known: &[Flag],
        positional_max: usize,
    ) -> Result<Arguments, ArgumentError> {
        Arguments::parse_all(&mut arguments.into_iter(), known, positional_max)
    }

    fn parse_all(
        rest: &mut dyn Iterator<Item = OsString>,
        known: &[Flag],
        positional_max: usize,
    ) -> Result<Arguments, ArgumentError> {
        let mut parsed = Arguments::default();
        let mut flags_end = false;
        while let Some(argument) = rest.next() {
            let argument = utf8(argument)?;
            if argument == "--" && !flags_end {
                flags_end = true;
            } else if argument.starts_with('-') && argument.len() > 1 && !flags_end {
                let (name, value) = match argument.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_string())),
                    None => (argument.as_str(), None),
                };
                let Some(flag) = known.iter().find(|flag| flag.name == name) else {
                    return Err(ArgumentError(format!("unknown flag {name}")));
                };
                let value = match (flag.takes_value, value) {
                    (false, None) => String::new(),
                    (false, Some(_)) => {
                        return Err(ArgumentError(format!("{name} takes no value")));
                    }
                    (true, Some(value)) => value,
                    (true, None) => match rest.next() {
                        Some(value) => utf8(value)?,
                        None => return Err(ArgumentError(format!("{name} needs a value"))),
                    },
                };
                parsed.flags.push((flag.name, value));
            } else if parsed.positional.len() == positional_max {
                return Err(ArgumentError(format!("unexpected argument {argument:?}")));
            } else {
                parsed.positional.push(argument);
            }
        }
        Ok(parsed)
    }

    /// Whether the flag was given.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|(own, _)| *own == name)
    }

    /// The positional argument at `index`.
    #[must_use]
    pub fn positional(&self, index: usize) -> Option<&str> {
        self.positional.get(index).map(String::as_str)
    }

    /// The positional argument at `index`, read as a `T`; `name` says in an error what it is.
    ///
    /// # Errors
    /// If it is no `T`.
    pub fn positional_as<T: FromStr>(
        &self,
        index: usize,
        name: &str,
    ) -> Result<Option<T>, ArgumentError> {
        self.positional(index).map(|text| read(name, text)).transpose()
    }

    /// The value of a flag, read as a `T`; the last, if it was given several times.
    ///
    /// # Errors
    /// If it is no `T`.
    pub fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>, ArgumentError> {
        let last = self.flags.iter().rev().find(|(own, _)| *own == name);
        last.map(|(name, text)| read(name, text)).transpose()
    }
}

/// `host` with the port 8080, if it names none. An IPv6 address without brackets names none.
#[must_use]
pub fn with_port(host: &str) -> String {
    let named = host.rsplit_once(':').map(|(before, _)| before);
    match named {
        Some(before) if !before.contains(':') || before.ends_with(']') => host.to_string(),
        Some(_) if !host.starts_with('[') => format!("[{host}]:8080"),
        _ => format!("{host}:8080"),
    }
}

fn utf8(argument: OsString) -> Result<String, ArgumentError> {
    argument.into_string().map_err(|raw| ArgumentError(format!("{raw:?} is not UTF-8")))
}

fn read<T: FromStr>(name: &str, text: &str) -> Result<T, ArgumentError> {
    text.parse().map_err(|_| ArgumentError(format!("{text:?} is no value for {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Flag] = &[
        Flag { name: "--quiet", takes_value: false },
        Flag { name: "--drain", takes_value: true },
    ];

    fn parse(line: &str) -> Result<Arguments, ArgumentError> {
        Arguments::parse(line.split_whitespace().map(OsString::from), KNOWN, 1)
    }

    #[test]
    fn flags_and_arguments_come_in_any_order() {
        for line in
            ["--quiet --drain 5 host", "host --drain=5 --quiet", "--drain 1 --drain 5 host --quiet"]
        {
            let arguments = parse(line).unwrap();
            assert!(arguments.has("--quiet"), "{line}");
            assert_eq!(arguments.value("--drain"), Ok(Some(5)), "{line}");
            assert_eq!(arguments.positional(0), Some("host"), "{line}");
        }
        assert_eq!(parse("-- --quiet").unwrap().positional(0), Some("--quiet"));
    }

    #[test]
    fn a_host_without_a_port_gets_the_default() {
        for (host, whole) in [
            ("localhost", "localhost:8080"),
            ("localhost:0", "localhost:0"),
            ("127.0.0.1", "127.0.0.1:8080"),
            ("::1", "[::1]:8080"),
            ("[::1]", "[::1]:8080"),
            ("[::1]:7", "[::1]:7"),
            ("::", "[::]:8080"),
        ] {
            assert_eq!(with_port(host), whole, "{host}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, message) in [
            ("--loud", "unknown flag --loud"),
            ("--quiet=yes", "--quiet takes no value"),
            ("--drain", "--drain needs a value"),
            ("a b", "unexpected argument \"b\""),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), message);
        }
        let wrong = parse("--drain x").unwrap().value::<u64>("--drain").unwrap_err();
        assert_eq!(wrong.to_string(), "\"x\" is no value for --drain");
    }
}

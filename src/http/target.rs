//! Request targets and authorities (RFC 9112, section 3.2; RFC 3986, section 3.2).

use std::net::Ipv6Addr;

use super::class::{NAME, TARGET, all_are, find, is};
use super::message::Method;

/// The four forms of a request target (RFC 9112, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetForm {
    /// `/path?query`: the usual one.
    Origin,
    /// `http://host/path?query`: what a client sends to a proxy; a server must take it too.
    Absolute,
    /// `host:port`: for `CONNECT`, and nothing else is.
    Authority,
    /// `*`: the server as a whole, for `OPTIONS` only.
    Asterisk,
}

/// A target cut into its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) form: TargetForm,
    pub(super) authority: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// Cuts `target`, or returns `None` if it has no form that suits `method`.
    pub(super) fn of(method: Method<'_>, target: &'a str) -> Option<Parts<'a>> {
        if method == Method::Connect {
            let parts = Parts {
                form: TargetForm::Authority,
                authority: Some(target),
                path: "",
                query: None,
            };
            return is_authority_with_port(target.as_bytes()).then_some(parts);
        }
        if target.starts_with('/') {
            let (path, query) = split_query(target);
            return Some(Parts { form: TargetForm::Origin, authority: None, path, query });
        }
        if target == "*" {
            let parts =
                Parts { form: TargetForm::Asterisk, authority: None, path: "*", query: None };
            return (method == Method::Options).then_some(parts);
        }
        let (scheme, rest) = target.split_once("://")?;
        let (authority, path_and_query) =
            rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if !is_scheme(scheme.as_bytes()) || !is_authority(authority.as_bytes()) {
            return None;
        }
        let (path, query) = split_query(path_and_query);
        let path = match (path, method) {
            // An empty path stands for the root, or for the whole server (RFC 9112, section 3.2.4).
            ("", Method::Options) if query.is_none() => "*",
            ("", _) => "/",
            (path, _) => path,
        };
        Some(Parts { form: TargetForm::Absolute, authority: Some(authority), path, query })
    }
}

/// The path of `target`, if it has a form that suits `method`.
pub(super) fn path_of<'a>(method: Method<'_>, target: &'a [u8]) -> Option<&'a [u8]> {
    let target = std::str::from_utf8(target).ok()?;
    Parts::of(method, target).map(|parts| parts.path.as_bytes())
}

/// Whether `target` may stand in a request line that `method` starts.
#[inline]
pub(super) fn suits(method: &[u8], target: &[u8]) -> bool {
    let is_origin_form = target.first() == Some(&b'/') && method != b"CONNECT";
    is_origin_form || has_other_form(method, target)
}

#[cold]
fn has_other_form(method: &[u8], target: &[u8]) -> bool {
    let (method, target) = (Method::from_token(method), std::str::from_utf8(target));
    matches!((method, target), (Some(method), Ok(target)) if Parts::of(method, target).is_some())
}

/// Whether `target` has only bytes that a target may have, and at least one.
pub(super) fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && all_are(target, TARGET)
}

/// Whether `bytes` is `host [":" port]` with a non-empty host and no userinfo, which RFC 9110,
/// section 4.2.4 has recipients treat as an error.
#[inline]
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    // A plain name is by far the most common.
    all_are(bytes, NAME) && !bytes.is_empty() || is_other_authority(bytes)
}

fn is_other_authority(bytes: &[u8]) -> bool {
    let (host, port) = split_port(bytes);
    is_host(host) && port.is_none_or(|port| port.is_empty() || is_port(port))
}

/// The form that `CONNECT` needs: with a port (RFC 9112, section 3.2.3).
fn is_authority_with_port(bytes: &[u8]) -> bool {
    let (host, port) = split_port(bytes);
    is_host(host) && port.is_some_and(is_port)
}

/// Splits at the colon before the port, which is not one of those inside an IPv6 address.
fn split_port(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let host_end = match bytes.first() {
        Some(b'[') => {
            bytes.iter().position(|&byte| byte == b']').map_or(bytes.len(), |end| end + 1)
        }
        _ => bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len()),
    };
    match bytes.split_at_checked(host_end) {
        Some((host, [b':', port @ ..])) => (host, Some(port)),
        Some((host, [])) => (host, None),
        // Something other than a port follows the bracket: no host has that shape.
        _ => (b"", None),
    }
}

fn is_host(host: &[u8]) -> bool {
    if let [b'[', address @ .., b']'] = host {
        return std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    }
    let mut rest = host;
    loop {
        match rest {
            [] => return !host.is_empty(),
            [b'%', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest = after;
            }
            [byte, after @ ..] if is(*byte, NAME) => rest = after,
            _ => return false,
        }
    }
}

fn is_port(port: &[u8]) -> bool {
    // `parse` alone would take a plus sign.
    port.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(port).is_ok_and(|text| text.parse::<u16>().is_ok())
}

fn is_scheme(scheme: &[u8]) -> bool {
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    // By bytes, as a search for a `char` is made for long texts.
    let Some(mark) = find(text.as_bytes(), b'?') else { return (text, None) };
    (text.get(..mark).unwrap_or_default(), text.get(mark + 1..))
}

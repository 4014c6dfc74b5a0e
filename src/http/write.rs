//! Messages written out (RFC 9112, sections 2 to 7).
//!
//! Everything is appended to a `Vec<u8>`, always as HTTP/1.1, which is right for a peer of any 1.x
//! version as long as it isn't sent chunks when it speaks 1.0 (RFC 9110, section 2.5). A message is
//! checked before its first byte is written, so that a refused one leaves nothing behind.

use super::WriteError;
use super::class::is_token;
use super::head::is_value;
use super::message::{Connection, Framing, Method};
use super::status::reason_phrase;
use super::target::{is_authority, is_target, suits};

/// The interim response that a client waits for which [expects](super::Request::expects_continue)
/// one.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a request's head is written from, its framing aside.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// What to do.
    pub method: Method<'a>,
    /// What to do it to, percent-encoded, in a form that suits the method.
    pub target: &'a str,
    /// The value of `Host`; it may be empty.
    pub host: &'a str,
    /// Further headers, in order. `Host`, `Content-Length` and `Transfer-Encoding` are refused
    /// here.
    pub headers: &'a [(&'a str, &'a str)],
    /// What to say of the connection.
    pub connection: Connection,
}

/// What a response's head is written from, its framing aside.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The status code, from 100 to 999.
    pub status: u16,
    /// Further headers, in order. `Content-Length` and `Transfer-Encoding` are refused here.
    pub headers: &'a [(&'a str, &'a str)],
    /// What to say of the connection.
    pub connection: Connection,
}

/// Appends the head of a request. [`Framing::None`] writes no framing header.
///
/// # Errors
///
/// Says what is wrong with the head; nothing is written then.
pub fn write_request_head(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    framing: Framing,
) -> Result<(), WriteError> {
    if !is_token(head.method.as_str().as_bytes()) {
        return Err(WriteError::Method);
    }
    if !is_target(head.target.as_bytes())
        || !suits(head.method.as_str().as_bytes(), head.target.as_bytes())
    {
        return Err(WriteError::Target);
    }
    if !(head.host.is_empty() || is_authority(head.host.as_bytes())) {
        return Err(WriteError::Host);
    }
    if framing == Framing::UntilClose {
        return Err(WriteError::Framing);
    }
    check_headers(head.headers, &["host", "content-length", "transfer-encoding"])?;
    let line = [head.method.as_str(), " ", head.target, " HTTP/1.1\r\nHost: ", head.host, "\r\n"];
    // With some room for the rest.
    out.reserve(line.iter().map(|part| part.len()).sum::<usize>() + 64);
    line.into_iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    write_rest_of_head(out, head.headers, framing, head.connection);
    Ok(())
}

/// Appends a request with `body` as its whole body.
///
/// An empty body is announced by `Content-Length: 0` for `POST`, `PUT` and `PATCH`, whose meaning
/// is in the body, and by nothing for the others (RFC 9110, section 8.6).
///
/// # Errors
///
/// Says what is wrong with the head; nothing is written then.
pub fn write_request(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    body: &[u8],
) -> Result<(), WriteError> {
    let has_meaning = matches!(head.method, Method::Post | Method::Put | Method::Patch);
    let framing = match body.len() {
        0 if !has_meaning => Framing::None,
        length => Framing::Length(length as u64),
    };
    write_request_head(out, head, framing)?;
    out.extend_from_slice(body);
    Ok(())
}

/// Appends the head of a response.
///
/// Give the framing that the body has, or to `HEAD` would have. [`Framing::None`] writes
/// `Content-Length: 0` where a client would otherwise wait for the connection's end.
/// [`Framing::UntilClose`] writes `Connection: close`, whatever `head.connection` says.
///
/// # Errors
///
/// Says what is wrong with the head; nothing is written then. A 1xx or 204 with a framing other
/// than `None` is [`WriteError::Framing`] (RFC 9110, section 8.6).
pub fn write_response_head(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_>,
    framing: Framing,
) -> Result<(), WriteError> {
    let (framing, connection) = match (framing, head.status) {
        (_, 0..100 | 1000..) => return Err(WriteError::Status),
        (Framing::None, 100..200 | 204 | 304) => (framing, head.connection),
        (_, 100..200 | 204) => return Err(WriteError::Framing),
        (Framing::None, _) => (Framing::Length(0), head.connection),
        (Framing::UntilClose, _) => (framing, Connection::Close),
        (Framing::Length(_) | Framing::Chunked, _) => (framing, head.connection),
    };
    check_headers(head.headers, &["content-length", "transfer-encoding"])?;
    out.extend_from_slice(b"HTTP/1.1 ");
    write_number(out, u64::from(head.status), 10);
    out.push(b' ');
    out.extend_from_slice(reason_phrase(head.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    write_rest_of_head(out, head.headers, framing, connection);
    Ok(())
}

/// Appends a response with `body` as its whole body. It is not for an answer to `HEAD`.
///
/// # Errors
///
/// Says what is wrong with the head, or [`WriteError::Framing`] if there is a body but the status
/// allows none; nothing is written then.
pub fn write_response(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_>,
    body: &[u8],
) -> Result<(), WriteError> {
    let framing = match (body.len(), head.status) {
        (0, _) => Framing::None,
        (_, 304) => return Err(WriteError::Framing),
        (length, _) => Framing::Length(length as u64),
    };
    write_response_head(out, head, framing)?;
    out.extend_from_slice(body);
    Ok(())
}

/// Appends a `200 OK` response with `body` as plain text.
///
/// The same as [`write_response`] would, but with a head that is ready but for one number.
#[inline]
pub fn write_text(out: &mut Vec<u8>, connection: Connection, body: &[u8]) {
    // Each is of a length that is known here, so that it is copied without a call.
    match connection {
        Connection::Unsaid => out.extend_from_slice(TEXT_HEAD),
        Connection::KeepAlive => out.extend_from_slice(TEXT_HEAD_KEEP_ALIVE),
        Connection::Close => out.extend_from_slice(TEXT_HEAD_CLOSE),
    }
    match body.len() as u64 {
        length @ 10..100 => {
            let [tens, ones] = [length as u8 / 10, length as u8 % 10];
            out.extend_from_slice(&[b'0' + tens, b'0' + ones, b'\r', b'\n', b'\r', b'\n']);
        }
        length => {
            write_number(out, length, 10);
            out.extend_from_slice(b"\r\n\r\n");
        }
    }
    out.extend_from_slice(body);
}

const TEXT_HEAD: &[u8; 74] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: ";
const TEXT_HEAD_KEEP_ALIVE: &[u8; 98] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Connection: keep-alive\r\n\
    Content-Length: ";
const TEXT_HEAD_CLOSE: &[u8; 93] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\
    Content-Length: ";

/// Appends one chunk; nothing if `data` is empty, as an empty chunk is the last (RFC 9112, section
/// 7.1).
pub fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    write_number(out, data.len() as u64, 16);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends the chunk that ends a body, without trailers.
pub fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

fn check_headers(headers: &[(&str, &str)], reserved: &[&str]) -> Result<(), WriteError> {
    for (name, value) in headers {
        if !is_token(name.as_bytes()) {
            return Err(WriteError::HeaderName);
        }
        if reserved.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return Err(WriteError::ReservedHeader);
        }
        if !is_value(value.as_bytes()) {
            return Err(WriteError::HeaderValue);
        }
    }
    Ok(())
}

fn write_rest_of_head(
    out: &mut Vec<u8>,
    headers: &[(&str, &str)],
    framing: Framing,
    connection: Connection,
) {
    write_lines(out, headers.iter().map(|&(name, value)| (name, value.as_bytes())));
    out.extend_from_slice(match connection {
        Connection::Unsaid => b"",
        Connection::KeepAlive => b"Connection: keep-alive\r\n",
        Connection::Close => b"Connection: close\r\n",
    });
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            write_number(out, length, 10);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends header lines that were checked before.
pub(super) fn write_lines<'a>(out: &mut Vec<u8>, lines: impl Iterator<Item = (&'a str, &'a [u8])>) {
    for (name, value) in lines {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
}

/// `format!` would do, at several hundred instructions.
#[inline(never)]
pub(super) fn write_number(out: &mut Vec<u8>, mut number: u64, base: u64) {
    // Twenty digits: as many as `u64::MAX` has in the smaller of the bases.
    let mut digits = [0; 20];
    let mut start = digits.len();
    for place in digits.iter_mut().rev() {
        *place = b"0123456789abcdef"[(number % base) as usize];
        number /= base;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

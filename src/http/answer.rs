//! What a server answers, and how that is written.

use super::message::{Connection, Framing, Method, Version};
use super::request::Request;
use super::status::reason_phrase;
use super::write::{ResponseHead, write_response, write_response_head, write_text};

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code, 200 to 599.
    pub status: u16,
    /// Headers beside `Content-Length` and `Connection`, which the server writes. A `Content-Type`
    /// here takes the place of plain text. What HTTP can't say is answered with 500 instead.
    pub headers: Vec<(&'static str, String)>,
    /// The body, plain text.
    pub body: Vec<u8>,
    /// Whether the connection is closed after this.
    pub close: bool,
}

impl Answer {
    /// 200 with this text.
    #[inline]
    #[must_use]
    pub fn text(body: Vec<u8>) -> Answer {
        Answer { status: 200, headers: Vec::new(), body, close: false }
    }

    /// A status that refuses, with a reason of one line.
    #[must_use]
    pub fn refusal(status: u16, reason: &str) -> Answer {
        let body = format!("{} {}: {reason}\n", status, reason_phrase(status)).into_bytes();
        Answer { status, headers: Vec::new(), body, close: false }
    }

    /// Appends it to `output`.
    #[inline]
    pub(super) fn write(&self, output: &mut Vec<u8>, manner: Manner) {
        if self.status == 200 && self.headers.is_empty() && !manner.head {
            write_text(output, manner.connection, &self.body);
        } else {
            self.write_in_full(output, manner);
        }
    }

    #[inline(never)]
    fn write_in_full(&self, output: &mut Vec<u8>, manner: Manner) {
        if !self.write_if_possible(output, manner) {
            // The handler asked for what can't be said in HTTP.
            let other = Answer::refusal(500, "the answer could not be written");
            other.write_if_possible(output, manner);
        }
    }

    fn write_if_possible(&self, output: &mut Vec<u8>, manner: Manner) -> bool {
        let has =
            |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        // The connection is the server's own to speak for.
        if !(200..=599).contains(&self.status) || has("Connection") {
            return false;
        }
        let mut headers = Vec::new();
        if !has("Content-Type") {
            headers.push(("Content-Type", "text/plain; charset=utf-8"));
        }
        headers.extend(self.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let Manner { connection, .. } = manner;
        let head = ResponseHead { status: self.status, headers: &headers, connection };
        let written = match (manner.head, self.body.len()) {
            (true, 1..) => {
                let framing = Framing::Length(self.body.len() as u64);
                write_response_head(output, &head, framing)
            }
            _ => write_response(output, &head, &self.body),
        };
        written.is_ok()
    }
}

/// How a request is to be answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// Without the body.
    pub(super) head: bool,
    pub(super) connection: Connection,
}

impl Manner {
    #[inline]
    pub(super) fn of(request: &Request<'_>) -> Manner {
        let connection = match (request.keep_alive, request.version) {
            (false, _) => Connection::Close,
            (true, Version::Http10) => Connection::KeepAlive,
            (true, Version::Http11) => Connection::Unsaid,
        };
        Manner { head: request.method == Method::Head, connection }
    }
}

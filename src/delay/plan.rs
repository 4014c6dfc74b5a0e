//! What a request asks of the delayserver.

use crate::http::{Answer, Method, Request, find_either, percent_decode};
use std::borrow::Cow;
use std::time::Duration;

/// A request that is to be answered with a message, later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<'r> {
    /// Milliseconds to wait.
    pub delay_ms: u64,
    /// What to answer, as the request has it if nothing there was to be decoded. It is UTF-8.
    pub message: Cow<'r, [u8]>,
}

impl Plan<'_> {
    /// The answer, once the time is over, in the memory of `body`.
    #[inline]
    #[must_use]
    pub fn answer(&self, mut body: Vec<u8>) -> Answer {
        body.clear();
        body.extend_from_slice(&self.message);
        Answer::text(body)
    }

    /// How long to wait.
    #[must_use]
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }
}

/// How requests look.
const SHAPE: &str = "requests look like GET /{delay in ms}/{message}";

/// What `request` asks for: the message after the delay, which is at most `delay_ms_max`.
///
/// # Errors
/// The answer that refuses it: 501 for methods that HTTP does not know, 405 for those other than
/// GET and HEAD, 404 for paths of another shape, 400 for a message that is not percent-encoded
/// UTF-8 and for a delay that is too long.
#[inline]
pub fn plan<'r>(request: &Request<'r>, delay_ms_max: u64) -> Result<Plan<'r>, Answer> {
    if !matches!(request.method, Method::Get | Method::Head) {
        return Err(wrong_method(request.method));
    }
    let Some((delay_ms, message)) = delay_and_message(request.path_bytes()) else {
        return Err(Answer::refusal(404, SHAPE));
    };
    // One part of a path, and nothing in it that is encoded.
    let special = find_either(message, [b'/', b'%']);
    if delay_ms <= delay_ms_max && special.is_none() {
        return Ok(Plan { delay_ms, message: message.into() });
    }
    unusual(delay_ms, delay_ms_max, message)
}

#[cold]
fn wrong_method(method: Method<'_>) -> Answer {
    if let Method::Other(_) = method {
        return Answer::refusal(501, "the method is not known");
    }
    let mut answer = Answer::refusal(405, "only GET and HEAD are answered here");
    answer.headers.push(("Allow", "GET, HEAD".to_string()));
    answer
}

/// A plan whose message has to be decoded, or the reason why there is none.
#[inline(never)]
fn unusual(delay_ms: u64, delay_ms_max: u64, message: &[u8]) -> Result<Plan<'static>, Answer> {
    if message.contains(&b'/') {
        return Err(Answer::refusal(404, SHAPE));
    }
    if delay_ms > delay_ms_max {
        let reason = format!("the delay is longer than {delay_ms_max} ms");
        return Err(Answer::refusal(400, &reason));
    }
    // ASCII still, as all of a request's path is.
    let Ok(Ok(decoded)) = std::str::from_utf8(message).map(percent_decode) else {
        return Err(Answer::refusal(400, "the message is not percent-encoded"));
    };
    if std::str::from_utf8(&decoded).is_err() {
        return Err(Answer::refusal(400, "the message is not UTF-8"));
    }
    Ok(Plan { delay_ms, message: decoded.into_owned().into() })
}

/// What stands before and after the second slash of a path that begins with a number; a delay that
/// is too long for a number is as long as can be. The message is not empty.
#[inline]
fn delay_and_message(path: &[u8]) -> Option<(u64, &[u8])> {
    let mut rest = path.strip_prefix(b"/")?;
    let mut delay_ms = 0u64;
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        delay_ms = delay_ms.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        rest = after;
    }
    match rest {
        [b'/', message @ ..] if rest.len() + 1 < path.len() && !message.is_empty() => {
            Some((delay_ms, message))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Limits, RequestParser};

    fn plan_of(line: &str) -> Result<(u64, String), u16> {
        let bytes = format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut parser = RequestParser::new();
        let request = parser.parse(bytes.as_bytes(), &Limits::default()).unwrap().unwrap();
        let planned = plan(&request, 1000).map_err(|answer| answer.status);
        let text = |plan: Plan<'_>| String::from_utf8(plan.message.into_owned()).unwrap();
        planned.map(|plan| (plan.delay_ms, text(plan)))
    }

    #[test]
    fn a_request_names_a_delay_and_a_message() {
        let message = |delay_ms, message: &str| Ok((delay_ms, message.to_string()));
        assert_eq!(plan_of("GET /250/hello"), message(250, "hello"));
        assert_eq!(plan_of("HEAD /0/a%20b%2Fc?x=/y"), message(0, "a b/c"));
        assert_eq!(plan_of("GET /1000/%C3%A4"), message(1000, "\u{e4}"));
        assert_eq!(plan_of("GET http://host:1/007/x"), message(7, "x"));
    }

    #[test]
    fn all_else_is_refused() {
        for (line, status) in [
            ("GET /", 404),
            ("GET /5", 404),
            ("GET /5/", 404),
            ("GET //x", 404),
            ("GET /x/y", 404),
            ("GET /-1/y", 404),
            ("GET /+1/y", 404),
            ("GET /1/x/y", 404),
            ("GET /1001/y", 400),
            ("GET /99999999999999999999999/y", 400),
            ("GET /1/%zz", 400),
            ("GET /1/%", 400),
            ("GET /1/%ff", 400),
            ("POST /1/x", 405),
            ("OPTIONS *", 405),
            ("BREW /1/x", 501),
        ] {
            assert_eq!(plan_of(line), Err(status), "{line}");
        }
    }
}

//! What a request asks of the delayserver.

use crate::http::{Answer, Method, Request, find, percent_decode};
use std::borrow::Cow;
use std::time::Duration;

/// A request that is to be answered with a message, later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<'r> {
    /// Milliseconds to wait.
    pub delay_ms: u64,
    /// What to answer, as the request has it if nothing there was to be decoded.
    pub message: Cow<'r, str>,
}

impl Plan<'_> {
    /// The answer, once the time is over, in the memory of `body`.
    #[inline]
    #[must_use]
    pub fn answer(&self, mut body: Vec<u8>) -> Answer {
        body.clear();
        body.extend_from_slice(self.message.as_bytes());
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
pub fn plan<'r>(request: &Request<'r>, delay_ms_max: u64) -> Result<Plan<'r>, Answer> {
    match request.method {
        Method::Get | Method::Head => {}
        Method::Other(_) => return Err(Answer::refusal(501, "the method is not known")),
        _ => {
            let mut answer = Answer::refusal(405, "only GET and HEAD are answered here");
            answer.headers.push(("Allow", "GET, HEAD".to_string()));
            return Err(answer);
        }
    }
    let Some((delay_ms, message)) = delay_and_message(request.path()) else {
        return Err(Answer::refusal(404, SHAPE));
    };
    if delay_ms > delay_ms_max {
        let reason = format!("the delay is longer than {delay_ms_max} ms");
        return Err(Answer::refusal(400, &reason));
    }
    match percent_decode(message) {
        // As it was sent, and so text already.
        Ok(Cow::Borrowed(_)) => Ok(Plan { delay_ms, message: message.into() }),
        Ok(Cow::Owned(bytes)) => match String::from_utf8(bytes) {
            Ok(message) => Ok(Plan { delay_ms, message: message.into() }),
            Err(_) => Err(Answer::refusal(400, "the message is not UTF-8")),
        },
        Err(_) => Err(Answer::refusal(400, "the message is not percent-encoded")),
    }
}

/// The two parts of a path that has this shape; a delay that is too long for a number is as long as
/// can be.
fn delay_and_message(path: &str) -> Option<(u64, &str)> {
    let [b'/', rest @ ..] = path.as_bytes() else { return None };
    let mut delay_ms = 0u64;
    let mut digits = 0;
    while let Some(digit @ b'0'..=b'9') = rest.get(digits) {
        delay_ms = delay_ms.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        digits += 1;
    }
    if digits == 0 || rest.get(digits) != Some(&b'/') {
        return None;
    }
    let message = path.get(digits + 2..)?;
    // One part of a path, and not an empty one.
    let is_segment = !message.is_empty() && find(message.as_bytes(), b'/').is_none();
    is_segment.then_some((delay_ms, message))
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
        planned.map(|plan| (plan.delay_ms, plan.message.into_owned()))
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

//! The verdict by status.

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;

use super::reset::stated_rest;
use crate::pool::{Mark, Reason, Scope};
use crate::telemetry::AttemptResult;

/// An unexplained 403 may pass (a region block, a model terms page); the key rests meanwhile.
const FORBIDDEN_REST: Duration = Duration::from_secs(600);
/// An account without money is not asked again every minute.
const UNPAID_REST: Duration = Duration::from_secs(3600);

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whose fault it is.
    pub fault: Fault,
    /// Another key may answer better.
    pub retry: bool,
    /// As it is counted.
    pub result: AttemptResult,
}

/// Whose fault an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody's: it is a success.
    None,
    /// The client's own: no key is touched and none is tried again.
    Client,
    /// Certainly the key's, or of what it belongs to. Asking another key is fast and unbilled.
    Key(Scope, Mark),
    /// The key's, unless another key is refused the same.
    Refused(Mark),
    /// Unknown: the provider's, the request's or the key's.
    Unknown,
    /// The way there: no connection came about. Never the key's.
    Target,
}

impl Fault {
    /// What another key answers won't change what is known of this one.
    pub fn is_certain(self) -> bool {
        matches!(self, Self::Key(..))
    }
}

/// The verdict on an answer's head.
pub fn of_status(status: u16, headers: &HeaderMap) -> Verdict {
    let key = |mark, result| Verdict { fault: Fault::Key(Scope::Key, mark), retry: true, result };
    let cool = |reason, stated| Mark::Cool { reason, stated };
    match status {
        0..=399 => Verdict { fault: Fault::None, retry: false, result: AttemptResult::Ok },
        401 => key(Mark::Disable(Reason::Unauthorized), AttemptResult::Unauthorized),
        402 => key(cool(Reason::Exhausted, Some(UNPAID_REST)), AttemptResult::Forbidden),
        403 => Verdict {
            fault: Fault::Refused(cool(Reason::Forbidden, Some(FORBIDDEN_REST))),
            retry: true,
            result: AttemptResult::Forbidden,
        },
        429 => {
            let stated = stated_rest(headers, std::time::SystemTime::now());
            key(cool(Reason::RateLimited, stated), AttemptResult::RateLimited)
        }
        408 | 504 | 524 => unknown(AttemptResult::Timeout),
        500.. => unknown(AttemptResult::ServerError),
        _ => Verdict { fault: Fault::Client, retry: false, result: AttemptResult::ClientError },
    }
}

/// The verdict on an attempt that brought no answer, or one that broke off.
pub fn of_failure(result: AttemptResult) -> Verdict {
    match result {
        AttemptResult::Unreachable => Verdict { fault: Fault::Target, retry: true, result },
        _ => unknown(result),
    }
}

fn unknown(result: AttemptResult) -> Verdict {
    Verdict { fault: Fault::Unknown, retry: true, result }
}

/// The verdict on the error event that opens a 200 stream.
pub fn of_stream_error(data: &[u8]) -> Verdict {
    of_status(stream_status(data).unwrap_or(500), &HeaderMap::new())
}

/// The status the error would have had: stated as a number, or known by its code or type.
fn stream_status(data: &[u8]) -> Option<u16> {
    let root: Value = serde_json::from_slice(data).ok()?;
    let error = root.get("error").filter(|e| e.is_object()).unwrap_or(&root);
    let number = |name: &str| error.get(name).and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok());
    if let Some(status) = ["status", "code", "status_code"].into_iter().find_map(number).filter(|s| *s >= 400) {
        return Some(status);
    }
    let word = |name: &str| error.get(name).and_then(Value::as_str);
    ["code", "type"].into_iter().filter_map(word).find_map(|word| match word {
        "rate_limit_exceeded" | "rate_limit_error" | "rate_limit_reached_error" | "insufficient_quota" => Some(429),
        "invalid_api_key" | "authentication_error" => Some(401),
        "permission_error" => Some(403),
        "invalid_request_error" | "context_length_exceeded" | "content_filter" => Some(400),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_own_errors_touch_no_key() {
        for status in [400, 404, 405, 409, 413, 422] {
            let verdict = of_status(status, &HeaderMap::new());
            assert_eq!((verdict.fault, verdict.retry), (Fault::Client, false), "{status}");
        }
    }

    #[test]
    fn stream_errors_are_judged_by_what_they_say() {
        let result = |text: &str| of_stream_error(text.as_bytes()).result;
        assert_eq!(result(r#"{"error":{"code":"rate_limit_exceeded"}}"#), AttemptResult::RateLimited);
        assert_eq!(result(r#"{"error":{"code":429,"message":"slow down"}}"#), AttemptResult::RateLimited);
        assert_eq!(result(r#"{"type":"error","error":{"type":"authentication_error"}}"#), AttemptResult::Unauthorized);
        assert_eq!(result(r#"{"error":{"code":"context_length_exceeded"}}"#), AttemptResult::ClientError);
        assert_eq!(result(r#"{"error":"model overloaded"}"#), AttemptResult::ServerError);
        assert_eq!(result("garbage"), AttemptResult::ServerError);
    }
}

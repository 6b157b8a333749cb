//! keyweir's own answers: the one place where what went wrong becomes HTTP.
//!
//! Each is `{"error":{"message","type":"keyweir_error","code","param":null,"request_id"}}`, the shape OpenAI's clients
//! know (docs/errors.md).

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use pingora::http::ResponseHeader;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use serde_json::json;

use crate::clients::{Limit, Refusal};
use crate::telemetry::Outcome;

/// Waits above this are told to SDKs not to be worth an automatic retry.
const RETRY_WORTHWHILE: Duration = Duration::from_secs(60);

/// Why the client gets no answer from a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Ambiguous or malformed HTTP.
    BadRequest(&'static str),
    /// CONNECT or TRACE.
    MethodNotAllowed,
    /// No or wrong client token.
    Unauthorized,
    /// The client token's time is over.
    TokenExpired,
    /// The client token is not for this pool.
    PoolDenied,
    /// The client token is not for this model.
    ModelDenied,
    /// The pool's `models.deny` has this model.
    ModelClosed,
    /// The body is encoded, so that its model can't be read.
    EncodedBody,
    /// A limit of the client token is reached.
    ClientLimit(Refusal),
    /// The pool's `routes` don't include this one.
    RouteDenied,
    /// No such pool or path.
    UnknownPath,
    /// Head or body too slow.
    RequestTimeout,
    /// Body over `limits.body` (bytes).
    RequestTooLarge(usize),
    /// Head over `limits.headers`.
    HeadersTooLarge,
    /// Every key that fits is resting; the first is back after this time.
    AllKeysCooling(Duration),
    /// No key is left that time alone brings back.
    NoUsableKey,
    /// What is named was made with a key that is resting; it is back after this time.
    MakerResting(Duration),
    /// What is named was made with a key that is disabled, or not there any more.
    MakerGone,
    /// What is named was made with several keys.
    MakersDiffer,
    /// Several keys refused in a row, ready ones remain.
    AttemptsSpent,
    /// In-flight or memory cap.
    Overloaded,
    /// Shutting down.
    Draining,
    /// No connection, or a broken one, after the attempts were spent.
    UpstreamUnreachable,
    /// No answer in time, after the attempts were spent.
    UpstreamTimeout,
    /// A fault of our own.
    Internal,
}

/// What the provider said last, where a key or account was to blame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provider {
    /// Its status.
    pub status: u16,
    /// Its error code, if it gave one.
    pub code: Option<String>,
}

impl Answer {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::MethodNotAllowed => 405,
            Self::Unauthorized | Self::TokenExpired => 401,
            Self::PoolDenied | Self::ModelDenied | Self::ModelClosed | Self::RouteDenied => 403,
            Self::UnknownPath => 404,
            Self::RequestTimeout => 408,
            Self::MakerResting(_) | Self::MakerGone | Self::MakersDiffer => 409,
            Self::RequestTooLarge(_) => 413,
            Self::EncodedBody => 415,
            Self::HeadersTooLarge => 431,
            Self::ClientLimit(_) | Self::AllKeysCooling(_) => 429,
            Self::NoUsableKey | Self::AttemptsSpent | Self::Overloaded | Self::Draining => 503,
            Self::UpstreamUnreachable => 502,
            Self::UpstreamTimeout => 504,
            Self::Internal => 500,
        }
    }

    /// The `code` in the error object.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) | Self::MethodNotAllowed | Self::EncodedBody => "bad_request",
            Self::Unauthorized | Self::TokenExpired => "unauthorized",
            Self::PoolDenied => "pool_denied",
            Self::ModelDenied | Self::ModelClosed => "model_denied",
            Self::ClientLimit(_) => "client_limit",
            Self::RouteDenied => "route_denied",
            Self::UnknownPath => "unknown_path",
            Self::RequestTimeout => "request_timeout",
            Self::RequestTooLarge(_) => "request_too_large",
            Self::HeadersTooLarge => "headers_too_large",
            Self::AllKeysCooling(_) => "all_keys_cooling",
            Self::NoUsableKey => "no_usable_key",
            Self::MakerResting(_) | Self::MakerGone => "resource_key_unavailable",
            Self::MakersDiffer => "resource_keys_differ",
            Self::AttemptsSpent => "attempts_spent",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Internal => "internal_error",
        }
    }

    /// As it is counted.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::AllKeysCooling(_)
            | Self::NoUsableKey
            | Self::MakerResting(_)
            | Self::MakerGone
            | Self::AttemptsSpent => Outcome::Exhausted,
            Self::UpstreamUnreachable | Self::UpstreamTimeout | Self::Internal => Outcome::ProviderError,
            _ => Outcome::Rejected,
        }
    }

    fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::BadRequest(why) => why,
            Self::MethodNotAllowed => "This method is not served.",
            Self::Unauthorized => "A valid client token is required, for example as \"Authorization: Bearer TOKEN\".",
            Self::TokenExpired => "The client token has expired.",
            Self::PoolDenied => "The client token is not for this pool.",
            Self::ModelDenied => "The client token is not for this model.",
            Self::ModelClosed => "The pool does not serve this model; its `models.deny` setting lists what it refuses.",
            Self::EncodedBody => "Not all models are treated alike here, and an encoded body hides which it asks for.",
            Self::ClientLimit(refusal) => return limit_message(*refusal).into(),
            Self::RouteDenied => "The pool does not serve this route; its `routes` setting lists what it serves.",
            Self::UnknownPath => "No pool has this path.",
            Self::RequestTimeout => "The request came too slowly.",
            Self::RequestTooLarge(limit) => return format!("The body is larger than {limit} bytes.").into(),
            Self::HeadersTooLarge => "The request's headers are too large.",
            Self::AllKeysCooling(rest) => {
                return format!("All keys of the pool are resting; the first is back in {} s.", seconds(*rest)).into();
            }
            Self::NoUsableKey => "No key of the pool can be used; time alone will bring none back.",
            Self::MakerResting(rest) => {
                let back = seconds(*rest);
                return format!(
                    "What this request names can only be used with a key that is resting; it is back in {back} s."
                )
                .into();
            }
            Self::MakerGone => "What this request names can only be used with a key that is disabled or removed.",
            Self::MakersDiffer => "This request names things that were made with different keys.",
            Self::AttemptsSpent => "Several keys in a row were refused by the provider. Others are ready: try again.",
            Self::Overloaded => "Too many requests are under way. Try again.",
            Self::Draining => "The server is shutting down. Try again.",
            Self::UpstreamUnreachable => "The provider can't be reached or broke the connection off.",
            Self::UpstreamTimeout => "The provider did not answer in time.",
            Self::Internal => "An internal error occurred.",
        })
    }

    /// Seconds for `Retry-After`, where a time is known.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::AllKeysCooling(rest) | Self::MakerResting(rest) => Some(seconds(*rest)),
            Self::ClientLimit(refusal) => Some(seconds(refusal.wait)),
            Self::Overloaded | Self::Draining => Some(1),
            _ => None,
        }
    }

    fn is_retry_pointless(&self) -> bool {
        match self {
            Self::AllKeysCooling(rest) | Self::MakerResting(rest) => *rest > RETRY_WORTHWHILE,
            Self::ClientLimit(refusal) => refusal.wait > RETRY_WORTHWHILE,
            Self::NoUsableKey | Self::MakerGone | Self::MakersDiffer => true,
            _ => false,
        }
    }

    /// The JSON text.
    pub fn body(&self, request_id: &str, provider: Option<&Provider>) -> String {
        let mut error = json!({
            "message": self.message(),
            "type": "keyweir_error",
            "code": self.code(),
            "param": null,
            "request_id": request_id,
        });
        if let Self::AllKeysCooling(rest) | Self::MakerResting(rest) = self {
            error["retry_at"] = rfc3339(SystemTime::now() + *rest).into();
        }
        if let Some(provider) = provider {
            error["provider_status"] = provider.status.into();
            error["provider_code"] = provider.code.clone().into();
        }
        json!({ "error": error }).to_string()
    }

    /// The head that goes with a body of that length.
    ///
    /// # Errors
    /// If the request id is no valid header value.
    pub fn head(&self, request_id: &str, length: usize) -> Result<ResponseHeader> {
        let mut head = ResponseHeader::build(self.status(), Some(8))?;
        head.insert_header("content-type", "application/json")?;
        head.insert_header("content-length", length)?;
        head.insert_header("cache-control", "no-store")?;
        head.insert_header("x-request-id", request_id)?;
        if let Some(seconds) = self.retry_after() {
            head.insert_header("retry-after", seconds)?;
        }
        if self.is_retry_pointless() {
            head.insert_header("x-should-retry", "false")?;
        }
        if self.status() == 401 {
            head.insert_header("www-authenticate", "Bearer")?;
        }
        if *self == Self::MethodNotAllowed {
            head.insert_header("allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")?;
        }
        Ok(head)
    }
}

fn limit_message(Refusal { limit, wait }: Refusal) -> String {
    let limit = match limit {
        Limit::Concurrency => return "The client token's limit of requests at once is reached.".into(),
        Limit::Rpm => "requests per minute",
        Limit::Rpd => "requests per day",
        Limit::Tpm => "tokens per minute",
        Limit::Budget => return format!("The client token's budget is spent; it begins anew in {} s.", seconds(wait)),
    };
    format!("The client token's limit of {limit} is reached; there is room again in {} s.", seconds(wait))
}

/// Whole seconds, rounded up and at least one: a client that waits so long is not early.
fn seconds(rest: Duration) -> u64 {
    (rest.as_secs() + u64::from(rest.subsec_nanos() > 0)).max(1)
}

fn rfc3339(time: SystemTime) -> Option<String> {
    let moment = jiff::Timestamp::try_from(time).ok()?;
    Some(moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Unread request bodies up to this size are read before or after a refusal, so that the client sees the answer instead
/// of a connection reset.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_millis(500);

/// Writes a complete answer to the client. Boxed, for every request's future would have to hold room for this one.
///
/// # Errors
/// If the client is gone.
pub fn write(session: &mut ServerSession, head: ResponseHeader, body: Bytes) -> BoxFuture<'_, Result<()>> {
    let writing = async move {
        let is_small = content_length(session).is_some_and(|n| n <= LINGER_BYTES);
        if is_small && !expects_continue(session) {
            linger(session).await;
        }
        let no_body = session.req_header().method == http::Method::HEAD || body.is_empty();
        session.write_response_header(Box::new(head)).await?;
        if !no_body {
            session.write_response_body(body, true).await?;
        }
        session.finish_body().await?;
        if !is_small {
            linger(session).await;
        }
        Ok(())
    };
    writing.boxed()
}

async fn linger(session: &mut ServerSession) {
    let rest = async {
        let mut read = 0;
        while read <= LINGER_BYTES {
            match session.read_request_body().await {
                Ok(Some(piece)) => read += piece.len(),
                _ => return,
            }
        }
    };
    // However it ends, the answer is what counts.
    let _elapsed = pingora::time::timeout(LINGER_TIME, rest).await;
}

fn content_length(session: &ServerSession) -> Option<usize> {
    session.get_header("content-length")?.to_str().ok()?.parse().ok()
}

fn expects_continue(session: &ServerSession) -> bool {
    session.get_header("expect").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_told_in_whole_seconds_never_early() {
        let answer = Answer::AllKeysCooling(Duration::from_millis(29_001));
        let head = answer.head("r", 0).unwrap();
        assert_eq!(head.headers["retry-after"], "30");
        assert!(!head.headers.contains_key("x-should-retry"));
        let long = Answer::AllKeysCooling(Duration::from_secs(61)).head("r", 0).unwrap();
        assert_eq!(long.headers["x-should-retry"], "false");
    }

    #[test]
    fn the_body_has_the_shape_openai_clients_know() {
        let provider = Provider { status: 429, code: Some("insufficient_quota".into()) };
        let body = Answer::AllKeysCooling(Duration::from_secs(5)).body("req-1", Some(&provider));
        let error: serde_json::Value = serde_json::from_str(&body).unwrap();
        let error = &error["error"];
        assert_eq!(error["type"], "keyweir_error");
        assert_eq!(error["code"], "all_keys_cooling");
        assert_eq!(error["request_id"], "req-1");
        assert_eq!(error["provider_status"], 429);
        assert_eq!(error["provider_code"], "insufficient_quota");
        assert!(error["retry_at"].as_str().unwrap().ends_with('Z'));
        assert!(error["param"].is_null());
    }

    /// The next of all answers. A new one does not compile before it is listed here.
    fn after(answer: &Answer) -> Option<Answer> {
        Some(match answer {
            Answer::BadRequest(_) => Answer::MethodNotAllowed,
            Answer::MethodNotAllowed => Answer::Unauthorized,
            Answer::Unauthorized => Answer::TokenExpired,
            Answer::TokenExpired => Answer::PoolDenied,
            Answer::PoolDenied => Answer::ModelDenied,
            Answer::ModelDenied => Answer::ModelClosed,
            Answer::ModelClosed => Answer::RouteDenied,
            Answer::RouteDenied => Answer::UnknownPath,
            Answer::UnknownPath => Answer::RequestTimeout,
            Answer::RequestTimeout => Answer::RequestTooLarge(1),
            Answer::RequestTooLarge(_) => Answer::EncodedBody,
            Answer::EncodedBody => Answer::HeadersTooLarge,
            Answer::HeadersTooLarge => Answer::ClientLimit(Refusal { limit: Limit::Rpm, wait: Duration::ZERO }),
            Answer::ClientLimit(_) => Answer::AllKeysCooling(Duration::ZERO),
            Answer::AllKeysCooling(_) => Answer::NoUsableKey,
            Answer::NoUsableKey => Answer::MakerResting(Duration::ZERO),
            Answer::MakerResting(_) => Answer::MakerGone,
            Answer::MakerGone => Answer::MakersDiffer,
            Answer::MakersDiffer => Answer::AttemptsSpent,
            Answer::AttemptsSpent => Answer::Overloaded,
            Answer::Overloaded => Answer::Draining,
            Answer::Draining => Answer::UpstreamUnreachable,
            Answer::UpstreamUnreachable => Answer::UpstreamTimeout,
            Answer::UpstreamTimeout => Answer::Internal,
            Answer::Internal => return None,
        })
    }

    #[test]
    fn the_documented_errors_are_all_there_are() {
        let docs = include_str!("../../docs/errors.md");
        let rows = docs.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | `"));
        let documented: Vec<_> = rows
            .filter_map(|(status, rest)| Some((status.parse::<u16>().ok()?, rest.split_once('`')?.0.to_owned())))
            .collect();
        let all = std::iter::successors(Some(Answer::BadRequest("")), after);
        let mut given: Vec<_> = all.map(|answer| (answer.status(), answer.code().to_owned())).collect();
        assert_eq!(given.len(), documented.len(), "{documented:?}");
        given.retain(|row| !documented.contains(row));
        assert_eq!(given, [], "not in docs/errors.md");
    }

    #[test]
    fn the_answers_with_retry_after_are_documented() {
        let docs = include_str!("../../docs/errors.md");
        let (before, _) = docs.split_once(" carry `Retry-After`").unwrap();
        let documented: Vec<_> = before.rsplit("\n\n").next().unwrap().split('`').skip(1).step_by(2).collect();
        let all = std::iter::successors(Some(Answer::BadRequest("")), after);
        let given: Vec<_> = all.filter(|answer| answer.retry_after().is_some()).map(|answer| answer.code()).collect();
        assert_eq!(given, documented);
    }
}

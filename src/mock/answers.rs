//! Answers in OpenAI's own words: error objects, models, completions, embeddings.
//!
//! Messages are quoted from the provider, because that is what verdict rules are written against.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::request::{Frame, Parameters};

/// The models listed.
const MODELS: [&str; 4] = ["gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "text-embedding-3-large"];
/// Numbers per embedding unless the request says how many, far below a real model's to keep answers readable.
const DIMENSIONS: usize = 8;
const MAX_DIMENSIONS: usize = 4096;
/// The reply to every chat. As long as a short real one, so that benchmarks copy a realistic answer.
const REPLY: &str = "Hello! I am a mock of a language model, so whatever you ask, this is what I say. How may I help?";

/// A whole answer, to be framed and sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    pub(super) frame: Frame,
}

impl Answer {
    pub(super) fn json(status: u16, body: String) -> Answer {
        Answer { status, headers: Vec::new(), body, frame: Frame::Length }
    }

    pub(super) fn with_header(mut self, name: &str, value: impl Into<String>) -> Answer {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Head and framed body. `id` makes the answer's `x-request-id`.
    pub(super) fn write(&self, id: u64, out: &mut Vec<u8>) {
        write_head(out, self.status, "application/json", id, self.frame, self.body.len(), &self.headers);
        match self.frame {
            Frame::Length | Frame::Close => out.extend_from_slice(self.body.as_bytes()),
            Frame::Chunked => {
                write_chunk(out, self.body.as_bytes());
                out.extend_from_slice(LAST_CHUNK);
            }
        }
    }
}

/// The end of a chunked body.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// An answer's head; `length` matters only where the frame is one.
pub(super) fn write_head(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    id: u64,
    frame: Frame,
    length: usize,
    headers: &[(String, String)],
) {
    let mut head = String::with_capacity(256);
    let framing = match frame {
        Frame::Length => format!("content-length: {length}"),
        Frame::Chunked => "transfer-encoding: chunked".to_owned(),
        Frame::Close => "connection: close".to_owned(),
    };
    let reason = reason(status);
    let written = write!(
        head,
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\nx-request-id: req_{id:016x}\r\n\
         openai-organization: mock-org\r\nopenai-processing-ms: 1\r\n{framing}\r\n"
    );
    debug_assert!(written.is_ok(), "a String takes all");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    out.extend_from_slice(head.as_bytes());
}

/// One chunk of a chunked body.
pub(super) fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
}

/// `{"error":{…}}`; `code` may be null.
pub(super) fn error(status: u16, message: &str, kind: &str, code: Option<&str>) -> Answer {
    let error = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    Answer::json(status, error.to_string())
}

pub(super) fn missing_key() -> Answer {
    error(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth \
         (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from \
         https://platform.openai.com/account/api-keys.",
        "invalid_request_error",
        None,
    )
}

pub(super) fn wrong_key(key: &str) -> Answer {
    let message = format!(
        "Incorrect API key provided: {}. You can find your API key at https://platform.openai.com/account/api-keys.",
        mask(key)
    );
    error(401, &message, "invalid_request_error", Some("invalid_api_key"))
}

/// As the provider shows a key in an error: its first eight and last four characters.
fn mask(key: &str) -> String {
    let characters: Vec<char> = key.chars().collect();
    let hidden = 8..characters.len().saturating_sub(4).max(8);
    characters.iter().enumerate().map(|(at, &c)| if hidden.contains(&at) { '*' } else { c }).collect()
}

pub(super) fn forbidden() -> Answer {
    error(
        403,
        "You have insufficient permissions for this operation. Missing scopes: model.request. Check that you have the \
         correct role in your organization (Reader, Writer, Owner) and project (Member, Owner).",
        "invalid_request_error",
        None,
    )
}

/// 429 of a limit per minute, free again after `wait`.
pub(super) fn rate_limited(model: &str, limit: usize, wait: Duration) -> Answer {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let message = format!(
        "Rate limit reached for {model} in organization mock-org on requests per min (RPM): Limit {limit}, Used \
         {limit}, Requested 1. Please try again in {seconds}s. Visit \
         https://platform.openai.com/account/rate-limits to learn more."
    );
    error(429, &message, "requests", Some("rate_limit_exceeded"))
        .with_header("retry-after", seconds.to_string())
        .with_header("x-ratelimit-limit-requests", limit.to_string())
        .with_header("x-ratelimit-remaining-requests", "0")
        .with_header("x-ratelimit-reset-requests", format!("{seconds}s"))
}

pub(super) fn out_of_quota() -> Answer {
    error(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more information on this \
         error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
        "insufficient_quota",
        Some("insufficient_quota"),
    )
}

/// A provider's own failure: 500, 503 or whatever an outage or a test asks for.
pub(super) fn failed(status: u16) -> Answer {
    if status == 401 {
        return wrong_key("sk-of-nobody-we-know");
    }
    let message = match status {
        503 => "The server is overloaded or not ready yet.",
        500..=599 => "The server had an error while processing your request. Sorry about that!",
        _ => "The mock was asked to answer with this status.",
    };
    error(status, message, if status >= 500 { "server_error" } else { "invalid_request_error" }, None)
}

pub(super) fn unknown_path(method: &str, path: &str) -> Answer {
    error(404, &format!("Invalid URL ({method} {path})"), "invalid_request_error", None)
}

pub(super) fn bad_request(message: &str) -> Answer {
    error(400, message, "invalid_request_error", None)
}

pub(super) fn models() -> Answer {
    let models = MODELS.map(|id| json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "mock"}));
    Answer::json(200, json!({"object": "list", "data": models}).to_string())
}

/// A chat's answer; `empty` = without content. Written as text: benchmarks ask for little else.
pub(super) fn completion(id: u64, asked: &Parameters<'_>, body_length: usize, empty: bool) -> Answer {
    let content = if empty { "" } else { REPLY };
    let body = format!(
        r#"{{"id":"chatcmpl-{id:016x}","object":"chat.completion","created":{},"model":{},"choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{}}}"#,
        unix_time(),
        Value::from(asked.model()),
        usage(body_length, content.len() as u64 / 4),
    );
    Answer::json(200, body)
}

/// Token counts, at four bytes per token, as a JSON object.
pub(super) fn usage(body_length: usize, completion: u64) -> String {
    let prompt = body_length as u64 / 4;
    let total = prompt + completion;
    format!(r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total}}}"#)
}

pub(super) fn embeddings(asked: &Parameters<'_>, body_length: usize) -> Answer {
    let dimensions = asked.dimensions.unwrap_or(DIMENSIONS).clamp(1, MAX_DIMENSIONS);
    let vectors = match &asked.input {
        // A list of numbers is one text, already cut into tokens.
        Some(Value::Array(texts)) if !texts.iter().all(Value::is_number) => texts.len(),
        _ => 1,
    };
    let data: Vec<Value> = (0..vectors)
        .map(|index| {
            let vector: Vec<f32> = (0..dimensions).map(|at| ((index + at) % 7) as f32 / 8.0).collect();
            json!({"object": "embedding", "index": index, "embedding": encode(&vector, asked.base64())})
        })
        .collect();
    let tokens = body_length / 4;
    let body = json!({
        "object": "list",
        "data": data,
        "model": asked.model(),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    });
    Answer::json(200, body.to_string())
}

/// The official clients ask for base64 of little-endian floats.
fn encode(vector: &[f32], base64: bool) -> Value {
    if base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        Value::String(STANDARD.encode(bytes))
    } else {
        json!(vector)
    }
}

/// Seconds since 1970.
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_an_error_is_masked_as_the_provider_does() {
        assert_eq!(mask("sk-proj-abcdefghwxyz"), "sk-proj-********wxyz");
        assert_eq!(mask("schlüssel-ä"), "schlüssel-ä", "too short to hide anything");
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let answer = rate_limited("m", 3, Duration::from_millis(1200));
        assert!(answer.headers.contains(&("retry-after".to_owned(), "2".to_owned())), "{:?}", answer.headers);
        assert!(answer.body.contains("try again in 2s"));
    }
}

//! A finished request as a row of the request log: made of text here, where no request waits for it.

use std::time::{Duration, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Finished, Kept, Tried};
use crate::config::KeyId;
use crate::store::Request;
use crate::telemetry::redact;

/// Longest trail (bytes); the store would cut what is longer.
const TRAIL: usize = 7500;
/// Words shorter than this are no keys and no tokens.
const SECRET_MIN: usize = 8;
/// What stands in a secret's place.
const BLANK: &str = "[redacted]";

/// What was tried for a request, as the log keeps it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Trail {
    /// The first ones.
    pub attempts: Vec<Attempt>,
    /// The code of our own error, if one was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Attempts that are not kept.
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// One attempt.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// The key's name.
    pub key: String,
    /// The target's authority.
    pub target: String,
    /// How it ended.
    pub result: String,
    /// The answer's status, if one came.
    pub status: Option<u16>,
    /// The rule that judged it.
    pub rule: Option<String>,
    /// How long it took (milliseconds).
    pub ms: f64,
}

impl Finished {
    /// The row. `is_token` tells whether a word is a client's or an operator's token.
    pub fn into_row(self, is_token: impl Fn(&[u8]) -> bool) -> Request {
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let since = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let entry = self.pool.as_deref();
        let key = entry.and_then(|entry| entry.pool.key(self.key?));
        let pool = entry.map_or("", |entry| &entry.config.name);
        let is_key = |word: &str| entry.is_some_and(|entry| entry.has(KeyId::of(pool, word)));
        let redacted = |text: &str| without_secrets(text, |word| is_key(word) || is_token(word.as_bytes()));
        Request {
            at: i64::try_from(milliseconds(since)).unwrap_or(i64::MAX),
            request_id: self.request_id.to_string(),
            pool: pool.to_owned(),
            key: key.map(|key| key.id),
            key_name: key.map(|key| key.name.to_string()).unwrap_or_default(),
            token: self.client.as_ref().map(|client| client.name().to_owned()).unwrap_or_default(),
            client: self.client_ip.map(|address| address.to_string()).unwrap_or_default(),
            method: self.method.to_string(),
            path: self.uri.path().to_owned(),
            status: self.status,
            outcome: self.outcome.as_str().to_owned(),
            attempts: self.attempts,
            trail: trail(&self.trail, self.error),
            duration_ms: milliseconds(self.duration),
            first_byte_ms: self.first_byte.map(milliseconds),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            prompt_tokens: self.tokens.map(|used| used.prompt),
            completion_tokens: self.tokens.map(|used| used.completion),
            body: self.body.map(|body| redacted(&body.text()).into_bytes()),
            model: self.model,
        }
    }
}

/// As many attempts as fit, the first ones first.
fn trail(tried: &[Tried], error: Option<&str>) -> String {
    let mut attempts = Vec::new();
    let mut length = 0;
    for attempt in tried {
        let shown = attempt.shown();
        length += json!(shown).to_string().len() + 1;
        if length > TRAIL {
            break;
        }
        attempts.push(shown);
    }
    let omitted = tried.len() - attempts.len();
    json!(Trail { attempts, error: error.map(str::to_owned), omitted }).to_string()
}

impl Tried {
    fn shown(&self) -> Attempt {
        Attempt {
            key: self.key.to_string(),
            target: self.target.to_string(),
            result: self.result.as_str().to_owned(),
            status: self.status,
            rule: self.rule.as_deref().map(str::to_owned),
            ms: self.took.as_micros() as f64 / 1000.0,
        }
    }
}

impl Kept {
    /// As text. A word that was cut off is left out, for nobody can tell what it was.
    fn text(&self) -> String {
        if !self.is_cut {
            return String::from_utf8_lossy(&self.bytes).into_owned();
        }
        let end = self.bytes.iter().rposition(|byte| !is_of_word(*byte)).map_or(0, |last| last + 1);
        String::from_utf8_lossy(self.bytes.get(..end).unwrap_or_default()).into_owned() + "…"
    }
}

/// A character keys are made of.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'/' | b'=' | b'~' | b':' | b'*')
}

/// The text without what is known to be a secret or looks like one.
fn without_secrets(text: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let is_word = |character: char| u8::try_from(character).is_ok_and(|byte| byte.is_ascii() && is_of_word(byte));
    let mut known = Vec::new();
    for word in text.split(|character| !is_word(character)).filter(|word| word.len() >= SECRET_MIN) {
        // A sentence may end behind it, and a field's name stand before it.
        let parts = [word, word.trim_end_matches(['.', ':', '=', '/']), word.rsplit(['=', ':']).next().unwrap_or(word)];
        known.extend(parts.into_iter().filter(|part| part.len() >= SECRET_MIN && is_secret(part)));
    }
    known.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
    known.dedup();
    let text = known.iter().fold(text.to_owned(), |text, word| text.replace(word, BLANK));
    redact::scrub(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::AttemptResult;

    #[test]
    fn neither_known_secrets_nor_those_that_look_like_one_are_kept() {
        let text = r#"{"a":"plain-secret-1","b":"see plain-secret-1.","h":"x=plain-secret-1 sk-looks123","ok":"plain words stay"}"#;
        let shown = without_secrets(text, |word| word == "plain-secret-1");
        assert!(!shown.contains("secret-1") && !shown.contains("looks123"), "{shown}");
        assert!(shown.contains("plain words stay"), "{shown}");
    }

    #[test]
    fn a_word_that_was_cut_off_is_left_out() {
        let kept = |text: &str, is_cut| Kept { bytes: text.as_bytes().to_vec(), is_cut }.text();
        assert_eq!(kept(r#"{"content":"one half-a-secr"#, true), r#"{"content":"one …"#);
        assert_eq!(kept("all-of-it", true), "…");
        assert_eq!(kept("all-of-it", false), "all-of-it");
        assert_eq!(Kept { bytes: b"\xff ok".to_vec(), is_cut: false }.text(), "\u{fffd} ok");
    }

    #[test]
    fn a_long_trail_is_cut_between_attempts() {
        let tried = || Tried {
            key: "k\"".repeat(20).into(),
            target: "host:1".into(),
            result: AttemptResult::RateLimited,
            status: Some(429),
            rule: Some("generic.429".into()),
            took: Duration::from_micros(1500),
        };
        let tried: Vec<Tried> = (0..200).map(|_| tried()).collect();
        let text = trail(&tried, Some("attempts_spent"));
        assert!(text.len() <= 8192);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let shown = read["attempts"].as_array().unwrap().len();
        assert_eq!((shown as u64 + read["omitted"].as_u64().unwrap(), &read["error"]), (200, &json!("attempts_spent")));
        assert_eq!(read["attempts"][0]["ms"], 1.5);
        assert_eq!(trail(&[], None), r#"{"attempts":[]}"#);
    }
}

//! What a request asks for: the few OpenAI parameters that shape an answer, and the `mock` object with which a test
//! overrides it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::balances::Shape;
use super::http::Head;

/// The model of an answer to a request that names none.
const DEFAULT_MODEL: &str = "gpt-4o-mini";

/// The interface a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Models,
    Chat,
    Embeddings,
    /// The WebSocket one.
    Realtime,
    Balance(Shape),
    Other,
}

impl Endpoint {
    /// By the path's end, so that a target may have any path of its own in front.
    pub(super) fn of(head: &Head) -> Endpoint {
        let path = head.path().trim_end_matches('/');
        match (path.rsplit('/').next(), head.method.as_str()) {
            (Some("models"), "GET") => Endpoint::Models,
            (Some("completions"), "POST") if path.ends_with("/chat/completions") => Endpoint::Chat,
            (Some("embeddings"), "POST") => Endpoint::Embeddings,
            (Some("realtime"), "GET") if head.websocket_key.is_some() => Endpoint::Realtime,
            (_, "GET") => Shape::of(path).map_or(Endpoint::Other, Endpoint::Balance),
            _ => Endpoint::Other,
        }
    }
}

/// The parameters looked at; all others are skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parameters<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// Of an embeddings request.
    pub(super) input: Option<serde_json::Value>,
    /// Of an embeddings request.
    pub(super) dimensions: Option<usize>,
    encoding_format: Option<Cow<'a, str>>,
    /// What a test wants instead of the key's own behaviour.
    pub(super) mock: Script,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
}

/// The `mock` object of a request body. Everything is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Script {
    /// Milliseconds before the first byte.
    pub(super) sleep_ms: u64,
    /// Status of an error to answer with.
    pub(super) status: Option<u16>,
    /// The answer's body (not a stream's).
    pub(super) body: Option<serde_json::Value>,
    /// Headers added to the answer.
    pub(super) headers: BTreeMap<String, String>,
    /// Content events of a stream.
    pub(super) events: Option<u64>,
    /// Milliseconds between them.
    pub(super) interval_ms: Option<u64>,
    /// A stream is reset after so many content events.
    pub(super) die_after: Option<u64>,
    /// How the answer's end is told.
    pub(super) frame: Option<Frame>,
}

/// How an answer's end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Frame {
    /// By `Content-Length` (JSON only).
    Length,
    /// By the empty chunk.
    Chunked,
    /// By the end of the connection.
    Close,
}

impl<'a> Parameters<'a> {
    /// Reads a body. One not declared as JSON is read too if it is (`curl -d` declares a form), but may be anything.
    pub(super) fn read(head: &Head, body: &'a [u8]) -> Result<Parameters<'a>, serde_json::Error> {
        match body.first() {
            None => Ok(Parameters::default()),
            Some(_) if head.json => serde_json::from_slice(body),
            Some(b'{') => Ok(serde_json::from_slice(body).unwrap_or_default()),
            Some(_) => Ok(Parameters::default()),
        }
    }

    pub(super) fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(DEFAULT_MODEL)
    }

    pub(super) fn stream(&self) -> bool {
        self.stream == Some(true)
    }

    pub(super) fn include_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    pub(super) fn base64(&self) -> bool {
        self.encoding_format.as_deref() == Some("base64")
    }
}

//! The models a request names, and where: in its path, its query, its body.
//!
//! Mostly a model is a hint for picking a key, and what can't be read passes on. Where some models are closed, whatever
//! a provider might take for the model must be known, so what different parsers read differently is refused: encoded
//! bodies, bodies that are neither JSON nor a form, bodies too large to be held. Two models in one body are refused
//! everywhere.
//!
//! Invariant: a name that was judged as an alias is replaced wherever it stands before it is sent.

mod form;
mod json;
mod splice;

use std::ops::Range;

use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode_str;
use pingora::http::RequestHeader;

use super::answer::Answer;
use super::context::Body;
use crate::upstream::Payload;

pub(super) use splice::{body as spliced_body, path as spliced_path, query as spliced_query};

/// How much depends on the models a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Care {
    /// Nothing but which key is the best.
    Hint,
    /// Names stand for others, or keys are for some models only.
    Rules,
    /// Some models are closed: what can't be read is refused.
    Filter,
}

/// A model's name where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    part: Part,
    place: Range<usize>,
}

/// The part of a request that a place is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The path behind the pool's prefix.
    Path,
    Query,
    /// A string of a JSON body, its quotes included.
    Json,
    /// A field of a multipart form.
    Multipart,
    /// A field of an URL-encoded form.
    Form,
    /// One of several names, of which none is replaced.
    List,
}

/// All names; the first is the model that the request is for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    first: Option<Named>,
    more: Vec<Named>,
}

impl Asked {
    /// The model that the request is for, as the client calls it.
    pub(super) fn name(&self) -> Option<&str> {
        self.first.as_ref().map(|named| named.name.as_str())
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Named> {
        self.first.iter().chain(&self.more)
    }

    fn add(&mut self, named: Named) {
        match self.first {
            None => self.first = Some(named),
            Some(_) => self.more.push(named),
        }
    }
}

impl Extend<Named> for Asked {
    fn extend<T: IntoIterator<Item = Named>>(&mut self, names: T) {
        names.into_iter().for_each(|named| self.add(named));
    }
}

impl Named {
    /// It stands where it can be replaced by what it stands for.
    pub(super) fn is_replaceable(&self) -> bool {
        self.part != Part::List
    }
}

/// Reads a request. `path` is what lies behind the pool's prefix, `buffer` the size of bodies that are held (bytes).
///
/// # Errors
/// What is wrong with the request; [`Answer::ModelDenied`] where a model that is named later can't be judged.
pub(super) fn read(
    request: &RequestHeader,
    path: &str,
    body: &Body,
    care: Care,
    buffer: usize,
) -> Result<Asked, Answer> {
    let mut asked = Asked::default();
    asked.extend(in_path(&request.method, path));
    asked.extend(request.uri.query().map(|query| in_form(query, Part::Query)).unwrap_or_default());
    match body {
        Body::Buffered(payload) if care == Care::Filter => asked.extend(in_body(request, payload)?),
        Body::Buffered(payload) => asked.extend(hint(request, payload, care)?),
        Body::Streamed { .. } if care == Care::Filter => return Err(Answer::RequestTooLarge(buffer)),
        // What a WebSocket carries is not looked at; it names its model beforehand or not at all.
        Body::Tunnel if care == Care::Filter && asked.first.is_none() => return Err(Answer::ModelDenied),
        Body::Streamed { .. } | Body::Tunnel | Body::Empty => {}
    }
    Ok(asked)
}

/// Azure's `/openai/deployments/{model}/…` and Gemini's `/models/{model}:generateContent`. Asking what a model is
/// (`GET /models/{model}`) uses none.
fn in_path(method: &Method, path: &str) -> Option<Named> {
    let mut segments = path.split('/').skip(1);
    let name = match (segments.next(), segments.next(), segments.next()) {
        (Some("openai"), Some("deployments"), Some(name)) => name,
        (Some("models"), Some(_), _) if !matches!(*method, Method::GET | Method::HEAD) => {
            let rest = path.strip_prefix("/models/").unwrap_or_default();
            rest.rsplit_once(':').map_or(rest, |(name, _)| name)
        }
        _ => return None,
    };
    let start = if path.starts_with("/models/") { "/models/".len() } else { "/openai/deployments/".len() };
    Some(Named { name: decoded(name), part: Part::Path, place: start..start + name.len() })
}

/// `model=…` of a query or an URL-encoded form.
fn in_form(text: &str, part: Part) -> Vec<Named> {
    let mut at = 0;
    let mut names = Vec::new();
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded_field(name) == "model" {
            let end = at + pair.len();
            names.push(Named { name: decoded_field(value), part, place: end - value.len()..end });
        }
        at += pair.len() + 1;
    }
    names
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// In forms and queries a plus is a blank.
fn decoded_field(text: &str) -> String {
    decoded(&text.replace('+', " "))
}

fn is_encoded(request: &RequestHeader) -> bool {
    let is_plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    !request.headers.get_all(CONTENT_ENCODING).iter().all(is_plain)
}

/// What can be read of a body.
fn hint(request: &RequestHeader, body: &Payload, care: Care) -> Result<Vec<Named>, Answer> {
    if care > Care::Hint && is_encoded(request) {
        return Err(Answer::EncodedBody);
    }
    let kind = request.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if is_multipart(kind) {
        return Ok(form::in_multipart(kind, &body.joined()).unwrap_or_default());
    }
    Ok(json::hint(body)?.into_iter().collect())
}

fn is_multipart(kind: &str) -> bool {
    essence(kind).eq_ignore_ascii_case("multipart/form-data")
}

fn essence(kind: &str) -> &str {
    kind.split(';').next().unwrap_or_default().trim()
}

/// Every name a provider might find in a body.
fn in_body(request: &RequestHeader, body: &Payload) -> Result<Vec<Named>, Answer> {
    if is_encoded(request) {
        return Err(Answer::EncodedBody);
    }
    let mut kinds = request.headers.get_all(CONTENT_TYPE).iter().map(|value| value.to_str().unwrap_or_default());
    let kind = kinds.next().unwrap_or_default();
    if kinds.next().is_some() {
        return Err(Answer::BadRequest("There are several Content-Type headers."));
    }
    let body = body.joined();
    if is_multipart(kind) {
        return form::in_multipart(kind, &body);
    }
    // `curl -d` declares JSON as a form, and some providers don't look at what is declared.
    let is_form = essence(kind).eq_ignore_ascii_case("application/x-www-form-urlencoded");
    if is_form && !body.trim_ascii_start().starts_with(b"{") {
        let text = std::str::from_utf8(&body).map_err(|_| Answer::BadRequest("The form is not UTF-8."))?;
        return Ok(in_form(text, Part::Form));
    }
    json::strict(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_stand_in_paths_too() {
        let in_path = |method: Method, path: &str| {
            super::in_path(&method, path).map(|named| {
                assert_eq!(decoded(path.get(named.place.clone()).unwrap()), named.name);
                named.name
            })
        };
        let post = |path: &str| in_path(Method::POST, path);
        assert_eq!(post("/openai/deployments/gpt%2D4/chat/completions").as_deref(), Some("gpt-4"));
        assert_eq!(post("/models/gemini-2.5-pro:generateContent").as_deref(), Some("gemini-2.5-pro"));
        assert_eq!(post("/models/Qwen/Qwen3:predict").as_deref(), Some("Qwen/Qwen3"));
        assert_eq!(post("/chat/completions"), None);
        assert_eq!(in_path(Method::GET, "/models/gpt-4"), None);
        assert_eq!(in_path(Method::GET, "/models"), None);
    }

    #[test]
    fn a_forms_fields_are_decoded() {
        let text = "a=1&model=Qwen%2FQwen3+x&mod%65l=b&models=c&model";
        let found = in_form(text, Part::Query);
        let names: Vec<_> = found.iter().map(|named| named.name.as_str()).collect();
        assert_eq!(names, ["Qwen/Qwen3 x", "b", ""]);
        assert_eq!(text.get(found[0].place.clone()), Some("Qwen%2FQwen3+x"));
        assert_eq!(text.get(found[1].place.clone()), Some("b"));
        assert_eq!(found[2].place, text.len()..text.len());
    }
}

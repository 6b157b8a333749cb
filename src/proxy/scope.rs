//! Which models a request names, read strictly, for clients that may use some models only.
//!
//! Elsewhere a model is a hint for picking a key, and what can't be read passes on. Here whatever a provider might take
//! for the model must be known, so bodies that different parsers read differently are refused: names written twice,
//! encoded bodies, bodies that are neither JSON nor a form, bodies too large to be held.

use std::borrow::Cow;
use std::fmt;

use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use memchr::memmem;
use percent_encoding::percent_decode_str;
use pingora::http::RequestHeader;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::answer::Answer;
use super::context::Body;
use crate::clients::Client;

/// Refuses what names a model that is not open to this client.
///
/// # Errors
/// [`Answer::ModelDenied`], or what is wrong with the body.
pub(super) fn check(
    client: &Client,
    request: &RequestHeader,
    path: &str,
    body: &Body,
    buffer: usize,
) -> Result<(), Answer> {
    if !client.has_model_scope() {
        return Ok(());
    }
    let mut models = in_path(&request.method, path);
    models.extend(request.uri.query().map(in_form).unwrap_or_default());
    let text = match body {
        Body::Buffered(payload) => payload.joined(),
        Body::Streamed { .. } => return Err(Answer::RequestTooLarge(buffer)),
        // What a WebSocket carries is not looked at; it names its model beforehand or not at all.
        Body::Tunnel if models.is_empty() => return Err(Answer::ModelDenied),
        Body::Tunnel | Body::Empty => Default::default(),
    };
    if !text.is_empty() {
        models.extend(in_body(request, &text)?);
    }
    if models.iter().all(|model| client.may_use_model(model)) { Ok(()) } else { Err(Answer::ModelDenied) }
}

/// Azure's `/openai/deployments/{model}/…` and Gemini's `/models/{model}:generateContent`. Asking what a model is
/// (`GET /models/{model}`) uses none.
fn in_path(method: &Method, path: &str) -> Vec<String> {
    let mut segments = path.split('/').skip(1);
    let name = match (segments.next(), segments.next(), segments.next()) {
        (Some("openai"), Some("deployments"), Some(name)) => name,
        (Some("models"), Some(_), _) if !matches!(*method, Method::GET | Method::HEAD) => {
            let rest = path.strip_prefix("/models/").unwrap_or_default();
            rest.rsplit_once(':').map_or(rest, |(name, _)| name)
        }
        _ => return Vec::new(),
    };
    vec![decoded(name)]
}

/// `model=…` of a query or an URL-encoded form.
fn in_form(text: &str) -> Vec<String> {
    let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(name, _)| decoded(name) == "model").map(|(_, value)| decoded(value)).collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn in_body(request: &RequestHeader, body: &[u8]) -> Result<Vec<String>, Answer> {
    let is_plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !request.headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return Err(Answer::EncodedBody);
    }
    let mut kinds = request.headers.get_all(CONTENT_TYPE).iter().map(|value| value.to_str().unwrap_or_default());
    let kind = kinds.next().unwrap_or_default();
    if kinds.next().is_some() {
        return Err(Answer::BadRequest("There are several Content-Type headers."));
    }
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "multipart/form-data" => in_multipart(kind, body),
        "application/x-www-form-urlencoded" => match std::str::from_utf8(body) {
            Ok(text) => Ok(in_form(text)),
            Err(_) => Err(Answer::BadRequest("The form is not UTF-8.")),
        },
        _ => in_json(body),
    }
}

/// The `model` of a JSON object, if it has one.
fn in_json(body: &[u8]) -> Result<Vec<String>, Answer> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let model = reader.deserialize_map(TopLevel).and_then(|model| reader.end().map(|()| model));
    match model {
        Ok(model) => Ok(model.into_iter().collect()),
        Err(_) => Err(Answer::BadRequest(
            "The body must be a JSON object with one model at most: this client token may use some models only.",
        )),
    }
}

struct TopLevel;

impl<'de> Visitor<'de> for TopLevel {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut model, mut is_named) = (None, false);
        while let Some(name) = members.next_key::<Cow<'_, str>>()? {
            // Go's parsers do not mind the case.
            if !name.eq_ignore_ascii_case("model") {
                members.next_value::<IgnoredAny>()?;
            } else if std::mem::replace(&mut is_named, true) {
                return Err(A::Error::custom("two models"));
            } else {
                model = members.next_value()?;
            }
        }
        Ok(model)
    }
}

/// The `model` fields of a form (RFC 7578).
fn in_multipart(kind: &str, body: &[u8]) -> Result<Vec<String>, Answer> {
    let malformed = Answer::BadRequest("The multipart form is malformed.");
    let delimiter = boundary(kind).map(|boundary| format!("--{boundary}")).ok_or(malformed.clone())?;
    // Some parsers want a line break before a delimiter and others don't: every one counts here.
    let starts: Vec<usize> = memmem::find_iter(body, &delimiter).map(|at| at + delimiter.len()).collect();
    if !starts.last().and_then(|last| body.get(*last..)).is_some_and(|rest| rest.starts_with(b"--")) {
        return Err(malformed);
    }
    let mut models = Vec::new();
    let ends = starts.iter().skip(1).map(|next| next - delimiter.len());
    let parts = starts.iter().zip(ends).map(|(start, end)| body.get(*start..end).unwrap_or_default());
    for part in parts.filter(|part| !part.starts_with(b"--")) {
        let end = memmem::find(part, b"\r\n\r\n").ok_or(malformed.clone())?;
        let (head, content) = part.split_at(end);
        if names_model(head).ok_or(malformed.clone())? {
            let content = content.strip_prefix(b"\r\n\r\n").and_then(|content| content.strip_suffix(b"\r\n"));
            let text = content.and_then(|content| std::str::from_utf8(content).ok());
            models.push(text.ok_or(malformed.clone())?.to_owned());
        }
    }
    Ok(models)
}

/// The only `boundary` of a content type.
fn boundary(kind: &str) -> Option<&str> {
    let mut found = kind.split(';').filter_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.trim_end().eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"'))
    });
    let (boundary, None) = (found.next()?, found.next()) else { return None };
    (!boundary.is_empty()).then_some(boundary)
}

/// Whether a part is the field `model`; `None` where its name is not written the way all parsers read alike.
fn names_model(head: &[u8]) -> Option<bool> {
    let head = std::str::from_utf8(head).ok()?;
    let is_disposition =
        |line: &&str| line.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case("content-disposition"));
    if head.split("\r\n").any(|line| line.contains(['\r', '\n'])) {
        return None;
    }
    let mut lines = head.split("\r\n").filter(is_disposition);
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let mut names = line.split(';').map(str::trim).filter(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default().trim_end();
        name.eq_ignore_ascii_case("name") || name.eq_ignore_ascii_case("name*")
    });
    let (name, None) = (names.next()?, names.next()) else { return None };
    let name = name.strip_prefix("name=\"")?.strip_suffix('"')?;
    (!name.contains(['\\', '"', '%'])).then_some(name == "model")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<Vec<String>, u16> {
        in_json(text.as_bytes()).map_err(|answer| answer.status())
    }

    fn named(model: &str) -> Result<Vec<String>, u16> {
        Ok(vec![model.to_owned()])
    }

    #[test]
    fn a_json_bodys_model_is_read_as_any_parser_would() {
        assert_eq!(json(r#"{"messages":[{"model":"inner"}],"model":"a"}"#), named("a"));
        assert_eq!(json(r#"{"mod\u0065l":"gpt\u002d4"}"#), named("gpt-4"));
        assert_eq!(json("{}"), Ok(vec![]));
        assert_eq!(json(r#" {"model":null} "#), Ok(vec![]));
        for ambiguous in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","mod\u0065l":"b"}"#,
            r#"{"model":null,"model":"b"}"#,
            r#"{"model":"a","MODEL":"b"}"#,
            r#"{"model":7}"#,
            r#"{"model":"a","x":NaN}"#,
            r#"{"model":"a"} {"model":"b"}"#,
            r#"[{"model":"a"}]"#,
            "model=a",
            "\u{feff}{\"model\":\"a\"}",
            "{\0\"\0m\0",
        ] {
            assert_eq!(json(ambiguous), Err(400), "{ambiguous}");
        }
    }

    #[test]
    fn a_forms_model_is_read() {
        let kind = "multipart/form-data; boundary=\"XX\"";
        let form = |part: &str| {
            let body = format!(
                "--XX\r\n{part}\r\n--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\n\r\nRIFF\r\n--XX--\r\n"
            );
            in_multipart(kind, body.as_bytes()).map_err(|answer| answer.status())
        };
        assert_eq!(form("Content-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1"), named("whisper-1"));
        assert_eq!(
            form("Content-Type: x\r\ncontent-disposition: form-data; name=\"language\"\r\n\r\nmodel"),
            Ok(vec![])
        );
        for odd in [
            "Content-Disposition: form-data; name=model\r\n\r\na",
            "Content-Disposition: form-data; name=\"mod%65l\"\r\n\r\na",
            "Content-Disposition: form-data; name*=UTF-8''model\r\n\r\na",
            "Content-Disposition: form-data; name=\"x\"; name=\"model\"\r\n\r\na",
            "Content-Disposition: form-data\r\n\r\na",
            "Content-Disposition: form-data; name=\"x\"\r\nX: y\nContent-Disposition: form-data; name=\"model\"\r\n\r\na",
            "Content-Disposition: form-data; name=\"model\"\r\n\r\na--XX",
            "no head at all",
        ] {
            assert_eq!(form(odd), Err(400), "{odd}");
        }
        let open = b"--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nunfinished";
        assert_eq!(in_multipart(kind, open).unwrap_err().status(), 400);
        for kind in
            ["multipart/form-data", "multipart/form-data; boundary=XX; boundary=YY", "multipart/form-data; boundary="]
        {
            assert_eq!(in_multipart(kind, b"--XX--").unwrap_err().status(), 400, "{kind}");
        }
        assert_eq!(in_form("a=1&model=Qwen%2FQwen3&mod%65l=b&models=c"), ["Qwen/Qwen3", "b"]);
    }

    #[test]
    fn models_stand_in_paths_too() {
        let post = |path: &str| in_path(&Method::POST, path);
        assert_eq!(post("/openai/deployments/gpt%2D4/chat/completions"), ["gpt-4"]);
        assert_eq!(post("/models/gemini-2.5-pro:generateContent"), ["gemini-2.5-pro"]);
        assert_eq!(post("/models/Qwen/Qwen3:predict"), ["Qwen/Qwen3"]);
        assert_eq!(post("/chat/completions"), [""; 0]);
        assert_eq!(in_path(&Method::GET, "/models/gpt-4"), [""; 0]);
        assert_eq!(in_path(&Method::GET, "/models"), [""; 0]);
    }
}

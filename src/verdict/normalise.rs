//! What an answer says, whatever it is wrapped in: the error's code, type, message and other fields.
//!
//! Providers disagree on everything: `error` or `errors`, object, string or list, fields at the root, problem+json, bare
//! JSON strings, event streams, web pages. Rules see none of that. Invariants: bounded work for any input, no panic; of
//! an answer that can't be read nothing is guessed.

use http::HeaderMap;
use once_cell::sync::Lazy;
use regex::Regex;
use serde_json::Value;

use super::decode;
use super::event;
use super::fields::{self, Fields};

/// An answer as it came.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Its status; `None` = this is the error that was found inside a 200.
    pub status: Option<u16>,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, or the beginning of it.
    pub body: &'a [u8],
    /// The model asked for; empty if none was.
    pub model: &'a str,
}

/// Whether an answer is what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Found {
    /// A failure.
    #[default]
    Error,
    /// A 200 without any content.
    Nothing,
    /// What was asked for.
    Success,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Normalised {
    /// Success or not.
    pub found: Found,
    /// The status, or the one that an error inside a 2xx names; `None` if it names none.
    pub status: Option<u16>,
    /// Code, type, message and the rest.
    pub fields: Fields,
    /// The body is a web page.
    pub is_html: bool,
    /// Content came before the error: it reached the client already.
    pub is_late: bool,
}

impl Normalised {
    /// Reads an answer.
    pub fn of(answer: &Answer<'_>) -> Self {
        let text = decode::text(answer.headers, answer.body);
        let text = text.trim();
        let is_success = answer.status.is_none_or(|status| (200..300).contains(&status));
        let mut found = if event::is_stream(text) {
            Self::of_stream(text)
        } else if is_web_page(answer.headers, text) {
            Self { is_html: true, ..Self::default() }
        } else {
            Self::of_text(text)
        };
        if !is_success {
            found = Self { found: Found::Error, status: answer.status, ..found };
        } else if answer.status.is_none() {
            found.found = Found::Error;
        } else if found.is_html {
            found.found = Found::Success;
        }
        found
    }

    fn of_stream(text: &str) -> Self {
        let mut has_content = false;
        for event in event::events(text) {
            if event.is_error() {
                let read = Self::of_text(event.data.trim());
                return Self { found: Found::Error, is_late: has_content, ..read };
            }
            has_content |= event.has_content();
        }
        let found = if has_content { Found::Success } else { Found::Nothing };
        Self { found, ..Self::default() }
    }

    /// Of JSON, or of plain text, which is a message then.
    fn of_text(text: &str) -> Self {
        // Whatever follows the first value (`[DONE]`, a second copy) is of no interest.
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        match values.next() {
            Some(Ok(root)) if !root.is_number() => Self::of_json(&root),
            _ if text.starts_with(['{', '[']) => Self::of_damaged(text),
            _ => Self { found: Found::Success, fields: Fields::of_message(text), ..Self::default() },
        }
    }

    fn of_json(root: &Value) -> Self {
        let found = if fields::is_error(root) {
            Found::Error
        } else if event::is_empty_completion(root) {
            Found::Nothing
        } else {
            Found::Success
        };
        let (fields, status) = Fields::of(root);
        Self { found, status, fields, ..Self::default() }
    }

    /// Of JSON that is cut off, too deep or broken: the fields that can be made out.
    fn of_damaged(text: &str) -> Self {
        static ERROR: Lazy<Option<Regex>> = Lazy::new(|| Regex::new(r#""errors?"\s*:\s*[{\["]"#).ok());
        let is_error = ERROR.as_ref().is_some_and(|error| error.is_match(text));
        let found = if is_error { Found::Error } else { Found::Success };
        Self { found, fields: Fields::salvaged(text), ..Self::default() }
    }
}

fn is_web_page(headers: &HeaderMap, text: &str) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let is_said = kind.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"));
    text.starts_with('<') || (is_said && !text.starts_with(['{', '[', '"']))
}

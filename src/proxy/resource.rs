//! Things that one key made, and the requests that are about them.
//!
//! Files, batches, stored responses, tasks and the like belong to the account that made them. So the ids in such answers
//! are noted as they pass, and a request that names one, in its path, its query or its body, is bound to the key that
//! made it.

use std::sync::Arc;

use http::Method;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode_str;
use pingora::http::{RequestHeader, ResponseHeader};

use super::answer::Answer;
use super::context::{Body, Bound, Context};
use super::edge::EdgePool;
use super::lexer::{Found, Lexer, Text};
use crate::keypool::{self, Pin, Span};
use crate::upstream::Payload;

/// Shorter ids may mean anything (bytes).
const SHORTEST: usize = 8;
/// Ids noted of one answer.
const MOST: usize = 1000;

/// Where things are made, and how long they are of use.
const ROUTES: [(&str, Span); 18] = [
    ("files", Span::Lasting),
    ("uploads", Span::Lasting),
    ("batches", Span::Lasting),
    ("messages/batches", Span::Lasting),
    ("vector_stores", Span::Lasting),
    ("assistants", Span::Lasting),
    ("threads", Span::Lasting),
    ("fine_tuning", Span::Lasting),
    ("conversations", Span::Lasting),
    ("containers", Span::Lasting),
    ("evals", Span::Lasting),
    ("responses", Span::Passing),
    ("tasks", Span::Passing),
    ("videos", Span::Passing),
    ("video", Span::Passing),
    ("async", Span::Passing),
    ("async-result", Span::Passing),
    ("contents/generations/tasks", Span::Passing),
];
/// With these, anything is made later, and fetched as a task.
const DEFERRING: [&str; 2] = ["x-modelscope-async-mode", "x-dashscope-async"];
/// What an answer calls the ids of things.
const NOTED: [&str; 17] = [
    "id",
    "task_id",
    "requestId",
    "file_id",
    "output_file_id",
    "error_file_id",
    "result_files",
    "batch_id",
    "upload_id",
    "vector_store_id",
    "assistant_id",
    "thread_id",
    "run_id",
    "conversation_id",
    "container_id",
    "video_id",
    "job_id",
];

/// Notes the ids in an answer as it passes.
pub(super) struct Notes {
    lexer: Lexer,
    span: Span,
    /// How many more.
    left: usize,
}

/// How long what a request makes is of use, if it makes or shows things.
fn span(request: &RequestHeader, path: &str) -> Option<Span> {
    if request.method == Method::DELETE {
        return None;
    }
    if DEFERRING.iter().any(|name| request.headers.contains_key(*name)) {
        return Some(Span::Passing);
    }
    let path = path.strip_prefix("/openai").unwrap_or(path);
    let path = path.strip_prefix("/v1").unwrap_or(path).strip_prefix('/')?;
    let is_below = |route: &str| path.strip_prefix(route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ROUTES.iter().find(|(route, _)| is_below(route)).map(|(_, span)| *span)
}

/// Begins to note the ids in an answer, if it may have any.
pub(super) fn notes(request: &RequestHeader, path: &str, head: &ResponseHeader) -> Option<Box<Notes>> {
    let span = span(request, path)?;
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
    let is_text = kind.starts_with(b"application/json") || kind.starts_with(b"text/event-stream");
    // Of a response only its own id is of use: the first.
    let left = if path.contains("/responses") { 1 } else { MOST };
    (head.status.is_success() && is_text).then(|| Box::new(Notes { lexer: Lexer::new(u32::MAX), span, left }))
}

/// Reads the next piece of an answer.
pub(super) fn note(context: &mut Context, piece: &[u8]) {
    let Some(mut notes) = context.notes.take() else { return };
    if let (Some(pool), Some(key), Some(target)) = (context.pool(), context.key(), &context.attempts.target) {
        let Notes { lexer, span, left } = &mut *notes;
        lexer.feed(piece, |found| {
            let Found::Value(name, text, _) = found else { return };
            if *left > 0 && name.get().is_some_and(|name| NOTED.contains(&&*name)) && is_id(text) {
                *left -= 1;
                let id = text.get().unwrap_or_default();
                pool.entry.pins.add(&id, *span, key.id, &target.name, keypool::now());
            }
        });
    }
    context.notes = Some(notes).filter(|notes| notes.left > 0);
}

fn is_id(text: &Text) -> bool {
    text.get().is_some_and(|id| id.len() >= SHORTEST && id.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// What a request is bound to, by the things it names.
///
/// # Errors
/// If the key that made them is gone, or several keys did.
pub(super) fn bound(request: &RequestHeader, path: &str, body: &Body, pool: &EdgePool) -> Result<Bound, Answer> {
    let pins = &pool.entry.pins;
    if pins.is_empty() {
        return Ok(Bound::default());
    }
    let now = keypool::now();
    let mut made: Option<Pin> = None;
    let mut is_one = true;
    let mut look_up = |id: &str| {
        let found = if id.len() < SHORTEST { None } else { pins.find(id, now) };
        is_one &= made.as_ref().zip(found.as_ref()).is_none_or(|(known, found)| known.key == found.key);
        made = made.take().or(found);
    };
    let query = request.uri.query().unwrap_or_default().split('&').filter_map(|pair| Some(pair.split_once('=')?.1));
    for text in path.split('/').skip(2).chain(query) {
        look_up(&percent_decode_str(text).decode_utf8_lossy());
    }
    if let Body::Buffered(body) = body {
        references(body, &mut look_up);
    }
    if !is_one {
        return Err(Answer::MakersDiffer);
    }
    let Some(pin) = made else { return Ok(Bound::default()) };
    let key = pool.entry.place(pin.key).ok_or(Answer::MakerGone)?;
    Ok(Bound { key: Some(key), target: pool.targets.named(&pin.target).map(Arc::clone), is_by_resource: true })
}

/// The strings of a JSON body that may be ids of things.
fn references(body: &Payload, look_up: &mut impl FnMut(&str)) {
    let is_object = body.pieces().first().is_some_and(|piece| piece.trim_ascii_start().starts_with(b"{"));
    if !is_object {
        return;
    }
    let mut lexer = Lexer::new(u32::MAX);
    for piece in body.pieces() {
        lexer.feed(piece, |found| {
            let Found::Value(name, text, _) = found else { return };
            if name.get().is_some_and(|name| is_reference(&name))
                && let Some(id) = text.get()
            {
                look_up(&id);
            }
        });
    }
}

fn is_reference(name: &str) -> bool {
    let is_named = matches!(name, "id" | "requestId" | "conversation" | "file");
    // Every tool call has one.
    let is_call = matches!(name, "call_id" | "tool_call_id");
    is_named || (!is_call && ["_id", "_ids", "_file", "_files"].iter().any(|end| name.ends_with(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(method: &str, path: &str, header: Option<&'static str>) -> Option<Span> {
        let mut request = RequestHeader::build(method, path.as_bytes(), None).unwrap();
        if let Some(name) = header {
            request.insert_header(name, "true").unwrap();
        }
        span(&request, path)
    }

    #[test]
    fn only_what_makes_or_shows_things_is_read() {
        for path in ["/files", "/files/file-1", "/batches", "/openai/files", "/openai/v1/batches", "/messages/batches"]
        {
            assert_eq!(made("POST", path, None), Some(Span::Lasting), "{path}");
        }
        for path in ["/responses", "/tasks/t", "/videos", "/contents/generations/tasks"] {
            assert_eq!(made("GET", path, None), Some(Span::Passing), "{path}");
        }
        for path in ["/chat/completions", "/filesystem", "/messages", "/models", "/embeddings", "/", ""] {
            assert_eq!(made("POST", path, None), None, "{path}");
        }
        assert_eq!(made("DELETE", "/files/file-1", None), None);
        assert_eq!(made("POST", "/images/generations", None), None);
        assert_eq!(made("POST", "/images/generations", Some("x-modelscope-async-mode")), Some(Span::Passing));
    }

    #[test]
    fn references_are_found_wherever_they_stand() {
        let body = r#"{"model":"m","previous_response_id":"resp_1","input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"},
            {"type":"input_text","text":"\"file_id\":\"no\""}]},{"type":"function_call_output","call_id":"call_1"}],
            "tools":[{"type":"file_search","vector_store_ids":["vs_1","vs_2"]}],"training_file":"file-2","conversation":{"id":"conv_1"}}"#;
        let mut found = Vec::new();
        references(&bytes::Bytes::from(body).into(), &mut |id: &str| found.push(id.to_owned()));
        assert_eq!(found, ["resp_1", "file-1", "vs_1", "vs_2", "file-2", "conv_1"]);
    }
}

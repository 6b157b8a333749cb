//! The first-event gate: whether a 200 event stream has really begun.
//!
//! Providers answer 200 and only then find the key limited, the model overloaded or the prompt refused. As long as no
//! event with content, reasoning, a tool call or a finish reason came, nothing was spent and another key can be asked
//! without the client noticing. Comments, pings, role-only deltas and opening events therefore don't count (contract §4).

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use once_cell::sync::Lazy;
use serde_json::Value;

use crate::verdict::{self, has_content};

/// More than this is passed on unread: an event so long is content.
const MAX_HELD: usize = 64 * 1024;

/// What the stream has shown so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing yet that counts.
    Hold,
    /// Content: pass everything on.
    Open,
    /// An error before any content: its data.
    Error(Bytes),
}

/// Reads the head of an event stream, in pieces cut anywhere.
#[derive(Debug, Default)]
pub struct FirstEvent {
    pending: BytesMut,
    seen: usize,
}

impl FirstEvent {
    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) -> Gate {
        self.seen += piece.len();
        self.pending.extend_from_slice(piece);
        while let Some((end, next)) = event_end(&self.pending) {
            let event = self.pending.split_to(next);
            match judge(event.get(..end).unwrap_or_default()) {
                Gate::Hold => {}
                decided => return decided,
            }
        }
        if self.seen > MAX_HELD { Gate::Open } else { Gate::Hold }
    }

    /// What the stream's end says: an unterminated last event still counts.
    pub fn finish(&mut self) -> Gate {
        judge(&std::mem::take(&mut self.pending))
    }
}

/// End of the first complete event and start of the next (events end at an empty line; CRLF, LF and CR all occur).
fn event_end(buffer: &[u8]) -> Option<(usize, usize)> {
    let lf = memmem::find(buffer, b"\n\n").map(|i| (i, i + 2));
    let crlf = memmem::find(buffer, b"\r\n\r\n").map(|i| (i, i + 4));
    let cr = memmem::find(buffer, b"\r\r").map(|i| (i, i + 2));
    [lf, crlf, cr].into_iter().flatten().min()
}

fn judge(event: &[u8]) -> Gate {
    let mut name: &[u8] = b"";
    let mut data = BytesMut::new();
    for line in event.split(|&b| b == b'\n' || b == b'\r') {
        if let Some(value) = field(line, b"event") {
            name = value;
        } else if let Some(value) = field(line, b"data").or_else(|| field(line, b"error")) {
            if line.starts_with(b"error") {
                name = b"error";
            }
            data.extend_from_slice(value);
        } else if line.first() == Some(&b'{') {
            // A bare JSON error without any SSE framing.
            data.extend_from_slice(line);
        }
    }
    match name {
        b"error" => Gate::Error(data.freeze()),
        b"ping" => Gate::Hold,
        _ => judge_data(data.freeze()),
    }
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

fn judge_data(data: Bytes) -> Gate {
    if data.is_empty() || data.as_ref() == b"[DONE]" {
        return Gate::Hold;
    }
    let Some(Value::Object(object)) = verdict::json(&data) else { return Gate::Open };
    if object.get("error").is_some_and(|error| !error.is_null()) {
        return Gate::Error(data);
    }
    match object.get("type").and_then(Value::as_str) {
        Some("error" | "response.failed") => return Gate::Error(data),
        Some(kind) if OPENING.contains(&kind) => return Gate::Hold,
        Some(_) => return Gate::Open,
        None => {}
    }
    match object.get("choices").and_then(Value::as_array) {
        Some(choices) if choices.iter().any(|choice| has_content(choice) || is_finished(choice)) => Gate::Open,
        Some(_) => Gate::Hold,
        None => Gate::Open,
    }
}

static ERROR: Lazy<memmem::Finder<'static>> = Lazy::new(|| memmem::Finder::new(b"\"error\""));

/// Whether a whole JSON body that came with a 200 is an error. A stored object (a batch, a response) may hold the error it
/// ended with and is none itself.
pub fn is_error_body(body: &[u8]) -> bool {
    // Parsing is for the suspicious: nearly every answer lacks the word.
    ERROR.find(body).is_some()
        && verdict::json(body).is_some_and(|value| {
            value.get("error").is_some_and(|error| !error.is_null()) && value.get("object").is_none()
        })
}

/// Events that open a stream and carry nothing yet (Anthropic's Messages, OpenAI's Responses).
const OPENING: &[&str] = &["ping", "message_start", "response.created", "response.in_progress", "response.queued"];

fn is_finished(choice: &Value) -> bool {
    choice.get("finish_reason").and_then(Value::as_str).is_some_and(|reason| !reason.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str =
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
    const CONTENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";

    fn gate(text: &str) -> Gate {
        let mut whole = FirstEvent::default();
        let expected = whole.feed(text.as_bytes());
        // However the stream is cut, the decision is the same.
        let mut bytewise = FirstEvent::default();
        let found = text.as_bytes().chunks(1).map(|b| bytewise.feed(b)).find(|g| *g != Gate::Hold);
        assert_eq!(found.unwrap_or(Gate::Hold), expected, "cut into bytes: {text:?}");
        expected
    }

    #[test]
    fn what_carries_nothing_is_held() {
        for text in [
            ": keep-alive\n\n",
            ROLE,
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n",
            "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n",
            "data: {\"type\":\"response.created\"}\n\n",
            "data: [DONE]\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n",
        ] {
            assert_eq!(gate(text), Gate::Hold, "{text:?}");
        }
    }

    #[test]
    fn content_reasoning_tools_and_finish_open() {
        for text in [
            CONTENT,
            "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\r\n\r\n",
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[{\"text\":\"hi\"}]}\n\n",
            "data: {\"type\":\"content_block_delta\"}\n\n",
            "data: not json\n\n",
        ] {
            assert_eq!(gate(text), Gate::Open, "{text:?}");
            assert_eq!(gate(&format!("{ROLE}: ping\n\n{text}")), Gate::Open, "{text:?}");
        }
    }

    #[test]
    fn an_error_in_another_charset_is_one() {
        let (text, _, _) = encoding_rs::GBK.encode("data: {\"error\":{\"message\":\"余额不足，请充值\"}}\n\n");
        assert!(matches!(FirstEvent::default().feed(&text), Gate::Error(_)));
        let (body, _, _) = encoding_rs::GBK.encode("{\"error\":{\"message\":\"余额不足，请充值\"}}");
        assert!(is_error_body(&body));
    }

    #[test]
    fn errors_are_told_apart() {
        for text in [
            "data: {\"error\":{\"message\":\"limited\"}}\n\n",
            "event: error\ndata: {\"error\":{\"message\":\"limited\"}}\n\n",
            "error: {\"error\":{\"message\":\"limited\"}}\n\n",
            "data: {\"type\":\"error\",\"error\":{\"message\":\"limited\"}}\n\n",
        ] {
            assert!(matches!(gate(&format!("{ROLE}{text}")), Gate::Error(data) if data.starts_with(b"{")), "{text:?}");
        }
        assert_eq!(gate(&format!("{CONTENT}data: {{\"error\":{{}}}}\n\n")), Gate::Open);
    }

    #[test]
    fn an_unterminated_last_event_counts() {
        let mut events = FirstEvent::default();
        assert_eq!(events.feed(CONTENT.trim_end().as_bytes()), Gate::Hold);
        assert_eq!(events.finish(), Gate::Open);
        let mut bare = FirstEvent::default();
        assert_eq!(bare.feed(b"{\"error\":{\"code\":429}}"), Gate::Hold);
        assert!(matches!(bare.finish(), Gate::Error(_)));
    }

    #[test]
    fn a_body_is_an_error_only_if_it_is_nothing_else() {
        for text in [
            r#"{"error":{"message":"limited"}}"#,
            r#"{"id":"gen-1","error":{"code":502},"choices":[]}"#,
            r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
        ] {
            assert!(is_error_body(text.as_bytes()), "{text}");
        }
        for text in [
            r#"{"object":"chat.completion","choices":[{"message":{"content":"\"error\""}}]}"#,
            r#"{"object":"response","status":"failed","error":{"code":"server_error"}}"#,
            r#"{"data":[],"error":null}"#,
            r#"{"error":"#,
            r#"[{"error":{}}]"#,
        ] {
            assert!(!is_error_body(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_flood_without_events_is_passed_on() {
        let mut events = FirstEvent::default();
        assert_eq!(events.feed(&vec![b'x'; MAX_HELD + 1]), Gate::Open);
    }
}

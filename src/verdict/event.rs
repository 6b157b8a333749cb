//! Event streams as recorded answers hold them: whether content came, and which event is an error.

use serde_json::Value;

/// One event.
pub(super) struct Event {
    name: String,
    pub(super) data: String,
}

/// Whether the text is an event stream.
pub(super) fn is_stream(text: &str) -> bool {
    ["data:", "event:", "error:", "id:", "retry:", ":"].iter().any(|field| text.starts_with(field))
}

/// The events of a stream; an unterminated last one counts.
pub(super) fn events(text: &str) -> impl Iterator<Item = Event> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let events: Vec<Event> = text.split("\n\n").map(Event::of).filter(|event| !event.data.is_empty()).collect();
    events.into_iter()
}

impl Event {
    fn of(block: &str) -> Self {
        let mut event = Self { name: String::new(), data: String::new() };
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => event.name = value.to_owned(),
                "data" => event.data.push_str(value),
                "error" => {
                    event.name = "error".into();
                    event.data.push_str(value);
                }
                // A bare JSON error without any framing.
                _ if line.starts_with('{') => event.data.push_str(line),
                _ => {}
            }
        }
        event
    }

    pub(super) fn is_error(&self) -> bool {
        self.name == "error" || self.json().is_some_and(|root| super::fields::is_error(&root))
    }

    pub(super) fn has_content(&self) -> bool {
        let Some(root) = self.json() else { return self.data != "[DONE]" };
        match (root.get("choices").and_then(Value::as_array), root.get("type").and_then(Value::as_str)) {
            (Some(choices), _) => choices.iter().any(has_content),
            (None, Some(kind)) => kind.ends_with("delta") || kind.ends_with(".done"),
            (None, None) => true,
        }
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.data).ok()
    }
}

/// A chat's answer that holds neither content nor a tool call, although nothing cut it short.
pub(super) fn is_empty_completion(root: &Value) -> bool {
    let Some(choices) = root.get("choices").and_then(Value::as_array) else { return false };
    let is_fault = |choice: &Value| choice["finish_reason"] == "insufficient_system_resource";
    let is_cut = |choice: &Value| choice["finish_reason"] == "length";
    choices.iter().any(is_fault) || !choices.iter().any(|choice| is_cut(choice) || has_content(choice))
}

/// Whether a choice of a chat's answer or event shows content, reasoning or a tool call.
pub(crate) fn has_content(choice: &Value) -> bool {
    let holds_something = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    let in_part = |part: &str| {
        choice
            .get(part)
            .and_then(Value::as_object)
            .is_some_and(|part| part.iter().any(|(name, value)| name != "role" && holds_something(value)))
    };
    in_part("delta") || in_part("message") || choice.get("text").is_some_and(holds_something)
}

//! The fields of an error object, wherever the provider put them.

use serde_json::{Map, Value};

use super::salvage;

/// A message is read so far, in bytes: what comes later is more often the prompt than the reason.
const MESSAGE: usize = 2000;
/// A value longer than this, or with blanks, is text and no detail.
const DETAIL: usize = 128;
const DETAILS: usize = 32;
/// Objects inside objects that are looked into.
const DEPTH: usize = 6;

const MESSAGES: [&str; 10] = [
    "message",
    "msg",
    "error_msg",
    "error_message",
    "errorMessage",
    "detail",
    "title",
    "description",
    "error",
    "reason",
];
const TYPES: [&str; 3] = ["type", "error_type", "status"];
const CODES: [&str; 4] = ["code", "error_code", "err_code", "errorCode"];
const STATUSES: [&str; 4] = ["code", "status", "status_code", "statusCode"];
/// Fields that repeat what the user wrote, or what another provider did.
const ECHOES: [&str; 6] = ["flagged_input", "raw", "input", "prompt", "messages", "param"];
/// Members of answers that are what was asked for.
const RESULTS: [&str; 8] = ["choices", "data", "object", "content", "output", "candidates", "embeddings", "results"];

/// What an error says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields {
    /// The error's code, also if it is a number.
    pub code: String,
    /// Its type, or Google's `status`.
    pub kind: String,
    /// Its message, up to 2,000 bytes.
    pub message: String,
    /// Its other fields, as `name=value`.
    pub details: Vec<String>,
    /// Fields that tell when to come back: their names without punctuation, and values.
    pub(super) waits: Vec<(String, String)>,
}

/// Whether the JSON of a 200 is an error.
pub(super) fn is_error(root: &Value) -> bool {
    let root = match root {
        Value::Array(items) => match items.first() {
            Some(first @ Value::Object(_)) => first,
            _ => return false,
        },
        root => root,
    };
    let Value::Object(object) = root else { return false };
    let is_there = |name: &str| object.get(name).is_some_and(says_something);
    if object.get("type").is_some_and(|kind| kind == "error" || kind == "response.failed") {
        return true;
    }
    if is_there("error") || is_there("errors") {
        // A stored object (a batch, a response) may hold the error it ended with and is none itself.
        return object.get("object").and_then(Value::as_str).is_none_or(|kind| kind.starts_with("chat.completion"));
    }
    let says_no = |name: &str| object.get(name) == Some(&Value::Bool(false));
    let is_result = RESULTS.iter().any(|name| is_there(name));
    !is_result && (says_no("success") || says_no("status") || stated_status(object).is_some())
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

impl Fields {
    /// Of plain text.
    pub(super) fn of_message(text: &str) -> Self {
        Self { message: cut(text), ..Self::default() }
    }

    /// Of JSON, with the status it names.
    pub(super) fn of(root: &Value) -> (Self, Option<u16>) {
        let mut fields = Self::default();
        let status = fields.read(root, 0);
        (fields, status)
    }

    fn read(&mut self, value: &Value, depth: usize) -> Option<u16> {
        match value {
            Value::String(text) => {
                self.message = cut(text);
                None
            }
            Value::Array(items) if depth < DEPTH => self.read(items.first()?, depth + 1),
            Value::Object(root) => self.read_object(root, depth),
            _ => None,
        }
    }

    fn read_object(&mut self, root: &Map<String, Value>, depth: usize) -> Option<u16> {
        let inner = root.get("response").and_then(Value::as_object).filter(|inner| inner.contains_key("error"));
        let outer = inner.unwrap_or(root);
        let error = ["error", "errors"].into_iter().find_map(|name| outer.get(name)).filter(|e| says_something(e));
        let error = match error {
            Some(Value::Array(items)) => items.first(),
            other => other,
        };
        let object = match error {
            Some(Value::Object(object)) => object,
            Some(Value::String(text)) => {
                self.message = cut(text);
                root
            }
            _ => root,
        };
        self.code = first(object, &CODES).or_else(|| first(root, &CODES)).unwrap_or_default();
        self.kind = first(object, &TYPES).unwrap_or_default();
        if self.message.is_empty() {
            self.message = message(object).map(|text| cut(&text)).unwrap_or_default();
        }
        self.collect(object, depth);
        if !std::ptr::eq(object, root) {
            self.collect_waits(root);
        }
        let status = stated_status(object).or_else(|| stated_status(root));
        self.unwrap_message(depth).or(status)
    }

    /// Gateways in front of gateways put the whole inner error into their message.
    fn unwrap_message(&mut self, depth: usize) -> Option<u16> {
        if depth >= 2 || !self.message.starts_with(['{', '[']) {
            return None;
        }
        let inner: Value = serde_json::from_str(&self.message).ok()?;
        let mut fields = Self::default();
        let status = fields.read(&inner, depth + 1);
        if fields.message.is_empty() {
            return None;
        }
        self.message = fields.message;
        self.code = if fields.code.is_empty() { std::mem::take(&mut self.code) } else { fields.code };
        self.kind = if fields.kind.is_empty() { std::mem::take(&mut self.kind) } else { fields.kind };
        self.details.extend(fields.details);
        self.waits.extend(fields.waits);
        status
    }

    fn collect(&mut self, object: &Map<String, Value>, depth: usize) {
        if depth > DEPTH {
            return;
        }
        self.collect_waits(object);
        for (name, value) in object.iter().filter(|(name, _)| !ECHOES.contains(&name.as_str())) {
            let inner: &[Value] = match value {
                Value::Array(items) => items,
                other => std::slice::from_ref(other),
            };
            for value in inner.iter().take(DETAILS) {
                match value {
                    Value::Object(members) => self.collect(members, depth + 1),
                    other => self.add_detail(name, other),
                }
            }
        }
    }

    fn add_detail(&mut self, name: &str, value: &Value) {
        let Some(text) = word(value) else { return };
        let is_word = text.len() <= DETAIL && !text.is_empty() && !text.contains(char::is_whitespace);
        if is_word && self.details.len() < DETAILS && name.len() <= DETAIL {
            self.details.push(format!("{name}={text}"));
        }
    }

    fn collect_waits(&mut self, object: &Map<String, Value>) {
        const NAMES: [&str; 8] = [
            "retrydelay",
            "retryafter",
            "retryafterseconds",
            "retryafterms",
            "xratelimitreset",
            "resetat",
            "resetsat",
            "resettime",
        ];
        for (name, value) in object {
            let name: String = name.chars().filter(char::is_ascii_alphanumeric).take(DETAIL).collect();
            let name = name.to_ascii_lowercase();
            if let Some(text) = word(value).filter(|text| NAMES.contains(&name.as_str()) && text.len() <= DETAIL)
                && self.waits.len() < DETAILS
            {
                self.waits.push((name, text));
            }
        }
    }

    /// Of JSON that can't be parsed: the first of each field that is whole enough to be read.
    pub(super) fn salvaged(text: &str) -> Self {
        let mut object = Map::new();
        for (name, value) in salvage::members(text) {
            if object.len() >= DETAILS {
                break;
            }
            if !object.contains_key(name) {
                object.insert(name.to_owned(), value);
            }
        }
        Self::of(&Value::Object(object)).0
    }
}

fn first(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    let read = |name: &&str| object.get(*name).and_then(word).filter(|text| !text.is_empty() && text.len() <= DETAIL);
    names.iter().find_map(read)
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The message, which some providers wrap once more.
fn message(object: &Map<String, Value>) -> Option<String> {
    fn text(value: &Value, depth: usize) -> Option<String> {
        match value {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Array(items) if depth < 3 => text(items.first()?, depth + 1),
            Value::Object(members) if depth < 3 => {
                MESSAGES.iter().find_map(|name| text(members.get(*name)?, depth + 1))
            }
            _ => None,
        }
    }
    MESSAGES.iter().find_map(|name| text(object.get(*name)?, 0))
}

fn stated_status(object: &Map<String, Value>) -> Option<u16> {
    let read = |name: &&str| match object.get(*name)? {
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    STATUSES.iter().filter_map(read).find(|status| (400..600).contains(status))
}

fn cut(text: &str) -> String {
    let text = text.trim();
    let end = (0..=MESSAGE.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

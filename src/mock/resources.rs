//! Things a key makes and no other key may ask for: files, batches, stored responses, tasks.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::answers::{self, Answer, unix_time};
use super::http::Head;

/// A request's header that makes an image a task.
const DEFERRED: &str = "x-modelscope-async-mode";
/// Members of a request's body that name a thing.
const REFERENCES: [&str; 2] = ["input_file_id", "previous_response_id"];

/// Everything that was made.
#[derive(Debug, Default)]
pub(super) struct Resources(Mutex<HashMap<String, Thing>>);

#[derive(Debug)]
struct Thing {
    key: String,
    shown: Value,
}

impl Resources {
    /// The answer to a request that makes a thing or asks for one; `None` for all others. `number` is the request's.
    pub(super) fn answer(&self, head: &Head, body: &[u8], model: &str, number: u64) -> Option<Answer> {
        let path = head.path().trim_end_matches('/');
        let mut segments = path.rsplit('/');
        let (last, before) = (segments.next()?, segments.next().unwrap_or_default());
        let is_deferred = || Head::headers(&head.raw).iter().any(|(name, _)| name.eq_ignore_ascii_case(DEFERRED));
        match (head.method.as_str(), before, last) {
            ("POST", _, "files" | "batches" | "responses") => Some(self.make(head, last, body, model, number)),
            ("POST", "images", "generations") if is_deferred() => Some(self.make(head, "tasks", body, model, number)),
            ("GET", _, "files") => self.list(head),
            ("GET" | "DELETE", "files" | "batches" | "responses" | "tasks", id) => Some(self.show(head, id)),
            ("GET", id, "content") => Some(self.show(head, id)),
            _ => None,
        }
    }

    fn make(&self, head: &Head, kind: &str, body: &[u8], model: &str, number: u64) -> Answer {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let named = REFERENCES.iter().filter_map(|name| asked[name].as_str());
        if let Some(foreign) = named.into_iter().find(|id| self.thing(head, id).is_none()) {
            return no_such(foreign);
        }
        let (now, output) = (unix_time(), format!("file-{number:08}-output"));
        let (id, shown) = match kind {
            "files" => {
                let id = format!("file-{number:08}");
                let shown = json!({"id": id, "object": "file", "bytes": body.len(), "created_at": now,
                    "filename": "upload.jsonl", "purpose": "batch", "status": "processed"});
                (id, shown)
            }
            "batches" => {
                let id = format!("batch_{number:08}");
                let shown = json!({"id": id, "object": "batch", "endpoint": "/v1/chat/completions",
                    "completion_window": "24h", "created_at": now, "status": "completed",
                    "input_file_id": asked["input_file_id"], "output_file_id": output});
                self.keep(head, &output, json!({"id": output, "object": "file"}));
                (id, shown)
            }
            "tasks" => {
                let id = format!("task-{number:08}");
                let shown = json!({"task_id": id, "task_status": "SUCCEED", "output_images": []});
                (id, shown)
            }
            _ => (format!("resp_{number:08}"), response(number, model, now)),
        };
        self.keep(head, &id, shown.clone());
        Answer::json(200, shown.to_string())
    }

    /// The files of a key that has any.
    fn list(&self, head: &Head) -> Option<Answer> {
        let key = head.key.as_deref().unwrap_or_default();
        let things = self.0.lock();
        let own = things.values().filter(|thing| thing.key == key && thing.shown["object"] == "file");
        let data: Vec<_> = own.map(|thing| thing.shown.clone()).collect();
        let list = json!({"object": "list", "data": data, "has_more": false});
        (!data.is_empty()).then(|| Answer::json(200, list.to_string()))
    }

    fn show(&self, head: &Head, id: &str) -> Answer {
        self.thing(head, id).map_or_else(|| no_such(id), |shown| Answer::json(200, shown.to_string()))
    }

    fn keep(&self, head: &Head, id: &str, shown: Value) {
        let key = head.key.clone().unwrap_or_default();
        self.0.lock().insert(id.to_owned(), Thing { key, shown });
    }

    /// A thing of this key.
    fn thing(&self, head: &Head, id: &str) -> Option<Value> {
        let things = self.0.lock();
        let thing = things.get(id).filter(|thing| Some(thing.key.as_str()) == head.key.as_deref())?;
        Some(thing.shown.clone())
    }
}

fn no_such(id: &str) -> Answer {
    answers::error(404, &format!("No such object: {id}"), "invalid_request_error", None)
}

fn response(number: u64, model: &str, now: u64) -> Value {
    let text = json!({"type": "output_text", "text": "Hello!", "annotations": []});
    let message = json!({"id": format!("msg_{number:08}"), "type": "message", "role": "assistant",
        "status": "completed", "content": [text]});
    json!({"id": format!("resp_{number:08}"), "object": "response", "created_at": now, "status": "completed",
        "model": model, "output": [message], "parallel_tool_calls": true, "tools": [], "tool_choice": "auto",
        "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}})
}

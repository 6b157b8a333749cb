//! What was added and changed at run time, laid over what the files say.
//!
//! It is laid over the tree before anything is checked, so that a value means the same and is judged alike wherever it
//! was written. Nothing in it refers to variables or files: whoever may change settings may not read those thereby.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::model::KeySpec;
use super::problem::At;
use super::raw;
use super::secret::TokenDigest;
use super::tree::{Kind, Name, Node, Position, Style};

/// What was added and changed at run time.
#[derive(Debug, Clone, Default)]
pub struct Additions {
    /// Pools by name, each as it would be written below `pools:`. One that a file defines too is the file's.
    pub pools: Vec<(String, Json)>,
    /// Values that beat the files', each with its path, e.g. `pools.modelscope.retry.attempts`.
    pub settings: Vec<(String, Json)>,
    /// Client tokens.
    pub tokens: Vec<AddedToken>,
    /// Keys, each with its pool. One that a file has too is the file's.
    pub keys: Vec<(Arc<str>, Arc<KeySpec>)>,
}

/// A client token of which only the digest is known.
#[derive(Debug, Clone)]
pub struct AddedToken {
    /// Of the token's text.
    pub digest: TokenDigest,
    /// Everything else of it; its `token` counts for nothing.
    pub settings: raw::clients::Token,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A file.
    File,
    /// It was set at run time.
    Console,
}

/// Lays pools and settings over a file's tree.
pub(super) fn lay(additions: &Additions, root: &mut Node, at: &At<'_>) {
    let has = |root: &Node, name: &str| root.get("pools").is_some_and(|pools| pools.get(name).is_some());
    for (name, settings) in &additions.pools {
        if has(root, name) {
            at.warn(format!("pool {name} was also added at run time; what the file says of it holds"));
        } else {
            set(root, &format!("pools.{name}"), node(settings, Position::STORED));
        }
    }
    for (path, value) in &additions.settings {
        let pool = path.strip_prefix("pools.").map(|rest| rest.split('.').next().unwrap_or(rest));
        // A pool may be gone from the file; it may come back.
        if pool.is_none_or(|name| has(root, name)) {
            set(root, path, node(value, Position::STORED));
        }
    }
}

/// The origin of every field that is written somewhere.
pub(super) fn origins(root: &Node) -> HashMap<String, Origin> {
    let mut found = HashMap::new();
    collect(root, &mut String::new(), &mut found);
    found
}

fn collect(node: &Node, path: &mut String, found: &mut HashMap<String, Origin>) {
    let Kind::Map(entries) = &node.kind else { return };
    for (name, value) in entries {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(&name.text);
        let origin = if value.position == Position::STORED { Origin::Console } else { Origin::File };
        if !value.is_unset() {
            found.insert(path.clone(), origin);
        }
        collect(value, path, found);
        path.truncate(length);
    }
}

/// Sets the field at `path`, and makes what is missing on the way.
fn set(root: &mut Node, path: &str, value: Node) {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let mut entries = match std::mem::replace(&mut root.kind, Kind::Damaged) {
        Kind::Map(entries) => entries,
        _ => Vec::new(),
    };
    if !entries.iter().any(|(name, _)| name.text == head) {
        entries.push((Name { position: Position::STORED, text: head.to_owned() }, node(&Json::Null, Position::STORED)));
    }
    for (_, child) in entries.iter_mut().filter(|(name, _)| name.text == head) {
        match rest {
            Some(rest) => set(child, rest, value.clone()),
            None => *child = value.clone(),
        }
    }
    root.kind = Kind::Map(entries);
}

/// A JSON value as if it were written at `position`, but without references.
pub(super) fn node(value: &Json, position: Position) -> Node {
    let kind = match value {
        Json::Null => Kind::Scalar(String::new(), Style::Plain),
        Json::Bool(truth) => Kind::Scalar(truth.to_string(), Style::Plain),
        Json::Number(number) => Kind::Scalar(number.to_string(), Style::Plain),
        Json::String(text) => Kind::Scalar(text.clone(), Style::Quoted),
        Json::Array(items) => {
            Kind::List((0..).zip(items).map(|(slot, item)| Node { slot, ..node(item, position) }).collect())
        }
        Json::Object(fields) => {
            let name = |text: &String| Name { position, text: text.clone() };
            Kind::Map(fields.iter().map(|(text, value)| (name(text), node(value, position))).collect())
        }
    };
    Node { position, slot: 0, kind }
}

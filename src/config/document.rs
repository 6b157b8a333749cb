//! A YAML file from text to struct: parse, expand, check, fill.

use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::expand::{self, Environment};
use super::problem::{At, Report};
use super::shape::Shape;
use super::tree::{self, Node, Position};
use super::yaml::{self, Mapping, Value};

/// Reads a whole text file; `None` = complained about.
pub(crate) fn read_text(path: &Path, limit: u64, report: &Report) -> Option<String> {
    let complain = |message: String| report.error(Position::START, "file", message);
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() && meta.is_dir() => complain("is a directory; name the file in it".into()),
        Ok(meta) if meta.len() > limit => complain(format!("larger than {} MiB", limit >> 20)),
        Ok(_) => match std::fs::read(path) {
            Ok(bytes) => return text(bytes, report),
            Err(e) => complain(format!("cannot be read: {e}")),
        },
        Err(e) => complain(format!("cannot be read: {e}")),
    }
    None
}

/// Text without byte order mark; what is not UTF-8 is complained about.
fn text(bytes: Vec<u8>, report: &Report) -> Option<String> {
    match String::from_utf8(bytes) {
        Ok(text) => Some(match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        }),
        Err(e) => {
            let good = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
            let line = good.iter().filter(|b| **b == b'\n').count() + 1;
            let column = good.iter().rev().take_while(|b| **b != b'\n').count() + 1;
            report.error(Position { line, column }, "file", "not UTF-8; save the file as UTF-8");
            None
        }
    }
}

/// Parses a document, expands its variables and checks its shape. What is right of it is returned even if something is
/// wrong, so that validation can go on; `None` = nothing is.
pub(crate) fn read<T: DeserializeOwned + JsonSchema>(
    text: &str,
    report: &Report,
    env: &dyn Environment,
) -> (Node, Option<T>) {
    read_and(text, report, env, |_, _| {})
}

/// [`read`], with something done to the tree before it is checked.
pub(crate) fn read_and<T: DeserializeOwned + JsonSchema>(
    text: &str,
    report: &Report,
    env: &dyn Environment,
    edit: impl FnOnce(&mut Node, &At<'_>),
) -> (Node, Option<T>) {
    let document = tree::parse(text);
    let mut root = document.root;
    if let Some(fault) = &document.fault {
        report.break_off(fault.position, fault.message.clone());
    }
    let at = At::top(report, root.position);
    expand::expand(&mut root, &at, env);
    edit(&mut root, &at);
    let value =
        if root.is_unset() { Some(Value::Mapping(Mapping::new())) } else { Shape::of::<T>().check(&mut root, &at) };
    report.seal();
    if document.fault.is_some() {
        return (root, None);
    }
    let filled = value.and_then(|value| yaml::read(value).map_err(|e| at.error(e.to_string())).ok());
    (root, filled)
}

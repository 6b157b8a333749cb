//! Which format a text is written in.

use serde::de::IgnoredAny;

use super::fields::{Field, field};
use super::{Format, json};
use crate::config::tree::{Kind, Node};

/// Finds the format by the content. Never `Auto`; an empty text is YAML, whose keys are yet to come.
pub fn detect(text: &str) -> Format {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(first) = lines.next() else { return Format::Yaml };
    let next = lines.next();
    if first.starts_with(['[', '{']) && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return json::parse(text).map_or(Format::Json, |root| json_format(&root));
    }
    if is_damaged_json(text) {
        return Format::Json;
    }
    if is_toml(first, next) {
        return Format::ModelscopeBalancer;
    }
    if is_variable(first) {
        return Format::Env;
    }
    if is_csv_header(first) {
        return Format::Csv;
    }
    let is_list = first == "-" || first.starts_with("- ");
    if is_list || first.starts_with(['{', '[', '%']) || first.ends_with(':') || first.contains(": ") || first == "---" {
        return Format::Yaml;
    }
    Format::Text
}

/// A list that begins like JSON's.
fn is_damaged_json(text: &str) -> bool {
    let inside = text.trim_start().strip_prefix('[').map(str::trim_start);
    let is_object = |inside: &str| inside.strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('"'));
    inside.is_some_and(|inside| inside.starts_with('"') || is_object(inside))
}

/// JSON is also YAML: pools with their lists of keys are a `keys.yaml`, with all it may hold.
fn json_format(root: &Node) -> Format {
    let Kind::Map(fields) = &root.kind else { return Format::Json };
    let is_list = |node: &Node| matches!(node.kind, Kind::List(_));
    if fields.iter().any(|(name, value)| name.text == "api_keys" && is_list(value)) {
        Format::ModelscopeBalance
    } else if fields.iter().all(|(name, value)| field(&name.text) != Some(Field::Keys) && is_list(value)) {
        Format::Yaml
    } else {
        Format::Json
    }
}

/// `name = "value"` with a small name, or `[table]` with an assignment below it.
fn is_toml(first: &str, next: Option<&str>) -> bool {
    let table = first.strip_prefix('[').and_then(|rest| rest.split(']').next());
    if table.is_some_and(|name| !name.is_empty() && is_bare(name)) {
        return next.is_some_and(|line| line.contains('='));
    }
    let Some((name, value)) = first.split_once('=') else { return false };
    let value = value.trim_start();
    let is_value =
        value.starts_with(['"', '\'', '[', '{', '+', '-']) || value.starts_with(|c: char| c.is_ascii_digit());
    is_bare(name.trim_end()) && name.contains(|c: char| c.is_ascii_lowercase()) && (is_value || is_word(value))
}

fn is_word(value: &str) -> bool {
    ["true", "false"].iter().any(|word| value.strip_prefix(word).is_some_and(|rest| rest.trim_start().is_empty()))
}

fn is_bare(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// `NAME=value`; a key may hold or end in `=` too, but is not all capitals.
fn is_variable(line: &str) -> bool {
    let upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    line.split_once('=').is_some_and(|(name, value)| {
        let (exported, name) = match name.strip_prefix("export ") {
            Some(name) => (true, name.trim()),
            None => (false, name.trim_end()),
        };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.bytes().all(upper);
        // Variables of an example file may be empty; `ABC=` alone is more likely the end of a key in Base64.
        is_name && (exported || name.contains('_') || !value.trim_matches('=').is_empty())
    })
}

/// Column names, one of them the key's.
fn is_csv_header(line: &str) -> bool {
    let names = || line.split([',', ';', '\t']).map(|name| name.trim().trim_matches('"'));
    names().all(is_bare) && names().any(|name| field(name) == Some(Field::Key))
}

//! A `keyweir.yaml` in the making.

use serde_json::Value;

use crate::config::formats::{flow, scalar};
use crate::config::is_refused;

/// Fields in the order they were set.
#[derive(Default)]
pub(super) struct Draft {
    root: Vec<(String, Node)>,
    /// What this version may not be told yet.
    later: Vec<(String, Value)>,
}

enum Node {
    Leaf(Value),
    Map(Vec<(String, Node)>),
}

impl Draft {
    /// Sets a field. A field this version refuses is kept as a comment.
    pub(super) fn set(&mut self, path: &[&str], value: Value) {
        if is_refused(&pattern(path)) {
            self.later.push((path.join("."), value));
        } else {
            insert(&mut self.root, path, value);
        }
    }

    /// The fields kept as comments.
    pub(super) fn later(&self) -> impl Iterator<Item = &str> {
        self.later.iter().map(|(path, _)| path.as_str())
    }

    pub(super) fn to_yaml(&self, balancer: &str) -> String {
        let mut text = format!(
            "# keyweir's configuration, taken over from {balancer}. Every field and its default: docs/configuration.md, or\n\
             # `keyweir check --print`. Secrets can also be written \"${{VARIABLE}}\" or {{file: PATH}}.\n"
        );
        write(&self.root, 0, &mut text);
        if !self.later.is_empty() {
            text.push_str("\n# Not served by this version yet:\n");
            for (path, value) in &self.later {
                text.push_str(&format!("#   {path}: {}\n", flow(value)));
            }
        }
        text
    }
}

/// The path as the table of refused fields writes it: `*` for a pool's name.
fn pattern(path: &[&str]) -> String {
    let is_name = |index: usize| index == 1 && path.first() == Some(&"pools");
    let parts: Vec<&str> =
        path.iter().enumerate().map(|(index, part)| if is_name(index) { "*" } else { *part }).collect();
    parts.join(".")
}

fn insert(fields: &mut Vec<(String, Node)>, path: &[&str], value: Value) {
    let [name, below @ ..] = path else { return };
    let place = match fields.iter().position(|(field, _)| field == name) {
        Some(place) => place,
        None => {
            fields.push(((*name).to_owned(), Node::Map(Vec::new())));
            fields.len() - 1
        }
    };
    let Some((_, node)) = fields.get_mut(place) else { return };
    match node {
        Node::Map(fields) if !below.is_empty() => insert(fields, below, value),
        node => *node = Node::Leaf(value),
    }
}

fn write(fields: &[(String, Node)], depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    for (name, node) in fields {
        match node {
            Node::Map(below) => {
                text.push_str(&format!("{indent}{}:\n", scalar(name)));
                write(below, depth + 1, text);
            }
            Node::Leaf(Value::Array(items)) if items.iter().any(Value::is_object) => {
                text.push_str(&format!("{indent}{}:\n", scalar(name)));
                items.iter().for_each(|item| text.push_str(&format!("{indent}  - {}\n", flow(item))));
            }
            Node::Leaf(value) => text.push_str(&format!("{indent}{}: {}\n", scalar(name), flow(value))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn drafts_are_yaml_in_the_order_they_were_made() {
        let mut draft = Draft::default();
        draft.set(&["server", "proxy", "listen"], json!(["0.0.0.0:1"]));
        draft.set(&["pools", "p", "provider"], json!("modelscope"));
        draft.set(&["pools", "p", "targets"], json!([{"url": "http://h/$x"}]));
        draft.set(&["server", "admin", "token"], json!("on"));
        assert_eq!(
            draft.to_yaml("X").lines().skip(2).collect::<Vec<_>>().join("\n"),
            "server:\n  proxy:\n    listen: [\"0.0.0.0:1\"]\n  admin:\n    token: \"on\"\n\
             pools:\n  p:\n    provider: modelscope\n    targets:\n      - {url: \"http://h/$$x\"}"
        );
    }
}

//! JSON text as the tree that YAML text becomes too, so that positions are known.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lines::Lines;
use crate::config::raw::Named;
use crate::config::tree::{Kind, MAX_DEPTH, Name, Node, Position, Style};

/// Parses JSON; `None` = it is not, or is nested too deep. Strings are `Quoted`, other scalars `Plain`.
pub(super) fn parse(text: &str) -> Option<Node> {
    let root: &RawValue = serde_json::from_str(text).ok()?;
    Builder { text, lines: Lines::of(text) }.node(root, MAX_DEPTH)
}

/// Parses what can be parsed of a damaged list: its entries, and the lines where it could not go on.
pub(super) fn salvage(text: &str) -> (Vec<Node>, Vec<usize>) {
    let builder = Builder { text, lines: Lines::of(text) };
    let (mut found, mut bad) = (Vec::new(), Vec::new());
    let between = |c: char| c.is_whitespace() || c == ',';
    let mut rest = text.trim_start_matches(|c| between(c) || c == '[').trim_start_matches(between);
    while !rest.is_empty() && rest != "]" {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let node = values.next().and_then(Result::ok).and_then(|raw| builder.node(raw, MAX_DEPTH));
        let end = match node {
            Some(node) => {
                found.push(node);
                values.byte_offset()
            }
            None => {
                let line = rest.lines().next().unwrap_or_default();
                if !line.trim_matches(|c: char| between(c) || matches!(c, ']' | '}')).is_empty() {
                    bad.push(builder.position(rest).line);
                }
                line.len()
            }
        };
        rest = rest.get(end..).unwrap_or_default().trim_start_matches(between).trim_end();
    }
    (found, bad)
}

struct Builder<'a> {
    text: &'a str,
    lines: Lines,
}

impl Builder<'_> {
    /// Where a piece of the text stands in it.
    fn position(&self, piece: &str) -> Position {
        self.lines.position((piece.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize))
    }

    fn node(&self, raw: &RawValue, depth: usize) -> Option<Node> {
        let depth = depth.checked_sub(1)?;
        let text = raw.get();
        let kind = match text.as_bytes().first()? {
            b'[' => {
                let items: Vec<&RawValue> = read(text)?;
                Kind::List(items.into_iter().map(|item| self.node(item, depth)).collect::<Option<_>>()?)
            }
            b'{' => {
                let Named(fields): Named<&RawValue> = read(text)?;
                let field = |(text, value): (String, &RawValue)| {
                    let position = self.position(value.get());
                    Some((Name { position, text }, self.node(value, depth)?))
                };
                Kind::Map(fields.into_iter().map(field).collect::<Option<_>>()?)
            }
            b'"' => Kind::Scalar(read(text)?, Style::Quoted),
            _ => Kind::Scalar(text.to_owned(), Style::Plain),
        };
        Some(Node { position: self.position(text), slot: 0, kind })
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    serde_json::from_str(text).ok()
}

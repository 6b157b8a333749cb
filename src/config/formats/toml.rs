//! TOML text as the tree that YAML text becomes too, so that positions are known.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::lines::Lines;
use crate::config::tree::{Kind, Name, Node, Position, Style};

/// Parses TOML: what could be read of it, and the lines that could not. Strings are `Quoted`, other scalars `Plain`.
pub(super) fn parse(text: &str) -> (Node, Vec<usize>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    let place = |error: &toml::de::Error| lines.position(error.span().map_or(0, |span| span.start)).line;
    let mut bad: Vec<usize> = errors.iter().map(place).collect();
    bad.dedup();
    (table(root.get_ref(), Position::START, &lines), bad)
}

fn table(table: &DeTable<'_>, position: Position, lines: &Lines) -> Node {
    let mut fields: Vec<(Name, Node)> = table
        .iter()
        .map(|(name, value)| {
            let position = lines.position(name.span().start);
            (Name { position, text: name.get_ref().to_string() }, node(value, lines))
        })
        .collect();
    // The table is sorted by name; readers want the order of the text.
    fields.sort_by_key(|(name, _)| name.position);
    Node { position, slot: 0, kind: Kind::Map(fields) }
}

fn node(value: &Spanned<DeValue<'_>>, lines: &Lines) -> Node {
    let position = lines.position(value.span().start);
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Scalar(text.to_string(), Style::Quoted),
        DeValue::Integer(number) => Kind::Scalar(number.as_str().to_owned(), Style::Plain),
        DeValue::Float(number) => Kind::Scalar(number.as_str().to_owned(), Style::Plain),
        DeValue::Boolean(flag) => Kind::Scalar(flag.to_string(), Style::Plain),
        DeValue::Datetime(time) => Kind::Scalar(time.to_string(), Style::Plain),
        DeValue::Array(items) => Kind::List(items.iter().map(|item| node(item, lines)).collect()),
        DeValue::Table(fields) => return table(fields, position, lines),
    };
    Node { position, slot: 0, kind }
}

//! A YAML document as a tree that remembers where each value stands.
//!
//! serde stops at the first mistake and forgets positions; this tree is what lets keyweir name every mistake at once.
//! Invariant: however hostile the text, the tree is bounded: nesting by [`MAX_DEPTH`], what aliases repeat by
//! [`MAX_ALIASED`], everything else by the size of the text.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput, Tag};

/// Deepest nesting accepted.
pub(crate) const MAX_DEPTH: usize = 64;
/// Bytes of text (plus one per node) that anchors and aliases may copy.
const MAX_ALIASED: usize = 4 * 1024 * 1024;

/// Line and column, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };
    /// In no file: set at run time.
    pub(crate) const STORED: Self = Self { line: 0, column: 0 };
}

impl From<&Marker> for Position {
    fn from(marker: &Marker) -> Self {
        Self { line: marker.line().max(1), column: marker.col() + 1 }
    }
}

/// One value.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) position: Position,
    /// Place in its list as written, which stays true when other entries are dropped.
    pub(crate) slot: usize,
    pub(crate) kind: Kind,
}

/// What a value is before any schema is asked.
#[derive(Clone)]
pub(crate) enum Kind {
    Scalar(String, Style),
    List(Vec<Node>),
    Map(Vec<(Name, Node)>),
    /// A mistake was reported here already.
    Damaged,
}

/// How a scalar was written, which decides whether it may be something other than text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Bare: a number, a truth value, null or text.
    Plain,
    /// Quoted or a block: text.
    Quoted,
    /// Wholly made of `${…}`: whatever the field wants.
    Expanded,
}

/// A mapping's key.
#[derive(Clone)]
pub(crate) struct Name {
    pub(crate) position: Position,
    pub(crate) text: String,
}

impl Node {
    fn new(position: Position, kind: Kind) -> Self {
        Self { position, slot: 0, kind }
    }

    /// Nothing is said here, so the default holds.
    pub(crate) fn is_unset(&self) -> bool {
        match &self.kind {
            Kind::Scalar(text, Style::Plain) => matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"),
            Kind::Scalar(text, Style::Expanded) => text.is_empty(),
            _ => false,
        }
    }

    /// The value of a mapping's field.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(key, _)| key.text == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The names of a mapping's fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        let entries = if let Kind::Map(entries) = &self.kind { entries.as_slice() } else { &[] };
        entries.iter().map(|(name, _)| name)
    }

    fn cost(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(text, _) => text.len(),
            Kind::List(items) => items.iter().map(Node::cost).sum(),
            Kind::Map(entries) => entries.iter().map(|(name, value)| name.text.len() + value.cost()).sum(),
            Kind::Damaged => 0,
        }
    }
}

/// A mistake in the YAML itself.
pub(crate) struct Fault {
    pub(crate) position: Position,
    pub(crate) message: String,
}

/// What could be read of a document.
pub(crate) struct Document {
    pub(crate) root: Node,
    /// Where the text stops being YAML; the tree holds what stood before.
    pub(crate) fault: Option<Fault>,
}

/// Reads one document; an empty one is an empty scalar.
pub(crate) fn parse(text: &str) -> Document {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    let fault = builder.run(&mut parser).err();
    Document { root: builder.finish(), fault }
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
}

struct Frame {
    position: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map(Vec<(Name, Node)>, Option<Name>),
}

impl Builder {
    fn run(&mut self, parser: &mut Parser<'_, StrInput<'_>>) -> Result<(), Fault> {
        while let Some(event) = parser.next_event() {
            let (event, span) =
                event.map_err(|e| Fault { position: e.marker().into(), message: format!("not YAML: {}", e.info()) })?;
            let position = Position::from(&span.start);
            self.event(event, position)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, position: Position) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                fault(position, "a second document begins here; put everything into one")
            }
            Event::Scalar(text, style, anchor, tag) => {
                let style = scalar_style(style, tag.as_deref()).map_or_else(|| fault(position, TAGS), Ok)?;
                self.keep(Node::new(position, Kind::Scalar(text.into_owned(), style)), anchor)
            }
            Event::SequenceStart(anchor, tag) => self.open(position, anchor, tag, Content::List(Vec::new())),
            Event::MappingStart(anchor, tag) => self.open(position, anchor, tag, Content::Map(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return fault(position, "this alias stands inside its own anchor");
                };
                let node = Node { position, ..node.clone() };
                self.charge(&node)?;
                self.keep(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, at: Position, anchor: usize, tag: Option<Cow<'_, Tag>>, content: Content) -> Result<(), Fault> {
        if tag.is_some() {
            return fault(at, TAGS);
        }
        if self.stack.len() >= MAX_DEPTH {
            return fault(at, format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.stack.push(Frame { position: at, anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        match self.stack.pop() {
            Some(frame) => {
                let anchor = frame.anchor;
                self.keep(frame.into_node(), anchor)
            }
            None => Ok(()),
        }
    }

    fn keep(&mut self, mut node: Node, anchor: usize) -> Result<(), Fault> {
        if anchor != 0 {
            self.charge(&node)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => {
                node.slot = items.len();
                items.push(node);
            }
            Some(Content::Map(entries, pending)) => match pending.take() {
                Some(name) => entries.push((name, node)),
                None => match node.kind {
                    Kind::Scalar(text, _) => *pending = Some(Name { position: node.position, text }),
                    _ => return fault(node.position, "a list or mapping cannot be a field's name"),
                },
            },
        }
        Ok(())
    }

    fn charge(&mut self, node: &Node) -> Result<(), Fault> {
        self.aliased += node.cost();
        if self.aliased > MAX_ALIASED { fault(node.position, "aliases repeat more than 4 MiB") } else { Ok(()) }
    }

    /// Closes what a syntax error left open.
    fn finish(mut self) -> Node {
        while !self.stack.is_empty() {
            if self.close().is_err() {
                break;
            }
        }
        self.root.unwrap_or_else(|| Node::new(Position::START, Kind::Scalar(String::new(), Style::Plain)))
    }
}

impl Frame {
    fn into_node(self) -> Node {
        match self.content {
            Content::List(items) => Node::new(self.position, Kind::List(items)),
            Content::Map(entries, _) => Node::new(self.position, Kind::Map(entries)),
        }
    }
}

/// How the scalar was written; `None` = with a tag that is not understood.
fn scalar_style(style: ScalarStyle, tag: Option<&Tag>) -> Option<Style> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Some(Style::Quoted),
        Some(_) => None,
        None if style == ScalarStyle::Plain => Some(Style::Plain),
        None => Some(Style::Quoted),
    }
}

const TAGS: &str = "tags (`!…`) are not supported; remove it";

fn fault<T>(position: Position, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { position, message: message.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        parse(text).fault.map_or_else(String::new, |f| {
            let Position { line, column } = f.position;
            format!("{line}:{column}: {}", f.message)
        })
    }

    #[test]
    fn positions_count_from_one() {
        let tree = parse("a:\n  b: [x, y]\n").root;
        let list = tree.get("a").and_then(|a| a.get("b")).unwrap();
        assert_eq!(list.position, Position { line: 2, column: 6 });
    }

    #[test]
    fn hostile_documents_are_refused() {
        assert_eq!(fault(&"[".repeat(100)), "1:65: nested deeper than 64 levels");
        assert_eq!(fault("a: 1\n---\nb: 2\n"), "2:1: a second document begins here; put everything into one");
        assert_eq!(fault("a: &x [*x]"), "1:8: this alias stands inside its own anchor");
        assert_eq!(fault("a: !int 3"), "1:4: tags (`!…`) are not supported; remove it");
        assert_eq!(fault("? [a]\n: b"), "1:3: a list or mapping cannot be a field's name");
        let mut bomb = String::from("l0: &l0 [xxxxxxxxxxxxxxxx]\n");
        for level in 1..30 {
            let below = level - 1;
            bomb.push_str(&format!("l{level}: &l{level} [*l{below}, *l{below}, *l{below}, *l{below}]\n"));
        }
        assert!(fault(&bomb).ends_with("aliases repeat more than 4 MiB"), "{}", fault(&bomb));
    }

    #[test]
    fn what_stood_before_a_syntax_error_is_kept() {
        let document = parse("a: {b: 1}\nc: [1, 2\nd: }\n");
        assert!(document.fault.is_some());
        assert!(document.root.get("a").is_some());
    }
}

//! Mistakes and the places they are found at.
//!
//! Invariant: no problem repeats a value from the file, and a name only where it looks like a field's or pool's name:
//! whatever stands in the wrong place may be a key.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use super::tree::{Kind, Node, Position};

/// One mistake or warning in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1; 0 for what was set at run time and is in no file.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Which value, e.g. `pools.modelscope.retry.attempts`.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "set at run time: {}: {}", self.path, self.message);
        }
        write!(f, "{}:{}:{}: {}: {}", self.file, self.line, self.column, self.path, self.message)
    }
}

/// Everything wrong with the files; displayed one per line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// Collects what one file gets wrong.
pub(crate) struct Report {
    file: String,
    errors: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    /// Paths the shape check complained about.
    damaged: RefCell<HashSet<String>>,
    /// What contains one of those.
    around_damaged: RefCell<HashSet<String>>,
    /// Fields that are there, but wrong or under a misspelt name: not to be called missing.
    attempted: RefCell<HashSet<String>>,
    /// The file stops being YAML somewhere.
    broken: Cell<bool>,
    names: Names,
}

/// Which of a file's names may be repeated.
enum Names {
    /// Any that is short and printable.
    Any,
    /// The file is full of keys: these, and what looks like a misspelt field.
    Only(Vec<String>),
}

impl Report {
    pub(crate) fn new(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            errors: RefCell::default(),
            warnings: RefCell::default(),
            damaged: RefCell::default(),
            around_damaged: RefCell::default(),
            attempted: RefCell::default(),
            broken: Cell::new(false),
            names: Names::Any,
        }
    }

    /// For a file of keys, which repeats no other names than these.
    pub(crate) fn for_keys(file: impl Into<String>, names: Vec<String>) -> Self {
        Self { names: Names::Only(names), ..Self::new(file) }
    }

    /// Says where the file stops being YAML: nothing is called missing from here on.
    pub(crate) fn break_off(&self, position: Position, message: impl Into<String>) {
        self.broken.set(true);
        self.error(position, "syntax", message);
    }

    /// From here on, complaints about what was already complained about are follow-ups and kept quiet.
    pub(crate) fn seal(&self) {
        let errors = self.errors.borrow();
        let paths = errors.iter().map(|problem| problem.path.as_str());
        *self.around_damaged.borrow_mut() = paths.clone().flat_map(containers).map(str::to_owned).collect();
        *self.damaged.borrow_mut() = paths.map(str::to_owned).collect();
    }

    /// Errors and warnings, each in the order of the file.
    pub(crate) fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
        let sorted = |mut problems: Vec<Problem>| {
            // First this file, then those it names.
            problems.sort_by_cached_key(|problem| {
                let other = (problem.file != self.file).then(|| problem.file.clone());
                (other, problem.line, problem.column)
            });
            problems.dedup();
            problems
        };
        (sorted(self.errors.into_inner()), sorted(self.warnings.into_inner()))
    }

    /// Adds a mistake that has a place but no value.
    pub(crate) fn error(&self, position: Position, path: &str, message: impl Into<String>) {
        let problem = self.problem(position, path.to_owned(), message.into());
        self.errors.borrow_mut().push(problem);
    }

    /// Adds a warning that has a place but no value.
    pub(crate) fn warn(&self, position: Position, path: &str, message: impl fmt::Display) {
        let problem = self.problem(position, path.to_owned(), format!("warning: {message}"));
        self.warnings.borrow_mut().push(problem);
    }

    fn problem(&self, position: Position, path: String, message: String) -> Problem {
        Problem { file: self.file.clone(), line: position.line, column: position.column, path, message }
    }

    fn may_show(&self, name: &str) -> bool {
        match &self.names {
            Names::Any => name.len() <= 64 && !looks_like_key(name) && name.chars().all(|c| !c.is_control()),
            Names::Only(names) => is_plain_word(name) || names.iter().any(|known| known == name),
        }
    }

    fn is_follow_up(&self, path: &str) -> bool {
        let damaged = self.damaged.borrow();
        damaged.contains(path)
            || containers(path).any(|container| damaged.contains(container))
            || self.around_damaged.borrow().contains(path)
    }
}

/// `a` and `a.b` for `a.b[0]`.
fn containers(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices(['.', '[']).filter_map(|(end, _)| path.get(..end))
}

/// A value's place: where to complain about it.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    report: &'a Report,
    node: Option<&'a Node>,
    position: Position,
    parent: Option<&'a At<'a>>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy)]
enum Segment<'a> {
    Root,
    Name(&'a str),
    Unknown(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    /// The top of a file.
    pub(crate) fn root(report: &'a Report, root: &'a Node) -> Self {
        Self { report, node: Some(root), position: root.position, parent: None, segment: Segment::Root }
    }

    /// The top of a file whose tree is being changed.
    pub(crate) fn top(report: &'a Report, position: Position) -> Self {
        Self { report, node: None, position, parent: None, segment: Segment::Root }
    }

    /// The same place, with what is written there.
    pub(crate) fn with(&self, node: &'a Node) -> Self {
        Self { node: Some(node), ..*self }
    }

    /// The field of that name; a missing one is said to stand where its mapping does.
    pub(crate) fn field<'b>(&'b self, name: &'b str) -> At<'b> {
        let node = self.node.and_then(|node| node.get(name));
        let position = node.map_or(self.position, |node| node.position);
        At { report: self.report, node, position, parent: Some(self), segment: Segment::Name(name) }
    }

    /// The entry at that place of a list; a single value stands for a list of one.
    pub(crate) fn index<'b>(&'b self, index: usize) -> At<'b> {
        match self.node.map(|node| &node.kind) {
            Some(Kind::List(items)) => match items.get(index) {
                Some(node) => At { node: Some(node), ..self.child(Segment::Index(node.slot), node.position) },
                None => self.child(Segment::Index(index), self.position),
            },
            _ => *self,
        }
    }

    /// A field at a known position.
    pub(crate) fn named<'b>(&'b self, name: &'b str, position: Position) -> At<'b> {
        self.child(Segment::Name(name), position)
    }

    /// A field that does not exist.
    pub(crate) fn unknown<'b>(&'b self, name: &'b str, position: Position) -> At<'b> {
        self.child(Segment::Unknown(name), position)
    }

    /// A list entry at a known position.
    pub(crate) fn entry(&self, slot: usize, position: Position) -> At<'_> {
        self.child(Segment::Index(slot), position)
    }

    fn child<'b>(&'b self, segment: Segment<'b>, position: Position) -> At<'b> {
        At { report: self.report, node: None, position, parent: Some(self), segment }
    }

    /// Where this stands.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The value as written, if it is there.
    pub(crate) fn node(&self) -> Option<&'a Node> {
        self.node
    }

    /// Complains.
    pub(crate) fn error(&self, message: impl Into<String>) {
        let path = self.path();
        if !self.report.is_follow_up(&path) {
            self.report.error(self.position, &path, message);
        }
    }

    /// Takes over what another file, which is named here, gets wrong; true if that is nothing.
    pub(crate) fn adopt(&self, other: Report) -> bool {
        let (errors, warnings) = other.finish();
        let is_sound = errors.is_empty();
        self.report.errors.borrow_mut().extend(errors);
        self.report.warnings.borrow_mut().extend(warnings);
        is_sound
    }

    /// Complains about a field that is not there, unless the file ends too early to tell or something like it is there.
    pub(crate) fn missing(&self, name: &str, message: impl Into<String>) {
        let field = self.named(name, self.position);
        if !self.report.broken.get() && !field.is_attempted() {
            field.error(message);
        }
    }

    /// Notes which fields of this mapping were written, wrongly or under a misspelt name.
    pub(crate) fn note_attempted(&self, names: &[&str]) {
        let paths = names.iter().map(|name| self.named(name, self.position).path());
        self.report.attempted.borrow_mut().extend(paths);
    }

    /// The field was written, wrongly or under a misspelt name.
    pub(crate) fn is_attempted(&self) -> bool {
        self.report.attempted.borrow().contains(&self.path())
    }

    /// What was written here was complained about, so what holds here is only the default.
    pub(crate) fn is_damaged(&self) -> bool {
        self.is_attempted() || self.report.is_follow_up(&self.path())
    }

    /// Warns.
    pub(crate) fn warn(&self, message: impl fmt::Display) {
        self.report.warn(self.position, &self.path(), message);
    }

    fn path(&self) -> String {
        let mut path = String::new();
        self.write_path(&mut path);
        if path.is_empty() { "file".into() } else { path }
    }

    fn write_path(&self, path: &mut String) {
        if let Some(parent) = self.parent {
            parent.write_path(path);
        }
        let name = match self.segment {
            Segment::Root => return,
            Segment::Index(index) => return path.push_str(&format!("[{index}]")),
            Segment::Name(name) if self.report.may_show(name) => name,
            Segment::Unknown(name) if is_plain_word(name) => name,
            Segment::Name(_) | Segment::Unknown(_) => "?",
        };
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    }
}

/// What serde says of a value that does not fit, without a word of what was sent: a key or a token may stand where none
/// belongs.
pub(crate) fn without_values(message: &str) -> String {
    if let Some((_, expected)) = message.rsplit_once(", expected ") {
        return format!("not as expected: {expected}");
    }
    match message.rsplit_once("missing field ") {
        Some((_, field)) => format!("missing field {field}"),
        None => "not of the form expected here".to_owned(),
    }
}

/// Whether a name that should not be there may be repeated: it looks like a misspelt field, not like a key.
pub(crate) fn is_plain_word(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    name.len() <= 24
        && digits <= 2
        && !looks_like_key(name)
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// Whether a name has the look of a key that slipped into a name's place.
fn looks_like_key(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    ["sk-", "ms-", "kw-", "hf_"].iter().any(|start| name.starts_with(start)) || (name.len() >= 20 && digits >= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_not_repeated() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Shape {
            #[expect(dead_code, reason = "only its type counts")]
            limit: u8,
        }
        for (text, said) in [
            (r#"{"limit": "sk-1, expected "}"#, "not as expected: u8 at line 1 column 27"),
            (r#"{"sk-1": 1}"#, "not as expected: `limit` at line 1 column 7"),
            (r#""sk-1""#, "not as expected: struct Shape at line 1 column 6"),
            ("{}", "missing field `limit` at line 1 column 2"),
        ] {
            let error = serde_json::from_str::<Shape>(text).unwrap_err();
            assert_eq!(without_values(&error.to_string()), said);
        }
    }

    #[test]
    fn names_that_may_be_keys_are_not_repeated() {
        assert!(is_plain_word("max_cooldwn"));
        assert!(is_plain_word("on_5xx"));
        for key in ["sk-abc", "kw-0a1b2c", "ms-8d7f-41aa", "HF_token", "abcdefghijklmnopqrstuvwxyz", "a\u{1b}[2J"] {
            assert!(!is_plain_word(key), "{key}");
        }
    }

    #[test]
    fn follow_ups_are_kept_quiet() {
        let report = Report::new("f.yaml");
        report.error(Position::START, "pools.a.targts", "unknown field");
        report.seal();
        let top = At::top(&report, Position::START);
        let pools = top.named("pools", Position::START);
        pools.named("a", Position::START).error("needs targets");
        pools.named("ab", Position::START).error("needs targets");
        let (errors, _) = report.finish();
        let text = Problems(errors).to_string();
        assert_eq!(text, "f.yaml:1:1: pools.a.targts: unknown field\nf.yaml:1:1: pools.ab: needs targets");
    }
}

//! The ways keys are written down: every import format, found by its content, and every export.
//!
//! One reader for each format and nothing but functions over text: nobody here opens a file or asks the environment
//! unasked. Invariants: a bad line is named by its number and never stops the others; the entries apart, nothing that
//! leaves this room holds a character of a key.

mod collect;
mod csv;
mod detect;
mod env;
mod export;
mod fields;
mod json;
mod lines;
mod nodes;
mod text;
mod toml;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use super::raw::keys::FileFormat as Format;
pub use super::raw::keys::Limits;
pub use detect::detect;
pub use env::{Variable, variables};
pub use export::{ExportFormat, export};
pub use fields::provider_of;

pub(crate) use collect::refusal;
pub(crate) use export::{flow, guarded, scalar};

use super::expand::Environment;
use super::secret::Secret;
use collect::Collector;

/// Bytes after which a piece of a long text ends, at the end of the line.
const PIECE: usize = 1 << 20;

/// One key as it was written.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it begins, from 1.
    pub line: usize,
    /// The key's text: visible ASCII, no spaces.
    pub key: Secret,
    /// The pool the text puts it into.
    pub pool: Option<Arc<str>>,
    /// The provider the text hints at, e.g. `siliconflow` for `SILICONFLOW_API_KEY_1`.
    pub provider: Option<Arc<str>>,
    /// The provider's base URL, where the text says it.
    pub base_url: Option<Arc<str>>,
    /// What it is called; never contains the key.
    pub name: Option<String>,
    /// Whose it is.
    pub account: Option<String>,
    /// Share of requests, at least 1.
    pub weight: u32,
    /// Lower is tried first.
    pub priority: u32,
    /// Switched off by whoever wrote it.
    pub disabled: bool,
    /// What the program that wrote it knew of it.
    pub state: Option<State>,
    /// What few keys have.
    pub details: Option<Box<Details>>,
}

impl Entry {
    /// A key alone.
    pub fn new(line: usize, key: Secret) -> Self {
        Self {
            line,
            key,
            pool: None,
            provider: None,
            base_url: None,
            name: None,
            account: None,
            weight: 1,
            priority: 0,
            disabled: false,
            state: None,
            details: None,
        }
    }
}

/// What few keys have. Values are as written: whoever uses them validates them.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// What the provider grants.
    pub limits: Limits,
    /// Models it may be used for (globs).
    pub models: Vec<String>,
    /// A proxy of its own; may hold a password.
    pub egress: Option<Secret>,
    /// Headers added upstream.
    pub headers: Vec<(String, Secret)>,
}

/// What another program knew of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In use.
    Active,
    /// Limited, resting.
    Limited,
    /// Taken out, by hand or because it failed.
    Disabled,
    /// Refused by the provider.
    Invalid,
}

/// What a text held.
#[derive(Debug, Clone)]
pub struct Reading {
    /// How it is written.
    pub format: Format,
    /// The keys, each once, in the order of the text.
    pub entries: Vec<Entry>,
    /// Lines of keys that stood there before.
    pub duplicates: Vec<usize>,
    /// What could not be read, in the order of the text.
    pub bad: Vec<BadLine>,
}

/// A line that is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Which, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// Reads a text whose format is found by its content. Variables (`${…}`) have no value.
pub fn read(text: &str) -> Reading {
    read_as(text, Format::Auto, &HashMap::new())
}

/// Reads a text of a known format (`Auto`: found by its content) piece by piece where its format has a key per line, so
/// that never all keys of a long one are held; otherwise in one piece. A key that stands in two pieces is in both.
pub fn pieces(text: &str, format: Format) -> Pieces<'_> {
    let (text, format) = begin(text, format);
    Pieces { left: Some(text), format, line: 0, size: text.len() }
}

/// A text that is read piece by piece.
pub struct Pieces<'t> {
    /// `None` = all was read.
    left: Option<&'t str>,
    format: Format,
    /// Lines that were read.
    line: usize,
    size: usize,
}

impl Pieces<'_> {
    /// How the text is written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How much of the text was read, from 0 to 1.
    pub fn progress(&self) -> f64 {
        let left = self.left.map_or(0, str::len);
        if self.size == 0 { 1.0 } else { 1.0 - left as f64 / self.size as f64 }
    }
}

impl Iterator for Pieces<'_> {
    type Item = Reading;

    fn next(&mut self) -> Option<Reading> {
        let text = self.left.take()?;
        if self.format != Format::Text {
            return Some(read_as(text, self.format, &HashMap::new()));
        }
        let rest = text.as_bytes().get(PIECE..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest).map(|at| PIECE + at + 1);
        let (piece, left) = end.map_or((text, None), |end| (text.get(..end).unwrap_or(text), text.get(end..)));
        self.left = left.filter(|left| !left.is_empty());
        let mut reading = read_as(piece, Format::Text, &HashMap::new());
        let line = self.line;
        self.line += piece.lines().count();
        reading.entries.iter_mut().for_each(|entry| entry.line += line);
        reading.duplicates.iter_mut().for_each(|duplicate| *duplicate += line);
        reading.bad.iter_mut().for_each(|bad| bad.line += line);
        Some(reading)
    }
}

/// The text without the mark at its beginning, and how it is written.
fn begin(text: &str, format: Format) -> (&str, Format) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    (text, if format == Format::Auto { detect(text) } else { format })
}

/// Reads a text of a known format (`Auto`: found by its content). `env` gives YAML its variables.
pub fn read_as(text: &str, format: Format, env: &dyn Environment) -> Reading {
    let (text, format) = begin(text, format);
    let mut out = Collector::default();
    match format {
        Format::Auto | Format::Text => text::read(text, &mut out),
        Format::Yaml => nodes::read_yaml(text, env, &mut out),
        Format::Json | Format::ModelscopeBalance => nodes::read_json(text, 0, &mut out),
        Format::ModelscopeBalancer => nodes::read_toml(text, &mut out),
        Format::Env => env::read(text, &mut out),
        Format::Csv => csv::read(text, &mut out),
    }
    out.into_reading(format)
}

#[cfg(test)]
mod tests;

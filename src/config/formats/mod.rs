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

/// A text that is read while it comes: piece by piece where its format has a key per line, so that never all of a long one
/// is held; otherwise at its end. A key that stands in two pieces is in both.
pub struct Incoming {
    format: Format,
    /// What was not read yet.
    held: Vec<u8>,
    /// Lines that were read.
    lines: usize,
    /// Its format has no key per line.
    is_whole: bool,
}

impl Incoming {
    /// A text of that format (`Auto`: found by its content), of which nothing came yet.
    pub fn new(format: Format) -> Self {
        Self { format, held: Vec::new(), lines: 0, is_whole: !matches!(format, Format::Auto | Format::Text) }
    }

    /// Takes the next part, and gives what can be read by now.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn take(&mut self, part: &[u8]) -> Result<Option<Reading>, BadLine> {
        let before = self.held.len();
        self.held.extend_from_slice(part);
        if self.is_whole || self.held.len() < PIECE {
            return Ok(None);
        }
        // What was long enough before has no line's end.
        let unsearched = if before < PIECE { 0 } else { before };
        let end = memchr::memrchr(b'\n', self.held.get(unsearched..).unwrap_or_default());
        let Some(end) = end.map(|at| unsearched + at + 1) else { return Ok(None) };
        let rest = self.held.split_off(end);
        let piece = std::mem::replace(&mut self.held, rest);
        let piece = self.utf8(piece)?;
        if self.format == Format::Auto && detect(&piece) != Format::Text {
            self.is_whole = true;
            self.held = [piece.into_bytes(), std::mem::take(&mut self.held)].concat();
            return Ok(None);
        }
        self.format = Format::Text;
        Ok(Some(self.read(&piece)))
    }

    /// Gives the rest: the text has come to its end.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn end(mut self) -> Result<Reading, BadLine> {
        let rest = std::mem::take(&mut self.held);
        let rest = self.utf8(rest)?;
        Ok(self.read(&rest))
    }

    fn utf8(&self, piece: Vec<u8>) -> Result<String, BadLine> {
        String::from_utf8(piece).map_err(|error| {
            let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = self.lines + memchr::memchr_iter(b'\n', good).count() + 1;
            BadLine { line, message: "not UTF-8; send the text as UTF-8".into() }
        })
    }

    fn read(&mut self, piece: &str) -> Reading {
        let mut reading = read_as(piece, self.format, &HashMap::new());
        let line = self.lines;
        self.lines += piece.lines().count();
        reading.entries.iter_mut().for_each(|entry| entry.line += line);
        reading.duplicates.iter_mut().for_each(|duplicate| *duplicate += line);
        reading.bad.iter_mut().for_each(|bad| bad.line += line);
        reading
    }
}

/// Reads a text of a known format (`Auto`: found by its content). `env` gives YAML its variables.
pub fn read_as(text: &str, format: Format, env: &dyn Environment) -> Reading {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let format = if format == Format::Auto { detect(text) } else { format };
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

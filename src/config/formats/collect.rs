//! Where every reader puts what it finds: keys once each, complaints in order.

use std::collections::HashMap;

use super::{BadLine, Entry, Format, Reading};
use crate::config::KeyId;

/// Longest key; signed tokens reach two thousand characters.
const MAX_KEY: usize = 4096;
/// Longest name.
const MAX_NAME: usize = 64;
/// This many characters of a key in its name give too much of it away.
const MAX_SHARED: usize = 8;

#[derive(Default)]
pub(super) struct Collector {
    entries: Vec<Entry>,
    duplicates: Vec<usize>,
    bad: Vec<BadLine>,
    places: HashMap<KeyId, usize>,
}

impl Collector {
    /// Takes a key, unless it is none or was there before.
    pub(super) fn push(&mut self, mut entry: Entry) {
        if let Some(message) = refusal(entry.key.expose()) {
            return self.bad(entry.line, message);
        }
        if let Some(message) = entry.name.as_deref().and_then(|name| bad_name(name, entry.key.expose())) {
            self.bad(entry.line, message);
            entry.name = None;
        }
        if entry.account.as_deref().is_some_and(|account| bad_name(account, entry.key.expose()).is_some()) {
            self.bad(entry.line, "the account is left out: it is no name, or repeats a piece of the key");
            entry.account = None;
        }
        if entry.pool.as_deref().is_some_and(|pool| !is_name(pool)) {
            self.bad(entry.line, "the pool is left out: its name has 1 to 64 characters and no control characters");
            entry.pool = None;
        }
        let id = KeyId::of(entry.pool.as_deref().unwrap_or_default(), entry.key.expose());
        match self.places.get(&id) {
            Some(place) => {
                self.duplicates.push(entry.line);
                if let Some(first) = self.entries.get_mut(*place) {
                    // Off wins wherever it is written, and so does what is known of a key over nothing.
                    first.disabled |= entry.disabled;
                    first.state = first.state.or(entry.state);
                }
            }
            None => {
                self.places.insert(id, self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    /// Complains about a line.
    pub(super) fn bad(&mut self, line: usize, message: impl Into<String>) {
        self.bad.push(BadLine { line, message: message.into() });
    }

    pub(super) fn into_reading(mut self, format: Format) -> Reading {
        self.bad.sort_by_key(|bad| bad.line);
        Reading { format, entries: self.entries, duplicates: self.duplicates, bad: self.bad }
    }
}

/// Why the text cannot be a key, said without repeating it.
pub(crate) fn refusal(key: &str) -> Option<&'static str> {
    let bad = key.chars().find(|c| !c.is_ascii_graphic());
    match bad {
        None if key.is_empty() => Some("is empty; write the key or remove the entry"),
        None if key.len() > MAX_KEY => Some("longer than 4096 characters; no key is"),
        None => None,
        Some(' ') => Some("contains a space; a key is visible ASCII characters without spaces"),
        Some('\n' | '\r') => Some("contains a line break; a key is visible ASCII characters without spaces"),
        Some(c) if c.is_control() => {
            Some("contains a control character; a key is visible ASCII characters without spaces")
        }
        Some(_) => Some("contains a character that is not ASCII; a key is visible ASCII characters without spaces"),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_NAME && !text.chars().any(char::is_control)
}

/// Why the name is not taken over with its key.
fn bad_name(name: &str, key: &str) -> Option<&'static str> {
    if !is_name(name) {
        return Some("the name is left out: a name has 1 to 64 characters and no control characters");
    }
    // Other programs call a key by a piece of it, and names are shown.
    let mut pieces = key.as_bytes().windows(MAX_SHARED.min(key.len()));
    let gives_away = pieces.any(|piece| name.as_bytes().windows(piece.len()).any(|part| part == piece));
    gives_away.then_some("the name is left out: it repeats a piece of the key, and names are shown")
}

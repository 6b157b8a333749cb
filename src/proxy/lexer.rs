//! The strings of JSON, found in the bytes as they pass.
//!
//! One text or several (an event stream), in pieces cut anywhere. No tree is built and nothing is held back: strings are
//! stepped over by a vector search, and of each only its first bytes are kept until it is known whether it is a name.
//! What is no JSON finds strings that mean nothing, at worst.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

/// Longer strings are known as such, but not what they say (bytes).
const KEPT: usize = 256;
/// A depth at which no string is.
const NOWHERE: u32 = u32::MAX - 1;

/// Reads on from piece to piece.
pub(super) struct Lexer {
    /// Place of the next byte.
    offset: usize,
    depth: u32,
    /// Strings inside more brackets than these are not looked at.
    deepest: u32,
    state: State,
    name: Text,
    name_depth: u32,
    text: Text,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// A string ended; what follows tells whether it is a name.
    Ended,
    InString {
        is_escaped: bool,
    },
}

/// The beginning of a string, without its quotes.
pub(super) struct Text {
    bytes: [u8; KEPT],
    length: usize,
    /// Where it stands, its quotes included.
    place: Range<usize>,
    has_escapes: bool,
}

/// Something found.
pub(super) enum Found<'a> {
    /// A member begins.
    Name(&'a Text, u32),
    /// A member's value is a string, or a list with this string in it.
    Value(&'a Text, &'a Text, u32),
}

impl Text {
    const EMPTY: Self = Self { bytes: [0; KEPT], length: 0, place: 0..0, has_escapes: false };

    /// What it says; `None` if it is too long or broken.
    pub(super) fn get(&self) -> Option<Cow<'_, str>> {
        let raw = std::str::from_utf8(self.bytes.get(..self.length)?).ok()?;
        if !self.has_escapes {
            return Some(raw.into());
        }
        serde_json::from_str(&format!("\"{raw}\"")).ok().map(Cow::Owned)
    }

    /// Where it stands, its quotes included.
    pub(super) fn place(&self) -> Range<usize> {
        self.place.clone()
    }

    fn begin(&mut self, at: usize) {
        (self.length, self.has_escapes, self.place) = (0, false, at..at);
    }

    fn push(&mut self, more: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + more.len()) {
            room.copy_from_slice(more);
        }
        self.length += more.len();
    }
}

impl Lexer {
    /// Looks at strings inside as many brackets at most; 1 = the members of an object.
    pub(super) fn new(deepest: u32) -> Self {
        let (name, text) = (Text::EMPTY, Text::EMPTY);
        Self { offset: 0, depth: 0, deepest, state: State::Between, name, name_depth: NOWHERE, text }
    }

    /// Reads the next piece.
    pub(super) fn feed(&mut self, piece: &[u8], mut found: impl FnMut(Found<'_>)) {
        let mut rest = piece;
        while let Some((&byte, behind)) = rest.split_first() {
            rest = match self.state {
                State::InString { is_escaped } => self.read_string(is_escaped, rest),
                State::Between | State::Ended => {
                    self.read(byte, &mut found);
                    self.offset += 1;
                    behind
                }
            };
        }
    }

    /// Reads on in a string; gives what is behind what was read.
    fn read_string<'a>(&mut self, is_escaped: bool, rest: &'a [u8]) -> &'a [u8] {
        let length = match (is_escaped, memchr2(b'"', b'\\', rest)) {
            // Whatever it is, it does not end the string.
            (true, _) => 1,
            (false, Some(0)) => 1,
            (false, Some(before)) => before,
            (false, None) => rest.len(),
        };
        let (read, behind) = rest.split_at(length);
        self.offset += length;
        self.state = match (is_escaped, read) {
            (false, b"\"") => {
                self.text.place.end = self.offset;
                State::Ended
            }
            (false, b"\\") => {
                self.text.has_escapes = true;
                self.keep(read);
                State::InString { is_escaped: true }
            }
            _ => {
                self.keep(read);
                State::InString { is_escaped: false }
            }
        };
        behind
    }

    fn keep(&mut self, read: &[u8]) {
        if self.depth <= self.deepest {
            self.text.push(read);
        }
    }

    /// A bracket closes, and with it the member whose name was read last.
    fn end(&mut self) {
        if self.depth <= self.name_depth {
            self.name_depth = NOWHERE;
        }
        self.depth = self.depth.saturating_sub(1);
    }

    /// Reads a byte that is in no string.
    fn read(&mut self, byte: u8, found: &mut impl FnMut(Found<'_>)) {
        match byte {
            b'"' => {
                self.text.begin(self.offset);
                self.state = State::InString { is_escaped: false };
            }
            b':' if self.state == State::Ended => {
                self.state = State::Between;
                if self.depth <= self.deepest {
                    std::mem::swap(&mut self.name, &mut self.text);
                    self.name_depth = self.depth;
                    found(Found::Name(&self.name, self.depth));
                }
            }
            b',' | b'}' | b']' => {
                let is_listed = self.depth == self.name_depth + 1;
                if self.state == State::Ended
                    && self.depth <= self.deepest
                    && (self.depth == self.name_depth || is_listed)
                {
                    found(Found::Value(&self.name, &self.text, self.name_depth));
                }
                self.state = State::Between;
                if byte != b',' {
                    self.end();
                }
            }
            b'{' | b'[' => {
                self.state = State::Between;
                self.depth = self.depth.saturating_add(1);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex<'a>(deepest: u32, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(String, String, u32)> {
        let mut lexer = Lexer::new(deepest);
        let mut all = Vec::new();
        let shown = |text: &Text| text.get().map_or("?".to_owned(), Cow::into_owned);
        for piece in pieces {
            lexer.feed(piece, |found| match found {
                Found::Name(name, depth) => all.push((shown(name), ":".to_owned(), depth)),
                Found::Value(name, text, depth) => all.push((shown(name), shown(text), depth)),
            });
        }
        all.retain(|(_, text, _)| text != ":");
        all
    }

    const TEXT: &str = r#"event: x
data: {"id" : "a\u0062c", "n":1.5e3,"list":["x" , "y\"]\\"],"o":{"id":"deep","in":{"id":"deeper"}},"last":"z"}

data: {"id":"second"}"#;

    #[test]
    fn strings_are_found_with_their_names_wherever_the_pieces_are_cut() {
        let expected = |deepest: u32| {
            let all = [
                ("id", "abc", 1),
                ("list", "x", 1),
                ("list", "y\"]\\", 1),
                ("id", "deep", 2),
                ("id", "deeper", 3),
                ("last", "z", 1),
                ("id", "second", 1),
            ];
            let is_seen = |&(name, _, depth): &(&str, &str, u32)| depth + u32::from(name == "list") <= deepest;
            let all = all.into_iter().filter(is_seen);
            all.map(|(name, text, depth)| (name.to_owned(), text.to_owned(), depth)).collect::<Vec<_>>()
        };
        for deepest in 1..4 {
            assert_eq!(lex(deepest, [TEXT.as_bytes()]), expected(deepest));
            assert_eq!(lex(deepest, TEXT.as_bytes().chunks(1)), expected(deepest), "byte by byte");
            for at in 0..TEXT.len() {
                let (first, second) = TEXT.as_bytes().split_at(at);
                assert_eq!(lex(deepest, [first, second]), expected(deepest), "cut at {at}");
            }
        }
    }

    #[test]
    fn places_are_those_of_the_whole() {
        let text = br#"{"a":"x","model": "m\\" ,"b":1}"#;
        for size in 1..text.len() {
            let mut lexer = Lexer::new(1);
            let mut place = 0..0;
            for piece in text.chunks(size) {
                lexer.feed(piece, |found| match found {
                    Found::Value(name, text, 1) if name.get().as_deref() == Some("model") => place = text.place(),
                    _ => {}
                });
            }
            assert_eq!(&text[place], br#""m\\""#);
        }
    }

    #[test]
    fn a_string_in_a_list_belongs_to_the_lists_name_only() {
        let text = br#"["a",{"id":"b"},"c",["d"],{"x":[{"id":"e"},"f"],"y":["g",["h"]]}]"#;
        let named: Vec<_> = lex(9, [&text[..]]).into_iter().map(|(name, text, _)| format!("{name}={text}")).collect();
        assert_eq!(named, ["id=b", "id=e", "y=g"]);
    }

    #[test]
    fn long_strings_are_not_kept() {
        let text = format!(r#"{{"a":"{}","{}":"b","id":"c"}}"#, "x".repeat(100_000), "y".repeat(KEPT + 1));
        let named: Vec<_> = lex(1, [text.as_bytes()]).into_iter().map(|(name, text, _)| (name, text)).collect();
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(named, [pair("a", "?"), pair("?", "b"), pair("id", "c")]);
    }
}

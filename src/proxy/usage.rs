//! What an answer says it cost: the `usage` object, found in the bytes as they pass.
//!
//! JSON or event stream, in pieces cut anywhere: a vector search steps over everything up to the text `"usage`, and only
//! the object behind it is read byte by byte. Nothing is held back, copied or parsed into a tree, and the memory is that
//! of [`Scanner`]. Inside a JSON string quotes are escaped, so an answer that talks about usage is not mistaken for it.
//! Where several objects tell (each event of some streams does), the largest numbers count: they are running totals, and
//! nothing a model writes can lower them.

use memchr::memchr_iter;
use memchr::memmem::Finder;
use once_cell::sync::Lazy;

use crate::clients::Used;

/// Begins `"usage"` and Gemini's `"usageMetadata"`. Its first byte does not occur in it again, so after a mismatch the
/// search goes on where it stands.
const NEEDLE: &[u8] = b"\"usage";
/// Longer objects are something else.
const OBJECT_MAX: u16 = 8192;
/// Room for the longest known field, `cache_creation_input_tokens`.
const NAME_MAX: usize = 28;

static FINDER: Lazy<Finder<'static>> = Lazy::new(|| Finder::new(NEEDLE));

/// One answer, as it passes.
#[derive(Debug, Default)]
pub(super) struct Answered {
    scanner: Scanner,
    is_event_stream: bool,
    lines: u64,
}

impl Answered {
    /// The answer turns out to be an event stream.
    pub(super) fn is_event_stream(&mut self) {
        self.is_event_stream = true;
    }

    /// Reads the next piece; if `counts_lines`, also for the [estimate](Self::estimate).
    pub(super) fn feed(&mut self, piece: &[u8], counts_lines: bool) {
        self.scanner.feed(piece);
        if counts_lines && self.is_event_stream {
            self.lines += memchr_iter(b'\n', piece).count() as u64;
        }
    }

    /// What it told of its tokens, if anything.
    pub(super) fn used(&self) -> Option<Used> {
        self.scanner.used()
    }

    /// About how many tokens a stream had that does not tell: one an event, which is two lines or three.
    pub(super) fn estimate(&self) -> u64 {
        self.lines / 2
    }
}

/// Reads one answer.
#[derive(Debug, Default)]
struct Scanner {
    state: State,
    counts: Counts,
}

#[derive(Debug)]
enum State {
    /// Searching; so many bytes of the needle ended the last piece.
    Search(usize),
    /// Behind the needle: the rest of the name.
    Name,
    /// Behind the name: a colon.
    Colon,
    /// Behind the colon: a brace.
    Brace,
    /// In the object.
    Object(Object),
}

impl Default for State {
    fn default() -> Self {
        Self::Search(0)
    }
}

/// The numbers, by who writes them.
#[derive(Debug, Default)]
struct Counts {
    /// OpenAI's chat, Gemini.
    prompt: u32,
    /// OpenAI's responses; Anthropic, without what its cache held.
    input: u32,
    cache_written: u32,
    cache_read: u32,
    completion: u32,
    total: u32,
    is_told: bool,
}

impl Scanner {
    /// Reads the next piece.
    fn feed(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            piece = match self.state {
                State::Search(matched) => self.search(matched, piece),
                _ => self.read(piece),
            };
        }
    }

    fn used(&self) -> Option<Used> {
        let counts = &self.counts;
        if !counts.is_told {
            return None;
        }
        let [prompt, input, written, read, completion, total] =
            [counts.prompt, counts.input, counts.cache_written, counts.cache_read, counts.completion, counts.total]
                .map(u64::from);
        let prompt = if prompt > 0 { prompt } else { input + written + read };
        Some(match (prompt, completion) {
            (0, 0) => Used { prompt: total, completion: 0 },
            // What a model thought is in some providers' totals only.
            _ => Used { prompt, completion: completion.max(total.saturating_sub(prompt)) },
        })
    }

    /// Looks for the needle; gives what is behind it, or nothing.
    fn search<'a>(&mut self, matched: usize, piece: &'a [u8]) -> &'a [u8] {
        if matched > 0 {
            let wanted = NEEDLE.get(matched..).unwrap_or_default();
            let common = wanted.iter().zip(piece).take_while(|(wanted, found)| wanted == found).count();
            if common == wanted.len() {
                self.state = State::Name;
                return piece.get(common..).unwrap_or_default();
            }
            if common == piece.len() {
                self.state = State::Search(matched + common);
                return &[];
            }
        }
        match FINDER.find(piece) {
            Some(at) => {
                self.state = State::Name;
                piece.get(at + NEEDLE.len()..).unwrap_or_default()
            }
            None => {
                let is_cut = |length: &usize| piece.ends_with(NEEDLE.get(..*length).unwrap_or_default());
                self.state = State::Search((1..NEEDLE.len()).rev().find(is_cut).unwrap_or(0));
                &[]
            }
        }
    }

    /// Reads on behind the needle: a byte up to the object, then all of it.
    fn read<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        if let State::Object(object) = &mut self.state {
            let Some(end) = piece.iter().position(|&byte| object.ends_with(byte, &mut self.counts)) else { return &[] };
            self.state = State::Search(0);
            return piece.get(end + 1..).unwrap_or_default();
        }
        let Some((&byte, rest)) = piece.split_first() else { return &[] };
        match (&self.state, byte) {
            (State::Name, b'_' | b'a'..=b'z' | b'A'..=b'Z') => {}
            (State::Colon | State::Brace, b' ' | b'\n' | b'\r' | b'\t') => {}
            (State::Name, b'"') => self.state = State::Colon,
            (State::Colon, b':') => self.state = State::Brace,
            (State::Brace, b'{') => self.state = State::Object(Object::default()),
            _ => {
                self.state = State::Search(0);
                // This byte may begin the needle.
                return piece;
            }
        }
        rest
    }
}

impl Counts {
    /// Takes a field's number, if it means anything here.
    fn note(&mut self, name: &[u8], number: u32) {
        let count = match name {
            b"prompt_tokens" | b"promptTokenCount" => &mut self.prompt,
            b"input_tokens" => &mut self.input,
            b"cache_creation_input_tokens" => &mut self.cache_written,
            b"cache_read_input_tokens" => &mut self.cache_read,
            b"completion_tokens" | b"output_tokens" | b"candidatesTokenCount" => &mut self.completion,
            b"total_tokens" | b"totalTokenCount" => &mut self.total,
            _ => return,
        };
        *count = number.max(*count);
        self.is_told = true;
    }
}

/// The object, of which only whole numbers at the top count.
#[derive(Debug, Default)]
struct Object {
    /// Braces and brackets open inside it.
    depth: u16,
    length: u16,
    in_string: bool,
    is_escaped: bool,
    is_value: bool,
    is_fraction: bool,
    name: [u8; NAME_MAX],
    name_length: usize,
    number: Option<u32>,
}

impl Object {
    /// Reads one byte; true if it is the object's last, or if this is too long to be one.
    fn ends_with(&mut self, byte: u8, counts: &mut Counts) -> bool {
        self.length += 1;
        if self.in_string {
            self.read_string(byte);
            return self.length >= OBJECT_MAX;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 0 && !self.is_value {
                    self.name_length = 0;
                }
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth == 0 => {
                self.end_member(counts);
                return true;
            }
            b'}' | b']' => self.depth -= 1,
            _ if self.depth > 0 => {}
            b':' => (self.is_value, self.is_fraction, self.number) = (true, false, None),
            b',' => self.end_member(counts),
            b'0'..=b'9' if self.is_value && !self.is_fraction => {
                let digit = u32::from(byte - b'0');
                self.number = Some(self.number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
            }
            b'.' | b'e' | b'E' => self.is_fraction = true,
            _ => {}
        }
        self.length >= OBJECT_MAX
    }

    fn read_string(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = true,
            b'"' => {
                self.in_string = false;
                return;
            }
            _ => {}
        }
        if self.depth == 0 && !self.is_value {
            if let Some(place) = self.name.get_mut(self.name_length) {
                *place = byte;
            }
            self.name_length += 1;
        }
    }

    /// Takes the member that just ended, if it is a number.
    fn end_member(&mut self, counts: &mut Counts) {
        self.is_value = false;
        if let (Some(number), Some(name)) = (self.number.take(), self.name.get(..self.name_length)) {
            counts.note(name, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(prompt: u64, completion: u64) -> Option<Used> {
        Some(Used { prompt, completion })
    }

    fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Used> {
        let mut scanner = Scanner::default();
        pieces.into_iter().for_each(|piece| scanner.feed(piece));
        scanner.used()
    }

    const ANSWERS: &[(&str, Option<(u64, u64)>)] = &[
        (
            r#"{"id":"x","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46,"prompt_tokens_details":{"cached_tokens":5,"total_tokens":999}}}"#,
            Some((12, 34)),
        ),
        (
            "data: {\"usage\":null}\n\ndata: {\"choices\":[],\"usage\" : {\r\n \"prompt_tokens\" : 7 ,\n\"completion_tokens\": 3}}\n\n",
            Some((7, 3)),
        ),
        (
            r#"{"usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":90},"output_tokens":20,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":120}}"#,
            Some((100, 20)),
        ),
        (
            concat!(
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,",
                "\"cache_creation_input_tokens\":5,\"cache_read_input_tokens\":10,\"cache_creation\":{\"input_tokens\":9999},\"output_tokens\":1}}}\n\n",
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":15}}\n\n"
            ),
            Some((40, 15)),
        ),
        (
            r#"{"candidates":[],"usageMetadata":{"promptTokenCount":8,"candidatesTokenCount":10,"totalTokenCount":48,"thoughtsTokenCount":30}}"#,
            Some((8, 40)),
        ),
        (r#"{"data":[],"usage":{"prompt_tokens":9,"total_tokens":9}}"#, Some((9, 0))),
        (r#"{"usage":{"total_tokens":9}}"#, Some((9, 0))),
        (r#"{"usage":{"prompt_tokens":12.0,"completion_tokens":3.5e1}}"#, Some((12, 3))),
        (r#"{"content":"say \"usage\":{\"prompt_tokens\":1} or \\\"usage\\\""}"#, None),
        (r#"{"usage":{},"usage_limits":{"x":1},"usage":[1],"usage":"no"}"#, None),
        (
            r#"{"usage":{"a_very_long_name_that_is_no_known_prompt_tokens":1,"x\"prompt_tokens":2,"y":"prompt_tokens"}}"#,
            None,
        ),
        (r#"{"usage":{"prompt_tokens":99999999999999999999}}"#, Some((u32::MAX as u64, 0))),
        (r#"""usage"usage""usage":{"prompt_tokens":4}"#, Some((4, 0))),
        ("no JSON at all \"usage", None),
    ];

    #[test]
    fn every_providers_usage_is_found_wherever_the_pieces_are_cut() {
        for (text, expected) in ANSWERS {
            let (text, expected) = (text.as_bytes(), expected.map(|(prompt, completion)| Used { prompt, completion }));
            assert_eq!(scan([text]), expected, "{}", String::from_utf8_lossy(text));
            assert_eq!(scan(text.chunks(1)), expected, "byte by byte");
            for at in 0..text.len() {
                let (first, second) = text.split_at(at);
                assert_eq!(scan([first, second]), expected, "cut at {at}: {}", String::from_utf8_lossy(text));
            }
            for size in 2..9 {
                assert_eq!(scan(text.chunks(size)), expected, "in pieces of {size}");
            }
        }
    }

    #[test]
    fn an_object_without_end_is_given_up() {
        let mut scanner = Scanner::default();
        scanner.feed(br#"{"usage":{"prompt_tokens":1,"#);
        for _ in 0..100_000 {
            scanner.feed(b"[[[[[[[[");
        }
        scanner.feed(br#""usage":{"prompt_tokens":5,"completion_tokens":6}"#);
        assert_eq!(scanner.used(), used(5, 6));
    }

    #[test]
    fn the_memory_is_small_and_bounded() {
        assert!(size_of::<Scanner>() <= 128, "{}", size_of::<Scanner>());
    }
}

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
    is_told: bool,
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
        if !self.is_told {
            return None;
        }
        let counts = &self.counts;
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

    /// Reads from behind the needle to the object's end, or to where it turns out to be none.
    fn read<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        for (at, &byte) in piece.iter().enumerate() {
            let next = match (&mut self.state, byte) {
                (State::Name, b'"') => State::Colon,
                (State::Name, b'_' | b'a'..=b'z' | b'A'..=b'Z') => continue,
                (State::Colon, b':') => State::Brace,
                (State::Brace, b'{') => State::Object(Object::default()),
                (State::Colon | State::Brace, b' ' | b'\n' | b'\r' | b'\t') => continue,
                (State::Object(object), _) => match object.step(byte) {
                    Step::Within => continue,
                    Step::Member(name, number) => {
                        self.is_told |= self.counts.note(name, number);
                        continue;
                    }
                    Step::Last(member) => {
                        if let Some((name, number)) = member {
                            self.is_told |= self.counts.note(name, number);
                        }
                        State::Search(0)
                    }
                },
                _ => {
                    self.state = State::Search(0);
                    // This byte may begin the needle.
                    return piece.get(at..).unwrap_or_default();
                }
            };
            let is_over = matches!(next, State::Search(_));
            self.state = next;
            if is_over {
                return piece.get(at + 1..).unwrap_or_default();
            }
        }
        &[]
    }
}

impl Counts {
    /// Takes a field's number; false if the field means nothing here.
    fn note(&mut self, name: &[u8], number: u32) -> bool {
        let count = match name {
            b"prompt_tokens" | b"promptTokenCount" => &mut self.prompt,
            b"input_tokens" => &mut self.input,
            b"cache_creation_input_tokens" => &mut self.cache_written,
            b"cache_read_input_tokens" => &mut self.cache_read,
            b"completion_tokens" | b"output_tokens" | b"candidatesTokenCount" => &mut self.completion,
            b"total_tokens" | b"totalTokenCount" => &mut self.total,
            _ => return false,
        };
        *count = number.max(*count);
        true
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

/// What one byte of the object was.
enum Step<'a> {
    Within,
    Member(&'a [u8], u32),
    Last(Option<(&'a [u8], u32)>),
}

impl Object {
    fn step(&mut self, byte: u8) -> Step<'_> {
        self.length += 1;
        if self.length >= OBJECT_MAX {
            return Step::Last(None);
        }
        if self.in_string {
            self.step_string(byte);
            return Step::Within;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 0 && !self.is_value {
                    self.name_length = 0;
                }
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth == 0 => return Step::Last(self.member()),
            b'}' | b']' => self.depth -= 1,
            _ if self.depth > 0 => {}
            b':' => (self.is_value, self.is_fraction, self.number) = (true, false, None),
            b',' => {
                self.is_value = false;
                if let Some((name, number)) = self.member() {
                    return Step::Member(name, number);
                }
            }
            b'0'..=b'9' if self.is_value && !self.is_fraction => {
                let digit = u32::from(byte - b'0');
                self.number = Some(self.number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
            }
            b'.' | b'e' | b'E' => self.is_fraction = true,
            _ => {}
        }
        Step::Within
    }

    fn step_string(&mut self, byte: u8) {
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

    /// The member that just ended, if it was a number.
    fn member(&mut self) -> Option<(&[u8], u32)> {
        let number = self.number.take()?;
        Some((self.name.get(..self.name_length)?, number))
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

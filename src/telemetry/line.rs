//! The text of one log line: whatever a client sends, a line stays one line and a reader's terminal stays unharmed.
//!
//! JSON strings are escaped by serde_json; on top of that [`LineSafe`] escapes what JSON allows raw but line readers
//! and terminals act upon: DEL, the C1 controls, the Unicode line separators and the bidirectional overrides.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

/// Compact JSON whose strings hold no character that breaks a line or changes how it is shown.
pub(super) struct LineSafe;

impl Formatter for LineSafe {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        for c in fragment.chars() {
            match deceives(c) {
                true => write!(writer, "\\u{:04x}", u32::from(c))?,
                false => writer.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?,
            }
        }
        Ok(())
    }
}

/// Characters beyond JSON's own escapes that a line reader or a terminal obeys; all of them fit four hex digits.
fn deceives(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A JSON serializer into `out`.
pub(super) fn json<W: io::Write>(out: W) -> serde_json::Serializer<W, LineSafe> {
    serde_json::Serializer::with_formatter(out, LineSafe)
}

/// Writes `text` bare where it is one harmless word, else as a JSON string.
pub(super) fn word(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
    if bare { out.write_all(text.as_bytes()) } else { quoted(out, text) }
}

/// Writes `text` bare unless something in it breaks a line, else as a JSON string.
pub(super) fn sentence(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    let bare = !text.contains(|c: char| c.is_control() || deceives(c));
    if bare { out.write_all(text.as_bytes()) } else { quoted(out, text) }
}

fn quoted(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    text.serialize(&mut json(out)).map_err(io::Error::from)
}

/// The members of a JSON object that is being written.
pub(super) struct JsonFields<'a>(pub(super) &'a mut Vec<u8>);

/// A member's name with what stands around it, so that one copy writes them all.
macro_rules! member {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use member;

/// Every `name` is a `member!`.
impl JsonFields<'_> {
    fn name(&mut self, name: &'static str) {
        self.0.extend_from_slice(name.as_bytes());
    }

    /// A text of unknown origin.
    pub(super) fn text(&mut self, name: &'static str, text: &Capped<'_>) -> io::Result<()> {
        self.name(name);
        // Folded, not searched: without an early exit the compiler compares many bytes at a time.
        let is_odd = |byte: u8| !(b' '..=b'~').contains(&byte) | (byte == b'"') | (byte == b'\\');
        if text.bytes.len() > text.max || text.bytes.iter().fold(false, |odd, &byte| odd | is_odd(byte)) {
            return quoted(self.0, &text.text());
        }
        self.0.push(b'"');
        self.0.extend_from_slice(text.bytes);
        self.0.push(b'"');
        Ok(())
    }

    /// A text, or nothing at all.
    pub(super) fn some_text(&mut self, name: &'static str, text: Option<Capped<'_>>) -> io::Result<()> {
        text.map_or(Ok(()), |text| self.text(name, &text))
    }

    /// An address.
    pub(super) fn address(&mut self, name: &'static str, address: IpAddr) -> io::Result<()> {
        self.name(name);
        let IpAddr::V4(address) = address else { return io::Write::write_fmt(self.0, format_args!("\"{address}\"")) };
        let mut separator = b'"';
        for octet in address.octets() {
            self.0.push(separator);
            self.0.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            separator = b'.';
        }
        self.0.push(b'"');
        Ok(())
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Milliseconds with the microseconds as decimals.
    pub(super) fn milliseconds(&mut self, name: &'static str, duration: std::time::Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.number(name, micros / 1000);
        let decimals = [b'.', digit(micros / 100), digit(micros / 10), digit(micros)];
        self.0.extend_from_slice(&decimals);
    }
}

/// The last decimal digit.
fn digit(value: u64) -> u8 {
    b"0123456789"[(value % 10) as usize]
}

/// Bytes a client chose, shown up to `max` bytes, invalid UTF-8 as U+FFFD; a cut is marked with `…`.
pub(super) struct Capped<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) max: usize,
}

impl fmt::Display for Capped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.bytes.len() > self.max;
        let shown = self.bytes.get(..self.max).unwrap_or(self.bytes);
        let mut chunks = shown.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            f.write_str(chunk.valid())?;
            // A character halved by the cut is no error of the client's.
            let halved = cut && chunks.peek().is_none();
            if !chunk.invalid().is_empty() && !halved {
                f.write_str("\u{fffd}")?;
            }
        }
        if cut { f.write_str("…") } else { Ok(()) }
    }
}

impl<'a> Capped<'a> {
    /// The text shown; borrowed in the usual case that nothing needs changing.
    pub(super) fn text(&self) -> Cow<'a, str> {
        match std::str::from_utf8(self.bytes) {
            Ok(text) if text.len() <= self.max => Cow::Borrowed(text),
            _ => Cow::Owned(self.to_string()),
        }
    }
}

impl Serialize for Capped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

/// Writes a time as RFC 3339, UTC, milliseconds. The text of the second is kept from line to line.
pub(super) fn stamp(out: &mut Vec<u8>, time: SystemTime) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() {
            let moment = i64::try_from(since.as_secs()).ok().and_then(|s| Timestamp::from_second(s).ok());
            *text = moment.unwrap_or(Timestamp::UNIX_EPOCH).strftime("%Y-%m-%dT%H:%M:%S").to_string();
            *second = since.as_secs();
        }
        out.extend_from_slice(text.as_bytes());
    });
    let ms = u64::from(since.subsec_millis());
    out.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms), b'Z']);
}

/// A time as RFC 3339, UTC, milliseconds.
pub(super) struct Stamp(pub(super) SystemTime);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", Timestamp::try_from(self.0).unwrap_or(Timestamp::UNIX_EPOCH))
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn to_json(value: impl Serialize) -> String {
        let mut out = Vec::new();
        value.serialize(&mut json(&mut out)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_in_a_string_ends_the_line_or_moves_the_cursor() {
        let nasty = "a\"b\\c\nd\re\u{0}f\u{1b}[31mg\u{7f}h\u{9b}i\u{2028}j\u{2029}k\u{202e}l\u{85}é漢";
        let text = to_json(nasty);
        assert!(!text.chars().any(|c| c.is_control() || deceives(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), nasty, "and it is still JSON for the same text");
    }

    #[test]
    fn a_word_with_anything_odd_in_it_is_quoted() {
        for (text, expected) in [
            ("/v1/models", "/v1/models"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("a\"b", "\"a\\\"b\""),
            ("a\nb", "\"a\\nb\""),
        ] {
            let mut out = Vec::new();
            word(&mut out, text).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn bytes_are_capped_and_made_utf8() {
        let capped = |bytes, max| to_json(Capped { bytes, max });
        assert_eq!(capped(b"/ok", 512), "\"/ok\"");
        assert_eq!(capped(b"/\xff\xfe", 512), "\"/\u{fffd}\u{fffd}\"");
        assert_eq!(capped(b"abcdef", 3), "\"abc…\"");
        assert_eq!(capped("aé".as_bytes(), 2), "\"a…\"", "a halved character is left out");
        assert_eq!(capped(b"", 3), "\"\"");
    }

    #[test]
    fn stamps_are_rfc3339_in_utc_with_milliseconds() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_751_711_400_007);
        assert_eq!(Stamp(time).to_string(), "2025-07-05T10:30:00.007Z");
        assert_eq!(Stamp(SystemTime::UNIX_EPOCH).to_string(), "1970-01-01T00:00:00.000Z");
    }
}

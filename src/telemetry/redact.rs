//! Keeps keys out of texts this program did not write itself: providers' messages, libraries' warnings, panics.
//!
//! Our own messages name keys and never hold them, so nothing needs to be searched for a pool's keys; what is left are
//! texts that quote a request back. They are matched by shape, and rather too much is blanked than too little.

use std::borrow::Cow;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::thread;

use once_cell::sync::Lazy;
use regex::Regex;

use super::logger;

/// What stands in a secret's place.
const BLANK: &str = "[redacted]";

static SHAPES: Lazy<[(Regex, String); 4]> = Lazy::new(|| {
    [
        // The user and password of a URL.
        (pattern(r"(://)[^\s/@]+@"), format!("${{1}}{BLANK}@")),
        // Authorization: Bearer …
        (pattern(r#"(?i)\b(bearer|basic)\s+[^\s"',;]+"#), format!("${{1}} {BLANK}")),
        // ?key=…, "api_key": "…"
        (
            pattern(r#"(?i)((?:key|token|secret|password|authorization)["']?\s*[=:]\s*["']?)[^\s"'&,;}\])]+"#),
            format!("${{1}}{BLANK}"),
        ),
        // Keys by their makers' prefixes, and any run too long to be a word.
        (
            pattern(concat!(
                r"\b(?:(?:sk|pk|rk|ak|ms|gsk|hf|xai|nvapi|ghp|tvly)[-_][A-Za-z0-9_.*-]{3,}",
                r"|AIza[A-Za-z0-9_-]{10,}|[A-Za-z0-9_.-]{40,})"
            )),
            BLANK.to_owned(),
        ),
    ]
});

#[expect(clippy::expect_used, reason = "the patterns are constants of this file, and its tests compile them")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern")
}

/// `text` with everything that looks like a credential blanked.
pub fn scrub(text: &str) -> Cow<'_, str> {
    let mut scrubbed = Cow::Borrowed(text);
    for (shape, blank) in SHAPES.iter() {
        if let Cow::Owned(replaced) = shape.replace_all(&scrubbed, blank) {
            scrubbed = Cow::Owned(replaced);
        }
    }
    scrubbed
}

/// Values as a panic's message shows them: quoted, or as a list of bytes.
static VALUES: Lazy<Regex> =
    Lazy::new(|| pattern(r#"(?s)"(?:[^"\\]|\\.)*(?:"|\\?$)|`[^`]*(?:`|$)|\[\d+(?:, \d+)*\]?"#));

/// A panic's message without the values that caused it, which may be somebody's text.
fn without_values(message: &str) -> Cow<'_, str> {
    VALUES.replace_all(message, "…")
}

/// Sends panics to the application log, without values and scrubbed.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(|info| {
        let message = describe(info);
        if log::max_level() == log::LevelFilter::Off {
            // Before the log is set up there is nowhere else to say it, and no use for an error in saying it.
            drop(writeln!(io::stderr(), "{message}"));
        } else {
            log::error!("{message}");
            logger::flush();
        }
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let thread = thread::current();
    format!(
        "panicked at {place} in thread {}: {}",
        thread.name().unwrap_or("without name"),
        scrub(&without_values(message))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shape_of_a_key_survives() {
        for text in [
            "Incorrect API key provided: sk-CANARY1234. You can find it in…",
            "invalid token ms-CANARY-11-22",
            r#"{"error":{"api_key":"CANARY"}}"#,
            "GET /v1/models?key=CANARY&x=1",
            "authorization: Bearer CANARY",
            "Authorization: Basic CANARY==",
            "proxy socks5://user:CANARY@10.0.0.1:1080 refused",
            "AIzaSyCANARYCANARYCANARYCANARY is not valid",
            "0123456789abcdef0123456789abcdef.CANARYCANARYCANA is expired",
            "x-api-key=CANARY, password : 'CANARY'",
        ] {
            let scrubbed = scrub(text);
            assert!(!scrubbed.contains("CANARY"), "{scrubbed}");
            assert!(scrubbed.contains(BLANK), "{scrubbed}");
        }
    }

    #[test]
    fn a_panic_tells_no_value() {
        for message in [
            "byte index 1 is not a char boundary; it is inside 'é' (bytes 0..2) of `HUSH\nHUSH`",
            "called `Result::unwrap()` on an `Err` value: Error { body: b\"HUSH \\\" HUSH\" }",
            "assertion `left == right` failed\n  left: [72, 85, 83, 72]\n right: \"HUSH\"",
            "cut off: \"HUSH",
            "cut off: `HUSH",
            "cut off: \"HUSH\\",
        ] {
            let text = without_values(message);
            assert!(!text.contains("HUSH") && !text.contains("72, 85"), "{text}");
        }
        let plain = "index out of bounds: the len is 3 but the index is 5";
        assert_eq!(without_values(plain), plain);
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        let text =
            "Rate limit reached for requests: limit 3, used 3. Please try again in 20s (request 3f2a-11). Task-force.";
        assert_eq!(scrub(text), text);
    }
}

//! The `model` a request asks for, found without building a JSON tree.
//!
//! The scanner walks the top-level members of the object and stops at the first `model`; nested objects, which may hold
//! a `model` of their own inside a prompt, are stepped over.

use memchr::memchr2;

use crate::upstream::Payload;

/// Longer names are not model names.
const MAX_MODEL: usize = 256;

/// The `model` of a body. Most name it early; only where the first piece does not hold it is the body joined to be read.
pub(super) fn of_payload(body: &Payload) -> Option<String> {
    let first = body.pieces().first()?;
    match body.pieces().len() {
        1 => model(first),
        _ => model(first).or_else(|| model(&body.joined())),
    }
}

/// The top-level `model` of a JSON object, if it is a plain string.
pub(super) fn model(body: &[u8]) -> Option<String> {
    let mut scanner = Scanner { text: body, at: 0 };
    scanner.expect(b'{')?;
    loop {
        let name = scanner.string()?;
        scanner.expect(b':')?;
        if name == b"model" {
            scanner.skip_space();
            return scanner.string().filter(|value| value.len() <= MAX_MODEL && !value.contains(&b'\\')).and_then(utf8);
        }
        scanner.skip_value()?;
        scanner.expect(b',')?;
    }
}

fn utf8(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        self.skip_space();
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// The raw text between two quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            let rest = self.text.get(self.at..)?;
            self.at += memchr2(b'"', b'\\', rest)?;
            if self.peek()? == b'"' {
                self.at += 1;
                return self.text.get(start..self.at - 1);
            }
            self.at += 2;
        }
    }

    /// Steps over one value, however deep, without recursion.
    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            self.skip_space();
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
            self.skip_space();
            if depth == 0 && matches!(self.peek()?, b',' | b'}' | b']') {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> Option<String> {
        model(text.as_bytes())
    }

    #[test]
    fn the_top_level_member_is_found_wherever_it_stands() {
        for text in [
            r#"{"model":"qwen"}"#,
            r#" { "model" : "qwen" , "x":1}"#,
            r#"{"messages":[{"role":"user","content":"say \"model\":\"no\" {["}],"n":1.5e3,"t":true,"z":null,"model":"qwen"}"#,
            r#"{"a":{"model":"no"},"b":[{"model":"no"}],"c":"\\","model":"qwen"}"#,
        ] {
            assert_eq!(find(text).as_deref(), Some("qwen"), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_model_is_none() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"model":1}"#,
            r#"{"model":"a\nb"}"#,
            r#"{"x":"model"}"#,
            r#"{"a":"unclosed"#,
            "{\"a\":\"\\",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
        assert_eq!(find(&format!(r#"{{"model":"{}"}}"#, "m".repeat(300))), None);
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let text = format!(r#"{{"a":{}{},"model":"m"}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(find(&text).as_deref(), Some("m"));
    }
}

//! Members of JSON that is cut off, too deep or broken: a scan that knows strings and numbers and no nesting.

use serde_json::Value;

/// A longer name is none of an error's.
const NAME: usize = 32;

/// Names and values, in their order. A last string may be cut off.
pub(super) fn members(text: &str) -> impl Iterator<Item = (&str, Value)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (name, after, is_whole) = string(rest.get(rest.find('"')? + 1..)?);
            rest = after;
            let Some(value) = after.trim_start().strip_prefix(':').filter(|_| is_whole && is_name(name)) else {
                continue;
            };
            let value = value.trim_start();
            if let Some(value) = value.strip_prefix('"') {
                let (value, after, _) = string(value);
                rest = after;
                return Some((name, unescaped(value)));
            }
            let end = value.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(value.len());
            if let Some(number) = value.get(..end).filter(|number| !number.is_empty()) {
                return Some((name, Value::String(number.to_owned())));
            }
        }
    })
}

/// The rest of a string whose quote is before `text`, what follows it, and whether it ends.
fn string(text: &str) -> (&str, &str, bool) {
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(['"', '\\'])).map(|at| from + at) {
        if text.as_bytes().get(at) == Some(&b'"') {
            return (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default(), true);
        }
        let escaped = text.get(at + 1..).and_then(|rest| rest.chars().next());
        from = at + 1 + escaped.map_or(0, char::len_utf8);
    }
    (text, "", false)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME && text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_' || b == b'-')
}

fn unescaped(text: &str) -> Value {
    serde_json::from_str(&format!("\"{text}\"")).unwrap_or_else(|_| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(&str, String)> {
        members(text).map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned())).collect()
    }

    #[test]
    fn what_is_there_of_a_cut_object_is_read() {
        let text = r#"{"error": {"code" : 1305, "message":"say \"no\" \u4f60", "param": null, "deep": {"type":"busy"}, "last": "it is cu"#;
        let expected = [("code", "1305"), ("message", "say \"no\" 你"), ("type", "busy"), ("last", "it is cu")];
        assert_eq!(read(text), expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn any_text_comes_to_an_end() {
        for text in
            ["", "\"", "\"a\"", "\"a\":", "\"a\":\"", "\"a\":\"\\", "\"a\":-", "\"é\":\"é\\é", "::\"\":\"\"\"b\":1"]
        {
            assert!(members(text).count() <= 1, "{text}");
        }
    }
}

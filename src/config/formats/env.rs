//! `.env` files: `SILICONFLOW_API_KEY_1=…`, `API_KEYS=[…]`, `PROVIDERS_CONFIG=[…]`.

use std::collections::HashMap;
use std::sync::Arc;

use super::collect::Collector;
use super::fields::Hints;
use super::text::without_comment;
use super::{BadLine, json, nodes};
use crate::verdict::pack;

/// One assignment.
#[derive(Clone)]
pub struct Variable {
    /// Where, from 1.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Its value without quotes, which may be a secret.
    pub value: String,
}

/// Reads the assignments of a `.env` file; quoted values and JSON may go over several lines.
pub fn variables(text: &str) -> (Vec<Variable>, Vec<BadLine>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut found, mut bad) = (Vec::new(), Vec::new());
    let lines: Vec<&str> = text.lines().collect();
    let mut index = 0;
    while let Some(written) = lines.get(index) {
        let line = index + 1;
        index += 1;
        let written = written.trim();
        if written.is_empty() || written.starts_with('#') {
            continue;
        }
        let written = written.strip_prefix("export ").unwrap_or(written);
        let Some((name, value)) = written.split_once('=').filter(|(name, _)| is_name(name.trim())) else {
            bad.push(BadLine { line, message: "not NAME=value".into() });
            continue;
        };
        let (value, more) = whole_value(value.trim_start(), lines.get(index..).unwrap_or_default());
        index += more;
        found.push(Variable { line, name: name.trim().to_owned(), value });
    }
    (found, bad)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The value that begins so, and how many of the following lines belong to it.
fn whole_value(first: &str, following: &[&str]) -> (String, usize) {
    if first.starts_with(['"', '\'', '[', '{']) {
        // An assignment means that the bracket or quote was never closed.
        let more = following.iter().take_while(|line| !is_assignment(line)).copied();
        let block: Vec<&str> = std::iter::once(first).chain(more).collect();
        let block = block.join("\n");
        let found = if first.starts_with(['[', '{']) { json_at(&block) } else { quoted_at(&block) };
        if let Some((value, end)) = found {
            return (value, block.bytes().take(end).filter(|byte| *byte == b'\n').count());
        }
    }
    (without_comment(first).trim().to_owned(), 0)
}

fn is_assignment(line: &str) -> bool {
    line.split_once('=').is_some_and(|(name, _)| is_name(name.trim()))
}

/// The JSON that begins a text, and where it ends; brackets are counted, so that it is parsed once.
fn json_at(text: &str) -> Option<(String, usize)> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            // No string goes over the end of a line.
            b'\n' => (in_string, escaped) = (false, false),
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && !in_string {
            let value = text.get(..=at)?;
            return json::parse(value).map(|_| (value.to_owned(), at));
        }
    }
    None
}

/// The text between the quotes that begin a text, and where it ends. Nothing but a comment may follow on that line.
fn quoted_at(text: &str) -> Option<(String, usize)> {
    let mut rest = text.chars();
    let quote = rest.next()?;
    let mut value = String::new();
    while let Some(c) = rest.next() {
        match c {
            c if c == quote => {
                let after = rest.as_str().lines().next().unwrap_or_default().trim_start();
                let end = text.len() - rest.as_str().len();
                return (after.is_empty() || after.starts_with('#')).then_some((value, end));
            }
            '\\' if quote == '"' => match rest.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                c @ ('"' | '\\' | '$' | '\'') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    None
}

/// Reads the keys of a `.env` file. Variables of other meaning are passed over.
pub(super) fn read(text: &str, out: &mut Collector) {
    let (variables, bad) = variables(text);
    for BadLine { line, message } in bad {
        out.bad(line, message);
    }
    let urls: HashMap<&str, &str> = variables
        .iter()
        .filter_map(|variable| Some((variable.name.strip_suffix("BASE_URL")?, variable.value.split(',').next()?)))
        .filter(|(_, url)| !url.is_empty())
        .collect();
    for variable in &variables {
        if variable.name == "PROVIDERS_CONFIG" {
            nodes::read_json(&variable.value, variable.line - 1, out);
        } else if let Some(owner) = owner(&variable.name) {
            let mut hints = Hints { provider: provider(owner), ..Hints::default() };
            if let Some(url) = urls.get(owner).or_else(|| if owner.is_empty() { urls.get("OPENAI_") } else { None }) {
                hints.set_base_url(url);
            }
            keys(variable, &hints, out);
        }
    }
}

fn keys(variable: &Variable, hints: &Hints, out: &mut Collector) {
    let value = variable.value.trim();
    match serde_json::from_str::<Vec<String>>(value) {
        Ok(keys) => keys.iter().for_each(|key| out.push(hints.entry(variable.line, key.trim()))),
        Err(_) => {
            let words = value.trim_matches(['[', ']']).split(|c: char| c.is_whitespace() || matches!(c, ',' | ';'));
            let clean = words.map(|word| word.trim_matches(['"', '\''])).filter(|word| !word.is_empty());
            clean.for_each(|key| out.push(hints.entry(variable.line, key)));
        }
    }
}

/// Whose keys a variable holds: what stands before `API_KEY`, `API_KEYS`, `API_KEY_7`, … `None` = it holds no
/// provider's keys.
fn owner(name: &str) -> Option<&str> {
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    let name = name.strip_suffix('S').unwrap_or(name);
    let owner = name.strip_suffix("API_KEY").or_else(|| name.strip_suffix("API_TOKEN"));
    let owner = owner.or_else(|| {
        let prefix = name.strip_suffix("KEY").or_else(|| name.strip_suffix("TOKEN"))?;
        provider(prefix).map(|_| prefix)
    })?;
    // Keys to the balancer itself, and switches that are about keys.
    let own = ["LB_", "ADMIN_", "AUTH_", "PROXY_", "PROXIES_", "CLIENT_", "MASTER_", "SERVER_", "GATEWAY_"];
    let is_own = own.iter().any(|own| owner.starts_with(own));
    (owner.is_empty() || (owner.ends_with('_') && !is_own)).then_some(owner)
}

fn provider(prefix: &str) -> Option<Arc<str>> {
    let word = prefix.trim_end_matches('_').to_ascii_lowercase();
    let name = match word.as_str() {
        "hf" => "huggingface",
        "google" => "gemini",
        "kimi" => "moonshot",
        "ark" => "volcengine",
        "bailian" | "aliyun" => "dashscope",
        word => word,
    };
    pack::find(name).map(|pack| pack.name.as_str().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unwrapped() {
        let text = "A=1 # one\nexport B = 'x # y'\nC=\"q\\\"r\"\nD=[\n  \"a\",\n  \"b\"\n]\nE='[{\"n\":\n1}]'\nF=[\"open\nG=2\nH\n";
        let (found, bad) = variables(text);
        let shown: Vec<_> = found.iter().map(|v| (v.line, v.name.as_str(), v.value.as_str())).collect();
        assert_eq!(
            shown,
            [
                (1, "A", "1"),
                (2, "B", "x # y"),
                (3, "C", "q\"r"),
                (4, "D", "[\n  \"a\",\n  \"b\"\n]"),
                (8, "E", "[{\"n\":\n1}]"),
                (10, "F", "[\"open"),
                (11, "G", "2"),
            ]
        );
        assert_eq!(bad, [BadLine { line: 12, message: "not NAME=value".into() }]);
    }

    #[test]
    fn only_providers_keys_are_keys() {
        for (name, expected) in [
            ("SILICONFLOW_API_KEY_1", Some("SILICONFLOW_")),
            ("API_KEYS", Some("")),
            ("OPENAI_KEY", Some("OPENAI_")),
            ("HF_TOKEN", Some("HF_")),
            ("MYCO_API_KEY", Some("MYCO_")),
            ("LB_API_KEY", None),
            ("LB_ADMIN_KEY", None),
            ("AUTH_KEY", None),
            ("AUTH_TOKEN", None),
            ("ALLOWED_TOKENS", None),
            ("MODEL_REQUEST_KEY", None),
            ("KEYS_FILE", None),
            ("SECRET_KEY", None),
            ("PROXIES_USE_CONSISTENCY_HASH_BY_API_KEY", None),
        ] {
            assert_eq!(owner(name), expected, "{name}");
        }
    }
}

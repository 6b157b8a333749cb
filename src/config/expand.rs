//! `${VAR}`, `${VAR:-default}` and `$$` in scalar values.
//!
//! Expansion comes after parsing, so no variable's content can change the structure of a file.

use std::collections::HashMap;

use super::problem::At;
use super::tree::{Kind, Node, Style};

/// Where variables come from; tests bring their own.
pub trait Environment {
    /// The variable's value, if it is set and is text.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The process's environment.
#[derive(Debug, Clone, Copy)]
pub struct Process;

impl Environment for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Environment for HashMap<&str, &str> {
    fn variable(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| (*value).to_owned())
    }
}

/// Expands every scalar value under `node` and refuses duplicate names.
pub(crate) fn expand(node: &mut Node, at: &At<'_>, env: &dyn Environment) {
    match &mut node.kind {
        Kind::Scalar(text, style) => {
            if text.contains('$') {
                match expand_text(text, env) {
                    Ok((value, whole)) => {
                        *text = value;
                        *style = if whole { Style::Expanded } else { Style::Quoted };
                    }
                    Err(message) => {
                        at.error(message);
                        node.kind = Kind::Damaged;
                    }
                }
            }
        }
        Kind::List(items) => {
            for item in items {
                let here = at.entry(item.slot, item.position);
                expand(item, &here, env);
            }
        }
        Kind::Map(entries) => {
            let mut seen: HashMap<String, usize> = HashMap::with_capacity(entries.len());
            entries.retain_mut(|(name, value)| {
                let here = at.named(&name.text, name.position);
                if name.text == "<<" {
                    here.error("merge keys (<<) are not supported; repeat the fields");
                    return false;
                }
                if let Some(line) = seen.insert(name.text.clone(), name.position.line) {
                    here.error(format!("written twice, first on line {line}; remove one"));
                    return false;
                }
                let here = at.named(&name.text, value.position);
                expand(value, &here, env);
                true
            });
        }
        Kind::Damaged => {}
    }
}

/// The expanded text, and whether all of it came from one `${…}`.
fn expand_text(text: &str, env: &dyn Environment) -> Result<(String, bool), String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            after
        } else if let Some(after) = after.strip_prefix('{') {
            let (reference, after) = after.split_once('}').ok_or("`${` is not closed; write $$ for a plain $")?;
            out.push_str(&look_up(reference, env)?);
            // `${` and `}` are all there is besides the reference.
            if text.len() == reference.len() + 3 {
                return Ok((out, true));
            }
            after
        } else {
            out.push('$');
            after
        };
    }
    out.push_str(rest);
    Ok((out, false))
}

fn look_up(reference: &str, env: &dyn Environment) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_variable(name) {
        return Err("not a variable; write ${NAME} or ${NAME:-default}, and $$ for a plain $".into());
    }
    match (env.variable(name).filter(|value| !value.is_empty()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            Err(format!("the environment variable {name} is not set; set it or write ${{{name}:-default}}"))
        }
    }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.len() <= 128
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_dollars_doubled() {
        let env = HashMap::from([("A", "x"), ("EMPTY", "")]);
        let expand = |text| expand_text(text, &env as &dyn Environment);
        assert_eq!(expand("${A}"), Ok(("x".into(), true)));
        assert_eq!(expand("-${A}-${B:-y}"), Ok(("-x-y".into(), false)));
        assert_eq!(expand("${EMPTY:-}"), Ok((String::new(), true)));
        assert_eq!(expand("$${A} $5 $"), Ok(("${A} $5 $".into(), false)));
        assert_eq!(expand("${A}${A}"), Ok(("xx".into(), false)));
        assert!(expand("${EMPTY}").is_err_and(|message| message.contains("EMPTY is not set")));
        assert!(expand("${A").is_err());
        assert!(expand("${sk-secret}").is_err_and(|message| !message.contains("secret")));
    }
}

//! A list of models, in whichever shape a provider gives it.
//!
//! `{"data":[{"id"}]}` (OpenAI, Anthropic), `{"models":[{"name"}]}` (Gemini, Ollama) and the bare `[{"id"}]` (Together)
//! are known. What is not filtered passes as it came: entries and everything around them are kept as text.

use std::collections::HashSet;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::lexer::{Found, Lexer};
use crate::config::models::bare;
use crate::config::raw::Named;

/// The members that may hold the entries.
const MEMBERS: [&str; 2] = ["data", "models"];

/// A provider's list.
#[derive(Debug, Clone)]
pub(super) struct List {
    /// What is around the entries, themselves left out; `None` = nothing.
    around: Option<Vec<(String, Box<RawValue>)>>,
    /// The member that holds the entries.
    member: &'static str,
    entries: Vec<Entry>,
}

/// One model.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    text: Box<RawValue>,
}

/// The members a model may be called by.
#[derive(Deserialize)]
struct Names {
    id: Option<String>,
    name: Option<String>,
}

impl List {
    /// Reads an answer; `None` if it is no list.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        if let Ok(entries) = serde_json::from_slice::<Vec<Box<RawValue>>>(body) {
            return Some(Self { around: None, member: "", entries: read(entries)? });
        }
        let Named(mut around) = serde_json::from_slice::<Named<Box<RawValue>>>(body).ok()?;
        let is_list = |member: &&str| around.iter().any(|(name, text)| name == member && text.get().starts_with('['));
        let member = MEMBERS.into_iter().find(is_list)?;
        let (_, text) = around.iter_mut().find(|(name, _)| name == member)?;
        let entries = read(serde_json::from_str(text.get()).ok()?)?;
        *text = RawValue::from_string("null".into()).ok()?;
        Some(Self { around: Some(around), member, entries })
    }

    /// Adds what another target has beside this.
    pub(super) fn merge(&mut self, other: &Self) {
        let known: HashSet<String> = self.entries.iter().map(|entry| entry.name.clone()).collect();
        self.entries.extend(other.entries.iter().filter(|entry| !known.contains(&entry.name)).cloned());
    }

    /// The list as a client sees it: the provider's models that are `open`, then the aliases, each with what it stands
    /// for, in the place of models that are called the same.
    pub(super) fn render<'a>(
        &self,
        is_open: impl Fn(&str) -> bool,
        aliases: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Bytes {
        let aliases: Vec<_> = aliases.collect();
        let is_alias = |name: &str| aliases.iter().any(|(alias, _)| *alias == bare(name));
        let own = self.entries.iter().filter(|entry| !is_alias(&entry.name) && is_open(&entry.name));
        let own = own.map(|entry| entry.text.get().to_owned());
        let entries: Vec<String> = own.chain(aliases.iter().map(|(alias, model)| self.alias(alias, model))).collect();
        let entries = format!("[{}]", entries.join(","));
        let Some(around) = &self.around else { return entries.into() };
        let members = around.iter().map(|(name, text)| {
            let text = if name == self.member { &entries } else { text.get() };
            format!("{}:{text}", Value::from(name.as_str()))
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(",")).into()
    }

    /// An alias's entry: that of the model it stands for under another name, or one of its own.
    pub(super) fn alias(&self, alias: &str, model: &str) -> String {
        let entry = self.entries.iter().find(|entry| bare(&entry.name) == bare(model));
        if let Some(renamed) = entry.and_then(|entry| renamed(entry, alias)) {
            return renamed;
        }
        match self.member {
            "models" => json!({"name": format!("models/{alias}"), "displayName": alias}),
            _ => json!({"id": alias, "object": "model", "created": 0, "owned_by": "keyweir"}),
        }
        .to_string()
    }
}

fn read(entries: Vec<Box<RawValue>>) -> Option<Vec<Entry>> {
    let read = |text: Box<RawValue>| {
        let Names { id, name } = serde_json::from_str(text.get()).ok()?;
        Some(Entry { name: id.or(name)?, text })
    };
    entries.into_iter().map(read).collect()
}

/// An entry with another name, all else as it came.
fn renamed(entry: &Entry, alias: &str) -> Option<String> {
    let mut place = None;
    let mut lexer = Lexer::new(1);
    lexer.feed(entry.text.get().as_bytes(), |found| match found {
        Found::Value(name, text, 1) if name.get().is_some_and(|name| name == "id" || name == "name") => {
            if place.is_none() && text.get().is_some_and(|text| text == entry.name) {
                place = Some(text.place());
            }
        }
        Found::Name(..) | Found::Value(..) => {}
    });
    let place = place?;
    let alias = if bare(&entry.name) == entry.name { alias.to_owned() } else { format!("models/{alias}") };
    let text = entry.text.get();
    Some([text.get(..place.start)?, &Value::from(alias).to_string(), text.get(place.end..)?].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(list: &List, closed: &[&str], aliases: &[(&str, &str)]) -> String {
        let bytes = list.render(|name| !closed.contains(&name), aliases.iter().copied());
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    const OPENAI: &str = r#"{"object": "list", "data": [{"id": "a", "object": "model", "created": 1.50, "owned_by": "x"}, {"id":"b/c"}], "has_more": false}"#;

    #[test]
    fn what_is_not_touched_passes_as_it_came() {
        let list = List::parse(OPENAI.as_bytes()).unwrap();
        assert_eq!(
            render(&list, &["b/c"], &[]),
            r#"{"object":"list","data":[{"id": "a", "object": "model", "created": 1.50, "owned_by": "x"}],"has_more":false}"#
        );
    }

    #[test]
    fn aliases_are_added_with_what_they_stand_for() {
        let list = List::parse(OPENAI.as_bytes()).unwrap();
        let text = render(&list, &["a"], &[("fast", "a"), ("b/c", "z")]);
        assert_eq!(
            text,
            r#"{"object":"list","data":[{"id": "fast", "object": "model", "created": 1.50, "owned_by": "x"},{"created":0,"id":"b/c","object":"model","owned_by":"keyweir"}],"has_more":false}"#
        );
    }

    #[test]
    fn other_shapes_are_known() {
        let gemini = List::parse(
            br#"{"models":[{"name":"models/g","displayName":"G"},{"name":"models/h"}],"nextPageToken":"t"}"#,
        )
        .unwrap();
        assert_eq!(
            render(&gemini, &["models/h"], &[("fast", "g"), ("odd", "z")]),
            r#"{"models":[{"name":"models/g","displayName":"G"},{"name":"models/fast","displayName":"G"},{"displayName":"odd","name":"models/odd"}],"nextPageToken":"t"}"#
        );
        let together = List::parse(br#"[{"id":"a","type":"chat"},{"id":"b"}]"#).unwrap();
        assert_eq!(render(&together, &["b"], &[]), r#"[{"id":"a","type":"chat"}]"#);
        for no_list in ["", "{}", "[1]", r#"{"data":{}}"#, r#"{"data":[{"x":1}]}"#, r#"{"error":{"message":"no"}}"#] {
            assert!(List::parse(no_list.as_bytes()).is_none(), "{no_list}");
        }
        assert_eq!(render(&List::parse(br#"{"data":[]}"#).unwrap(), &[], &[]), r#"{"data":[]}"#);
    }

    #[test]
    fn lists_of_several_targets_are_one() {
        let mut list = List::parse(br#"{"data":[{"id":"a","at":1}]}"#).unwrap();
        list.merge(&List::parse(br#"{"data":[{"id":"a","at":2},{"id":"b","at":2}],"x":1}"#).unwrap());
        assert_eq!(render(&list, &[], &[]), r#"{"data":[{"id":"a","at":1},{"id":"b","at":2}]}"#);
    }
}

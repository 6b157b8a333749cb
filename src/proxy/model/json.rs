//! The `model` at the top of a JSON body.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::super::answer::Answer;
use super::super::lexer::{Found, Lexer};
use super::{Named, Part};
use crate::upstream::Payload;

/// Longer names are no hint.
const MAX_MODEL: usize = 256;

/// What a body names, if that can be read.
pub(super) fn hint(body: &Payload) -> Result<Option<Named>, Answer> {
    let is_object = body.pieces().first().is_some_and(|piece| piece.trim_ascii_start().starts_with(b"{"));
    if !is_object {
        return Ok(None);
    }
    match member(body.pieces().iter().map(|piece| &**piece), |name| name == "model") {
        Ok(named) => Ok(named.filter(|named| named.name.len() <= MAX_MODEL)),
        Err(Twice) => Err(Answer::BadRequest("The body has two models.")),
    }
}

/// What a body names, read as any parser would: with all names of OpenRouter's `models`.
pub(super) fn strict(body: &[u8]) -> Result<Vec<Named>, Answer> {
    let malformed =
        || Answer::BadRequest("The body must be a JSON object with one model at most, because some models are closed.");
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = reader.deserialize_map(TopLevel::default()).and_then(|read| reader.end().map(|()| read));
    let Ok(TopLevel { model, models }) = read else { return Err(malformed()) };
    let listed = models.into_iter().map(|name| Named { name, part: Part::List, place: 0..0 });
    let Some(model) = model else { return Ok(listed.collect()) };
    // Go's parsers do not mind the case.
    match place_of([body], |name| name.eq_ignore_ascii_case("model")) {
        Ok(Some((name, place))) if name.as_ref().is_none_or(|name| *name == model) => {
            Ok(std::iter::once(Named { name: model, part: Part::Json, place }).chain(listed).collect())
        }
        _ => Err(malformed()),
    }
}

/// There are two.
#[derive(Debug)]
struct Twice;

fn member<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Option<Named>, Twice> {
    let found = place_of(pieces, is_wanted)?;
    Ok(found.and_then(|(name, place)| Some(Named { name: name?, part: Part::Json, place })))
}

/// What a string says, if it is not too long to be kept, and its place.
type Placed = (Option<String>, Range<usize>);

/// The string at the top that is called so.
fn place_of<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Option<Placed>, Twice> {
    let (mut lexer, mut named, mut times) = (Lexer::new(1), None, 0);
    for piece in pieces {
        lexer.feed(piece, |found| match found {
            Found::Name(name, 1) => times += u32::from(name.get().is_some_and(|name| is_wanted(&name))),
            Found::Value(name, text, 1) if name.get().is_some_and(|name| is_wanted(&name)) => {
                named = Some((text.get().map(Cow::into_owned), text.place()));
            }
            Found::Name(..) | Found::Value(..) => {}
        });
    }
    if times > 1 { Err(Twice) } else { Ok(named) }
}

/// What a JSON object names.
#[derive(Default)]
struct TopLevel {
    model: Option<String>,
    models: Vec<String>,
}

impl<'de> Visitor<'de> for TopLevel {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self, A::Error> {
        let mut is_named = false;
        while let Some(name) = members.next_key::<Cow<'_, str>>()? {
            if name.eq_ignore_ascii_case("models") {
                self.models.extend(names(members.next_value()?));
            } else if !name.eq_ignore_ascii_case("model") {
                members.next_value::<IgnoredAny>()?;
            } else if std::mem::replace(&mut is_named, true) {
                return Err(A::Error::custom("two models"));
            } else {
                self.model = members.next_value()?;
            }
        }
        Ok(self)
    }
}

fn names(value: Value) -> Vec<String> {
    match value {
        Value::String(name) => vec![name],
        Value::Array(list) => list.into_iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Payload {
        Payload::from(bytes::Bytes::from(text.to_owned()))
    }

    fn hinted(text: &str) -> Result<Option<String>, u16> {
        hint(&body(text)).map(|named| named.map(|named| named.name)).map_err(|answer| answer.status())
    }

    fn strictly(text: &str) -> Result<Vec<String>, u16> {
        let named = strict(text.as_bytes()).map_err(|answer| answer.status())?;
        for named in named.iter().filter(|named| named.part == Part::Json) {
            let name: String = serde_json::from_slice(&text.as_bytes()[named.place.clone()]).unwrap();
            assert_eq!(name, named.name);
        }
        Ok(named.into_iter().map(|named| named.name).collect())
    }

    fn named(model: &str) -> Result<Vec<String>, u16> {
        Ok(vec![model.to_owned()])
    }

    #[test]
    fn the_top_level_member_is_found_wherever_it_stands() {
        for text in [
            r#"{"model":"qwen"}"#,
            r#" { "model" : "qwen" , "x":1}"#,
            r#"{"messages":[{"role":"user","content":"say \"model\":\"no\" {["}],"n":1.5e3,"t":true,"z":null,"model":"qwen"}"#,
            r#"{"a":{"model":"no"},"b":[{"model":"no"}],"c":"\\","model":"qwen"}"#,
            r#"{"mod\u0065l":"qw\u0065n"}"#,
            r#"{"model":"qwen","tools":[{"model":"no"}],"Model":"other parsers' business"}"#,
        ] {
            assert_eq!(hinted(text).unwrap().as_deref(), Some("qwen"), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_model_is_none() {
        for text in [
            "",
            "{",
            "[]",
            r#"[{"model":"a"}]"#,
            r#"{"model":1}"#,
            r#"{"x":"model"}"#,
            r#"{"a":"unclosed"#,
            "{\"a\":\"\\",
        ] {
            assert_eq!(hinted(text), Ok(None), "{text}");
        }
        assert_eq!(hinted(&format!(r#"{{"model":"{}"}}"#, "m".repeat(300))), Ok(None));
    }

    #[test]
    fn two_models_are_refused() {
        for text in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","messages":[],"mod\u0065l":"b"}"#,
            r#"{"model":null,"model":"b"}"#,
            r#"{"model":"a","model":{"x":1}}"#,
        ] {
            assert_eq!(hinted(text), Err(400), "{text}");
        }
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let text = format!(r#"{{"a":{}{},"model":"m"}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(hinted(&text).unwrap().as_deref(), Some("m"));
    }

    #[test]
    fn where_models_are_closed_a_body_is_read_as_any_parser_would() {
        assert_eq!(strictly(r#"{"messages":[{"model":"inner"}],"model":"a"}"#), named("a"));
        assert_eq!(strictly(r#"{"mod\u0065l":"gpt\u002d4"}"#), named("gpt-4"));
        assert_eq!(strictly(r#"{"Model":"a"}"#), named("a"));
        let long = "m".repeat(5000);
        assert_eq!(strictly(&format!(r#"{{"model":"{long}"}}"#)), named(&long));
        assert_eq!(strictly("{}"), Ok(vec![]));
        assert_eq!(strictly(r#" {"model":null} "#), Ok(vec![]));
        assert_eq!(strictly(r#"{"model":"a","models":["b","c"]}"#).unwrap(), ["a", "b", "c"]);
        for ambiguous in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","mod\u0065l":"b"}"#,
            r#"{"model":null,"model":"b"}"#,
            r#"{"model":"a","MODEL":"b"}"#,
            r#"{"model":7}"#,
            r#"{"model":"a","x":NaN}"#,
            r#"{"model":"a"} {"model":"b"}"#,
            r#"[{"model":"a"}]"#,
            "model=a",
            "\u{feff}{\"model\":\"a\"}",
            "{\0\"\0m\0",
        ] {
            assert_eq!(strictly(ambiguous), Err(400), "{ambiguous}");
        }
    }
}

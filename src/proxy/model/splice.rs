//! Puts what an alias stands for in its place. All other bytes stay as they are.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Asked, Named, Part};
use crate::config::Models;
use crate::upstream::Payload;

/// What a path's segment and a query's value can't hold as it is.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The body as it is sent.
pub(in crate::proxy) fn body(body: &Payload, asked: &Asked, models: &Models) -> Payload {
    let in_body = |part| matches!(part, Part::Json | Part::Multipart | Part::Form);
    let edits = edits(asked, models, in_body);
    edits.rev().fold(body.clone(), |body, (place, text)| body.spliced(place, Bytes::from(text)))
}

/// The path, behind the pool's prefix, as it is sent.
pub(in crate::proxy) fn path<'a>(path: &'a str, asked: &Asked, models: &Models) -> Cow<'a, str> {
    text(path, edits(asked, models, |part| part == Part::Path))
}

/// The query as it is sent.
pub(in crate::proxy) fn query<'a>(query: &'a str, asked: &Asked, models: &Models) -> Cow<'a, str> {
    text(query, edits(asked, models, |part| part == Part::Query))
}

/// What stands in the place of what, in order.
fn edits<'a>(
    asked: &'a Asked,
    models: &'a Models,
    is_there: impl Fn(Part) -> bool + 'a,
) -> impl DoubleEndedIterator<Item = (Range<usize>, String)> + 'a {
    let named = asked.iter().filter(move |named| is_there(named.part));
    named.filter_map(|named| Some((named.place.clone(), written(models.replacement(&named.name)?, named))))
}

fn written(model: &str, named: &Named) -> String {
    match named.part {
        Part::Json => serde_json::Value::from(model).to_string(),
        Part::Multipart | Part::List => model.to_owned(),
        Part::Path | Part::Query | Part::Form => utf8_percent_encode(model, RESERVED).to_string(),
    }
}

fn text<'a>(text: &'a str, edits: impl DoubleEndedIterator<Item = (Range<usize>, String)>) -> Cow<'a, str> {
    edits.rev().fold(text.into(), |mut text, (place, model)| {
        if text.is_char_boundary(place.start) && text.is_char_boundary(place.end) {
            text.to_mut().replace_range(place, &model);
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::super::{in_form, in_path, json};
    use super::*;

    fn models() -> Models {
        let alias = [("fast", "Qwen/Qwen3-8B"), ("odd", "a\"b")].map(|(name, model)| (name.into(), model.into()));
        Models { alias: alias.into(), ..Models::default() }
    }

    fn asked(named: impl IntoIterator<Item = Named>) -> Asked {
        let mut asked = Asked::default();
        asked.extend(named);
        asked
    }

    #[test]
    fn only_the_name_changes() {
        for (sent, expected) in [
            (r#"{"x": 1.0, "model" : "fast","y":"fast"}"#, r#"{"x": 1.0, "model" : "Qwen/Qwen3-8B","y":"fast"}"#),
            (r#"{"mod\u0065l":"f\u0061st"}"#, r#"{"mod\u0065l":"Qwen/Qwen3-8B"}"#),
            (r#"{"model":"odd"}"#, r#"{"model":"a\"b"}"#),
            (r#"{"model":"slow"}"#, r#"{"model":"slow"}"#),
            (r#"{"models":["fast"]}"#, r#"{"models":["fast"]}"#),
        ] {
            let payload = Payload::from(Bytes::from(sent));
            let asked = asked(json::strict(sent.as_bytes()).unwrap());
            let spliced = body(&payload, &asked, &models());
            assert_eq!(spliced.joined(), expected);
            assert_eq!(spliced.len(), expected.len());
        }
    }

    #[test]
    fn paths_and_queries_are_changed_too() {
        let post = |sent: &str| path(sent, &asked(in_path(&http::Method::POST, sent)), &models()).into_owned();
        assert_eq!(
            post("/openai/deployments/fast/chat/completions"),
            "/openai/deployments/Qwen%2FQwen3-8B/chat/completions"
        );
        assert_eq!(post("/models/f%61st:generateContent"), "/models/Qwen%2FQwen3-8B:generateContent");
        assert_eq!(post("/models/slow:generateContent"), "/models/slow:generateContent");
        let sent = "a=%20&model=fast&model=slow&mod%65l=fast";
        let expected = "a=%20&model=Qwen%2FQwen3-8B&model=slow&mod%65l=Qwen%2FQwen3-8B";
        assert_eq!(query(sent, &asked(in_form(sent, Part::Query)), &models()), expected);
    }
}

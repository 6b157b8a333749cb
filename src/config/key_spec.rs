//! A key that is added at run time: judged as an entry of a keys file is.

use std::path::Path;

use once_cell::sync::Lazy;
use serde_json::{Map, Value as Json};

use super::additions;
use super::expand::Process;
use super::formats;
use super::keys::KeyId;
use super::model::KeySpec;
use super::problem::{At, Problem, Report};
use super::raw::keys::Key;
use super::secret::Secret;
use super::shape::Shape;
use super::tree::Position;
use super::unbuilt;
use super::validate::{self, Context};
use super::yaml;

static SHAPE: Lazy<Shape> = Lazy::new(Shape::of::<Key>);

/// Longest name (bytes).
const NAME: usize = 64;

/// The key `text` of `pool` with `details`: everything else that an entry of `keys.yaml` may say.
///
/// # Errors
/// Every mistake; none repeats the key.
pub fn key_spec(pool: &str, text: &Secret, details: &Map<String, Json>) -> Result<KeySpec, Vec<Problem>> {
    let report = Report::for_keys("", Vec::new());
    let at = At::top(&report, Position::STORED);
    if let Some(message) = formats::refusal(text.expose()) {
        at.named("key", Position::STORED).error(message);
    }
    let id = KeyId::of(pool, text.expose());
    let plain = KeySpec {
        id,
        key: text.clone(),
        name: fingerprint(id),
        account: None,
        weight: 1,
        priority: 0,
        models: Vec::new(),
        egress: None,
        headers: Vec::new(),
        disabled: false,
        is_stored: true,
    };
    let spec = if details.is_empty() { Some(plain) } else { detailed(plain, details, &report) };
    match (spec, report.finish().0) {
        (Some(spec), problems) if problems.is_empty() => Ok(spec),
        (_, problems) => Err(problems),
    }
}

/// What a key without a name is called, unless two have the same.
pub fn fingerprint(id: KeyId) -> String {
    let id = id.to_string();
    format!("key-{}", id.get(..8).unwrap_or(&id))
}

fn detailed(plain: KeySpec, details: &Map<String, Json>, report: &Report) -> Option<KeySpec> {
    let mut written = details.clone();
    written.insert("key".into(), "in-its-own-place".into());
    let mut root = additions::node(&Json::Object(written));
    let value = SHAPE.check(&mut root, &At::top(report, Position::STORED));
    let at = At::root(report, &root);
    unbuilt::check_key(&root, &at);
    let raw: Key = yaml::read(value?).ok()?;
    let context = Context { folder: Path::new(""), env: &Process };
    let headers = validate::headers::headers(&raw.headers, &at.field("headers"), &context);
    validate::models::globs(&raw.models, &at.field("models"));
    let egress = raw.egress.as_ref();
    let egress = egress.and_then(|egress| validate::secret::egress(egress, &at.field("egress"), &context));
    let name = raw.name.unwrap_or(plain.name);
    if name.is_empty() || name.len() > NAME || name.chars().any(char::is_control) {
        at.field("name").error("a name has 1 to 64 characters and no control characters");
    } else if name.contains(plain.key.expose()) {
        at.field("name").error("the name contains the key, and names are shown; write another");
    }
    Some(KeySpec {
        name,
        account: raw.account,
        weight: raw.weight,
        priority: raw.priority,
        models: raw.models,
        egress,
        headers,
        disabled: raw.disabled,
        ..plain
    })
}

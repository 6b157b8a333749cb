//! One key, judged alike wherever it is written: in a keys file, in another program's format, or at run time.
//!
//! Invariant: no message repeats a character of a key.

use std::path::Path;

use once_cell::sync::Lazy;
use serde_json::{Map, Value as Json};

use super::additions;
use super::expand::Process;
use super::formats;
use super::key_id::{KeyId, fingerprint};
use super::model::{KeyLimits, KeySpec};
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
    let spec = plain(pool, text.clone());
    let spec = if details.is_empty() { Some(spec) } else { spec.described(details, &at) };
    match (spec, report.finish().0) {
        (Some(mut spec), problems) if problems.is_empty() => {
            if spec.name.is_empty() {
                spec.name = fingerprint(spec.id);
            }
            Ok(KeySpec { is_stored: true, ..spec })
        }
        (_, problems) => Err(problems),
    }
}

/// A key of which only the text is known; whoever keeps it finds its name.
pub(super) fn plain(pool: &str, key: Secret) -> KeySpec {
    KeySpec {
        id: KeyId::of(pool, key.expose()),
        key,
        name: String::new(),
        account: None,
        weight: 1,
        priority: 0,
        limits: None,
        models: Vec::new(),
        egress: None,
        headers: Vec::new(),
        disabled: false,
        is_stored: false,
    }
}

impl KeySpec {
    /// With what `details` says of it in the words of `keys.yaml`; `None` = complained about.
    pub(super) fn described(self, details: &Map<String, Json>, at: &At<'_>) -> Option<Self> {
        let mut written = details.clone();
        written.insert("key".into(), "in-its-own-place".into());
        let mut root = additions::node(&Json::Object(written), at.position());
        let value = SHAPE.check(&mut root, at);
        let at = at.with(&root);
        unbuilt::check_key(&root, &at);
        let raw: Key = yaml::read(value?).ok()?;
        Some(self.detailed(raw, &at, &Context { folder: Path::new(""), env: &Process }))
    }

    /// With what `raw` says of it, its `key` apart. Complains about what is wrong.
    pub(super) fn detailed(self, raw: Key, at: &At<'_>, context: &Context<'_>) -> Self {
        let headers = validate::headers::headers(&raw.headers, &at.field("headers"), context);
        validate::models::globs(&raw.models, &at.field("models"));
        let egress = raw.egress.as_ref();
        let egress =
            egress.and_then(|egress| validate::secret::egress(egress, &at.field("egress"), context)).map(Box::new);
        if let Some(name) = &raw.name {
            check_name(name, self.key.expose(), &at.field("name"));
        }
        Self {
            name: raw.name.unwrap_or(self.name),
            account: raw.account,
            weight: raw.weight,
            priority: raw.priority,
            limits: (raw.limits != KeyLimits::default()).then(|| Box::new(raw.limits)),
            models: raw.models,
            egress,
            headers,
            disabled: raw.disabled,
            ..self
        }
    }
}

fn check_name(name: &str, key: &str, at: &At<'_>) {
    if name.is_empty() || name.len() > NAME || name.chars().any(char::is_control) {
        at.error("a name has 1 to 64 characters and no control characters");
    } else if name.contains(key) {
        at.error("the name contains the key, and names are shown; write another");
    }
}

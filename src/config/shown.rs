//! The effective configuration as operators see it: every field with its value and where that comes from.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::additions::Origin;
use super::raw;
use super::shape::Shape;
use super::yaml;

/// What only the files say: it needs a restart, or decides who may change settings at all.
const FILE_ONLY: &[&str] = &[
    "server.proxy.listen",
    "server.admin",
    "server.metrics",
    "server.threads",
    "store.url",
    "store.master_key",
    "shared_state",
    "keys_file",
    "clients.tokens",
    "notify",
    "otlp",
    "pools",
];

/// What was written, defaults filled in.
#[derive(Debug, Clone)]
pub struct Shown {
    pub(super) effective: raw::Config,
    pub(super) origins: HashMap<String, Origin>,
}

/// One field.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its path, e.g. `retry.attempts`.
    pub path: String,
    /// Its value; secrets are redacted.
    pub value: Json,
    /// Who set it.
    pub origin: Origin,
    /// The words it may be; none = whatever fits its type.
    pub choices: Vec<String>,
}

impl Shown {
    /// As YAML.
    pub fn to_yaml(&self) -> String {
        yaml::write(&self.effective).unwrap_or_default()
    }

    /// The fields outside of pools that may be set at run time.
    pub fn server(&self) -> Vec<Field> {
        let mut fields = self.fields("", &Shape::of::<raw::Config>(), &json(&self.effective));
        fields.retain(|field| !is_file_only(&field.path));
        fields
    }

    /// The fields of a pool, with paths that begin there.
    pub fn pool(&self, name: &str) -> Option<Vec<Field>> {
        let (_, pool) = self.effective.pools.0.iter().find(|(known, _)| known == name)?;
        let prefix = format!("pools.{name}.");
        Some(self.fields(&prefix, &Shape::of::<raw::pool::Pool>(), &json(pool)))
    }

    fn fields(&self, prefix: &str, shape: &Shape, value: &Json) -> Vec<Field> {
        let mut fields = Vec::new();
        self.collect(prefix, "", shape, value, &mut fields);
        fields
    }

    fn collect(&self, prefix: &str, path: &str, shape: &Shape, value: &Json, fields: &mut Vec<Field>) {
        let (Shape::Object { fields: known, .. }, Json::Object(values)) = (shape, value) else {
            let origin = self.origins.get(&format!("{prefix}{path}")).copied().unwrap_or(Origin::Default);
            let (path, choices) = (path.to_owned(), shape.choices().to_vec());
            return fields.push(Field { path, value: value.clone(), origin, choices });
        };
        for (name, value) in values {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.collect(prefix, &path, known.get(name).unwrap_or(&Shape::Any), value, fields);
        }
    }
}

/// Whether a field, by its path from the top, can't be set at run time.
pub fn is_file_only(path: &str) -> bool {
    FILE_ONLY.iter().any(|only| path.strip_prefix(only).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Settings as they were sent, nested or with dots, as pairs of path and value: as deep as there are fields.
pub fn flatten(written: &serde_json::Map<String, Json>, of_pool: bool) -> Vec<(String, Json)> {
    let shape = if of_pool { Shape::of::<raw::pool::Pool>() } else { Shape::of::<raw::Config>() };
    let mut pairs = Vec::new();
    for (path, value) in written {
        let shape = path.split('.').fold(&shape, |shape, name| field_of(shape, name));
        unfold(path, shape, value, &mut pairs);
    }
    pairs
}

fn field_of<'s>(shape: &'s Shape, name: &str) -> &'s Shape {
    match shape {
        Shape::Object { fields, .. } => fields.get(name).unwrap_or(&Shape::Any),
        _ => &Shape::Any,
    }
}

fn unfold(path: &str, shape: &Shape, value: &Json, pairs: &mut Vec<(String, Json)>) {
    match (shape, value) {
        (Shape::Object { .. }, Json::Object(values)) => {
            for (name, value) in values {
                unfold(&format!("{path}.{name}"), field_of(shape, name), value, pairs);
            }
        }
        _ => pairs.push((path.to_owned(), value.clone())),
    }
}

fn json<T: serde::Serialize>(data: &T) -> Json {
    serde_json::to_value(data).unwrap_or_default()
}

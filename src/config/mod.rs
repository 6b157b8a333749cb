//! Reading `keyweir.yaml` and keys files.
//!
//! A file goes from text to a tree that knows its positions (`tree`), its variables are expanded (`expand`), its shape
//! is checked against the schema of the raw structs (`shape`), serde fills those structs (`yaml`, `raw`), and
//! `validate` makes the [`Config`] of them. Each step names every mistake it finds; nothing is used unless all are happy.

mod document;
pub mod egress;
mod expand;
pub mod formats;
pub mod keys;
pub mod model;
mod print;
mod problem;
pub mod raw;
mod reference;
pub mod secret;
mod shape;
mod suggest;
mod tree;
mod unbuilt;
pub mod units;
mod validate;
pub(crate) mod yaml;

use std::path::Path;

pub use egress::Egress;
pub use expand::{Environment, Process};
pub use keys::KeyId;
pub use model::*;
pub use problem::{Problem, Problems};
pub use reference::reference;
pub use secret::{Secret, TokenDigest};
pub(crate) use unbuilt::is_refused;

use problem::{At, Report};
use validate::Context;

/// Largest configuration file read.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// A configuration and its keys, ready for use.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The effective configuration.
    pub config: Config,
    /// The keys of every pool, in the order of `config.pools`.
    pub keys: Keys,
    /// What is legal but probably not meant.
    pub warnings: Vec<Problem>,
    /// What was written, defaults filled in.
    effective: raw::Config,
}

impl Loaded {
    /// The effective configuration as YAML: defaults filled in, secrets redacted.
    pub fn to_yaml(&self) -> String {
        yaml::write(&self.effective).unwrap_or_default()
    }
}

/// Loads a configuration and its keys; the error names every mistake in all files.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    load_with(path, &Process)
}

/// [`load`] with variables from elsewhere.
pub fn load_with(path: &Path, env: &dyn Environment) -> Result<Loaded, Problems> {
    let report = Report::new(path.display().to_string());
    let folder = path.parent().unwrap_or(Path::new(""));
    match document::read_text(path, MAX_FILE, &report) {
        Some(text) => assemble(&text, report, &Context { folder, env }),
        None => Err(Problems(report.finish().0)),
    }
}

/// [`load`] with the configuration given as text: `file` names it in messages, and relative paths start at its folder.
pub fn parse(text: &str, file: &Path, env: &dyn Environment) -> Result<Loaded, Problems> {
    let folder = file.parent().unwrap_or(Path::new(""));
    assemble(text, Report::new(file.display().to_string()), &Context { folder, env })
}

/// Reads the keys files again, e.g. because one changed; warnings beside the keys.
pub fn load_keys(config: &Config) -> Result<(Keys, Vec<Problem>), Problems> {
    let pools: Vec<String> = config.pools.iter().map(|pool| pool.name.clone()).collect();
    keys::load(&config.keys_files, &pools, config.default_pool, &Process)
}

/// The JSON Schema of `keyweir.yaml`.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(raw::Config);
    schema.insert("title".into(), "keyweir.yaml".into());
    schema.to_value()
}

fn assemble(text: &str, report: Report, context: &Context<'_>) -> Result<Loaded, Problems> {
    let (root, raw) = document::read::<raw::Config>(text, &report, context.env);
    let at = At::root(&report, &root);
    unbuilt::check_config(&root, &at);
    let Some(mut effective) = raw else { return Err(Problems(report.finish().0)) };
    let config = validate::config(&effective, &at, context);
    // The keys file is judged even if the configuration is wrong, so that one run names everything.
    let pools: Vec<String> = effective.pools.0.iter().map(|(name, _)| name.clone()).collect();
    let files = validate::keys_files(&effective, context);
    let default = validate::default_index(&effective);
    let keys = keys::load(&files, &pools, default, context.env);
    let (mut errors, mut warnings) = report.finish();
    match (config, keys) {
        (Some(config), Ok((keys, more))) if errors.is_empty() => {
            warnings.extend(more);
            print::fill_in(&mut effective, &config);
            Ok(Loaded { config, keys, warnings, effective })
        }
        (_, keys) => {
            errors.extend(keys.err().map(|problems| problems.0).unwrap_or_default());
            Err(Problems(errors))
        }
    }
}

#[cfg(test)]
mod tests;

//! Reading `keyweir.yaml` and keys files.
//!
//! A file goes from text to a tree that knows its positions (`tree`), its variables are expanded (`expand`), its shape
//! is checked against the schema of the raw structs (`shape`), serde fills those structs (`yaml`, `raw`), and
//! `validate` makes the [`Config`] of them. Each step names every mistake it finds; nothing is used unless all are happy.

mod additions;
pub mod balance;
mod document;
pub mod egress;
mod expand;
pub mod formats;
mod key_id;
mod key_spec;
mod keys;
pub mod model;
pub mod models;
pub mod prices;
mod print;
mod problem;
pub mod raw;
mod reference;
pub mod schedule;
pub mod secret;
mod shape;
mod shown;
mod suggest;
mod tree;
mod unbuilt;
pub mod units;
mod validate;
pub(crate) mod yaml;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use additions::{AddedToken, Additions, Origin};
pub use egress::Egress;
pub use expand::{Environment, Process};
pub use key_id::{BadKeyId, KeyId, fingerprint};
pub use key_spec::key_spec;
pub use model::*;
pub use models::Models;
pub(crate) use problem::without_values;
pub use problem::{Problem, Problems};
pub use reference::reference;
pub use secret::{Secret, TokenDigest};
pub use shown::{Field, Shown, flatten, is_file_only};
pub(crate) use unbuilt::is_refused;
pub use validate::{BadUrl, destination};

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
    /// What the files say, for [`Files::with`].
    pub files: Files,
    /// The configuration as operators see it.
    pub shown: Shown,
}

/// What the files of a configuration say, as read: to be looked at again with other [`Additions`].
#[derive(Debug, Clone)]
pub struct Files {
    path: PathBuf,
    text: Arc<str>,
    pools: Arc<[String]>,
    keys: Arc<keys::Provisioned>,
}

impl Loaded {
    /// The effective configuration as YAML: defaults filled in, secrets redacted.
    pub fn to_yaml(&self) -> String {
        self.shown.to_yaml()
    }
}

impl Files {
    /// The configuration these files make together with `additions`.
    ///
    /// # Errors
    /// Every mistake. Those in `additions` have line 0.
    pub fn with(&self, additions: &Additions) -> Result<Loaded, Problems> {
        let report = Report::new(self.path.display().to_string());
        assemble(&self.text, report, &self.path, &Process, additions, Some(&self.keys))
    }

    /// The keys the files have for a pool.
    pub fn keys(&self, pool: &str) -> impl Iterator<Item = &Arc<KeySpec>> {
        self.keys.of(pool).iter()
    }

    /// Whether a file has this key.
    pub fn has_key(&self, id: KeyId) -> bool {
        self.keys.has(id)
    }

    /// Whether the configuration's file has a pool of that name.
    pub fn has_pool(&self, name: &str) -> bool {
        self.pools.iter().any(|pool| pool == name)
    }
}

/// Loads a configuration and its keys; the error names every mistake in all files.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    load_with(path, &Additions::default())
}

/// [`load`] with what was added at run time.
pub fn load_with(path: &Path, additions: &Additions) -> Result<Loaded, Problems> {
    let report = Report::new(path.display().to_string());
    match document::read_text(path, MAX_FILE, &report) {
        Some(text) => assemble(&text, report, path, &Process, additions, None),
        None => Err(Problems(report.finish().0)),
    }
}

/// [`load`] with the configuration given as text: `file` names it in messages, and relative paths start at its folder.
pub fn parse(text: &str, file: &Path, env: &dyn Environment) -> Result<Loaded, Problems> {
    assemble(text, Report::new(file.display().to_string()), file, env, &Additions::default(), None)
}

/// The JSON Schema of `keyweir.yaml`.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(raw::Config);
    schema.insert("title".into(), "keyweir.yaml".into());
    schema.to_value()
}

/// `known`: keys that were read before, to be taken in place of the files'.
fn assemble(
    text: &str,
    report: Report,
    path: &Path,
    env: &dyn Environment,
    additions: &Additions,
    known: Option<&Arc<keys::Provisioned>>,
) -> Result<Loaded, Problems> {
    let context = &Context { folder: path.parent().unwrap_or(Path::new("")), env };
    let mut in_file = Vec::new();
    let (root, raw) = document::read_and::<raw::Config>(text, &report, env, |root, at| {
        in_file.extend(root.get("pools").into_iter().flat_map(|pools| pools.names().map(|name| name.text.clone())));
        additions::lay(additions, root, at);
    });
    let at = At::root(&report, &root);
    unbuilt::check_config(&root, &at);
    let Some(mut effective) = raw else { return Err(Problems(report.finish().0)) };
    let config = validate::config(&effective, &at, context, &additions.tokens);
    // The keys file is judged even if the configuration is wrong, so that one run names everything.
    let pools: Vec<String> = effective.pools.0.iter().map(|(name, _)| name.clone()).collect();
    let provisioned = match known {
        Some(known) => Ok(known.clone()),
        None => {
            let files = validate::keys_files(&effective, context);
            keys::load(&files, &pools, validate::default_index(&effective), env).map(Arc::new)
        }
    };
    let origins = additions::origins(&root);
    let (mut errors, mut warnings) = report.finish();
    match (config, provisioned) {
        (Some(config), Ok(provisioned)) if errors.is_empty() => {
            warnings.extend(provisioned.warnings.iter().cloned());
            print::fill_in(&mut effective, &config);
            let keys = keys::merge(&provisioned, &pools, &additions.keys);
            let files = Files { path: path.to_owned(), text: text.into(), pools: in_file.into(), keys: provisioned };
            Ok(Loaded { config, keys, warnings, files, shown: Shown { effective, origins } })
        }
        (_, provisioned) => {
            errors.extend(provisioned.err().map(|problems| problems.0).unwrap_or_default());
            Err(Problems(errors))
        }
    }
}

#[cfg(test)]
mod tests;

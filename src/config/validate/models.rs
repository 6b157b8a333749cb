//! `models:` of a pool, and the globs that name models elsewhere.

use globset::Glob;

use crate::config::models::{self, Models};
use crate::config::problem::At;
use crate::config::raw::pool as raw;

pub(crate) fn models(raw: &raw::Models, at: &At<'_>) -> Models {
    globs(&raw.deny, &at.field("deny"));
    let name = |name: &Option<String>, at: &At<'_>| {
        if name.as_deref().is_some_and(|name| name.trim().is_empty()) {
            at.error("is empty; write a name, or remove it");
        }
        name.clone()
    };
    let models = Models {
        deny: models::denied(&raw.deny),
        alias: raw.alias.0.iter().cloned().collect(),
        test: name(&raw.test, &at.field("test")),
        list_key: name(&raw.list_key, &at.field("list_key")),
    };
    let aliases = at.field("alias");
    for (name, model) in &raw.alias.0 {
        let at = aliases.field(name);
        if name.trim().is_empty() || model.trim().is_empty() {
            at.error("is empty; write a name and the provider's model it stands for, e.g. fast: Qwen/Qwen3-8B");
        } else if name == model {
            at.error("stands for itself; write the provider's model it stands for");
        } else if models.denies(model) {
            at.warn("stands for a model that deny refuses");
        }
    }
    if models.test.as_deref().is_some_and(|test| models.denies(models.resolve(test))) {
        at.field("test").warn("is a model that deny refuses to clients; probes use it all the same");
    }
    models
}

/// Complains about what is no glob.
pub(crate) fn globs(globs: &[String], at: &At<'_>) {
    globs.iter().enumerate().for_each(|(index, text)| glob(text, &at.index(index)));
}

/// The same for one.
pub(crate) fn glob(glob: &str, at: &At<'_>) {
    if glob.is_empty() || Glob::new(glob).is_err() {
        at.error("not a glob; write a model's name, or e.g. qwen*");
    }
}

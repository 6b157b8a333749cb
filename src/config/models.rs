//! `models:` of a pool: names that are refused, and names that stand for others.
//!
//! A client asks for a name; what it stands for is the provider's model, and that is what `deny` judges, what keys are
//! picked for and what is sent: an alias is no way around `deny`.

use std::collections::BTreeMap;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// `models:` of a pool.
#[derive(Debug, Clone, Default)]
pub struct Models {
    /// The provider's models that are refused, upper and lower case alike.
    pub deny: GlobSet,
    /// Names clients may use, and what they stand for.
    pub alias: BTreeMap<String, String>,
    /// The model probes use.
    pub test: Option<String>,
    /// The name of the key that lists models.
    pub list_key: Option<String>,
}

impl Models {
    /// The provider's model that a name stands for.
    pub fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        let name = bare(name);
        self.alias.get(name).map_or(name, |model| bare(model))
    }

    /// What is sent instead of a name, if it is an alias.
    pub fn replacement(&self, name: &str) -> Option<&str> {
        self.alias.get(bare(name)).map(String::as_str)
    }

    /// The provider's model is refused.
    pub fn denies(&self, model: &str) -> bool {
        let model = model.trim();
        self.deny.is_match(model) || self.deny.is_match(bare(model))
    }
}

/// A model's name without the `models/` that Gemini writes in front of it, with which it is the same model.
pub fn bare(name: &str) -> &str {
    name.strip_prefix("models/").unwrap_or(name)
}

/// Globs over models' names, which are often paths: `*` stands for all of one. Globs were validated with the
/// configuration; what still fails here matches nothing.
pub fn globs<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> GlobSet {
    set(texts.into_iter().filter_map(|text| Glob::new(text.as_ref()).ok()))
}

/// The same for names that are refused: some providers mind the case and others don't.
pub(super) fn denied(texts: &[String]) -> GlobSet {
    set(texts.iter().filter_map(|text| GlobBuilder::new(text).case_insensitive(true).build().ok()))
}

fn set(globs: impl Iterator<Item = Glob>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    globs.for_each(|glob| {
        set.add(glob);
    });
    set.build().unwrap_or_else(|_| GlobSet::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(deny: &[&str], alias: &[(&str, &str)]) -> Models {
        let deny: Vec<String> = deny.iter().map(ToString::to_string).collect();
        let alias = alias.iter().map(|(name, model)| (name.to_string(), model.to_string())).collect();
        Models { deny: denied(&deny), alias, ..Models::default() }
    }

    #[test]
    fn an_alias_is_resolved_once() {
        let models = models(&[], &[("fast", "Qwen/Qwen3-8B"), ("a", "b"), ("b", "c")]);
        for (name, model) in [
            ("fast", "Qwen/Qwen3-8B"),
            ("models/fast", "Qwen/Qwen3-8B"),
            ("a", "b"),
            ("FAST", "FAST"),
            ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ] {
            assert_eq!(models.resolve(name), model, "{name}");
        }
    }

    #[test]
    fn what_is_denied_is_denied_however_it_is_written() {
        let models = models(&["gpt-4*", "Qwen/*"], &[]);
        for model in ["gpt-4", "GPT-4o", " gpt-4o", "models/gpt-4o", "qwen/qwen3/x"] {
            assert!(models.denies(model), "{model}");
        }
        for model in ["gpt-3.5", "", "my-gpt-4"] {
            assert!(!models.denies(model), "{model}");
        }
    }
}

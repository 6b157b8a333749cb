//! Keys files: what keys there are.
//!
//! Invariant: no message repeats a character of a key; a bad entry is named by file, line and place and never stops the
//! others from being named too.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::document;
use super::expand::Environment;
use super::formats::{self, Entry as Written};
use super::key_id::{KeyId, fingerprints};
use super::key_spec::plain;
use super::model::{KeySpec, Keys, KeysFile};
use super::problem::{At, Problem, Problems, Report, is_plain_word};
use super::raw::Named;
use super::raw::keys::{Entry, FileFormat, KeysFile as RawKeys};
use super::secret::Secret;
use super::suggest;
use super::tree::Position;
use super::unbuilt;
use super::validate::{self, Context};

/// Largest keys file read.
const MAX_FILE: u64 = 256 * 1024 * 1024;
/// Most line numbers in one message.
const MAX_LINES: usize = 20;

/// What the keys files hold.
#[derive(Debug)]
pub(crate) struct Provisioned {
    /// By pool.
    keys: HashMap<String, Vec<Arc<KeySpec>>>,
    ids: HashSet<KeyId>,
    pub(crate) warnings: Vec<Problem>,
}

/// Reads every keys file. `pools` are the known pools in their order; `default` owns the keys of files that name none.
pub(crate) fn load(
    files: &[KeysFile],
    pools: &[String],
    default: Option<usize>,
    env: &dyn Environment,
) -> Result<Provisioned, Problems> {
    let mut lots: Vec<Lot> = pools.iter().map(|pool| Lot::new(pool)).collect();
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for file in files {
        let report = Report::for_keys(file.path.display().to_string(), pools.to_vec());
        read_file(file, &report, &mut lots, default, env);
        let (more_errors, more_warnings) = report.finish();
        errors.extend(more_errors);
        warnings.extend(more_warnings);
    }
    if errors.is_empty() {
        let ids = lots.iter().flat_map(|lot| lot.places.keys().copied()).collect();
        Ok(Provisioned { keys: lots.into_iter().map(Lot::into_keys).collect(), ids, warnings })
    } else {
        Err(Problems(errors))
    }
}

impl Provisioned {
    /// The keys of a pool.
    pub(crate) fn of(&self, pool: &str) -> &[Arc<KeySpec>] {
        self.keys.get(pool).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn has(&self, id: KeyId) -> bool {
        self.ids.contains(&id)
    }
}

/// The keys of `pools`: those of the files, then those added at run time that are in no file.
pub(crate) fn merge(provisioned: &Provisioned, pools: &[String], added: &[(Arc<str>, Arc<KeySpec>)]) -> Keys {
    let mut merged: Keys = pools.iter().map(|pool| provisioned.of(pool).to_vec()).collect();
    let mut known: Vec<Option<Known>> = pools.iter().map(|_| None).collect();
    for (pool, key) in added {
        let Some(index) = pools.iter().position(|name| **name == **pool) else { continue };
        let (Some(keys), Some(known)) = (merged.get_mut(index), known.get_mut(index)) else { continue };
        let known = known.get_or_insert_with(|| Known::of(keys));
        if !known.ids.insert(key.id) {
            continue;
        }
        keys.push(if known.names.insert(key.name.clone()) {
            key.clone()
        } else {
            Arc::new(KeySpec { name: free_fingerprint(key.id, &mut known.names), ..KeySpec::clone(key) })
        });
    }
    merged
}

/// What a pool has already.
struct Known {
    ids: HashSet<KeyId>,
    names: HashSet<String>,
}

impl Known {
    fn of(keys: &[Arc<KeySpec>]) -> Self {
        Self { ids: keys.iter().map(|key| key.id).collect(), names: keys.iter().map(|key| key.name.clone()).collect() }
    }
}

/// A name made of the id, that nobody has.
fn free_fingerprint(id: KeyId, taken: &mut HashSet<String>) -> String {
    fingerprints(id).find(|name| taken.insert(name.clone())).unwrap_or_else(|| id.to_string())
}

fn read_file(file: &KeysFile, report: &Report, lots: &mut [Lot], default: Option<usize>, env: &dyn Environment) {
    if !file.path.exists() {
        report.warn(Position::START, "file", "does not exist; there are no keys from it");
        return;
    }
    let Some(content) = document::read_text(&file.path, MAX_FILE, report) else { return };
    let format = if file.format == FileFormat::Auto { formats::detect(&content) } else { file.format };
    if format == FileFormat::Yaml && !is_list(&content) {
        let folder = file.path.parent().unwrap_or(Path::new(""));
        read_yaml(&content, report, lots, &Context { folder, env });
    } else {
        read_import(&content, format, file.pool.as_deref(), report, lots, default, env);
    }
    lots.iter_mut().for_each(|lot| lot.say_duplicates(report));
}

/// Keys without a pool's name above them.
fn is_list(yaml: &str) -> bool {
    let first = yaml.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#') && *line != "---");
    first.is_some_and(|line| line.starts_with(['[', '-']))
}

/// Reads a format that other programs write.
fn read_import(
    content: &str,
    format: FileFormat,
    pool: Option<&str>,
    report: &Report,
    lots: &mut [Lot],
    default: Option<usize>,
    env: &dyn Environment,
) {
    let reading = formats::read_as(content, format, env);
    let named = |lots: &[Lot], name: &str| lots.iter().position(|lot| lot.pool == name);
    let own = match pool {
        // An unknown pool was complained about where it is written.
        Some(name) => match named(lots, name) {
            Some(index) => Some(index),
            None => return,
        },
        None => default,
    };
    let path = own.and_then(|index| lots.get(index)).map_or("file", |lot| lot.pool.as_str()).to_owned();
    for bad in reading.bad {
        report.error(line(bad.line), &path, bad.message);
    }
    let mut is_homeless = false;
    for entry in reading.entries {
        let by_provider = || entry.provider.as_deref().filter(|_| pool.is_none()).and_then(|name| named(lots, name));
        let place = match entry.pool.as_deref() {
            Some(name) => named(lots, name),
            None => by_provider().or(own),
        };
        match place.and_then(|index| lots.get_mut(index)) {
            Some(lot) => lot.add_written(entry, report),
            None if entry.pool.is_some() => {
                let known = lots.iter().map(|lot| lot.pool.as_str());
                report.error(
                    line(entry.line),
                    "file",
                    format!("for a pool that does not exist; {}", suggest::among("", known)),
                );
            }
            None => is_homeless = true,
        }
    }
    if let Some(lot) = own.and_then(|index| lots.get_mut(index)) {
        lot.duplicates.extend(reading.duplicates.into_iter().map(line));
    }
    if is_homeless {
        report.error(
            Position::START,
            "file",
            "names no pool; write keys_file: [{path: …, pool: …}], or POOL: and the keys below it as a list",
        );
    }
}

fn line(line: usize) -> Position {
    Position { line, column: 1 }
}

fn read_yaml(content: &str, report: &Report, lots: &mut [Lot], context: &Context<'_>) {
    let (root, raw) = document::read::<RawKeys>(content, report, context.env);
    let at = At::root(report, &root);
    unbuilt::check_keys(&root, &at);
    for name in root.names() {
        if !lots.iter().any(|lot| lot.pool == name.text) {
            let known = lots.iter().map(|lot| lot.pool.as_str());
            let written = if is_plain_word(&name.text) { &name.text } else { "" };
            at.unknown(&name.text, name.position).error(format!("no such pool; {}", suggest::among(written, known)));
        }
    }
    let Some(Named(pools)) = raw else { return };
    for (name, entries) in pools {
        let at = at.field(&name);
        let Some(lot) = lots.iter_mut().find(|lot| lot.pool == name) else { continue };
        for (index, entry) in entries.into_iter().enumerate() {
            let at = at.index(index);
            match entry {
                Entry::Short(key) => lot.add(plain(&lot.pool, Secret::new(key.0)), &at, &at),
                Entry::Long(key) => {
                    let key_at = at.field("key");
                    if let Some(text) = validate::secret::resolve(&key.key, &key_at, context) {
                        let spec = plain(&lot.pool, Secret::new(text)).detailed(*key, &at, context);
                        lot.add(spec, &at, &key_at);
                    }
                }
            }
        }
    }
}

/// The keys of one pool while its files are read.
struct Lot {
    pool: String,
    keys: Vec<KeySpec>,
    places: HashMap<KeyId, usize>,
    names: HashSet<String>,
    /// Where the current file repeats a key.
    duplicates: Vec<Position>,
}

impl Lot {
    fn new(pool: &str) -> Self {
        let (keys, duplicates) = (Vec::new(), Vec::new());
        Self { pool: pool.to_owned(), keys, places: HashMap::new(), names: HashSet::new(), duplicates }
    }

    /// Takes a key that another format brought.
    fn add_written(&mut self, entry: Written, report: &Report) {
        let position = line(entry.line);
        let top = At::top(report, position);
        let pool = self.pool.clone();
        let at = top.named(&pool, position);
        let details = entry.details();
        let spec = plain(&self.pool, entry.key);
        let spec = if details.is_empty() { Some(spec) } else { spec.described(&details, &at) };
        if let Some(spec) = spec {
            self.add(spec, &at, &at);
        }
    }

    fn add(&mut self, spec: KeySpec, at: &At<'_>, key_at: &At<'_>) {
        if let Some(message) = formats::refusal(spec.key.expose()) {
            return key_at.error(message);
        }
        if let Some(place) = self.places.get(&spec.id) {
            // `disabled: true` wins wherever it is written.
            self.keys.get_mut(*place).into_iter().for_each(|key| key.disabled |= spec.disabled);
            return self.duplicates.push(at.position());
        }
        if !spec.name.is_empty() && !self.names.insert(spec.name.clone()) {
            at.field("name").error("another key of this pool has this name; names are unique");
        }
        self.places.insert(spec.id, self.keys.len());
        self.keys.push(spec);
    }

    fn say_duplicates(&mut self, report: &Report) {
        let Some(first) = self.duplicates.first().copied() else { return };
        let count = self.duplicates.len();
        let lines: Vec<String> = self.duplicates.iter().take(MAX_LINES).map(|at| at.line.to_string()).collect();
        let (lines, more) = (lines.join(", "), if count > MAX_LINES { ", …" } else { "" });
        let (duplicates, word) =
            (if count == 1 { "duplicate" } else { "duplicates" }, if count == 1 { "line" } else { "lines" });
        report.warn(first, &self.pool, format!("{count} {duplicates} dropped ({word} {lines}{more})"));
        self.duplicates.clear();
    }

    /// The keys, each with a name.
    fn into_keys(mut self) -> (String, Vec<Arc<KeySpec>>) {
        for key in self.keys.iter_mut().filter(|key| key.name.is_empty()) {
            key.name = free_fingerprint(key.id, &mut self.names);
        }
        (self.pool, self.keys.into_iter().map(Arc::new).collect())
    }
}

//! Keys files: what keys there are.
//!
//! Invariant: no message repeats a character of a key; a bad entry is named by file, line and place and never stops the
//! others from being named too.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::document;
use super::egress::Egress;
use super::expand::Environment;
use super::formats::{self, Entry as Written, State};
use super::model::{KeySpec, Keys, KeysFile};
use super::problem::{At, Problem, Problems, Report, is_plain_word};
use super::raw::Named;
use super::raw::keys::{Entry, FileFormat, Key, KeysFile as RawKeys};
use super::secret::Secret;
use super::suggest;
use super::tree::Position;
use super::unbuilt;
use super::validate::{self, Context};

/// Largest keys file read.
const MAX_FILE: u64 = 256 * 1024 * 1024;
/// Most line numbers in one message.
const MAX_LINES: usize = 20;
/// Domain of key ids. Not a secret: it only keeps ids from being comparable with other programs' digests of keys.
const ID_DOMAIN: &[u8] = b"keyweir key id 1";

/// What a key is known by: an HMAC of (pool, key), which stays the same over restarts, renames and files.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// The id of a key in a pool.
    pub fn of(pool: &str, key: &str) -> Self {
        let mut id = [0; 16];
        // An HMAC takes a key of any length, so this never fails.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(ID_DOMAIN) {
            mac.update(pool.as_bytes());
            mac.update(&[0]);
            mac.update(key.as_bytes());
            for (byte, digest) in id.iter_mut().zip(mac.finalize().into_bytes()) {
                *byte = digest;
            }
        }
        Self(id)
    }

    /// An id that was kept.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id as bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text is no key id: 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key id is 32 hexadecimal digits")]
pub struct BadKeyId;

impl std::str::FromStr for KeyId {
    type Err = BadKeyId;

    fn from_str(text: &str) -> Result<Self, BadKeyId> {
        let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(BadKeyId) };
        let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
        let bytes: Vec<u8> = bytes.collect::<Option<_>>().ok_or(BadKeyId)?;
        bytes.try_into().map(Self).map_err(|_| BadKeyId)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

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
            Arc::new(KeySpec { name: fingerprint(key.id, &mut known.names), ..KeySpec::clone(key) })
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
fn fingerprint(id: KeyId, taken: &mut HashSet<String>) -> String {
    // Eight digits are pleasant to read but collide among 100,000 keys; a longer piece then tells them apart.
    let id = id.to_string();
    let name = [8, 16, 32].iter().map(|length| format!("key-{}", id.get(..*length).unwrap_or(&id)));
    name.into_iter().find(|name| taken.insert(name.clone())).unwrap_or(id)
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
                Entry::Short(key) => lot.add(key.0, None, &at, &at),
                Entry::Long(key) => {
                    let key_at = at.field("key");
                    let headers = validate::headers::headers(&key.headers, &at.field("headers"), context);
                    validate::models::globs(&key.models, &at.field("models"));
                    let egress = key.egress.as_ref();
                    let egress =
                        egress.and_then(|egress| validate::secret::egress(egress, &at.field("egress"), context));
                    if let Some(text) = validate::secret::resolve(&key.key, &key_at, context) {
                        lot.add(text, Some(Details { key, headers, egress }), &at, &key_at);
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
        if entry.details.is_some() {
            return at.error("limits, models, egress and headers are for a keys.yaml; write this key there");
        }
        let id = KeyId::of(&self.pool, entry.key.expose());
        let disabled = entry.disabled || entry.state == Some(State::Disabled);
        if self.is_duplicate(id, disabled, position) {
            return;
        }
        if let Some(name) = &entry.name {
            self.check_name(name, entry.key.expose(), &at.field("name"));
        }
        self.places.insert(id, self.keys.len());
        self.keys.push(KeySpec {
            id,
            key: entry.key,
            name: entry.name.unwrap_or_default(),
            account: entry.account,
            weight: entry.weight,
            priority: entry.priority,
            models: Vec::new(),
            egress: None,
            headers: Vec::new(),
            disabled,
            is_stored: false,
        });
    }

    /// Whether the key was there before; `disabled: true` wins wherever it is written.
    fn is_duplicate(&mut self, id: KeyId, disabled: bool, position: Position) -> bool {
        let Some(place) = self.places.get(&id) else { return false };
        self.keys.get_mut(*place).into_iter().for_each(|key| key.disabled |= disabled);
        self.duplicates.push(position);
        true
    }

    fn add(&mut self, text: String, details: Option<Details>, at: &At<'_>, key_at: &At<'_>) {
        if let Some(message) = formats::refusal(&text) {
            return key_at.error(message);
        }
        let id = KeyId::of(&self.pool, &text);
        let disabled = details.as_ref().is_some_and(|details| details.key.disabled);
        if self.is_duplicate(id, disabled, at.position()) {
            return;
        }
        let name = details.as_ref().and_then(|details| details.key.name.clone());
        if let Some(name) = &name {
            self.check_name(name, &text, &at.field("name"));
        }
        self.places.insert(id, self.keys.len());
        self.keys.push(spec(id, text, name, details));
    }

    fn check_name(&mut self, name: &str, key: &str, at: &At<'_>) {
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            at.error("a name has 1 to 64 characters and no control characters");
        } else if name.contains(key) {
            at.error("the name contains the key, and names are shown; write another");
        } else if !self.names.insert(name.to_owned()) {
            at.error("another key of this pool has this name; names are unique");
        }
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
            key.name = fingerprint(key.id, &mut self.names);
        }
        (self.pool, self.keys.into_iter().map(Arc::new).collect())
    }
}

/// What the long form tells of a key.
struct Details {
    key: Box<Key>,
    headers: Vec<(http::HeaderName, http::HeaderValue)>,
    egress: Option<Egress>,
}

fn spec(id: KeyId, text: String, name: Option<String>, details: Option<Details>) -> KeySpec {
    let (key, name) = (Secret::new(text), name.unwrap_or_default());
    match details {
        Some(Details { key: raw, headers, egress }) => KeySpec {
            id,
            key,
            name,
            account: raw.account,
            weight: raw.weight,
            priority: raw.priority,
            models: raw.models,
            egress,
            headers,
            disabled: raw.disabled,
            is_stored: false,
        },
        None => KeySpec {
            id,
            key,
            name,
            account: None,
            weight: 1,
            priority: 0,
            models: Vec::new(),
            egress: None,
            headers: Vec::new(),
            disabled: false,
            is_stored: false,
        },
    }
}

//! What the store holds of configuration, in memory: pools, settings, tokens and keys added at run time.
//!
//! Invariant: every key here is valid by itself; whether all fits together is judged with the files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use once_cell::sync::Lazy;
use serde_json::{Map, Value as Json};

use crate::config::{AddedToken, Additions, KeyId, KeySpec, Loaded, Problems, TokenDigest, key_spec};
use crate::store::{Snapshot, Store, StoredKey, StoredToken};

/// What was added and changed at run time.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    pub(super) pools: BTreeMap<String, Json>,
    /// By scope (a pool; empty = the server) and path.
    pub(super) settings: BTreeMap<(String, String), Json>,
    pub(super) tokens: Vec<StoredToken>,
    pub(super) keys: KeptKeys,
    pub(super) admin_token: Option<TokenDigest>,
}

/// The keys that were added at run time, in the order in which they were added; removed ones too.
#[derive(Debug, Default)]
pub(super) struct KeptKeys {
    list: Vec<Kept>,
    /// Where each is: made when it is asked for first, for most changes need it not.
    places: OnceLock<HashMap<KeyId, usize>>,
}

/// A key that was added at run time.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) pool: Arc<str>,
    pub(super) spec: Arc<KeySpec>,
    /// What was said of it, as JSON.
    pub(super) details: Arc<str>,
    /// Unix milliseconds.
    pub(super) created_at: i64,
    /// Unix milliseconds; `None` = in use.
    pub(super) removed_at: Option<i64>,
}

impl Stored {
    /// What the store holds; nothing if it can't be read now.
    pub(super) fn read(store: &Store) -> Self {
        match store.load_blocking() {
            Ok(snapshot) => Self::of(snapshot),
            Err(error) => {
                log::warn!(error:%; "What was added at run time can't be read; it is taken up once the store is back.");
                Self::default()
            }
        }
    }

    pub(super) fn of(snapshot: Snapshot) -> Self {
        let json = |text: &str| serde_json::from_str(text).unwrap_or_default();
        let mut pools = HashMap::new();
        let mut keys: Vec<Kept> = snapshot.keys.into_iter().filter_map(|key| Kept::of(key, &mut pools)).collect();
        keys.sort_by_key(|key| (key.created_at, key.spec.id));
        let settings = snapshot.settings.iter();
        Self {
            pools: snapshot.pools.iter().map(|pool| (pool.name.clone(), json(&pool.settings))).collect(),
            settings: settings.map(|set| ((set.scope.clone(), set.path.clone()), json(&set.value))).collect(),
            tokens: snapshot.tokens,
            keys: keys.into(),
            admin_token: snapshot.admin_token,
        }
    }

    pub(super) fn additions(&self) -> Additions {
        let path = |(scope, path): &(String, String)| match scope.as_str() {
            "" => path.clone(),
            pool => format!("pools.{pool}.{path}"),
        };
        let present = self.keys.list.iter().filter(|key| key.removed_at.is_none());
        Additions {
            pools: self.pools.iter().map(|(name, settings)| (name.clone(), settings.clone())).collect(),
            settings: self.settings.iter().map(|(at, value)| (path(at), value.clone())).collect(),
            tokens: self.tokens.iter().filter_map(added_token).collect(),
            keys: present.map(|key| (key.pool.clone(), key.spec.clone())).collect(),
        }
    }

    /// Lays itself over the files at the start. What does not fit them (any more) is left out, loudly: the server must
    /// start.
    pub(super) fn over(&mut self, loaded: Loaded) -> Loaded {
        loop {
            let problems = match loaded.files.with(&self.additions()) {
                Ok(merged) => return Loaded { warnings: [loaded.warnings, merged.warnings].concat(), ..merged },
                Err(Problems(problems)) => problems,
            };
            for problem in &problems {
                log::error!("Left out until it is corrected: {problem}");
            }
            let before = (self.pools.len(), self.settings.len());
            let blamed = |path: &str| problems.iter().any(|problem| covers(path, &problem.path));
            self.settings.retain(|(scope, path), _| {
                !blamed(&if scope.is_empty() { path.clone() } else { format!("pools.{scope}.{path}") })
            });
            if before.1 == self.settings.len() {
                self.pools.retain(|name, _| !blamed(&format!("pools.{name}")));
            }
            if before == (self.pools.len(), self.settings.len()) {
                log::error!("What was set at run time does not fit the files; they alone hold.");
                self.pools.clear();
                self.settings.clear();
                self.tokens.clear();
                if loaded.files.with(&self.additions()).is_err() {
                    return loaded;
                }
            }
        }
    }
}

impl From<Vec<Kept>> for KeptKeys {
    fn from(list: Vec<Kept>) -> Self {
        Self { list, places: OnceLock::new() }
    }
}

impl Clone for KeptKeys {
    /// A copy is made to be changed.
    fn clone(&self) -> Self {
        self.list.clone().into()
    }
}

impl KeptKeys {
    pub(super) fn list(&self) -> &[Kept] {
        &self.list
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&Kept> {
        let places =
            self.places.get_or_init(|| self.list.iter().enumerate().map(|(place, key)| (key.spec.id, place)).collect());
        self.list.get(*places.get(&id)?)
    }

    /// Adds keys; one that was removed comes back as it is now.
    pub(super) fn add(&mut self, keys: Vec<Kept>) {
        let back: HashSet<KeyId> = keys.iter().map(|key| key.spec.id).collect();
        let list = self.edit();
        list.retain(|key| !back.contains(&key.spec.id));
        list.extend(keys);
    }

    /// The keys, to be changed.
    pub(super) fn edit(&mut self) -> &mut Vec<Kept> {
        self.places.take();
        &mut self.list
    }
}

/// Whether what stands at `path` is, holds or belongs to what is at `other`.
fn covers(path: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    within(other, path) || within(path, other)
}

/// What is said of a key. Of most keys nothing is, and there may be very many.
pub(super) fn shared(details: String) -> Arc<str> {
    static NOTHING: Lazy<Arc<str>> = Lazy::new(|| "{}".into());
    if *details == **NOTHING { NOTHING.clone() } else { details.into() }
}

impl Kept {
    fn of(key: StoredKey, pools: &mut HashMap<String, Arc<str>>) -> Option<Self> {
        let pool = pools.entry(key.pool.clone()).or_insert_with(|| key.pool.as_str().into()).clone();
        let mut details: Map<String, Json> = serde_json::from_str(&key.details).unwrap_or_default();
        if let Some(name) = key.name {
            details.insert("name".into(), name.into());
        }
        details.remove("note");
        match key_spec(&pool, &key.key, &details) {
            Ok(spec) => Some(Self {
                pool,
                spec: Arc::new(spec),
                details: shared(key.details),
                created_at: key.created_at,
                removed_at: key.removed_at,
            }),
            Err(problems) => {
                let (id, problem) = (key.id, problems.first().map(ToString::to_string).unwrap_or_default());
                log::error!(id:%, problem; "A key in the store can't be used.");
                None
            }
        }
    }
}

fn added_token(token: &StoredToken) -> Option<AddedToken> {
    let mut settings: Map<String, Json> = serde_json::from_str(&token.details).ok()?;
    settings.insert("name".into(), token.name.clone().into());
    settings.insert("token".into(), "".into());
    Some(AddedToken { digest: token.digest, settings: serde_json::from_value(Json::Object(settings)).ok()? })
}

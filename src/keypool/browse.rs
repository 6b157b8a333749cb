//! Keys by what they are and do: a page of a list, and all that a bulk action means.
//!
//! Only what is shown is copied, so that looking through 100,000 keys costs milliseconds.

use super::{Entry, KeyPool, Seen, named, now};
use crate::config::KeyId;
use crate::pool::{Key, Millis};
use crate::telemetry::{KeySnapshot, State};

/// Which keys are meant: all that fit whatever is said.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What they do.
    pub state: Option<State>,
    /// Why they are not ready.
    pub reason: Option<String>,
    /// A piece of the name, or of the account's.
    pub text: Option<String>,
}

/// Some of the keys that fit.
#[derive(Debug, Clone)]
pub struct Page {
    /// They, in the order of the pool.
    pub keys: Vec<KeySnapshot>,
    /// How many fit altogether.
    pub total: usize,
}

impl Wanted {
    fn fits(&self, key: &Key, account: Option<&str>, seen: impl FnOnce() -> Seen) -> bool {
        let is_named = |text| key.name.contains(text) || account.is_some_and(|account| account.contains(text));
        if !self.text.as_deref().is_none_or(is_named) {
            return false;
        }
        if self.state.is_none() && self.reason.is_none() {
            return true;
        }
        let seen = seen();
        self.state.is_none_or(|state| state == seen.state)
            && self.reason.as_deref().is_none_or(|reason| seen.reason == Some(reason))
    }
}

impl Entry {
    /// The places of keys that fit.
    fn find(&self, wanted: &Wanted, now: Millis) -> impl Iterator<Item = (u32, &Key)> {
        (0..).zip(self.pool.keys()).filter(move |(index, key)| {
            wanted.fits(key, self.pool.account(key), || self.pool.worst_standing(*index, now).into())
        })
    }
}

impl KeyPool {
    /// At most `most` of the keys that fit, from the one at `start` on; `None` if there is no such pool.
    pub fn page(&self, pool: &str, wanted: &Wanted, start: usize, most: usize) -> Option<Page> {
        let (entries, now) = (self.entries.load(), now());
        let entry = named(&entries, pool)?;
        let mut page = Page { keys: Vec::new(), total: 0 };
        for (index, _) in entry.find(wanted, now) {
            if page.total >= start && page.keys.len() < most {
                page.keys.extend(entry.snapshot_at(index, now));
            }
            page.total += 1;
        }
        Some(page)
    }

    /// All keys that fit; `None` if there is no such pool.
    pub fn matching(&self, pool: &str, wanted: &Wanted) -> Option<Vec<KeyId>> {
        let entries = self.entries.load();
        Some(named(&entries, pool)?.find(wanted, now()).map(|(_, key)| key.id).collect())
    }

    /// Those of these keys that are in the pool; `None` if there is no such pool.
    pub fn among(&self, pool: &str, mut ids: Vec<KeyId>) -> Option<Vec<KeyId>> {
        let entries = self.entries.load();
        let entry = named(&entries, pool)?;
        ids.retain(|id| entry.has(*id));
        Some(ids)
    }
}

//! Keys that come: which are new and right, and how very many are taken.
//!
//! Many keys are committed lot by lot, so that no transaction is long and whoever waits hears how far it is; they are put
//! into effect together at the end, for each change builds its pool anew. What was committed holds, whatever happens to
//! the rest.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;

use super::error::ManageError;
use super::keys::{Added, Candidate, now_ms, spec_of};
use super::operate::Actor;
use super::stored::{Kept, Stored, shared};
use super::{Manager, Picture};
use crate::config::KeyId;
use crate::store::{Audit, NewKey};

/// Bad entries that are told one by one.
const BAD: usize = 100;

impl Manager {
    /// Adds keys to a pool, each lot committed by itself and then told to `tell` with its size, until that says no. They
    /// are used when the last lot is there. Blocks.
    ///
    /// # Errors
    /// If there is no such pool, or the store does not take a lot; those before it hold.
    pub fn import_keys(
        &self,
        pool: &str,
        lots: impl Iterator<Item = Vec<Candidate>>,
        actor: &Actor,
        tell: impl FnMut(usize, Added) -> bool,
    ) -> Result<(), ManageError> {
        let turn = self.turn();
        let mut judge = Judge::new(&turn.picture, &self.pool_name(pool)?);
        let mut committed = Vec::new();
        let done = judge.each(lots, tell, |kept, outcome| {
            if !kept.is_empty() {
                let new: Vec<NewKey> = kept.iter().map(Kept::to_store).collect();
                Self::wait(self.store.add_keys(new, outcome.audit(pool, actor)))?;
                committed.extend(kept);
            }
            Ok(())
        });
        if !committed.is_empty() {
            let mut stored = Stored::clone(&turn.picture.stored);
            stored.keys.add(committed);
            self.change_to(&turn, stored, |_| Ok(()))?;
        }
        done
    }

    /// [`import_keys`](Self::import_keys), but nothing is done: what would become of them.
    ///
    /// # Errors
    /// If there is no such pool.
    pub fn judge_keys(
        &self,
        pool: &str,
        lots: impl Iterator<Item = Vec<Candidate>>,
        tell: impl FnMut(usize, Added) -> bool,
    ) -> Result<(), ManageError> {
        Judge::new(&self.picture.load(), &self.pool_name(pool)?).each(lots, tell, |_, _| Ok(()))
    }
}

impl Added {
    pub(super) fn audit(&self, pool: &str, actor: &Actor) -> Audit {
        actor.does("keys.add", pool, json!({"added": self.added.len(), "duplicates": self.duplicates.len()}))
    }
}

/// Tells new keys of a pool from known and wrong ones.
pub(super) struct Judge {
    pool: Arc<str>,
    ids: HashSet<KeyId>,
    names: HashSet<String>,
}

impl Judge {
    pub(super) fn new(picture: &Picture, pool: &Arc<str>) -> Self {
        let stored = picture.stored.keys.list().iter();
        let present = stored.filter(|key| key.removed_at.is_none() && key.pool == *pool).map(|key| &key.spec);
        let known: Vec<_> = present.chain(picture.files.keys(pool)).collect();
        Self {
            pool: pool.clone(),
            ids: known.iter().map(|spec| spec.id).collect(),
            names: known.iter().map(|spec| spec.name.clone()).collect(),
        }
    }

    /// Judges lot by lot, has `keep` take what is right, and tells `tell` of each with its size, until that says no.
    fn each(
        &mut self,
        lots: impl Iterator<Item = Vec<Candidate>>,
        mut tell: impl FnMut(usize, Added) -> bool,
        mut keep: impl FnMut(Vec<Kept>, &Added) -> Result<(), ManageError>,
    ) -> Result<(), ManageError> {
        for lot in lots {
            let (size, mut outcome) = (lot.len(), Added::default());
            let kept = self.judge(lot, &mut outcome);
            keep(kept, &outcome)?;
            if !tell(size, outcome) {
                break;
            }
        }
        Ok(())
    }

    /// Those of the candidates that are new and right; they are known from now on.
    pub(super) fn judge(&mut self, candidates: Vec<Candidate>, outcome: &mut Added) -> Vec<Kept> {
        let now = now_ms();
        let mut kept = Vec::with_capacity(candidates.len());
        for Candidate { line, key, details } in candidates {
            let is_named = details.contains_key("name");
            let mut refuse = |why: String| {
                if outcome.bad.len() < BAD {
                    outcome.bad.push((line, why));
                }
            };
            match spec_of(&self.pool, &key, details) {
                Err(mistakes) => refuse(mistakes.join("; ")),
                Ok((spec, _)) if !self.ids.insert(spec.id) => outcome.duplicates.push(spec.id),
                Ok((spec, _)) if !self.names.insert(spec.name.clone()) && is_named => {
                    self.ids.remove(&spec.id);
                    refuse(format!("name: another key of the pool is called {}", spec.name));
                }
                Ok((spec, details)) => kept.push(Kept {
                    pool: self.pool.clone(),
                    spec: Arc::new(spec),
                    details: shared(details),
                    created_at: now,
                    removed_at: None,
                }),
            }
        }
        outcome.added = kept.iter().map(|key| key.spec.id).collect();
        kept
    }
}

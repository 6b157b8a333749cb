//! Keys that come: which are new and right, and how very many are taken.
//!
//! Many keys are committed lot by lot, as they come, so that no transaction is long, nobody waits for a slow sender, and
//! whoever sends hears how far it is; they are put into effect together, for each change builds its pool anew. Between two
//! lots others may have their turn: they put into effect what was committed by then. What was committed holds, whatever
//! happens to the rest.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;

use super::error::ManageError;
use super::keys::{Added, Candidate, now_ms, spec_of};
use super::operate::Actor;
use super::stored::{Kept, shared};
use super::{Manager, Picture, Turn};
use crate::config::KeyId;
use crate::store::{Audit, NewKey};

/// Bad entries that are told one by one.
const BAD: usize = 100;

impl Manager {
    /// Adds keys to a pool, each lot committed by itself and then told to `tell` with its size, until that says no. They
    /// are used when the last lot is there. Blocks.
    ///
    /// # Errors
    /// If there is no such pool, a lot does not come, or the store does not take it; those before it hold.
    pub fn import_keys<E: From<ManageError>>(
        &self,
        pool: &str,
        mut lots: impl Iterator<Item = Result<Vec<Candidate>, E>>,
        actor: &Actor,
        mut tell: impl FnMut(usize, Added) -> bool,
    ) -> Result<(), E> {
        let mut judge = None;
        let committed = lots.try_for_each(|lot| {
            let lot = lot.map_err(Some)?;
            let size = lot.len();
            let outcome = self.commit_lot(pool, lot, &mut judge, actor).map_err(|error| Some(error.into()))?;
            if tell(size, outcome) { Ok(()) } else { Err(None) }
        });
        self.take_in(&mut self.turn_between_lots())?;
        committed.or_else(|end| end.map_or(Ok(()), Err))
    }

    /// Commits the new keys of a lot; the next turn puts them into effect. `judge` knows those of the lots before.
    fn commit_lot(
        &self,
        pool: &str,
        lot: Vec<Candidate>,
        judge: &mut Option<Judge>,
        actor: &Actor,
    ) -> Result<Added, ManageError> {
        let mut turn = self.turn_between_lots();
        let name = self.pool_name(pool)?;
        let current = judge.take().filter(|judge| judge.knows(&turn));
        let judge = judge.insert(current.unwrap_or_else(|| Judge::new(&turn.picture, &turn.known.arrived, &name)));
        let mut outcome = Added::default();
        let kept = judge.judge(lot, &mut outcome);
        if !kept.is_empty() {
            let new: Vec<NewKey> = kept.iter().map(Kept::to_store).collect();
            Self::wait(self.store.add_keys(new, outcome.audit(pool, actor)))?;
            turn.known.arrived.extend(kept);
            judge.state = turn.state();
        }
        Ok(outcome)
    }

    /// [`import_keys`](Self::import_keys), but nothing is done: what would become of them.
    ///
    /// # Errors
    /// If there is no such pool, or a lot does not come.
    pub fn judge_keys<E: From<ManageError>>(
        &self,
        pool: &str,
        lots: impl Iterator<Item = Result<Vec<Candidate>, E>>,
        mut tell: impl FnMut(usize, Added) -> bool,
    ) -> Result<(), E> {
        let mut judge = Judge::new(&self.picture.load(), &[], &self.pool_name(pool)?);
        for lot in lots {
            let lot = lot?;
            let (size, mut outcome) = (lot.len(), Added::default());
            judge.judge(lot, &mut outcome);
            if !tell(size, outcome) {
                break;
            }
        }
        Ok(())
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
    /// What it knows.
    state: (u64, usize),
}

impl Judge {
    /// `arrived` = what is in the store and not in the picture yet.
    pub(super) fn new(picture: &Picture, arrived: &[Kept], pool: &Arc<str>) -> Self {
        let stored = picture.stored.keys.list().iter().chain(arrived);
        let present = stored.filter(|key| key.removed_at.is_none() && key.pool == *pool).map(|key| &key.spec);
        let known: Vec<_> = present.chain(picture.files.keys(pool)).collect();
        Self {
            pool: pool.clone(),
            ids: known.iter().map(|spec| spec.id).collect(),
            names: known.iter().map(|spec| spec.name.clone()).collect(),
            state: (picture.version, arrived.len()),
        }
    }

    /// Whether nothing changed meanwhile.
    fn knows(&self, turn: &Turn<'_>) -> bool {
        self.state == turn.state()
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

//! Versions of what operators edit: the second of two who edit at once is told, and writes nothing over.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::error::ManageError;

/// JSON's numbers are exact up to here.
const EXACT: u64 = (1 << 53) - 1;

/// Another number for another name, or other things said.
pub(super) fn of(name: &str, details: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, details).hash(&mut hasher);
    hasher.finish() & EXACT
}

/// Refuses a change of `what` that was made by the sight of another version; `None` = by none.
pub(super) fn check(expected: Option<u64>, now: u64, what: &str) -> Result<(), ManageError> {
    if expected.is_none_or(|version| version == now) {
        return Ok(());
    }
    Err(ManageError::Stale(format!("somebody changed {what} meanwhile; read it again")))
}

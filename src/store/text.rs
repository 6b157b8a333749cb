//! Texts and ids as every database takes them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::StoreError;
use crate::config::KeyId;

/// Longest name (characters).
const NAME: usize = 191;
/// Low bits of a row id: what tells rows of one millisecond apart.
const ID_BITS: u32 = 20;
/// The lowest of them count; those above are this process's, so that two servers seldom meet in one table.
const COUNT_BITS: u32 = 12;
/// Milliseconds in an hour.
pub(super) const HOUR: i64 = 3_600_000;

/// A name as it was given, if every database can keep it.
pub(super) fn name<'a>(what: &str, text: &'a str) -> Result<&'a str, StoreError> {
    if text.contains('\0') || text.chars().nth(NAME).is_some() {
        return Err(StoreError::Invalid(format!("the {what} must have at most {NAME} characters and no NUL")));
    }
    Ok(text)
}

/// A name that only informs, cut to what every database keeps.
pub(super) fn short(text: &str) -> String {
    clip(text, NAME)
}

/// A text without NUL, which PostgreSQL refuses, cut to so many characters.
pub(super) fn clip(text: &str, characters: usize) -> String {
    text.chars().filter(|character| *character != '\0').take(characters).collect()
}

/// Whether a name can be kept as it is; one that can't must not be cut, for it would be another's.
pub(super) fn fits(text: &str) -> bool {
    name("", text).is_ok()
}

/// Now, in Unix milliseconds.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A key's id as it was kept.
pub(super) fn key_id(bytes: &[u8]) -> Result<KeyId, StoreError> {
    let bytes = bytes.try_into().map_err(|_| StoreError::Damaged("a key's id is not 16 bytes long".into()))?;
    Ok(KeyId::from_bytes(bytes))
}

/// Ids of rows in the order of time.
pub(super) struct RowIds {
    last: AtomicI64,
    own: i64,
}

impl RowIds {
    pub(super) fn new() -> Self {
        let mut byte = [0];
        // Without randomness two servers may meet, and one of two equal ids is dropped: no harm worth a failure.
        let own = getrandom::fill(&mut byte).map_or(0, |()| i64::from(byte[0]) << COUNT_BITS);
        Self { last: AtomicI64::new(0), own }
    }

    /// The id of a row of this moment (Unix milliseconds), greater than those before.
    pub(super) fn next(&self, at: i64) -> i64 {
        let fresh = first_id(at) | self.own;
        let advance = |last: i64| Some(fresh.max(last + 1));
        match self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, advance) {
            Ok(last) | Err(last) => fresh.max(last + 1),
        }
    }
}

/// The least id of that moment.
pub(super) fn first_id(at: i64) -> i64 {
    at.clamp(0, i64::MAX >> ID_BITS) << ID_BITS
}

/// The moment of an id.
pub(super) fn time_of(id: i64) -> i64 {
    id >> ID_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_and_tell_their_time() {
        let ids = RowIds::new();
        let made: Vec<i64> = [1_700_000_000_000; 5000].into_iter().map(|at| ids.next(at)).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(time_of(made[0]), 1_700_000_000_000);
        assert!(ids.next(1_700_000_000_000 - 5) > made[4999], "a clock set back does not break the order");
        assert!(first_id(i64::MAX) > 0 && first_id(-1) == 0);
    }

    #[test]
    fn names_are_refused_and_texts_are_cut() {
        assert!(fits(&"ä".repeat(191)) && !fits(&"a".repeat(192)) && !fits("a\0"));
        assert_eq!(clip("a\0äb", 2), "aä");
    }
}

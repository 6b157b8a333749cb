//! Marks: why a key rests or is disabled, until when, by wall clock, so that a restart goes on where it was.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, OnConflict},
};

use super::Store;
use super::audit::Audit;
use super::entity::marks;
use super::error::StoreError;
use super::text::{clip, fits, key_id, now, short};
use crate::config::KeyId;

/// Longest evidence (characters).
const EVIDENCE: usize = 2048;
/// Rows of one statement.
const ROWS: usize = 500;

/// What of a key a mark is put on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The key.
    Own,
    /// The key, for failures that may prove not to be its fault.
    Suspicion,
    /// The key, for this model.
    Model(Box<str>),
    /// The key's account.
    Account(Box<str>),
}

/// A mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When it ends (Unix milliseconds); `None` = disabled until somebody or something brings it back.
    pub until: Option<i64>,
    /// Why, in the word metrics use.
    pub reason: String,
    /// Who set it: `rule`, `operator` or `file`.
    pub by: String,
    /// Rests in a row, from which the next one's length follows.
    pub rests: u32,
    /// What the provider said, scrubbed.
    pub evidence: String,
    /// When it was set (Unix milliseconds).
    pub since: i64,
}

/// A mark that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMark {
    /// Of which key.
    pub key: KeyId,
    /// Of what of it.
    pub subject: Subject,
    /// The mark.
    pub mark: Mark,
}

/// A mark to set, or (`None`) to take back.
pub(super) type MarkRow = (KeyId, Subject, Option<Mark>);

impl Subject {
    /// How it is kept.
    pub(super) fn parts(&self) -> (i16, &str) {
        match self {
            Self::Own => (0, ""),
            Self::Suspicion => (3, ""),
            Self::Model(name) => (1, name),
            Self::Account(name) => (2, name),
        }
    }

    fn from_parts(kind: i16, name: String) -> Option<Self> {
        match kind {
            0 => Some(Self::Own),
            1 => Some(Self::Model(name.into())),
            2 => Some(Self::Account(name.into())),
            3 => Some(Self::Suspicion),
            _ => None,
        }
    }

    /// A longer name can't be kept, and cut it would be another's.
    pub(super) fn fits(&self) -> bool {
        fits(self.parts().1)
    }
}

/// Writes marks; the caller holds the turn.
pub(super) async fn write(db: &impl ConnectionTrait, rows: &[MarkRow]) -> Result<(), StoreError> {
    let set: Vec<marks::ActiveModel> = rows.iter().filter_map(|row| active(row, row.2.as_ref()?)).collect();
    for chunk in set.chunks(ROWS) {
        use marks::Column::{Evidence, KeyId, Kind, OrphanedAt, Reason, Rests, SetBy, Since, Subject, Until};
        let newest = OnConflict::columns([KeyId, Kind, Subject])
            .update_columns([Until, Reason, SetBy, Rests, Evidence, Since, OrphanedAt])
            .to_owned();
        marks::Entity::insert_many(chunk.to_vec()).on_conflict(newest).exec_without_returning(db).await?;
    }
    let gone: Vec<Condition> = rows.iter().filter(|row| row.2.is_none()).map(|row| at(row.0, &row.1)).collect();
    for chunk in gone.chunks(ROWS / 5) {
        let any = chunk.iter().cloned().fold(Condition::any(), Condition::add);
        marks::Entity::delete_many().filter(any).exec(db).await?;
    }
    Ok(())
}

fn active((key, subject, _): &MarkRow, mark: &Mark) -> Option<marks::ActiveModel> {
    let (kind, name) = subject.parts();
    subject.fits().then(|| marks::ActiveModel {
        key_id: Set(key.as_bytes().to_vec()),
        kind: Set(kind),
        subject: Set(name.to_owned()),
        until: Set(mark.until),
        reason: Set(short(&mark.reason)),
        set_by: Set(short(&mark.by)),
        rests: Set(i32::try_from(mark.rests).unwrap_or(i32::MAX)),
        evidence: Set(clip(&mark.evidence, EVIDENCE)),
        since: Set(mark.since),
        orphaned_at: Set(None),
    })
}

fn at(key: KeyId, subject: &Subject) -> Condition {
    let (kind, name) = subject.parts();
    Condition::all()
        .add(marks::Column::KeyId.eq(key.as_bytes().to_vec()))
        .add(marks::Column::Kind.eq(kind))
        .add(marks::Column::Subject.eq(name))
}

/// All marks.
async fn load(db: &DatabaseConnection) -> Result<Vec<StoredMark>, StoreError> {
    let rows = marks::Entity::find().stream(db).await?;
    rows.map(|row| StoredMark::try_from(row?)).try_collect().await
}

impl TryFrom<marks::Model> for StoredMark {
    type Error = StoreError;

    fn try_from(row: marks::Model) -> Result<Self, StoreError> {
        let strange = || StoreError::Damaged(format!("a mark of kind {} is unknown", row.kind));
        Ok(Self {
            key: key_id(&row.key_id)?,
            subject: Subject::from_parts(row.kind, row.subject).ok_or_else(strange)?,
            mark: Mark {
                until: row.until,
                reason: row.reason,
                by: row.set_by,
                rests: u32::try_from(row.rests).unwrap_or_default(),
                evidence: row.evidence,
                since: row.since,
            },
        })
    }
}

impl Store {
    /// All marks.
    ///
    /// # Errors
    /// If they can't be read now.
    pub async fn marks(&self) -> Result<Vec<StoredMark>, StoreError> {
        self.read(|db| Box::pin(async move { load(&db).await })).await
    }

    /// The marks of these keys, as they are once the journal is written.
    ///
    /// # Errors
    /// If they can't be read now.
    pub async fn marks_of(&self, keys: HashSet<KeyId>) -> Result<Vec<StoredMark>, StoreError> {
        let shared = self.shared.clone();
        self.read(move |db| {
            Box::pin(async move {
                // In turn: what the journal held is either written or there.
                let _turn = shared.turn.lock().await;
                let ids: Vec<Vec<u8>> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
                let mut found = Vec::new();
                for chunk in ids.chunks(ROWS) {
                    let of_keys = marks::Column::KeyId.is_in(chunk.iter().cloned());
                    let rows = marks::Entity::find().filter(of_keys).all(&db).await?;
                    found.extend(rows.into_iter().map(StoredMark::try_from).collect::<Result<Vec<_>, _>>()?);
                }
                Ok(shared.journal.over(found, &keys))
            })
        })
        .await
    }

    /// Sets marks and (`None`) takes them back, for good when it returns: what an operator does. Older marks of the same
    /// subjects that the journal still holds are dropped.
    ///
    /// # Errors
    /// If it can't be written now; then nothing is.
    pub async fn set_marks(
        &self,
        changes: Vec<(KeyId, Subject, Option<Mark>)>,
        audit: Audit,
    ) -> Result<(), StoreError> {
        if changes.iter().any(|(_, subject, _)| !subject.fits()) {
            return Err(StoreError::Invalid("a model's or account's name is too long to be kept".into()));
        }
        let written = self.write(Some(audit), move |writing| {
            Box::pin(async move {
                // In turn, so nothing older is on its way; what waits comes back if this is not committed.
                let held = writing.shared.journal.hold(changes.iter().map(|(key, subject, _)| (*key, subject.clone())));
                write(&writing.db, &changes).await?;
                Ok(held)
            })
        });
        written.await?.forget();
        Ok(())
    }

    /// Tells which keys there are, so that marks of others are forgotten 30 days from when they were first missing.
    ///
    /// # Errors
    /// If it can't be written now.
    pub async fn note_keys(&self, known: HashSet<KeyId>) -> Result<(), StoreError> {
        self.write(None, move |writing| Box::pin(async move { note_keys(&writing.db, &known).await })).await
    }
}

async fn note_keys(db: &impl ConnectionTrait, known: &HashSet<KeyId>) -> Result<(), StoreError> {
    let rows: Vec<(Vec<u8>, Option<i64>)> = marks::Entity::find()
        .select_only()
        .columns([marks::Column::KeyId, marks::Column::OrphanedAt])
        .distinct()
        .into_tuple()
        .all(db)
        .await?;
    let (mut lost, mut found) = (Vec::new(), Vec::new());
    for (bytes, orphaned_at) in rows {
        match (known.contains(&key_id(&bytes)?), orphaned_at) {
            (false, None) => lost.push(bytes),
            (true, Some(_)) => found.push(bytes),
            _ => {}
        }
    }
    for (keys, orphaned_at) in [(lost, Some(now())), (found, None)] {
        for chunk in keys.chunks(ROWS) {
            marks::Entity::update_many()
                .col_expr(marks::Column::OrphanedAt, Expr::value(orphaned_at))
                .filter(marks::Column::KeyId.is_in(chunk.iter().cloned()))
                .exec(db)
                .await?;
        }
    }
    Ok(())
}

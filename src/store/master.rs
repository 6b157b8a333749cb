//! The master key: where it comes from, whether it is the right one, and its rotation's files.
//!
//! A configured key is used as it is. Otherwise one is made at the first run and kept in `master.key` (0600)
//! beside the database's file, or in the state directory. The database holds a sealed word that tells a wrong key from a right one before anything else is
//! opened. During a rotation the next key is in `master.key.next` before a row is sealed with it, so that a crash at any
//! moment leaves the key that opens the database in one of the two files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait, sea_query::OnConflict};

use super::entity::meta;
use super::error::StoreError;
use super::file;
use super::seal::{Label, Sealer, version_of};
use crate::config::{self, Secret};

const CHECK: &str = "master_check";
const WORD: &[u8] = b"keyweir";
const LABEL: Label<'_> = Label(&[b"meta", CHECK.as_bytes()]);

/// Where the master key is.
#[derive(Clone)]
pub(super) struct Source {
    configured: Option<Secret>,
    previous: Option<Secret>,
    file: PathBuf,
    next: PathBuf,
}

/// What the database's sealed word told.
pub(super) enum Opened {
    /// This is the key.
    Right(Sealer),
    /// The key before it was; everything must be sealed anew with this one.
    Rotate(Sealer, Secret),
}

impl Source {
    /// `beside`: the database's file, if it is one; they belong together.
    pub(super) fn new(settings: &config::Store, beside: Option<&Path>) -> Self {
        let folder = beside.and_then(Path::parent).unwrap_or(&settings.directory);
        Self {
            configured: settings.master_key.clone(),
            previous: settings.previous_master_key.clone(),
            file: folder.join("master.key"),
            next: folder.join("master.key.next"),
        }
    }

    /// The sealer that fits the database; the first one for a database that has none yet.
    pub(super) async fn open(&self, db: &impl ConnectionTrait) -> Result<Opened, StoreError> {
        let Some(check) = meta::Entity::find_by_id(CHECK).one(db).await? else {
            let sealer = Sealer::new(1, &self.first()?)?;
            keep_check(db, &sealer).await?;
            return Ok(Opened::Right(sealer));
        };
        let fits = |key: &Secret| {
            let sealer = Sealer::new(version_of(&check.value), key)?;
            Ok::<_, StoreError>(sealer.open(LABEL, &check.value).is_ok().then_some(sealer))
        };
        let kept = read(&self.file)?;
        let key = self.configured.as_ref().or(kept.as_ref());
        if let Some(sealer) = key.map(fits).transpose()?.flatten() {
            return Ok(Opened::Right(sealer));
        }
        if let Some(configured) = &self.configured {
            for old in [self.previous.as_ref(), kept.as_ref()].into_iter().flatten() {
                if let Some(sealer) = fits(old)? {
                    return Ok(Opened::Rotate(sealer, configured.clone()));
                }
            }
        } else if let Some(next) = read(&self.next)?
            && let Some(sealer) = fits(&next)?
        {
            // The rotation was committed, and the crash came before the file took its place.
            self.take_next()?;
            return Ok(Opened::Right(sealer));
        }
        Err(StoreError::MasterKey(self.complaint(kept.is_some())))
    }

    fn complaint(&self, is_kept: bool) -> String {
        match (&self.configured, is_kept) {
            (Some(_), _) => "is not the one the database was sealed with; set that one, or that one as \
                             KEYWEIR_MASTER_KEY_PREVIOUS to rotate to the new one"
                .into(),
            (None, true) => {
                format!("{} is not the one the database was sealed with; restore that one", self.file.display())
            }
            (None, false) => format!(
                "{} is missing, and the database was sealed with it; restore it, or set the key as KEYWEIR_MASTER_KEY",
                self.file.display()
            ),
        }
    }

    /// The key of a database that has none yet.
    fn first(&self) -> Result<Secret, StoreError> {
        if let Some(key) = self.configured.clone().map_or_else(|| read(&self.file), |key| Ok(Some(key)))? {
            return Ok(key);
        }
        let key = make()?;
        let failed = |e| StoreError::Unavailable(format!("{}: the master key can't be kept: {e}", self.file.display()));
        file::write_private(&self.file, format!("{}\n", key.expose()).as_bytes()).map_err(failed)?;
        Ok(key)
    }

    /// The generated key can be rotated here; a configured one is rotated by configuring another.
    pub(super) fn next(&self) -> Result<Secret, StoreError> {
        if self.configured.is_some() {
            return Err(StoreError::Invalid(
                "the master key is configured; to rotate it, set the new one, the old one as KEYWEIR_MASTER_KEY_PREVIOUS, and restart"
                    .into(),
            ));
        }
        let key = make()?;
        let failed =
            |e| StoreError::Unavailable(format!("{}: the next master key can't be kept: {e}", self.next.display()));
        file::write_private(&self.next, format!("{}\n", key.expose()).as_bytes()).map_err(failed)?;
        Ok(key)
    }

    /// The next key becomes the key.
    pub(super) fn take_next(&self) -> Result<(), StoreError> {
        fs::rename(&self.next, &self.file)
            .and_then(|()| file::sync_folder(&self.file))
            .map_err(|e| StoreError::Unavailable(format!("{}: {e}", self.next.display())))
    }
}

/// Writes the sealed word.
pub(super) async fn keep_check(db: &impl ConnectionTrait, sealer: &Sealer) -> Result<(), StoreError> {
    let row = meta::ActiveModel { name: Set(CHECK.into()), value: Set(sealer.seal(LABEL, WORD)?) };
    let newest = OnConflict::column(meta::Column::Name).update_column(meta::Column::Value).to_owned();
    meta::Entity::insert(row).on_conflict(newest).exec_without_returning(db).await?;
    Ok(())
}

fn make() -> Result<Secret, StoreError> {
    let words = [Secret::generate("kwm-"), Secret::generate("")];
    match words {
        [Ok(first), Ok(second)] => Ok(Secret::new(format!("{}{}", first.expose(), second.expose()))),
        _ => Err(StoreError::Unavailable("the system gives no random bytes for a master key".into())),
    }
}

fn read(path: &PathBuf) -> Result<Option<Secret>, StoreError> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(StoreError::MasterKey(format!("{} is empty", path.display()))),
        Ok(text) => Ok(Some(Secret::new(text.trim().to_owned()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::MasterKey(format!("{} can't be read: {e}", path.display()))),
    }
}

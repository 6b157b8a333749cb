//! The schema and how it changes: migrations at start, a backup before them, and no touching of what is newer.
//!
//! A migration that was published is never edited; what it leaves is what the next one starts from.

mod m0001_initial;
mod m0002_orphaned_marks;
mod m0003_token_cost;
mod m0004_resource_pins;
mod m0005_coarse_counters;

use std::path::{Path, PathBuf};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

use super::error::StoreError;

/// Backups of a database that are kept.
const BACKUPS: usize = 3;

/// All migrations in their order.
pub(super) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_initial::Migration),
            Box::new(m0002_orphaned_marks::Migration),
            Box::new(m0003_token_cost::Migration),
            Box::new(m0004_resource_pins::Migration),
            Box::new(m0005_coarse_counters::Migration),
        ]
    }
}

/// Brings the database to this version's schema. `file` is the database's file if it is one.
pub(super) async fn migrate(db: &DatabaseConnection, file: Option<&Path>) -> Result<(), StoreError> {
    let applied: Vec<String> =
        Migrator::get_migration_models(db).await?.into_iter().map(|model| model.version).collect();
    let known = Migrator::migrations();
    if let Some(unknown) = applied.iter().find(|version| !known.iter().any(|known| known.name() == version.as_str())) {
        return Err(StoreError::NewerSchema(unknown.clone()));
    }
    if applied.len() == known.len() {
        return Ok(());
    }
    if let (Some(file), Some(version)) = (file, applied.last()) {
        let backup = back_up(db, file, version).await?;
        log::info!(backup:% = backup.display(); "The store is migrated; a backup was made first.");
    }
    Ok(Migrator::up(db, None).await?)
}

/// Copies the database as it is, beside itself.
async fn back_up(db: &DatabaseConnection, file: &Path, version: &str) -> Result<PathBuf, StoreError> {
    let failed =
        |e: std::io::Error| StoreError::Unavailable(format!("no backup can be made before the migration: {e}"));
    let backup = free_name(file, version);
    // Only its owner may read it, from the first byte.
    super::file::create_private(&backup).map_err(failed)?;
    let copied = copy(db, &backup).await;
    if let Err(error) = copied {
        // An incomplete backup must not look like one.
        std::fs::remove_file(&backup).map_err(failed)?;
        return Err(error.into());
    }
    std::fs::File::open(&backup).and_then(|file| file.sync_all()).map_err(failed)?;
    forget_old(file).map_err(failed)?;
    Ok(backup)
}

async fn copy(db: &DatabaseConnection, backup: &Path) -> Result<(), DbErr> {
    let path = backup.to_string_lossy().into_owned();
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, "VACUUM INTO ?", [path.into()])).await?;
    Ok(())
}

/// `keyweir.db.before-m0002_….1`, the number rising.
fn free_name(file: &Path, version: &str) -> PathBuf {
    let number = backups(file).last().map_or(1, |(number, _)| number + 1);
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".backup-{number}-{version}"));
    file.with_file_name(name)
}

/// The backups of a database, oldest first.
fn backups(file: &Path) -> Vec<(u64, PathBuf)> {
    let prefix = format!("{}.backup-", file.file_name().unwrap_or_default().to_string_lossy());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found: Vec<(u64, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix(&prefix)?.split('-').next()?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    found.sort();
    found
}

fn forget_old(file: &Path) -> std::io::Result<()> {
    let found = backups(file);
    found.iter().take(found.len().saturating_sub(BACKUPS)).try_for_each(|(_, path)| std::fs::remove_file(path))
}

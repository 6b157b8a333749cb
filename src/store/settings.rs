//! Settings that beat the file's until they are reset. Values are sealed: some hold passwords.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter, sea_query::OnConflict,
};

use super::Store;
use super::audit::Audit;
use super::entity::settings;
use super::error::StoreError;
use super::pools::{sealable, text};
use super::seal::{Label, Sealer};
use super::text::{name, now};

/// A value that beats the file's.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// The pool; empty = the whole configuration.
    pub scope: String,
    /// The field, e.g. `retry.attempts`.
    pub path: String,
    /// The value, as JSON; it may hold a password.
    pub value: String,
    /// When it was set (Unix milliseconds).
    pub updated_at: i64,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting").field("scope", &self.scope).field("path", &self.path).finish_non_exhaustive()
    }
}

fn with_label<T>(scope: &str, path: &str, then: impl FnOnce(Label<'_>) -> T) -> T {
    then(Label(&[b"settings", scope.as_bytes(), path.as_bytes()]))
}

/// All settings.
pub(super) async fn load(db: &impl ConnectionTrait, sealer: &Sealer) -> Result<Vec<Setting>, StoreError> {
    let open = |row: settings::Model| {
        let plain = with_label(&row.scope, &row.path, |label| sealer.open(label, &row.sealed))?;
        Ok(Setting { value: text(&plain)?, scope: row.scope, path: row.path, updated_at: row.updated_at })
    };
    settings::Entity::find().all(db).await?.into_iter().map(open).collect()
}

/// Seals all settings anew.
pub(super) async fn seal_anew(db: &impl ConnectionTrait, sealer: &Sealer) -> Result<(), StoreError> {
    for row in settings::Entity::find().all(db).await? {
        let plain = with_label(&row.scope, &row.path, |label| sealer.open(label, &row.sealed))?;
        let sealed = with_label(&row.scope, &row.path, |label| sealer.seal(label, &plain))?;
        upsert(db, settings::Model { sealed, ..row }).await?;
    }
    Ok(())
}

async fn upsert(db: &impl ConnectionTrait, row: settings::Model) -> Result<(), StoreError> {
    use settings::Column::{Path, Scope, Sealed, UpdatedAt};
    let row = settings::ActiveModel {
        scope: Set(row.scope),
        path: Set(row.path),
        sealed: Set(row.sealed),
        updated_at: Set(row.updated_at),
    };
    let newest = OnConflict::columns([Scope, Path]).update_columns([Sealed, UpdatedAt]).to_owned();
    settings::Entity::insert(row).on_conflict(newest).exec_without_returning(db).await?;
    Ok(())
}

pub(super) async fn forget_scope(db: &impl ConnectionTrait, scope: &str) -> Result<(), StoreError> {
    settings::Entity::delete_many().filter(settings::Column::Scope.eq(scope)).exec(db).await?;
    Ok(())
}

impl Store {
    /// Sets values (JSON) and resets others (`None`), all or none. `scope` is a pool, or empty for the whole configuration.
    ///
    /// # Errors
    /// If it can't be written now, or something is too long.
    pub async fn set_settings(
        &self,
        scope: String,
        changes: Vec<(String, Option<String>)>,
        audit: Audit,
    ) -> Result<(), StoreError> {
        name("pool's name", &scope)?;
        for (path, value) in &changes {
            name("field's path", path)?;
            value.iter().try_for_each(|value| sealable(value))?;
        }
        self.write(Some(audit), move |writing| {
            Box::pin(async move {
                for (path, value) in changes {
                    let Some(value) = value else {
                        use settings::Column::{Path, Scope};
                        let here = Scope.eq(&scope).and(Path.eq(path));
                        settings::Entity::delete_many().filter(here).exec(&writing.db).await?;
                        continue;
                    };
                    let sealed = with_label(&scope, &path, |label| writing.sealer.seal(label, value.as_bytes()))?;
                    let row = settings::Model { scope: scope.clone(), path, sealed, updated_at: now() };
                    upsert(&writing.db, row).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

//! Client tokens added at run time, and the admin token: digests only, for nobody needs the texts again.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter, sea_query::OnConflict,
};

use super::Store;
use super::audit::Audit;
use super::entity::{meta, tokens};
use super::error::StoreError;
use super::text::{name, now};
use crate::config::TokenDigest;

/// Largest details (bytes).
const DETAILS: usize = 65_000;
const ADMIN: &str = "admin_token";

/// What becomes of a token; everything is replaced.
#[derive(Debug, Clone)]
pub struct TokenChange {
    /// Which.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Scopes, limits, expiry, budget, as JSON.
    pub details: String,
}

/// A token that is kept, or is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// Sixteen hexadecimal digits.
    pub id: String,
    /// Unique.
    pub name: String,
    /// Of its text.
    pub digest: TokenDigest,
    /// Scopes, limits, expiry, budget, as JSON.
    pub details: String,
    /// When it was added (Unix milliseconds).
    pub created_at: i64,
    /// When it was changed last (Unix milliseconds).
    pub updated_at: i64,
}

impl StoredToken {
    /// A token with an id of its own; `details` are scopes, limits, expiry and budget, as JSON.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(name: String, digest: TokenDigest, details: String) -> Result<Self, StoreError> {
        let mut id = [0; 8];
        let no_id = |_| StoreError::Unavailable("the system gives no random bytes".into());
        getrandom::fill(&mut id).map_err(no_id)?;
        let (id, now) = (format!("{:016x}", u64::from_be_bytes(id)), now());
        Ok(Self { id, name, digest, details, created_at: now, updated_at: now })
    }
}

fn digest(bytes: &[u8]) -> Result<TokenDigest, StoreError> {
    let bytes = bytes.try_into().map_err(|_| StoreError::Damaged("a token's digest is not 32 bytes long".into()))?;
    Ok(TokenDigest::from_bytes(bytes))
}

fn check(text: &str, details: &str) -> Result<(), StoreError> {
    name("token's name", text)?;
    if details.len() > DETAILS || details.contains('\0') {
        return Err(StoreError::Invalid(format!("a token's details must have at most {DETAILS} bytes and no NUL")));
    }
    Ok(())
}

/// All tokens.
pub(super) async fn load(db: &impl ConnectionTrait) -> Result<Vec<StoredToken>, StoreError> {
    let kept = |row: tokens::Model| {
        Ok(StoredToken {
            digest: digest(&row.digest)?,
            id: row.id,
            name: row.name,
            details: row.details,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    };
    tokens::Entity::find().all(db).await?.into_iter().map(kept).collect()
}

/// The admin token, if it was set here.
pub(super) async fn load_admin(db: &impl ConnectionTrait) -> Result<Option<TokenDigest>, StoreError> {
    let row = meta::Entity::find_by_id(ADMIN).one(db).await?;
    row.map(|row| digest(&row.value)).transpose()
}

async fn is_taken(db: &impl ConnectionTrait, text: &str, by_other_than: &str) -> Result<bool, StoreError> {
    let other = tokens::Column::Name.eq(text).and(tokens::Column::Id.ne(by_other_than));
    Ok(tokens::Entity::find().filter(other).one(db).await?.is_some())
}

impl Store {
    /// The admin token, if it was set at run time.
    ///
    /// # Errors
    /// If it can't be read now.
    pub async fn admin_token(&self) -> Result<Option<TokenDigest>, StoreError> {
        self.read(|db| Box::pin(async move { load_admin(&db).await })).await
    }

    /// Adds a client token.
    ///
    /// # Errors
    /// If it can't be written now, the name is taken, or something is too long.
    pub async fn add_token(&self, token: StoredToken, audit: Audit) -> Result<(), StoreError> {
        check(&token.name, &token.details)?;
        self.write(Some(audit), move |writing| {
            Box::pin(async move {
                if is_taken(&writing.db, &token.name, "").await? {
                    return Err(StoreError::Conflict(format!("a token named {}", token.name)));
                }
                let row = tokens::ActiveModel {
                    id: Set(token.id),
                    name: Set(token.name),
                    digest: Set(token.digest.as_bytes().to_vec()),
                    details: Set(token.details),
                    created_at: Set(token.created_at),
                    updated_at: Set(token.updated_at),
                };
                tokens::Entity::insert(row).exec_without_returning(&writing.db).await?;
                Ok(())
            })
        })
        .await
    }

    /// Changes a client token's name and details.
    ///
    /// # Errors
    /// If it can't be written now, there is none of that id, the name is taken, or something is too long.
    pub async fn update_token(&self, change: TokenChange, audit: Audit) -> Result<(), StoreError> {
        check(&change.name, &change.details)?;
        self.write(Some(audit), move |writing| {
            Box::pin(async move {
                let db = &writing.db;
                if is_taken(db, &change.name, &change.id).await? {
                    return Err(StoreError::Conflict(format!("a token named {}", change.name)));
                }
                let row = tokens::ActiveModel {
                    name: Set(change.name),
                    details: Set(change.details),
                    updated_at: Set(now()),
                    ..tokens::ActiveModel::default()
                };
                let here = tokens::Column::Id.eq(&change.id);
                let changed = tokens::Entity::update_many().set(row).filter(here).exec(db).await?;
                found(changed.rows_affected, &change.id)
            })
        })
        .await
    }

    /// Removes a client token.
    ///
    /// # Errors
    /// If it can't be written now, or there is none of that id.
    pub async fn remove_token(&self, id: String, audit: Audit) -> Result<(), StoreError> {
        self.write(Some(audit), move |writing| {
            Box::pin(async move {
                let here = tokens::Column::Id.eq(&id);
                let removed = tokens::Entity::delete_many().filter(here).exec(&writing.db).await?;
                found(removed.rows_affected, &id)
            })
        })
        .await
    }

    /// Replaces the admin token.
    ///
    /// # Errors
    /// If it can't be written now.
    pub async fn set_admin_token(&self, digest: TokenDigest, audit: Audit) -> Result<(), StoreError> {
        self.write(Some(audit), move |writing| {
            Box::pin(async move {
                let row = meta::ActiveModel { name: Set(ADMIN.into()), value: Set(digest.as_bytes().to_vec()) };
                let newest = OnConflict::column(meta::Column::Name).update_column(meta::Column::Value).to_owned();
                meta::Entity::insert(row).on_conflict(newest).exec_without_returning(&writing.db).await?;
                Ok(())
            })
        })
        .await
    }
}

fn found(rows: u64, id: &str) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::NotFound(format!("token {id}"))) } else { Ok(()) }
}

//! Which key made what, so that it is still known after a restart.

use sea_orm_migration::prelude::*;

use super::m0001_initial::{create, index, key_id, name, number, table};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[expect(elided_lifetimes_in_paths, reason = "the trait elides it, and async_trait makes that a part of the signature")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let pins = table("resource_pins", &["pool", "resource"])
            .col(name("pool"))
            .col(key_id("resource"))
            .col(ColumnDef::new("kind").small_integer().not_null())
            .col(key_id("key_id"))
            .col(name("target"))
            .col(number("until"))
            .to_owned();
        create(manager, pins).await?;
        index(manager, "resource_pins", "resource_pins_until", &["pool", "kind", "until"]).await
    }
}

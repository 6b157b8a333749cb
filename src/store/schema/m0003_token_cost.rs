//! What each client token was charged, so that a budget survives a restart.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[expect(elided_lifetimes_in_paths, reason = "the trait elides it, and async_trait makes that a part of the signature")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("token_use", "cost").await? {
            return Ok(());
        }
        let mut cost = ColumnDef::new("cost");
        cost.big_integer().not_null().default(0);
        manager.alter_table(Table::alter().table("token_use").add_column(cost).to_owned()).await
    }
}

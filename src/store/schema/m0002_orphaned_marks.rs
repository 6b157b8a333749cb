//! Since when a mark's key is gone, so that it can be forgotten after its time.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[expect(elided_lifetimes_in_paths, reason = "the trait elides it, and async_trait makes that a part of the signature")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("marks", "orphaned_at").await? {
            return Ok(());
        }
        manager
            .alter_table(
                Table::alter().table("marks").add_column(ColumnDef::new("orphaned_at").big_integer()).to_owned(),
            )
            .await
    }
}

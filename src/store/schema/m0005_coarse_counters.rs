//! Older counters, by key and day and by pool and hour.

use sea_orm_migration::prelude::*;

use super::m0001_initial::{create, key_id, name, number, table, with_use};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[expect(elided_lifetimes_in_paths, reason = "the trait elides it, and async_trait makes that a part of the signature")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let daily = with_use(table("daily_counters", &["hour", "key_id", "model"])).col(key_id("key_id")).to_owned();
        let of_pools = with_use(table("pool_counters", &["hour", "pool", "model"]));
        for mut table in [daily, of_pools] {
            table.col(number("hour")).col(name("model")).col(name("pool"));
            create(manager, table).await?;
        }
        Ok(())
    }
}

//! The first schema.
//!
//! Written so that it can be run again where it was interrupted: not every database creates tables in a transaction.

use sea_orm_migration::prelude::*;

/// Longest name that is part of a key or index: four of them in `utf8mb4` fit MySQL's 3,072 bytes.
const NAME: u32 = 191;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[expect(elided_lifetimes_in_paths, reason = "the trait elides it, and async_trait makes that a part of the signature")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let is_mysql = manager.get_database_backend() == sea_orm::DbBackend::MySql;
        for table in [pools(), keys(), marks(), tokens(), settings(), counters(), token_use()].into_iter().chain([
            requests(),
            bodies(is_mysql),
            audit(),
            meta(),
        ]) {
            create(manager, table).await?;
        }
        index(manager, "stored_keys", "stored_keys_removed", &["removed_at"]).await?;
        index(manager, "counters", "counters_pool", &["pool", "hour"]).await?;
        index(manager, "requests", "requests_request_id", &["request_id"]).await?;
        index(manager, "requests", "requests_pool", &["pool", "id"]).await
    }
}

/// Creates a table that is not there yet.
pub(super) async fn create(manager: &SchemaManager<'_>, mut table: TableCreateStatement) -> Result<(), DbErr> {
    if manager.get_database_backend() == sea_orm::DbBackend::MySql {
        // Names differ by case, and models by any character.
        table.character_set("utf8mb4").collate("utf8mb4_bin").engine("InnoDB");
    }
    manager.create_table(table.if_not_exists().to_owned()).await
}

pub(super) async fn index(
    manager: &SchemaManager<'_>,
    table: &'static str,
    name: &str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    if manager.has_index(table, name).await? {
        return Ok(());
    }
    let mut index = Index::create();
    index.name(name).table(table);
    columns.iter().for_each(|column| {
        index.col(*column);
    });
    manager.create_index(index).await
}

pub(super) fn table(name: &'static str, key: &[&'static str]) -> TableCreateStatement {
    let mut primary = Index::create();
    key.iter().for_each(|column| {
        primary.col(*column);
    });
    Table::create().table(name).primary_key(&mut primary).to_owned()
}

pub(super) fn name(column: &'static str) -> ColumnDef {
    ColumnDef::new(column).string_len(NAME).not_null().to_owned()
}

fn text(column: &'static str) -> ColumnDef {
    ColumnDef::new(column).text().not_null().to_owned()
}

pub(super) fn number(column: &'static str) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().to_owned()
}

fn sealed() -> ColumnDef {
    ColumnDef::new("sealed").blob().not_null().to_owned()
}

pub(super) fn key_id(column: &'static str) -> ColumnDef {
    ColumnDef::new(column).binary_len(16).not_null().to_owned()
}

fn pools() -> TableCreateStatement {
    table("stored_pools", &["name"])
        .col(name("name"))
        .col(sealed())
        .col(number("created_at"))
        .col(number("updated_at"))
        .to_owned()
}

fn keys() -> TableCreateStatement {
    table("stored_keys", &["id"])
        .col(key_id("id"))
        .col(name("pool"))
        .col(ColumnDef::new("name").string_len(NAME))
        .col(sealed())
        .col(number("created_at"))
        .col(number("updated_at"))
        .col(ColumnDef::new("removed_at").big_integer())
        .to_owned()
}

fn marks() -> TableCreateStatement {
    table("marks", &["key_id", "kind", "subject"])
        .col(key_id("key_id"))
        .col(ColumnDef::new("kind").small_integer().not_null())
        .col(name("subject"))
        .col(ColumnDef::new("until").big_integer())
        .col(name("reason"))
        .col(name("set_by"))
        .col(ColumnDef::new("rests").integer().not_null())
        .col(text("evidence"))
        .col(number("since"))
        .to_owned()
}

fn tokens() -> TableCreateStatement {
    table("client_tokens", &["id"])
        .col(name("id"))
        .col(name("name").unique_key())
        .col(ColumnDef::new("digest").binary_len(32).not_null())
        .col(text("details"))
        .col(number("created_at"))
        .col(number("updated_at"))
        .to_owned()
}

fn settings() -> TableCreateStatement {
    table("settings", &["scope", "path"])
        .col(name("scope"))
        .col(name("path"))
        .col(sealed())
        .col(number("updated_at"))
        .to_owned()
}

pub(super) fn with_use(mut table: TableCreateStatement) -> TableCreateStatement {
    for column in ["requests", "failures", "prompt_tokens", "completion_tokens", "duration_ms"] {
        table.col(number(column));
    }
    table
}

fn counters() -> TableCreateStatement {
    with_use(table("counters", &["hour", "key_id", "model"]))
        .col(number("hour"))
        .col(key_id("key_id"))
        .col(name("model"))
        .col(name("pool"))
        .to_owned()
}

fn token_use() -> TableCreateStatement {
    with_use(table("token_use", &["hour", "token"])).col(number("hour")).col(name("token")).to_owned()
}

fn requests() -> TableCreateStatement {
    let mut table = table("requests", &["id"]);
    table.col(number("id")).col(ColumnDef::new("key_id").binary_len(16));
    for column in ["request_id", "pool", "key_name", "token", "client", "method", "model", "outcome"] {
        table.col(name(column));
    }
    for column in ["path", "trail"] {
        table.col(text(column));
    }
    for column in ["status", "attempts"] {
        table.col(ColumnDef::new(column).integer().not_null());
    }
    for column in ["duration_ms", "bytes_in", "bytes_out", "size"] {
        table.col(number(column));
    }
    for column in ["first_byte_ms", "prompt_tokens", "completion_tokens"] {
        table.col(ColumnDef::new(column).big_integer());
    }
    table
}

fn bodies(is_mysql: bool) -> TableCreateStatement {
    let mut body = ColumnDef::new("body");
    // MySQL's BLOB ends at 64 KiB.
    if is_mysql {
        body.custom("mediumblob")
    } else {
        body.blob()
    };
    table("request_bodies", &["id"]).col(number("id")).col(body.not_null()).to_owned()
}

fn audit() -> TableCreateStatement {
    table("audit", &["id"])
        .col(number("id"))
        .col(name("actor"))
        .col(name("address"))
        .col(name("action"))
        .col(name("subject"))
        .col(text("details"))
        .to_owned()
}

fn meta() -> TableCreateStatement {
    table("meta", &["name"]).col(name("name")).col(ColumnDef::new("value").blob().not_null()).to_owned()
}

//! From what is written (`raw`) to what holds (`model`).
//!
//! The files here mirror the raw ones. Every function complains where it must and goes on, so that one run names every
//! mistake; what it returns counts only if nobody complained.

pub(crate) mod balance;
mod clients;
pub mod destination;
pub(crate) mod headers;
pub(crate) mod models;
mod operators;
mod pool;
mod prices;
mod provider;
pub(crate) mod secret;
mod server;
mod store;
mod target;
mod tls;
mod upkeep;

use std::path::{Path, PathBuf};

pub use target::BadUrl;

use super::additions::AddedToken;
use super::expand::Environment;
use super::model::{Config, KeysFile};
use super::problem::At;
use super::raw;
use super::raw::keys::{File, FileFormat, Files};
use super::suggest;

/// What values may refer to.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The configuration file's folder: relative paths start here.
    pub(crate) folder: &'a Path,
    pub(crate) env: &'a dyn Environment,
}

impl Context<'_> {
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }
}

/// The effective configuration; `None` = somebody complained.
pub(crate) fn config(raw: &raw::Config, at: &At<'_>, context: &Context<'_>, added: &[AddedToken]) -> Option<Config> {
    let operators = operators::operators(&raw.server.admin, &at.field("server").field("admin"), context);
    let clients = clients::clients(raw, &at.field("clients"), context, &operators, added);
    let server = server::server(&raw.server, &at.field("server"), context, operators);
    clients::anonymous(&raw.clients, &at.field("clients"), server.as_ref());
    let log = server::log(&raw.log, &at.field("log"), context);
    let store = store::store(&raw.store, &at.field("store"), context);
    destination::check(raw, at);
    prices::unpriced(raw, at);
    let pools = pool::pools(&raw.pools, &at.field("pools"), context);
    let default_pool = default_pool(raw, at);
    keys_owners(raw, &at.field("keys_file"));
    let keys_files = keys_files(raw, context);
    Some(Config { server: server?, log, store, clients, keys_files, default_pool, pools: pools? })
}

/// The keys files, whatever else may be wrong.
pub(crate) fn keys_files(raw: &raw::Config, context: &Context<'_>) -> Vec<KeysFile> {
    match &raw.keys_file {
        Files::One(path) => vec![KeysFile { path: context.path(path), pool: None, format: FileFormat::Auto }],
        Files::Many(files) => {
            let read =
                |file: &File| KeysFile { path: context.path(&file.path), pool: file.pool.clone(), format: file.format };
            files.iter().map(read).collect()
        }
    }
}

fn keys_owners(raw: &raw::Config, at: &At<'_>) {
    let Files::Many(files) = &raw.keys_file else { return };
    for (index, file) in files.iter().enumerate() {
        if let Some(pool) = &file.pool {
            known_pool(pool, raw, &at.index(index).field("pool"));
        }
    }
}

/// The pool of unprefixed paths, if there is one.
pub(crate) fn default_index(raw: &raw::Config) -> Option<usize> {
    match (&raw.default_pool, raw.pools.0.as_slice()) {
        (Some(name), pools) => pools.iter().position(|(pool, _)| pool == name),
        (None, [_]) => Some(0),
        (None, _) => None,
    }
}

fn default_pool(raw: &raw::Config, at: &At<'_>) -> Option<usize> {
    let here = at.field("default_pool");
    match &raw.default_pool {
        Some(name) => known_pool(name, raw, &here),
        None if raw.pools.0.len() > 1 => {
            here.warn("not set while there are several pools: unprefixed paths such as /v1/models are 404");
        }
        None => {}
    }
    default_index(raw)
}

fn known_pool(name: &str, raw: &raw::Config, at: &At<'_>) {
    if !raw.pools.0.iter().any(|(pool, _)| pool == name) {
        at.error(format!("no such pool; {}", suggest::among(name, raw.pools.0.iter().map(|(pool, _)| pool.as_str()))));
    }
}

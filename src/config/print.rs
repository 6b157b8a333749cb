//! The effective configuration as YAML, for `check --print`.

use super::model::{Config, Target};
use super::raw;
use super::raw::pool::TargetEntry;
use super::raw::server::Threads;
use super::units::{Size, Time};

/// Fills in what validation found out, so that what is printed is what holds.
pub(super) fn fill_in(raw: &mut raw::Config, config: &Config) {
    raw.default_pool = config.default_pool.and_then(|index| config.pools.get(index)).map(|pool| pool.name.clone());
    raw.server.threads = Threads::Count(u32::try_from(config.server.threads).unwrap_or(u32::MAX));
    raw.server.limits.buffer = Size(config.server.limits.buffer as u64);
    for ((_, raw), pool) in raw.pools.0.iter_mut().zip(&config.pools) {
        raw.paths.clone_from(&pool.paths);
        if raw.targets.is_empty() {
            raw.targets = pool.targets.iter().map(entry).collect();
        }
        raw.retry.key_attempts = pool.retry.key_attempts;
        raw.blacklist.max_cooldown = Time(pool.blacklist.max_cooldown);
    }
}

fn entry(target: &Target) -> TargetEntry {
    let scheme = if target.tls { "https" } else { "http" };
    let url = format!("{scheme}://{}{}", target.authority(), target.path);
    TargetEntry::Full(raw::pool::Target { url, weight: 1, health: raw::pool::Health::default() })
}

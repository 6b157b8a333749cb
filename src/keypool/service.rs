//! The background service: notices what happens to keys without a request being there.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::{KeyPool, now};
use crate::background;
use crate::pool::Standing;

/// Key changes reach the log within this time.
const TICK: Duration = Duration::from_secs(1);
/// Keys whose rest is over return within this time where others are ready; a request that finds none ready does not wait
/// for it.
const PACE: Duration = Duration::from_millis(20);
/// Keys that return before the lock is given up for a moment.
const AT_ONCE: usize = 256;

#[async_trait]
impl BackgroundService for KeyPool {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut usable = HashMap::new();
        let mut next_report = now();
        loop {
            let first = self.bring_back().await;
            tokio::select! {
                _ = shutdown.changed() => return,
                () = tokio::time::sleep(first.clamp(PACE, TICK)) => {}
            }
            if now() >= next_report {
                next_report = now().after(TICK);
                self.report_changes(&mut usable);
                self.free_unused().await;
            }
        }
    }
}

impl KeyPool {
    /// Lets keys return whose time has come; tells how long it is to the next.
    async fn bring_back(&self) -> Duration {
        let mut first = TICK;
        for entry in self.entries.load_full().iter() {
            while entry.pool.advance(now(), AT_ONCE) >= AT_ONCE {
                tokio::task::yield_now().await;
            }
            if let Some(next) = entry.pool.next_return() {
                first = first.min(now().until(next));
            }
        }
        first
    }

    async fn free_unused(&self) {
        let unused = self.take_unused();
        if !unused.is_empty() && background::run(move || drop(unused)).await.is_err() {
            log::error!("Freeing what a reload replaced broke off.");
        }
    }

    /// Logs each pool that ran out of ready keys or has one again: the two moments an operator is asked about.
    fn report_changes(&self, usable: &mut HashMap<String, bool>) {
        let now = now();
        for entry in self.entries.load().iter() {
            let pool = entry.config.name.as_str();
            let (mut ready, mut cooling, mut disabled) = (0, 0, 0);
            entry.pool.tidy(now);
            for index in (0..).take(entry.pool.keys().len()) {
                match entry.pool.worst_standing(index, now) {
                    Standing::Ready => ready += 1,
                    Standing::Cooling(..) => cooling += 1,
                    Standing::Disabled(_) => disabled += 1,
                }
            }
            let before = usable.insert(pool.to_owned(), ready > 0);
            match (before, ready > 0) {
                (Some(true) | None, false) if !entry.pool.keys().is_empty() => {
                    log::warn!(pool, cooling, disabled; "No key of the pool is ready.");
                }
                (Some(false), true) => log::info!(pool, ready, cooling, disabled; "The pool has ready keys again."),
                _ => {}
            }
        }
    }
}

//! The background service: notices what happens to keys without a request being there.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::{KeyPool, now};
use crate::pool::Standing;

/// Key changes reach the log within this time.
const TICK: Duration = Duration::from_secs(1);

#[async_trait]
impl BackgroundService for KeyPool {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut usable = HashMap::new();
        loop {
            tokio::select! {
                _ = shutdown.changed() => return,
                () = tokio::time::sleep(TICK) => self.report_changes(&mut usable),
            }
        }
    }
}

impl KeyPool {
    /// Logs each pool that ran out of ready keys or has one again: the two moments an operator is asked about.
    fn report_changes(&self, usable: &mut HashMap<String, bool>) {
        let now = now();
        for entry in self.entries.load().iter() {
            let pool = entry.config.name.as_str();
            let (mut ready, mut cooling, mut disabled) = (0, 0, 0);
            for key in entry.pool.keys() {
                match key.state.standing(now) {
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

//! The background service that brings what finished requests left behind to the store's journal, and tells those who
//! watch what became of keys. Nothing here waits for the database.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::Manager;
use super::watch::Watch;
use crate::proxy::records::Sum;
use crate::store::Use;
use crate::telemetry::events;

/// A request's row reaches the journal within this time.
const PACE: Duration = Duration::from_millis(200);
/// Sums reach it within this one: each is a row of the database that is written again.
const SUMS: Duration = Duration::from_secs(1);

/// Looking at every key for those who watch takes one part in so many of the time: with many keys it is done less often.
const SHARE: u32 = 250;
/// It is done at least once in this time, however long it takes.
const SELDOM: Duration = Duration::from_secs(2);

/// Carries rows and sums to the store, and events to those who watch.
pub struct Recorder {
    /// Whose requests.
    pub manager: Arc<Manager>,
}

#[async_trait]
impl BackgroundService for Recorder {
    /// Runs to the end of the process: requests finish during a drain, too.
    async fn start(&self, _: ShutdownWatch) {
        let manager = &self.manager;
        let mut watch = None;
        let mut summed = Instant::now();
        let (mut look_at, mut is_told) = (Instant::now(), true);
        loop {
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                () = manager.live.records.filling() => {}
            }
            manager.journal_rows();
            let is_due = summed.elapsed() >= SUMS;
            if is_due {
                summed = Instant::now();
                manager.journal_sums();
                manager.recent.note();
                is_told = false;
            }
            if !events::is_heard() {
                watch = None;
            } else if Instant::now() >= look_at {
                let begun = Instant::now();
                let watch = watch.get_or_insert_with(|| Watch::begin(&manager.live.keypool));
                watch.tell_changes(&manager.live.keypool);
                if !is_told {
                    manager.tell_counters();
                    is_told = true;
                }
                look_at = Instant::now() + (begun.elapsed() * SHARE).min(SELDOM);
            }
        }
    }
}

impl Manager {
    /// Hands the rows of finished requests to the journal.
    pub(super) fn journal_rows(&self) {
        let rows = self.live.records.take_rows();
        if rows.is_empty() {
            return;
        }
        let (journal, edge, access) = (self.store.journal(), self.live.edge.load(), self.live.access.load());
        let is_token = |word: &[u8]| edge.is_token(word) || access.is_token(word);
        rows.into_iter().for_each(|row| journal.log(row.into_row(is_token)));
    }

    /// Hands what was summed up to the journal, for the hour it is now.
    pub(super) fn journal_sums(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let journal = self.store.journal();
        for sums in self.live.records.take_sums() {
            for ((key, model), used) in sums.keys {
                journal.count(now, used.pool.pool(), key, &used.pool.model_name(model), used.sum.into());
            }
            for (client, sum) in sums.clients {
                journal.count_token(now, &client, sum.into());
            }
        }
    }
}

impl From<Sum> for Use {
    fn from(sum: Sum) -> Self {
        Self {
            requests: sum.requests,
            failures: sum.failures,
            prompt_tokens: sum.tokens.prompt,
            completion_tokens: sum.tokens.completion,
            cost: sum.cost.0,
            duration_ms: u64::try_from(sum.duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

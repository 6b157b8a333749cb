//! The background service that keeps what the pools learnt: marks, and which key made what, go to the store's journal
//! as they change.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::Manager;
use super::marks;
use crate::background;
use crate::keypool::{Entry, now};
use crate::telemetry::{Readiness, metrics};

/// A mark reaches the journal within this time, and the database soon after: together well within a second.
const PACE: Duration = Duration::from_millis(200);

/// How long the process waits for the store at its end.
const LAST: Duration = Duration::from_secs(5);

/// Carries marks to the store.
pub struct Writer {
    /// Whose marks.
    pub manager: Arc<Manager>,
    /// Is told how the store is.
    pub readiness: Arc<Readiness>,
}

#[async_trait]
impl BackgroundService for Writer {
    /// Runs to the end of the process: marks are set during a drain, too.
    async fn start(&self, _: ShutdownWatch) {
        let manager = &self.manager;
        let mut is_open = self.tell_status();
        loop {
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                () = manager.store.opened(), if !is_open => {
                    is_open = true;
                    let manager = manager.clone();
                    // Its failure is logged.
                    let _done = background::run(move || manager.take_up()).await;
                }
            }
            manager.journal_learnt();
            self.tell_status();
            if is_open {
                self.note_keys().await;
            }
        }
    }
}

impl Writer {
    /// Tells operators how the store is; whether it is written.
    fn tell_status(&self) -> bool {
        let status = self.manager.store.status();
        self.readiness.set_store(status.down.as_ref().map(|outage| outage.error.to_string()));
        metrics::store(status.down.is_none(), status.pending.total(), status.dropped);
        status.down.is_none()
    }

    /// Marks of keys that are gone for long are forgotten some day; the store must know which are gone.
    async fn note_keys(&self) {
        if self.manager.keys_changed.swap(false, Relaxed)
            && self.manager.store.note_keys(self.manager.known_keys()).await.is_err()
        {
            self.manager.keys_changed.store(true, Relaxed);
        }
    }
}

impl Manager {
    /// Writes what is not written yet, as far as the store takes it within a moment.
    pub async fn finish(&self) {
        self.journal_learnt();
        self.journal_rows();
        self.journal_sums();
        match tokio::time::timeout(LAST, self.store.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::error!(error:%; "The store did not take what was pending."),
            Err(_) => log::error!("The store did not take what was pending in time."),
        }
    }

    fn journal_learnt(&self) {
        let entries = self.live.keypool.entries();
        // An operator's marks are on their way; the others follow them.
        if let Some(_held) = self.handover.try_lock() {
            self.hand_over(&entries);
        }
        self.journal_pins(&entries);
    }

    /// Hands every mark that changed to the journal.
    pub(super) fn journal_marks(&self, entries: &[Arc<Entry>]) {
        let _held = self.handover.lock();
        self.hand_over(entries);
    }

    fn hand_over(&self, entries: &[Arc<Entry>]) {
        let journal = self.store.journal();
        for entry in entries {
            let now = now();
            let changed = entry.pool.take_changes().into_iter();
            for (key, subject, mark) in changed.filter_map(|saved| marks::to_store(&entry.config.name, saved, now)) {
                match mark {
                    Some(mark) => journal.mark(key, subject, mark),
                    None => journal.unmark(key, subject),
                }
            }
        }
    }
}

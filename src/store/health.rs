//! How the store is, for `/readyz?verbose`, metrics and the log.

use std::time::SystemTime;

use parking_lot::Mutex;

use super::error::StoreError;

/// How the store is.
#[derive(Debug, Clone)]
pub struct Status {
    /// Since when it can't be written, and why; `None` = it can.
    pub down: Option<Outage>,
    /// What waits to be written.
    pub pending: Pending,
    /// Request rows, counts and marks that were given up since the start: no room left in memory, or refused by the
    /// database.
    pub dropped: u64,
}

/// A time without the database.
#[derive(Debug, Clone)]
pub struct Outage {
    /// When the first write failed.
    pub since: SystemTime,
    /// What the last one said.
    pub error: StoreError,
}

/// What the journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    /// Marks set or taken back.
    pub marks: usize,
    /// Notes of which key made what.
    pub pins: usize,
    /// Sums of use, of keys and tokens.
    pub counters: usize,
    /// Request rows.
    pub requests: usize,
}

impl Pending {
    /// All of it.
    pub fn total(&self) -> usize {
        self.marks + self.pins + self.counters + self.requests
    }
}

/// The present outage, if there is one.
#[derive(Default)]
pub(super) struct Health(Mutex<Option<Outage>>);

impl Health {
    pub(super) fn outage(&self) -> Option<Outage> {
        self.0.lock().clone()
    }

    /// The last write found the database read-only.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(&*self.0.lock(), Some(Outage { error: StoreError::ReadOnly(_), .. }))
    }

    /// Notes a failure, and logs the first.
    pub(super) fn is_down(&self, error: &StoreError) {
        let mut outage = self.0.lock();
        match &mut *outage {
            Some(outage) => outage.error = error.clone(),
            None => {
                log::error!(error:%; "The store can't be written. Requests are served on; what is to be kept is held in memory.");
                *outage = Some(Outage { since: SystemTime::now(), error: error.clone() });
            }
        }
    }

    /// Notes a success, and logs it after a failure.
    pub(super) fn is_up(&self) {
        if let Some(outage) = self.0.lock().take() {
            let seconds = outage.since.elapsed().unwrap_or_default().as_secs();
            log::info!(seconds; "The store is written again.");
        }
    }
}

//! The retry budget: retries may add a fifth to the requests, and a few more per second for quiet pools.
//!
//! Without it an outage is answered with `attempts` times the load. Retries after a certain verdict on a key are fast and
//! unbilled, and don't draw on it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::Millis;

/// In thousandths of a retry: per request, per millisecond, and at most saved up.
const PER_REQUEST: u64 = 200;
const PER_MILLISECOND: u64 = 3;
const CAP: u64 = 30_000;
const RETRY: u64 = 1000;

/// What is left.
pub(super) struct Budget {
    requests: AtomicU64,
    account: Mutex<Account>,
}

struct Account {
    saved: u64,
    requests_seen: u64,
    since: Millis,
}

impl Budget {
    pub(super) fn new() -> Self {
        let account = Account { saved: CAP, requests_seen: 0, since: Millis(0) };
        Self { requests: AtomicU64::new(0), account: Mutex::new(account) }
    }

    /// Counts a request, which earns a share of a retry.
    pub(super) fn earn(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Takes one retry, if there is one.
    pub(super) fn spend(&self, now: Millis) -> bool {
        let mut account = self.account.lock();
        let requests = self.requests.load(Relaxed);
        let earned = requests.wrapping_sub(account.requests_seen).saturating_mul(PER_REQUEST);
        let granted = now.0.saturating_sub(account.since.0).saturating_mul(PER_MILLISECOND);
        account.saved = account.saved.saturating_add(earned).saturating_add(granted).min(CAP);
        account.requests_seen = requests;
        account.since = account.since.max(now);
        let affordable = account.saved >= RETRY;
        if affordable {
            account.saved -= RETRY;
        }
        affordable
    }
}

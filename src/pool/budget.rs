//! The retry budget: retries may add a fifth to the requests, and a few more per second for quiet pools.
//!
//! Without it an outage is answered with `attempts` times the load. While a circuit is known to be down only the few per
//! second are granted. Retries after a certain verdict on a key are fast and unbilled, and don't draw on it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::Millis;

/// In thousandths of a retry: what a request earns, what a millisecond grants, and what can be saved of each.
const PER_REQUEST: u64 = 200;
const REQUESTS_CAP: u64 = 20_000;
const PER_MILLISECOND: u64 = 3;
const TIME_CAP: u64 = 6000;
const RETRY: u64 = 1000;

/// What is left.
pub(super) struct Budget {
    requests: AtomicU64,
    account: Mutex<Account>,
}

struct Account {
    earned: u64,
    requests_seen: u64,
    granted: u64,
    since: Millis,
}

impl Budget {
    pub(super) fn new() -> Self {
        let account = Account { earned: REQUESTS_CAP, requests_seen: 0, granted: TIME_CAP, since: Millis(0) };
        Self { requests: AtomicU64::new(0), account: Mutex::new(account) }
    }

    /// Counts a request, which earns a share of a retry.
    pub(super) fn earn(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Takes one retry, if there is one.
    pub(super) fn spend(&self, is_down: bool, now: Millis) -> bool {
        let mut account = self.account.lock();
        let requests = self.requests.load(Relaxed);
        let more = requests.wrapping_sub(account.requests_seen).saturating_mul(PER_REQUEST);
        account.earned = account.earned.saturating_add(more).min(REQUESTS_CAP);
        account.requests_seen = requests;
        let more = now.0.saturating_sub(account.since.0).saturating_mul(PER_MILLISECOND);
        account.granted = account.granted.saturating_add(more).min(TIME_CAP);
        account.since = account.since.max(now);
        let Account { earned, granted, .. } = &mut *account;
        let purse = if !is_down && *earned >= RETRY { earned } else { granted };
        let is_affordable = *purse >= RETRY;
        if is_affordable {
            *purse -= RETRY;
        }
        is_affordable
    }
}

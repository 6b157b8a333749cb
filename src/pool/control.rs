//! What operators do to a key. Its account and egress stay as they are.

use std::sync::atomic::Ordering::Relaxed;

use super::saved::Changed;
use super::{Ledger, Millis, Pool};

impl Pool {
    /// Uses a key again, whatever it rests or was disabled for; only the keys file can still switch it off.
    pub fn enable(&self, index: u32, now: Millis) {
        self.change(index, now, |pool, ledger, index| {
            pool.forget_marks(ledger, index, now);
            if let Some(key) = pool.key(index) {
                key.state.is_disabled.store(false, Relaxed);
                key.state.balance.reset();
            }
        });
    }

    /// Uses a key no more until it is enabled.
    pub fn disable(&self, index: u32, now: Millis) {
        self.change(index, now, |pool, ledger, index| {
            if let Some(key) = pool.key(index) {
                key.state.is_disabled.store(true, Relaxed);
            }
            ledger.changed.insert(Changed::Key(index));
        });
    }

    /// Forgets what rules did to a key; one that an operator disabled stays so, and one with too little left rests on.
    pub fn reset(&self, index: u32, now: Millis) {
        self.change(index, now, |pool, ledger, index| pool.forget_marks(ledger, index, now));
    }

    /// Runs `change` and counts and enters the key as it is afterwards.
    pub(super) fn change<T>(
        &self,
        index: u32,
        now: Millis,
        change: impl FnOnce(&Self, &mut Ledger, u32) -> T,
    ) -> Option<T> {
        self.in_charge(index, |pool, ledger, index| {
            let is_out = || pool.key(index).is_some_and(super::Key::is_out);
            let was_out = is_out();
            let value = change(pool, ledger, index);
            ledger.disabled = ledger.disabled + usize::from(is_out()) - usize::from(was_out);
            pool.enter(index, now);
            value
        })
    }

    pub(super) fn forget_marks(&self, ledger: &mut Ledger, index: u32, now: Millis) {
        let Some(key) = self.key(index) else { return };
        key.state.own.reset();
        key.state.suspicion.reset();
        key.state.strikes.store(0, Relaxed);
        key.state.refusals.store(0, Relaxed);
        key.state.recheck.forget();
        ledger.changed.extend([Changed::Key(index), Changed::Suspicion(index)]);
        for model in self.models.load().iter() {
            let Some(mark) = model.mark(index) else { continue };
            if let Some(name) = model.model().filter(|_| !mark.is_over(now)) {
                ledger.changed.insert(Changed::Model(index, name.clone()));
            }
            mark.reset();
        }
    }
}

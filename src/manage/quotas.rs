//! What keys were used for today before they had their limits or before this process, so that neither a change nor a restart
//! gives a day back.

use std::collections::HashMap;

use super::Manager;
use crate::config::KeyId;
use crate::keypool;
use crate::pool::{Key, Pool};
use crate::store::StoreError;

impl Manager {
    /// Gives keys that have a limit for a day since lately what the store says of their use. Blocks.
    pub(super) fn restore_use(&self) {
        let entries = self.live.keypool.entries();
        let restored = entries.iter().try_for_each(|entry| self.restore_use_of(&entry.pool));
        if let Err(error) = restored {
            log::warn!(error:%; "What keys were used for today can't be read; their limits for a day begin anew.");
        }
    }

    fn restore_use_of(&self, pool: &Pool) -> Result<(), StoreError> {
        let keys: Vec<(u32, &Key)> = pool.without_day().collect();
        if keys.is_empty() {
            return Ok(());
        }
        let now = keypool::now();
        let since = i64::try_from(pool.calendar().day_begin(now)).unwrap_or(i64::MAX);
        let ids: Vec<KeyId> = keys.iter().map(|(_, key)| key.id).collect();
        let used = Self::wait(self.store.key_use(ids, since))?;
        // Keys of one account use its limits up together.
        let mut together: HashMap<&str, (u64, u64)> = HashMap::new();
        let own = |key: &Key| {
            used.get(&key.id).map_or((0, 0), |used| (used.requests, used.prompt_tokens + used.completion_tokens))
        };
        for (_, key) in &keys {
            if let Some(account) = pool.account(key) {
                let (requests, tokens) = together.entry(account).or_default();
                (*requests, *tokens) = (*requests + own(key).0, *tokens + own(key).1);
            }
        }
        for (index, key) in &keys {
            let of_account = pool.account(key).and_then(|account| together.get(account).copied());
            let (requests, tokens) = of_account.unwrap_or_else(|| own(key));
            pool.used_today(*index, requests, tokens, now);
        }
        Ok(())
    }
}

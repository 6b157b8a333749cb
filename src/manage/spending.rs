//! What client tokens spent before this process, so that a restart gives no budget back.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Manager;
use crate::clients::{Spent, begin};
use crate::config::prices::{Money, Period};

impl Manager {
    /// Gives the client tokens what the store says they spent. Blocks.
    pub(super) fn restore_spending(&self) {
        let now = SystemTime::now();
        let unix = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let since = |period| i64::try_from(begin(period, unix) * 1000).unwrap_or(i64::MAX);
        let charged = |period| Self::wait(self.store.charged(since(period)));
        let (days, months) = match charged(Period::Day).and_then(|days| Ok((days, charged(Period::Month)?))) {
            Ok(charged) => charged,
            Err(error) => return log::warn!(error:%; "What tokens spent can't be read; budgets begin anew."),
        };
        let edge = self.live.edge.load();
        for (name, month) in months.into_iter().filter(|(_, month)| *month > 0) {
            let day = days.get(&name).copied().unwrap_or_default();
            edge.has_spent(&name, Spent { day: Money(day), month: Money(month) }, now);
        }
    }
}

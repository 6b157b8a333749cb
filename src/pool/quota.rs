//! What a provider grants: a key is asked for no more, and the keys of an account together for no more than one of them.
//!
//! What a request will need is taken from all windows at once when the key is handed out, under a short lock that only
//! keys with limits have, so no number of threads hands out one too many. What was taken is a [`Share`]: however the
//! attempt ends, its place is free again; if the provider was never asked all is given back, and otherwise the tokens are
//! corrected to what was used. A key that may not be asked for another request is off the boards until it may.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use super::apply::count;
use super::rest::FULL;
use super::window::{Day, Minute};
use super::{Key, Ledger, Millis, Pool, Reason};
use crate::config::KeyLimits;

/// When to look again for a free place, for whoever is not told: nobody knows when a request ends.
pub(super) const PLACE_WAIT: Duration = Duration::from_secs(1);

/// The provider's days.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// Where its clock is.
    pub zone: TimeZone,
    /// Unix milliseconds when the pool's clock showed 0.
    pub epoch: u64,
}

impl Default for Calendar {
    fn default() -> Self {
        Self { zone: TimeZone::UTC, epoch: 0 }
    }
}

impl Calendar {
    fn unix(&self, now: Millis) -> u64 {
        self.epoch.saturating_add(now.0) / 1000
    }

    /// When the day of this moment is over (Unix seconds); never, beyond the calendar.
    fn day_end(&self, unix: u64) -> u64 {
        let end = || {
            let moment = Timestamp::from_second(i64::try_from(unix).ok()?).ok()?;
            let tomorrow = moment.to_zoned(self.zone.clone()).date().tomorrow().ok()?;
            u64::try_from(tomorrow.to_zoned(self.zone.clone()).ok()?.timestamp().as_second()).ok()
        };
        end().unwrap_or(u64::MAX)
    }

    /// When the day of this moment began (Unix milliseconds).
    pub fn day_begin(&self, now: Millis) -> u64 {
        let unix = self.unix(now);
        let begin = || {
            let moment = Timestamp::from_second(i64::try_from(unix).ok()?).ok()?;
            let midnight = moment.to_zoned(self.zone.clone()).date().to_zoned(self.zone.clone()).ok()?;
            u64::try_from(midnight.timestamp().as_millisecond()).ok()
        };
        begin().unwrap_or(unix * 1000)
    }
}

/// What was used of a key's limits, or of its account's. Outlives reloads.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Windows>);

#[derive(Debug, Default)]
struct Windows {
    requests: Minute,
    tokens: Minute,
    requests_today: Day,
    tokens_today: Day,
    in_flight: u64,
    /// What was used today before these windows began is in them.
    is_day_known: bool,
}

impl Windows {
    /// Begins the day that it is now; tells what time it is (Unix seconds).
    fn turn(&mut self, now: Millis, calendar: &Calendar) -> u64 {
        let unix = calendar.unix(now);
        for day in [&mut self.requests_today, &mut self.tokens_today] {
            day.turn(unix, |unix| calendar.day_end(unix));
        }
        unix
    }
}

/// One of a key's limits, and what is used of it now; of an account's, by all its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitUse {
    /// Its name in keys files.
    pub limit: &'static str,
    /// How much is used.
    pub used: u64,
    /// How much may be.
    pub most: u64,
}

/// A key's limits, and what was used of them.
pub(super) struct Quota {
    pub(super) limits: KeyLimits,
    pub(super) tally: Arc<Tally>,
}

/// What an attempt took.
#[derive(Debug, Clone, Copy)]
struct Taken {
    at: Millis,
    requests_day: u64,
    tokens: u64,
    tokens_at: Millis,
    tokens_day: u64,
}

impl Quota {
    /// Takes one request of so many tokens.
    ///
    /// # Errors
    /// Until when there is no room for it; nothing was taken then.
    fn take(&self, tokens: u64, now: Millis, calendar: &Calendar) -> Result<Taken, u64> {
        let windows = &mut *self.tally.0.lock();
        match self.blocked_until(windows, tokens, now, calendar) {
            0 => {}
            until => return Err(until),
        }
        windows.in_flight += 1;
        Ok(Taken {
            at: windows.requests.add(1, now),
            requests_day: windows.requests_today.add(1),
            tokens,
            tokens_at: windows.tokens.add(tokens, now),
            tokens_day: windows.tokens_today.add(tokens),
        })
    }

    /// Until when there is no room for another request of so many tokens; 0 if there is some.
    fn blocked_until(&self, windows: &mut Windows, tokens: u64, now: Millis, calendar: &Calendar) -> u64 {
        let KeyLimits { rpm, rpd, tpm, tpd, concurrency } = self.limits;
        if concurrency.is_some_and(|limit| windows.in_flight >= limit.into()) {
            return FULL;
        }
        let unix = windows.turn(now, calendar);
        let waits = [
            rpm.map(|limit| windows.requests.wait(1, limit, now)),
            rpd.map(|limit| windows.requests_today.wait(1, limit, unix)),
            tpm.map(|limit| windows.tokens.wait(tokens.max(1), limit, now)),
            tpd.map(|limit| windows.tokens_today.wait(tokens.max(1), limit, unix)),
        ];
        match waits.into_iter().flatten().max().unwrap_or_default() {
            Duration::ZERO => 0,
            wait => now.after(wait).0.min(FULL - 1),
        }
    }

    /// Until when there is no room for any request; 0 if there is some.
    fn until(&self, now: Millis, calendar: &Calendar) -> u64 {
        self.blocked_until(&mut self.tally.0.lock(), 0, now, calendar)
    }

    fn lacks_day(&self) -> bool {
        (self.limits.rpd.is_some() || self.limits.tpd.is_some()) && !self.tally.0.lock().is_day_known
    }

    fn at_least(&self, requests: u64, tokens: u64, now: Millis, calendar: &Calendar) {
        let windows = &mut *self.tally.0.lock();
        windows.turn(now, calendar);
        windows.requests_today.at_least(requests);
        windows.tokens_today.at_least(tokens);
        windows.is_day_known = true;
    }

    fn used(&self, now: Millis, calendar: &Calendar) -> Vec<LimitUse> {
        let windows = &mut *self.tally.0.lock();
        windows.turn(now, calendar);
        let KeyLimits { rpm, rpd, tpm, tpd, concurrency } = self.limits;
        let limits = [
            ("rpm", windows.requests.used(now), rpm),
            ("rpd", windows.requests_today.used(), rpd),
            ("tpm", windows.tokens.used(now), tpm),
            ("tpd", windows.tokens_today.used(), tpd),
            ("concurrency", windows.in_flight, concurrency.map(u64::from)),
        ];
        limits.into_iter().filter_map(|(limit, used, most)| Some(LimitUse { limit, used, most: most? })).collect()
    }
}

/// What an attempt took of a key's limits.
pub(super) struct Share {
    pool: Arc<Pool>,
    index: u32,
    tally: Arc<Tally>,
    taken: Taken,
    is_asked: bool,
    /// The last moment known: a drop is told none.
    latest: Millis,
}

impl Share {
    /// The provider is asked now: the request counts, however it ends.
    pub(super) fn asked(&mut self) {
        self.is_asked = true;
    }

    /// So many tokens were used.
    pub(super) fn settle(&mut self, tokens: u64, now: Millis) {
        let taken = &mut self.taken;
        if taken.tokens == tokens {
            return;
        }
        {
            let windows = &mut *self.tally.0.lock();
            windows.tokens.take_back(taken.tokens.saturating_sub(tokens), taken.tokens_at);
            windows.tokens_today.take_back(taken.tokens.saturating_sub(tokens), taken.tokens_day);
            windows.tokens.add(tokens.saturating_sub(taken.tokens), now);
            windows.tokens_today.add(tokens.saturating_sub(taken.tokens));
        }
        (taken.tokens, self.latest) = (tokens, now);
        self.pool.weigh(self.index, now);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        {
            let (windows, taken) = (&mut *self.tally.0.lock(), self.taken);
            debug_assert!(windows.in_flight > 0, "a share was given back twice");
            windows.in_flight = windows.in_flight.saturating_sub(1);
            if !self.is_asked {
                windows.requests.take_back(1, taken.at);
                windows.requests_today.take_back(1, taken.requests_day);
                windows.tokens.take_back(taken.tokens, taken.tokens_at);
                windows.tokens_today.take_back(taken.tokens, taken.tokens_day);
            }
        }
        self.pool.weigh(self.index, self.latest);
    }
}

impl Pool {
    /// The same pool by this calendar.
    #[must_use]
    pub fn by(self, calendar: Calendar) -> Self {
        Self { calendar, ..self }
    }

    /// The provider's days.
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// Takes what a request of so many tokens needs of a key's limits, if it has any.
    ///
    /// # Errors
    /// Until when there is no room for it.
    pub(super) fn share(self: &Arc<Self>, index: u32, tokens: u64, now: Millis) -> Result<Option<Box<Share>>, u64> {
        let Some(quota) = self.key(index).and_then(|key| key.quota.as_ref()) else { return Ok(None) };
        let taken = quota.take(tokens, now, &self.calendar);
        if taken.is_err() || quota.until(now, &self.calendar) != 0 {
            self.weigh(index, now);
        }
        let (pool, tally) = (Arc::clone(self), quota.tally.clone());
        Ok(Some(Box::new(Share { pool, index, tally, taken: taken?, is_asked: false, latest: now })))
    }

    /// Takes a key off the boards while it may not be asked for more, and puts it back when it may, with those of its
    /// account that had no room. Others of the account that have none now find out when it is their turn.
    fn weigh(&self, index: u32, now: Millis) {
        self.in_charge(index, |pool, ledger, index| {
            let account = pool.key(index).and_then(|key| pool.group(key.account));
            let members = account.map_or(std::slice::from_ref(&index), |account| &account.members);
            let had_room = |member: u32| pool.key(member).is_none_or(|key| key.state.limit.load(Relaxed) == 0);
            for &member in members.iter().filter(|&&member| member == index || !had_room(member)) {
                if pool.weigh_one(ledger, member, now) {
                    pool.enter(member, now);
                }
            }
        });
    }

    /// Whether that changed something.
    pub(super) fn weigh_one(&self, ledger: &mut Ledger, index: u32, now: Millis) -> bool {
        let Some(key) = self.key(index) else { return false };
        let until = key.quota.as_ref().map_or(0, |quota| quota.until(now, &self.calendar));
        let before = key.state.limit.swap(until, Relaxed);
        ledger.full = (ledger.full + usize::from(until == FULL)).saturating_sub(usize::from(before == FULL));
        if before <= now.0 && until > now.0 {
            count(&self.transitions.rests, Reason::Limit);
        }
        before != until
    }

    /// A key's limits and what is used of them.
    pub fn limits(&self, index: u32, now: Millis) -> Vec<LimitUse> {
        let quota = self.key(index).and_then(|key| key.quota.as_ref());
        quota.map(|quota| quota.used(now, &self.calendar)).unwrap_or_default()
    }

    /// The keys with a limit for a day that were not told [what was used](Self::used_today) of it.
    pub fn without_day(&self) -> impl Iterator<Item = (u32, &Key)> {
        let lacks_day = |key: &Key| key.quota.as_ref().is_some_and(|quota| quota.lacks_day());
        (0..).zip(&self.keys).filter(move |(_, key)| lacks_day(key))
    }

    /// At least so much of a key's day was used before.
    pub fn used_today(&self, index: u32, requests: u64, tokens: u64, now: Millis) {
        let Some(quota) = self.key(index).and_then(|key| key.quota.as_ref()) else { return };
        quota.at_least(requests, tokens, now, &self.calendar);
        self.weigh(index, now);
    }
}

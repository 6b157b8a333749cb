//! Failed authentications: all are counted, the first few of a moment are logged.
//!
//! Whoever guesses tokens decides how many failures there are, so their lines are rationed; the access log has each one.

use std::net::IpAddr;
use std::time::Instant;

use once_cell::sync::Lazy;
use parking_lot::Mutex;

use super::metrics;

/// Lines in one period.
const LINES: u64 = 10;
/// Length of a period (s).
const PERIOD: u64 = 10;

/// What was wrong with a client's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthFailure {
    /// There was none.
    Missing,
    /// Nobody has it.
    Unknown,
    /// Its time is over.
    Expired,
}

impl AuthFailure {
    /// Every failure.
    pub const ALL: [AuthFailure; 3] = [AuthFailure::Missing, AuthFailure::Unknown, AuthFailure::Expired];

    /// The word used in labels and log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthFailure::Missing => "missing",
            AuthFailure::Unknown => "unknown",
            AuthFailure::Expired => "expired",
        }
    }
}

/// Counts a failure and, if there were not many lately, logs it. `token` is the name of an expired one.
pub fn client_refused(why: AuthFailure, client: Option<IpAddr>, token: Option<&str>) {
    static RATION: Mutex<Ration> = Mutex::new(Ration::NEW);
    metrics::client_auth_failed(why);
    let Some(omitted) = RATION.lock().take(period()) else { return };
    let (reason, client) = (why.as_str(), client.map(|client| client.to_string()));
    log::warn!(reason, client, token, omitted; "A client was refused: no valid token.");
}

/// What was wrong with who wanted to come in by the admin listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAuthFailure {
    /// Neither token nor session.
    Missing,
    /// Nobody has this token.
    Unknown,
    /// The session is over.
    Ended,
    /// Not judged: too many failures before.
    Throttled,
}

impl AdminAuthFailure {
    /// Every failure.
    pub const ALL: [Self; 4] = [Self::Missing, Self::Unknown, Self::Ended, Self::Throttled];

    /// The word used in labels and log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Ended => "ended",
            Self::Throttled => "throttled",
        }
    }
}

/// Counts a failure and, if somebody showed a token and there were not many lately, logs it. Without a token nobody
/// guesses: that is a browser before the login.
pub fn operator_refused(why: AdminAuthFailure, client: Option<IpAddr>) {
    static RATION: Mutex<Ration> = Mutex::new(Ration::NEW);
    metrics::admin_auth_failed(why);
    if matches!(why, AdminAuthFailure::Missing | AdminAuthFailure::Ended) {
        return;
    }
    let Some(omitted) = RATION.lock().take(period()) else { return };
    let (reason, client) = (why.as_str(), client.map(|client| client.to_string()));
    log::warn!(reason, client, omitted; "Somebody was refused at the admin listener: no valid token.");
}

/// The number of the current period.
fn period() -> u64 {
    static START: Lazy<Instant> = Lazy::new(Instant::now);
    START.elapsed().as_secs() / PERIOD
}

/// How many lines there were in the current period.
struct Ration {
    period: u64,
    lines: u64,
    omitted: u64,
}

impl Ration {
    const NEW: Self = Self { period: 0, lines: 0, omitted: 0 };

    /// Leave to write a line, and how many were left out since the last one.
    fn take(&mut self, period: u64) -> Option<u64> {
        if period != self.period {
            (self.period, self.lines) = (period, 0);
        }
        if self.lines >= LINES {
            self.omitted += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.omitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_rationed_and_the_omitted_are_told() {
        let mut ration = Ration::NEW;
        let lines = (0..25).filter_map(|_| ration.take(3)).collect::<Vec<_>>();
        assert_eq!(lines, [0; 10]);
        assert_eq!(ration.take(4), Some(15));
        assert_eq!(ration.take(4), Some(0));
    }
}

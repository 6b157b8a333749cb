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
    static START: Lazy<Instant> = Lazy::new(Instant::now);
    static RATION: Mutex<Ration> = Mutex::new(Ration { period: 0, lines: 0, omitted: 0 });
    metrics::client_auth_failed(why);
    let Some(omitted) = RATION.lock().take(START.elapsed().as_secs() / PERIOD) else { return };
    let (reason, client) = (why.as_str(), client.map(|client| client.to_string()));
    log::warn!(reason, client, token, omitted; "A client was refused: no valid token.");
}

/// How many lines there were in the current period.
struct Ration {
    period: u64,
    lines: u64,
    omitted: u64,
}

impl Ration {
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
        let mut ration = Ration { period: 0, lines: 0, omitted: 0 };
        let lines = (0..25).filter_map(|_| ration.take(3)).collect::<Vec<_>>();
        assert_eq!(lines, [0; 10]);
        assert_eq!(ration.take(4), Some(15));
        assert_eq!(ration.take(4), Some(0));
    }
}

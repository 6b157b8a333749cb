//! Moments in queries: dates with a time, or how long ago. Moments in answers: RFC 3339, to the millisecond.

use std::borrow::Cow;
use std::time::SystemTime;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::problem::Problem;
use crate::config::units::Time;

/// A moment in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Moment(String);

impl Moment {
    /// Of Unix milliseconds.
    pub(super) fn of_ms(at: i64) -> Self {
        Self(Timestamp::from_millisecond(at).map(|at| format!("{at:.3}")).unwrap_or_default())
    }
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(format!("{at:.3}"))
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        Timestamp::try_from(time).unwrap_or_default().into()
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

/// Unix milliseconds of `2026-01-31T12:00:00Z`, or of `1h30m` (ago).
pub(super) fn parse(name: &str, text: &str) -> Result<i64, Problem> {
    if let Ok(Time(ago)) = Time::parse(text) {
        let then = SystemTime::now().checked_sub(ago).and_then(|then| Timestamp::try_from(then).ok());
        return Ok(then.unwrap_or(Timestamp::UNIX_EPOCH).as_millisecond());
    }
    // A plus sign that was not encoded comes as a space.
    text.trim().replace(' ', "+").parse::<Timestamp>().map(Timestamp::as_millisecond).map_err(|_| {
        Problem::bad_request(format!(
            "{name}: {text:?} is no moment: write 2026-01-31T12:00:00Z, or how long ago, e.g. 1h30m"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates_or_spans() {
        assert_eq!(parse("since", "1970-01-01T00:00:01Z").unwrap(), 1000);
        assert_eq!(parse("since", "1970-01-01T01:00:01 01:00").unwrap(), 1000);
        let hour = Timestamp::now().as_millisecond() - parse("since", "1h").unwrap();
        assert!((3_500_000..=3_600_000).contains(&hour), "{hour}");
        for wrong in ["", "yesterday", "12", "2026-13-01T00:00:00Z", "-1h"] {
            assert!(parse("since", wrong).is_err(), "{wrong}");
        }
    }
}

//! Durations and sizes as users write them.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest duration accepted, so that no sum of a clock and a duration overflows.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// The schema's `format` of durations.
pub(crate) const TIME_FORMAT: &str = "keyweir-duration";
/// The schema's `format` of sizes.
pub(crate) const SIZE_FORMAT: &str = "keyweir-size";

/// A duration: numbers with `ms`, `s`, `m`, `h` or `d`, e.g. `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

/// A number of bytes: `64KiB`, `32MiB`, or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// Why a duration or size cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a duration.
    #[error("not a duration; write numbers with units (ms, s, m, h, d), e.g. 30s or 1h30m")]
    Duration,
    /// A number without unit.
    #[error("a duration needs a unit (ms, s, m, h, d), e.g. 30s or 1h30m")]
    Unit,
    /// Too long to be meant.
    #[error("too long; at most 3650d")]
    Long,
    /// Not a size.
    #[error("not a size; write bytes or a number with a unit, e.g. 64KiB or 32MiB")]
    Size,
}

impl Time {
    /// Whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Reads `1h30m`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::Unit);
        }
        // humantime knows more units; `M` for months would be too easily written for minutes.
        if !text.bytes().all(|b| b.is_ascii_digit() || b"mshd".contains(&b)) {
            return Err(Error::Duration);
        }
        let duration = humantime::parse_duration(text).map_err(|e| match e {
            humantime::DurationError::NumberOverflow => Error::Long,
            _ => Error::Duration,
        })?;
        if duration > LONGEST { Err(Error::Long) } else { Ok(Self(duration)) }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.0.as_millis();
        for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl Size {
    /// 2^20 bytes.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count * 1024 * 1024)
    }

    /// Reads `64KiB`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Error::Size);
        }
        text.parse::<bytesize::ByteSize>().map(|size| Self(size.as_u64())).map_err(|_| Error::Size)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match units.iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": TIME_FORMAT,
            "pattern": "^([0-9]+(ms|s|m|h|d))+$|^0$|\\$\\{",
            "description": "Numbers with units `ms`, `s`, `m`, `h`, `d`, e.g. `30s` or `1h30m`.",
        })
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "format": SIZE_FORMAT,
            "minimum": 0,
            "description": "Bytes, or a number with a unit, e.g. `64KiB` or `32MiB`.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_combine_units() {
        for (text, millis) in [("1h30m", 5_400_000), ("0s", 0), ("0", 0), ("250ms", 250), ("1d2s", 86_402_000)] {
            assert_eq!(Time::parse(text), Ok(Time(Duration::from_millis(millis))), "{text}");
        }
        assert_eq!(Time::parse("10"), Err(Error::Unit));
        assert_eq!(Time::parse("9999999999999d"), Err(Error::Long));
        assert_eq!(Time::parse("99999999999999999999999d"), Err(Error::Long));
        for text in ["", "10M", "10 s", "1w", "-1s", "s", "1x", "1.5h"] {
            assert_eq!(Time::parse(text), Err(Error::Duration), "{text}");
        }
    }

    #[test]
    fn sizes_know_binary_and_decimal_units() {
        for (text, bytes) in [("64KiB", 65_536), ("32MiB", 33_554_432), ("1GiB", 1 << 30), ("10kB", 10_000), ("7", 7)] {
            assert_eq!(Size::parse(text), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "-1", "MiB", "1XiB", "é"] {
            assert_eq!(Size::parse(text), Err(Error::Size), "{text}");
        }
    }

    #[test]
    fn what_is_displayed_reads_back() {
        for millis in [0, 1, 999, 61_001, 90_000_000] {
            let time = Time(Duration::from_millis(millis));
            assert_eq!(Time::parse(&time.to_string()), Ok(time));
        }
        for bytes in [0, 1, 1023, 65_536, 33_554_432] {
            assert_eq!(Size::parse(&Size(bytes).to_string()), Ok(Size(bytes)));
        }
    }
}

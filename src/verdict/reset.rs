//! When a limit ends, in the provider's own words.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use jiff::Timestamp;

/// What a limit is counted in, as it stands in `x-ratelimit-remaining-*` and `x-ratelimit-reset-*`. OpenAI, Groq,
/// Mistral, Together and others name requests and tokens; OpenRouter has one limit without a name.
const LIMITS: [&str; 3] = ["-requests", "-tokens", ""];
/// Numbers above this are moments in Unix time (2001), those a thousand times larger in milliseconds.
const EPOCH: f64 = 1e9;
const EPOCH_MS: f64 = 1e12;

/// The rest a provider states in its answer's head: `retry-after-ms` (OpenAI) before `retry-after`, in seconds or as an
/// HTTP date (RFC 9110 §10.2.3), before `x-ratelimit-reset*`. Times in the past and texts of no known form state nothing.
pub fn stated_rest(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|v| v.parse::<f64>().ok()) {
        return positive(ms / 1000.0);
    }
    let Some(value) = text("retry-after") else { return limit_reset(text, now) };
    match value.parse::<f64>() {
        Ok(seconds) => positive(seconds),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

/// The reset of the limit that is used up; where none says that it is, the last reset of all.
fn limit_reset<'a>(text: impl Fn(&str) -> Option<&'a str>, now: SystemTime) -> Option<Duration> {
    let resets = LIMITS.map(|limit| {
        let rest = moment(text(&format!("x-ratelimit-reset{limit}"))?, now)?;
        let is_used_up = text(&format!("x-ratelimit-remaining{limit}")) == Some("0");
        Some((is_used_up, rest))
    });
    resets.into_iter().flatten().max().map(|(_, rest)| rest)
}

/// A reset as providers write it: `1s`, `6m0s`, `2m59.56s`, `17ms`, seconds, Unix time, or RFC 3339.
fn moment(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(number) = value.parse::<f64>() {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
        return positive(match number {
            _ if number >= EPOCH_MS => number / 1000.0 - since_epoch,
            _ if number >= EPOCH => number - since_epoch,
            _ => number,
        });
    }
    if let Ok(at) = value.parse::<Timestamp>() {
        return SystemTime::from(at).duration_since(now).ok();
    }
    positive(span(value)?)
}

/// A duration in Go's notation, in seconds.
fn span(value: &str) -> Option<f64> {
    let mut rest = value;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let scale = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Some(seconds)
}

fn positive(seconds: f64) -> Option<Duration> {
    if seconds > 0.0 { Duration::try_from_secs_f64(seconds).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        let headers = pairs.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().unwrap())).collect();
        // Sun, 06 Nov 1994 08:49:37 GMT
        stated_rest(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(rest(&[("retry-after", "30")]), Some(Duration::from_secs(30)));
        assert_eq!(rest(&[("retry-after", " 0.5 ")]), Some(Duration::from_millis(500)));
        assert_eq!(rest(&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")]), Some(Duration::from_secs(60)));
        assert_eq!(rest(&[("retry-after", "30"), ("retry-after-ms", "1500")]), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn nonsense_states_nothing() {
        for value in
            ["", "soon", "-5", "0", "NaN", "1e300", "Sun, 06 Nov 1994 08:40:37 GMT", "Sun, 99 Nov 1994 25:00:00 GMT"]
        {
            assert_eq!(rest(&[("retry-after", value)]), None, "{value:?}");
        }
    }

    #[test]
    fn the_reset_of_the_limit_that_is_used_up_counts() {
        let reset = |requests: &str, remaining: &str, tokens: &str| {
            rest(&[
                ("x-ratelimit-reset-requests", requests),
                ("x-ratelimit-remaining-requests", remaining),
                ("x-ratelimit-reset-tokens", tokens),
                ("x-ratelimit-remaining-tokens", "500"),
            ])
        };
        assert_eq!(reset("6m0s", "0", "17h"), Some(Duration::from_secs(360)));
        assert_eq!(reset("1s", "9", "2m59.5s"), Some(Duration::from_millis(179_500)));
        assert_eq!(reset("17ms", "0", ""), Some(Duration::from_millis(17)));
        assert_eq!(rest(&[("x-ratelimit-reset-requests", "1s"), ("retry-after", "9")]), Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_reset_may_be_a_moment() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for value in ["60", "1m", "1700000060", "1700000060000", "2023-11-14T22:14:20Z"] {
            assert_eq!(moment(value, now), Some(Duration::from_secs(60)), "{value}");
        }
        for value in ["", "-", "1x", "m", "1.2.3s", "s5", "1699999999", "2020-01-01T00:00:00Z", "-5s", "1e999"] {
            assert_eq!(moment(value, now), None, "{value:?}");
        }
    }
}

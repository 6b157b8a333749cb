//! When a limit ends, in the provider's own words.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

/// The rest a provider states in its answer's head: `retry-after-ms` (OpenAI) before `retry-after`, in seconds or as an
/// HTTP date (RFC 9110 §10.2.3). Times in the past and texts of neither form state nothing.
pub fn stated_rest(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|v| v.parse::<f64>().ok()) {
        return positive(ms / 1000.0);
    }
    let value = text("retry-after")?;
    match value.parse::<f64>() {
        Ok(seconds) => positive(seconds),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
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
}

use jiff::tz::TimeZone;

use super::super::pack;
use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn stated_by(pairs: &[(&'static str, &str)]) -> Option<Duration> {
    let headers = pairs.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().unwrap())).collect();
    stated(&Fields::default(), &headers, pack::generic().limits(), at("1994-11-06T08:49:37Z"))
}

fn seconds(seconds: f64) -> Option<Duration> {
    Some(Duration::from_secs_f64(seconds))
}

#[test]
fn retry_after_is_read_in_every_form() {
    assert_eq!(stated_by(&[("retry-after", "30")]), seconds(30.0));
    assert_eq!(stated_by(&[("retry-after", " 0.5 ")]), seconds(0.5));
    assert_eq!(stated_by(&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")]), seconds(60.0));
    assert_eq!(stated_by(&[("retry-after", "1994-11-06T08:50:37+00:00")]), seconds(60.0));
    assert_eq!(stated_by(&[("retry-after", "30"), ("retry-after-ms", "1500")]), seconds(1.5));
}

#[test]
fn nonsense_states_nothing() {
    for value in
        ["", "soon", "-5", "0", "NaN", "inf", "1e300", "Sun, 06 Nov 1994 08:40:37 GMT", "Sun, 99 Nov 1994 25:00:00 GMT"]
    {
        assert_eq!(stated_by(&[("retry-after", value)]), None, "{value:?}");
    }
}

#[test]
fn the_reset_of_the_limit_that_is_used_up_counts() {
    let reset = |requests: &str, remaining: &str, tokens: &str| {
        stated_by(&[
            ("x-ratelimit-reset-requests", requests),
            ("x-ratelimit-remaining-requests", remaining),
            ("x-ratelimit-reset-tokens", tokens),
            ("x-ratelimit-remaining-tokens", "500"),
        ])
    };
    assert_eq!(reset("6m0s", "0", "17h"), seconds(360.0));
    assert_eq!(reset("17ms", "0", ""), seconds(0.017));
    assert_eq!(reset("17h", "9", "2s"), None, "a day's reset is not that of the limit that was hit");
    assert_eq!(reset("17h", "-1", "2s"), None, "Azure's way to say nothing");
    assert_eq!(stated_by(&[("x-ratelimit-reset", "2m59.5s")]), seconds(179.5));
    assert_eq!(stated_by(&[("x-ratelimit-reset-requests", "1s"), ("retry-after", "9")]), seconds(9.0));
}

#[test]
fn a_reset_may_be_a_moment() {
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    for value in ["60", "60s", "1m", "1m0s", "1700000060", "1700000060000", "2023-11-14T22:14:20Z", "60000ms"] {
        assert_eq!(moment(value, now), seconds(60.0), "{value}");
    }
    for value in ["", "-", "1x", "m", "1.2.3s", "s5", "1699999999", "2020-01-01T00:00:00Z", "-5s", "1e999"] {
        assert_eq!(moment(value, now), None, "{value:?}");
    }
}

#[test]
fn messages_tell_waits_in_words() {
    for (message, wait) in [
        ("Rate limit reached … Please try again in 41.724s. Visit https://x", 41.724),
        ("Please try again in 1h2m3s.", 3723.0),
        ("Please try again in 6m0s", 360.0),
        ("Please try again in 17ms. Limit 30, used 30", 0.017),
        ("Rate limit is exceeded. Try again in 2 seconds.", 2.0),
        ("Please retry after 86400 seconds.", 86_400.0),
        ("Please retry in 33.512s.", 33.512),
        ("max RPM: 3, please try again after 1 seconds", 1.0),
        ("Please wait 5 minutes and 30 seconds before the next request", 330.0),
        ("Retry after 30", 30.0),
        ("quota resets in 2 hours, 5 minutes", 7500.0),
        ("请求过于频繁,请在 30 秒后重试", 30.0),
        ("请 5 分钟后再试", 300.0),
    ] {
        assert_eq!(in_message(message), seconds(wait), "{message}");
    }
    for message in
        ["Limit 30000, Used 5", "try again later. Limit 200 s", "retry with 20 requests less", "wait for 3 apples", ""]
    {
        assert_eq!(in_message(message), None, "{message}");
    }
}

#[test]
fn messages_tell_dates() {
    let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
    let now = at("2025-12-21T06:00:00Z");
    for (message, end) in [
        ("您的限额将在 2025-12-21 15:00:05 重置", "2025-12-21T07:00:05Z"),
        ("Your limit will reset at 2026-09-10 04:24:36", "2026-09-09T20:24:36Z"),
        ("You will regain access on 2026-09-01 at 00:00 UTC.", "2026-09-01T00:00:00Z"),
        ("available again at 2026-01-02T03:04:05.678+02:00", "2026-01-02T01:04:05Z"),
        ("将于2026年1月2日3时04分重置", "2026-01-01T19:04:00Z"),
        ("resets on January 2, 2026 at 3:04 PM UTC", "2026-01-02T15:04:00Z"),
        ("resets on 2 Jan 2026 03:04:05 GMT", "2026-01-02T03:04:05Z"),
        ("since 2025-01-01; until 2026/02/01", "2026-01-31T16:00:00Z"),
    ] {
        assert_eq!(date::in_message(message, &shanghai, now), moment::until(at(end), now), "{message}");
    }
    for message in ["", "model qwen-plus-2027-01-01 is limited", "2025-12-21 13:00:00", "9999-99-99", "2026-02-31"] {
        assert_eq!(date::in_message(message, &shanghai, now), None, "{message}");
    }
}

#[test]
fn calendars_are_the_providers() {
    let (shanghai, pacific) = (TimeZone::get("Asia/Shanghai").unwrap(), TimeZone::get("America/Los_Angeles").unwrap());
    let now = at("2026-03-08T05:00:00Z");
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
    assert_eq!(calendar::midnight(&TimeZone::UTC, now), hours(19));
    assert_eq!(calendar::midnight(&shanghai, now), hours(11));
    assert_eq!(calendar::midnight(&pacific, at("2026-03-08T09:00:00Z")), hours(22), "the clocks go forward that day");
    assert_eq!(calendar::monday(&shanghai, now), hours(11));
    assert_eq!(calendar::first_of_month(&TimeZone::UTC, now), hours(19 + 23 * 24));
}

#[test]
fn a_rest_stays_within_its_rule() {
    let timing = Timing {
        sources: vec![Source::Stated, Source::Midnight],
        zone: None,
        rest: Duration::from_secs(5),
        at_least: Duration::from_secs(2),
        at_most: Duration::from_secs(300),
        doubles: true,
    };
    let rest = |timing: &Timing, value: &str| {
        let headers = [(http::header::RETRY_AFTER, value.parse().unwrap())].into_iter().collect();
        rest(timing, &TimeZone::UTC, &Fields::default(), &headers, &[], at("2026-03-08T05:00:00Z"))
    };
    assert_eq!(rest(&timing, "86400").time, Duration::from_secs(300));
    assert_eq!(rest(&timing, "0.1").time, Duration::from_secs(2));
    assert_eq!(rest(&timing, "Fri, 31 Dec 9999 23:59:59 GMT").time, Duration::from_secs(300));
    let midnight = rest(&timing, "-5");
    assert_eq!((midnight.time, midnight.spread, midnight.doubles_to), (Duration::from_secs(300), SPREAD, None));
    let guess = rest(&Timing { sources: vec![Source::Stated], ..timing }, "-5");
    assert_eq!((guess.time, guess.doubles_to), (Duration::from_secs(5), Some(Duration::from_secs(300))));
}

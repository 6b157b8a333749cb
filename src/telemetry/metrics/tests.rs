use std::collections::HashSet;

use super::*;
use crate::telemetry::snapshot::{KeySnapshot, PoolSnapshot, State};

fn text() -> String {
    String::from_utf8(encode()).unwrap()
}

/// The value of one series, its labels in any order.
fn sample(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let line = text.lines().find(|line| {
        let rest = line.strip_prefix(name).unwrap_or_default();
        (rest.starts_with('{') || rest.starts_with(' ')) && labels.iter().all(|label| rest.contains(label))
    })?;
    line.rsplit_once(' ')?.1.parse().ok()
}

fn key(name: &str, state: State, ok: u64) -> KeySnapshot {
    let mut attempts = [0; AttemptResult::COUNT];
    attempts[AttemptResult::Ok.index()] = ok;
    attempts[AttemptResult::RateLimited.index()] = 1;
    let reason = (state != State::Ready).then_some("rate_limited");
    KeySnapshot {
        name: name.into(),
        state,
        reason,
        back_in: None,
        requests: ok + 1,
        last_used: None,
        attempts,
        in_flight: 0,
    }
}

fn pool(name: &str, per_key: bool) -> PoolSnapshot {
    PoolSnapshot {
        pool: name.into(),
        per_key,
        is_default: false,
        keys: vec![key("a", State::Ready, 5), key("b\"\n\\", State::Cooling, 2)],
        transitions: vec![(State::Cooling, "rate_limited", 3)],
    }
}

#[test]
fn requests_are_counted_by_status_and_outcome() {
    let metrics = PoolMetrics::for_pool("count");
    assert_eq!(sample(&text(), REQUESTS.0, &["pool=\"count\"", "code=\"200\"", "outcome=\"ok\""]), Some(0.0));
    let second = Duration::from_secs(1);
    metrics.request_finished(200, Outcome::Ok, second, Some(second), Some(Duration::from_micros(30)));
    metrics.request_finished(429, Outcome::Exhausted, second, None, None);
    for code in [0, 99, 600, u16::MAX] {
        metrics.request_finished(code, Outcome::Cancelled, second, None, None);
    }
    // A reload asks again and must not start over.
    PoolMetrics::for_pool("count").request_finished(200, Outcome::Ok, second, None, None);

    let text = text();
    let requests = |code, outcome| sample(&text, REQUESTS.0, &["pool=\"count\"", code, outcome]);
    assert_eq!(requests("code=\"200\"", "outcome=\"ok\""), Some(2.0));
    assert_eq!(requests("code=\"429\"", "outcome=\"exhausted\""), Some(1.0));
    assert_eq!(requests("code=\"none\"", "outcome=\"cancelled\""), Some(4.0));
    assert_eq!(sample(&text, "keyweir_request_duration_seconds_sum", &["pool=\"count\""]), Some(7.0));
    assert_eq!(sample(&text, "keyweir_time_to_first_byte_seconds_count", &["pool=\"count\""]), Some(1.0));
    let overhead = "keyweir_overhead_seconds_bucket";
    assert_eq!(sample(&text, overhead, &["pool=\"count\"", "le=\"0.000025\""]), Some(0.0));
    assert_eq!(sample(&text, overhead, &["pool=\"count\"", "le=\"0.00005\""]), Some(1.0));
}

#[test]
fn requests_under_way_are_counted_until_their_guard_goes() {
    let metrics = PoolMetrics::for_pool("flight");
    let in_flight = || sample(&text(), IN_FLIGHT.0, &["pool=\"flight\""]);
    let (first, second) = (metrics.request_started(), metrics.request_started());
    assert_eq!(in_flight(), Some(2.0));
    drop(first);
    assert_eq!(in_flight(), Some(1.0));
    drop(second);
    assert_eq!(in_flight(), Some(0.0));
}

#[test]
fn retries_are_counted_by_reason() {
    PoolMetrics::for_pool("again").retry(AttemptResult::RateLimited);
    assert_eq!(sample(&text(), RETRIES.0, &["pool=\"again\"", "reason=\"rate_limited\""]), Some(1.0));
}

/// One test, because the snapshots registered are the process's.
#[test]
fn the_page_holds_every_metric_in_a_form_prometheus_reads() {
    register_keys(Arc::new(|| vec![pool("replaced", true)]));
    register_keys(Arc::new(|| vec![pool("single", true), pool("many", false)]));
    PoolMetrics::for_pool("page").retry(AttemptResult::Timeout);
    PoolMetrics::for_pool("page").rule_matched("generic-429", "enforce");
    config_reloaded(true);
    let text = text();

    assert!(!text.contains("replaced"));
    assert_eq!(sample(&text, KEYS.0, &["pool=\"single\"", "state=\"cooling\""]), Some(1.0));
    assert_eq!(sample(&text, KEYS.0, &["pool=\"single\"", "state=\"disabled\""]), Some(0.0));
    assert_eq!(sample(&text, KEY_STATE.0, &["key=\"a\"", "pool=\"single\"", "state=\"ready\""]), Some(1.0));
    assert_eq!(sample(&text, KEY_STATE.0, &["key=\"a\"", "pool=\"single\"", "state=\"cooling\""]), Some(0.0));
    assert_eq!(sample(&text, ATTEMPTS.0, &["key=\"a\"", "pool=\"single\"", "result=\"ok\""]), Some(5.0));
    assert_eq!(sample(&text, ATTEMPTS.0, &[r#"key="b\"\n\\""#, "result=\"ok\""]), Some(2.0), "escaped");
    assert_eq!(sample(&text, ATTEMPTS.0, &["key=\"\"", "pool=\"many\"", "result=\"ok\""]), Some(7.0), "added up");
    assert_eq!(sample(&text, KEY_STATE.0, &["pool=\"many\""]), None);
    let transitions = sample(&text, KEY_TRANSITIONS.0, &["pool=\"many\"", "to=\"cooling\"", "reason=\"rate_limited\""]);
    assert_eq!(transitions, Some(3.0));
    assert_eq!(sample(&text, RELOAD_SUCCESSFUL.0, &[]), Some(1.0));
    assert!(sample(&text, RELOAD_TIME.0, &[]).unwrap() > 1.7e9);
    let build_info = sample(&text, BUILD_INFO.0, &[concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")]);
    assert_eq!(build_info, Some(1.0));
    assert!(sample(&text, "process_open_fds", &[]).unwrap() > 0.0);

    for (name, help) in NAMES {
        assert!(text.contains(&format!("# HELP {name} {help}\n# TYPE {name} ")), "{name} is missing");
    }
    assert_well_formed(&text);
}

/// What `promtool check metrics` would insist on: each sample belongs to the family announced before it, once.
fn assert_well_formed(text: &str) {
    let (mut family, mut families, mut series) = (String::new(), HashSet::new(), HashSet::new());
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("# TYPE ") {
            family = header.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} twice");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(&family), "{name} outside its family {family}");
            assert!(series.insert(name), "{name} twice");
            value.parse::<f64>().unwrap();
        }
    }
}

#[test]
fn the_version_of_pingora_is_the_one_linked() {
    let manifest = include_str!("../../../Cargo.toml");
    assert!(manifest.contains(&format!("pingora = {{ version = \"={PINGORA_VERSION}\"")));
}

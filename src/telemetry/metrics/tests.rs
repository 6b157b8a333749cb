use std::collections::{HashMap, HashSet};

use super::*;
use crate::telemetry::snapshot::{
    BalanceSnapshot, EgressSnapshot, Holding, KeySnapshot, PoolSnapshot, State, TargetSnapshot,
};

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
        limits: Vec::new(),
        id: crate::config::KeyId::of("test", name),
        name: name.into(),
        state,
        reason,
        back_in: None,
        requests: ok + 1,
        last_used: None,
        attempts,
        in_flight: 0,
        recheck_at: None,
        balance: Some(BalanceSnapshot {
            amounts: [Holding { unit: "CNY".into(), amount: "49.58894".parse().unwrap() }].into(),
            told: None,
            error: None,
        }),
    }
}

fn pool(name: &str, per_key: bool) -> PoolSnapshot {
    PoolSnapshot {
        pool: name.into(),
        per_key,
        is_default: false,
        keys: Arc::new(vec![key("a", State::Ready, 5), key("b\"\n\\", State::Cooling, 2)]),
        transitions: vec![(State::Cooling, "rate_limited", 3)],
        egress: vec![EgressSnapshot {
            name: "http://h:1".into(),
            is_up: false,
            keys: 1,
            failures: 3,
            error: None,
            checked: None,
            took: None,
        }],
        targets: vec![TargetSnapshot { name: "api".into(), is_up: true, error: None, checked: None }],
    }
}

#[test]
fn requests_are_counted_by_status_and_outcome() {
    let metrics = PoolMetrics::for_pool("count");
    assert_eq!(sample(&text(), REQUESTS.name, &["pool=\"count\"", "code=\"200\"", "outcome=\"ok\""]), Some(0.0));
    let second = Duration::from_secs(1);
    metrics.request_finished(200, Outcome::Ok, second, Some(second), Some(Duration::from_micros(30)));
    metrics.request_finished(429, Outcome::Exhausted, second, None, None);
    for code in [0, 99, 600, u16::MAX] {
        metrics.request_finished(code, Outcome::Cancelled, second, None, None);
    }
    // A reload asks again and must not start over.
    PoolMetrics::for_pool("count").request_finished(200, Outcome::Ok, second, None, None);

    let text = text();
    let requests = |code, outcome| sample(&text, REQUESTS.name, &["pool=\"count\"", code, outcome]);
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
    let in_flight = || sample(&text(), IN_FLIGHT.name, &["pool=\"flight\""]);
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
    assert_eq!(sample(&text(), RETRIES.name, &["pool=\"again\"", "reason=\"rate_limited\""]), Some(1.0));
}

#[test]
fn tokens_are_counted_by_models_that_were_served() {
    let metrics = PoolMetrics::for_pool("tokens");
    let used = |model: &str, prompt, completion, is_served| {
        metrics.tokens_used(metrics.model(model, is_served), prompt, completion);
    };
    used("typed", 5, 0, false);
    used("served", 10, 20, true);
    used("served", 1, 2, false);
    let long = "x".repeat(1000);
    for odd in ["", "a\nb", &long] {
        used(odd, 1, 1, true);
    }
    let series = |model: &str, kind: &str| {
        sample(&text(), TOKENS.name, &["pool=\"tokens\"", &format!("model=\"{model}\""), &format!("type=\"{kind}\"")])
    };
    assert_eq!((series("served", "prompt"), series("served", "completion")), (Some(11.0), Some(22.0)));
    assert_eq!((series("other", "prompt"), series("typed", "prompt")), (Some(8.0), None));
    for number in 0..1000 {
        used(&format!("m{number}"), 1, 1, true);
    }
    let names =
        text().lines().filter(|line| line.contains("pool=\"tokens\"") && line.contains("type=\"prompt\"")).count();
    assert!(names <= 201, "{names} models");
}

/// One test, because the snapshots registered are the process's.
#[test]
fn the_page_holds_every_metric_in_a_form_prometheus_reads() {
    register_keys(Arc::new(|| vec![pool("replaced", true)]));
    register_keys(Arc::new(|| vec![pool("single", true), pool("many", false)]));
    PoolMetrics::for_pool("page").retry(AttemptResult::Timeout);
    PoolMetrics::for_pool("page").rule_matched("generic-429", "enforce");
    PoolMetrics::for_pool("page").balance_asked("ok");
    PoolMetrics::for_pool("page").probed("valid");
    config_reloaded(true);
    let text = text();

    assert!(!text.contains("replaced"));
    assert_eq!(sample(&text, KEYS.name, &["pool=\"single\"", "state=\"cooling\""]), Some(1.0));
    assert_eq!(sample(&text, KEYS.name, &["pool=\"single\"", "state=\"disabled\""]), Some(0.0));
    assert_eq!(sample(&text, KEY_STATE.name, &["key=\"a\"", "pool=\"single\"", "state=\"ready\""]), Some(1.0));
    assert_eq!(sample(&text, KEY_STATE.name, &["key=\"a\"", "pool=\"single\"", "state=\"cooling\""]), Some(0.0));
    assert_eq!(sample(&text, ATTEMPTS.name, &["key=\"a\"", "pool=\"single\"", "result=\"ok\""]), Some(5.0));
    assert_eq!(sample(&text, ATTEMPTS.name, &[r#"key="b\"\n\\""#, "result=\"ok\""]), Some(2.0), "escaped");
    assert_eq!(sample(&text, ATTEMPTS.name, &["key=\"\"", "pool=\"many\"", "result=\"ok\""]), Some(7.0), "added up");
    assert_eq!(sample(&text, KEY_STATE.name, &["pool=\"many\""]), None);
    let transitions =
        sample(&text, KEY_TRANSITIONS.name, &["pool=\"many\"", "to=\"cooling\"", "reason=\"rate_limited\""]);
    assert_eq!(transitions, Some(3.0));
    let balance = |labels: &[&str]| sample(&text, KEY_BALANCE.name, labels);
    assert_eq!(balance(&["pool=\"single\"", "key=\"a\"", "unit=\"CNY\""]), Some(49.58894));
    assert_eq!(balance(&["pool=\"many\"", "key=\"\"", "unit=\"CNY\""]), Some(99.17788), "added up");
    assert_eq!(sample(&text, RELOAD_SUCCESSFUL.name, &[]), Some(1.0));
    assert!(sample(&text, RELOAD_TIME.name, &[]).unwrap() > 1.7e9);
    let build_info = sample(&text, BUILD_INFO.name, &[concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")]);
    assert_eq!(build_info, Some(1.0));
    assert!(sample(&text, "process_open_fds", &[]).unwrap() > 0.0);

    assert_well_formed(&text);
    assert_documented(&text);
}

/// Every metric, in the order of docs/metrics.md.
const ALL: &[&Metric] = &[
    &REQUESTS,
    &DURATION,
    &FIRST_BYTE,
    &OVERHEAD,
    &IN_FLIGHT,
    &ATTEMPTS,
    &RETRIES,
    &RULE_MATCHES,
    &PROBES,
    &KEYS,
    &KEY_STATE,
    &KEY_TRANSITIONS,
    &TARGET_UP,
    &EGRESS_UP,
    &KEY_BALANCE,
    &BALANCE_CHECKS,
    &TOKENS,
    &AUTH_FAILURES,
    &ADMIN_AUTH_FAILURES,
    &RELOAD_SUCCESSFUL,
    &RELOAD_TIME,
    &LOG_DROPPED,
    &STORE_UP,
    &STORE_PENDING,
    &STORE_DROPPED,
    &BUILD_INFO,
];

const DOCS: &str = include_str!("../../../docs/metrics.md");

/// The page holds what is declared, and docs/metrics.md says the same of it.
fn assert_documented(page: &str) {
    let declared: HashSet<_> = ALL.iter().map(|metric| metric.name).collect();
    let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let kinds: HashMap<_, _> = kinds.filter(|(name, _)| name.starts_with("keyweir_")).collect();
    assert_eq!(kinds.keys().copied().collect::<HashSet<_>>(), declared);
    let rows = ALL.iter().map(|metric| {
        let Metric { name, labels, help } = metric;
        assert!(page.contains(&format!("# HELP {name} {help}\n")), "{name}");
        assert_labelled(page, metric);
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {} | {} | {help} |\n", kinds[name], labels.join(", "))
    });
    let table: String = rows.collect();
    let documented = DOCS.split_inclusive('\n').filter(|line| line.starts_with("| `keyweir_")).collect::<String>();
    assert!(documented == table, "write into docs/metrics.md:\n{table}");
}

fn assert_labelled(page: &str, metric: &Metric) {
    let mut samples = page.lines().filter_map(|line| line.strip_prefix(metric.name));
    let sample = samples.find(|rest| !rest.starts_with("_bucket")).unwrap();
    let labels = sample.split_once('{').map_or("", |(_, labels)| labels);
    let mut labels: Vec<_> = labels.split("\",").filter_map(|pair| Some(pair.split_once("=\"")?.0)).collect();
    labels.sort_unstable();
    let mut expected = metric.labels.to_vec();
    expected.sort_unstable();
    assert_eq!(labels, expected, "{}", metric.name);
}

/// Queries and alerts speak of metrics that exist.
#[test]
fn every_metric_mentioned_exists() {
    let mentioned = regex::Regex::new("keyweir_[a-z_]+").unwrap();
    for text in [
        DOCS,
        include_str!("../../../docs/operations.md"),
        include_str!("../../../README.md"),
        include_str!("../../../README.zh-CN.md"),
        include_str!("../../../deploy/prometheus/alerts.yaml"),
        include_str!("../../../deploy/prometheus/alerts.test.yaml"),
    ] {
        for name in mentioned.find_iter(text).map(|found| found.as_str()) {
            let is_known = |name: &str| ALL.iter().any(|metric| metric.name == name);
            let parts = ["", "_bucket", "_sum", "_count"];
            assert!(parts.iter().any(|part| name.strip_suffix(part).is_some_and(is_known)), "{name} does not exist");
        }
    }
}

/// Each label's row in docs/metrics.md names the values it can have.
#[test]
fn the_values_of_every_label_are_documented() {
    let (_, section) = DOCS.split_once("## Labels").unwrap();
    let rows: Vec<(&str, &str)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "))
        .filter(|(label, _)| label.starts_with('`'))
        .collect();
    let documented: HashSet<&str> = rows.iter().flat_map(|(label, _)| words(label)).collect();
    assert_eq!(documented, ALL.iter().flat_map(|metric| metric.labels).copied().collect());
    let returns = ["rest_over", "accepted", "reactivated"];
    let marks = crate::pool::Reason::ALL.iter().map(|reason| reason.as_str());
    let reasons: Vec<&str> = returns.into_iter().chain(marks).collect();
    for (labels, values) in [
        ("`state`, `to`", &State::ALL.map(State::as_str)[..]),
        ("`outcome`", &Outcome::ALL.map(Outcome::as_str)),
        ("`result`, and `reason` of retries", &AttemptResult::ALL.map(AttemptResult::as_str)),
        ("`result` of balance checks", &crate::keypool::Told::WORDS),
        ("`reason` of transitions", &reasons),
        ("`result` of probes", &crate::health::Outcome::ALL.map(crate::health::Outcome::as_str)),
        ("`type`", &["prompt", "completion"]),
        ("`reason` of failed authentications", &AuthFailure::ALL.map(AuthFailure::as_str)),
        ("`reason` at the admin listener", &AdminAuthFailure::ALL.map(AdminAuthFailure::as_str)),
    ] {
        let (_, text) = rows.iter().find(|(label, _)| *label == labels).unwrap_or_else(|| panic!("no row {labels}"));
        assert_eq!(words(text), values, "{labels}");
    }
}

/// What stands between backticks.
fn words(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
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

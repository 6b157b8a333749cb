//! A key that fails costs the client nothing as long as another one works.

use serde_json::json;

use crate::harness::{Config, MockProvider};

const QUICK: &str = "timeouts: {first_byte: 500ms, hold: 500ms}";

/// Asks once; the pool's first key is `bad`, the second one works. Gives the bad key's state afterwards.
fn survives(bad: &str) -> (String, String) {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, QUICK, &[bad, "sk-ok-1"]).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.attempts()), (200, 2), "{bad}: {}", answer.text());
    assert_eq!((mock.asked(bad), mock.asked("sk-ok-1")), (1, 1), "{bad}");
    assert_eq!(keyweir.chat(&json!({"stream": true, "mock": {"events": 1}})).status, 200);
    keyweir.state(bad.trim_start_matches("sk-"))
}

fn pair(state: &str, reason: &str) -> (String, String) {
    (state.into(), reason.into())
}

#[test]
fn a_limited_key_rests_as_long_as_its_provider_says() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-ok-1"]).start();
    for _ in 0..6 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert_eq!(mock.asked("sk-429-1"), 1, "not asked again before its time");
    assert_eq!(keyweir.state("429-1"), pair("cooling", "rate_limited"));
    let back_in = keyweir.key("429-1")["back_in"].as_f64().unwrap();
    assert!((5.0..=30.0).contains(&back_in), "the mock says 30 s: {back_in}");
}

#[test]
fn a_rested_key_is_asked_again() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let limited = json!({"mock": {"status": 429, "headers": {"retry-after-ms": "300"}}});
    let refused = keyweir.chat(&limited);
    assert_eq!((refused.status, refused.code().as_str()), (429, "all_keys_cooling"));
    crate::harness::eventually("the key's return", || keyweir.chat(&json!({})).status == 200);
}

#[test]
fn a_revoked_key_is_disabled() {
    assert_eq!(survives("sk-401-1"), pair("disabled", "unauthorized"));
}

#[test]
fn a_key_without_quota_rests() {
    assert_eq!(survives("sk-quota-1").0, "cooling");
}

#[test]
fn a_key_refused_where_another_is_served_rests() {
    assert_eq!(survives("sk-403-1"), pair("cooling", "forbidden"));
}

#[test]
fn two_keys_refused_alike_blame_the_request() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-403-1", "sk-403-2", "sk-ok-1"]).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.attempts()), (403, 2), "{}", answer.text());
    assert!(answer.text().contains("Missing scopes"), "the provider's own words: {}", answer.text());
    assert_eq!(mock.asked("sk-ok-1"), 0, "no third key is tried");
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn one_key_refused_twice_is_not_two_keys() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-403-1"]).start();
    for asked in 1..=2 {
        let answer = keyweir.chat(&json!({}));
        assert_eq!((answer.status, answer.attempts()), (403, 1), "with nobody to compare, the provider's word stands");
        assert_eq!(mock.asked("sk-403-1"), asked, "the same key would answer the same");
    }
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn a_providers_failure_marks_no_key() {
    assert_eq!(survives("sk-500-1").0, "ready");
}

#[test]
fn broken_answers_are_tried_again_with_another_key() {
    for bad in ["sk-close-1", "sk-garbage-1", "sk-halfhead-1", "sk-101-1", "sk-hang-1", "sk-endless-1"] {
        survives(bad);
    }
}

#[test]
fn a_failing_answer_inside_200_is_tried_again() {
    let mock = MockProvider::start();
    for bad in ["sk-err200-1", "sk-empty-1"] {
        let keyweir = Config::pool_with(&mock, QUICK, &[bad, "sk-ok-1"]).start();
        let answer = keyweir.chat(&json!({"stream": true, "mock": {"events": 2}}));
        assert_eq!((answer.status, answer.attempts()), (200, 2), "{bad}");
        assert!(answer.is_complete && answer.text().ends_with("data: [DONE]\n\n"), "{bad}: {}", answer.text());
        assert_eq!(answer.text().matches("assistant").count(), 1, "nothing of the failed attempt: {}", answer.text());
    }
}

#[test]
fn certain_refusals_are_passed_over_up_to_key_attempts() {
    let mock = MockProvider::start();
    let bad: Vec<String> = (0..20).map(|i| format!("sk-{}-{i}", ["401", "429", "quota"][i % 3])).collect();
    let mut keys: Vec<&str> = bad.iter().map(String::as_str).collect();
    keys.push("sk-ok-1");
    let keyweir = Config::pool(&mock, &keys).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(keyweir.marked().len() as u32, answer.attempts() - 1);
}

#[test]
fn uncertain_failures_end_after_attempts() {
    let mock = MockProvider::start();
    let keys = ["sk-500-1", "sk-close-1", "sk-500-2", "sk-close-2", "sk-ok-1"];
    let keyweir = Config::pool_with(&mock, "retry: {attempts: 3}", &keys).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!(answer.status, 500, "the provider's own failure passes: {}", answer.text());
    assert!((2..=3).contains(&answer.attempts()), "{}", answer.attempts());
    assert!(answer.text().contains("The server had an error"), "{}", answer.text());
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn the_operator_may_blame_keys_for_5xx() {
    let mock = MockProvider::start();
    let blame = "blacklist: {on_5xx: key, threshold: 2, cooldown: 1m}";
    let keyweir = Config::pool_with(&mock, blame, &["sk-500-1", "sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    assert_eq!(keyweir.state("500-1").0, "ready", "one strike of two");
    for _ in 0..2 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert_eq!(keyweir.state("500-1"), pair("cooling", "failing"));
    assert_eq!(mock.asked("sk-500-1"), 2);
}

#[test]
fn an_outage_leaves_the_pool_as_it_was() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2", "sk-ok-3"]).start();
    mock.control("outage", &json!({"seconds": 60, "status": 503}));
    for _ in 0..5 {
        assert_eq!(keyweir.chat(&json!({})).status, 503);
    }
    mock.control("outage", &json!({"seconds": 60, "status": 0}));
    assert_eq!(keyweir.chat(&json!({})).code(), "upstream_unreachable");
    mock.control("reset", &json!({}));
    assert_eq!(keyweir.marked(), [""; 0]);
    assert_eq!(keyweir.chat(&json!({})).status, 200);
}

#[test]
fn a_silent_provider_is_a_timeout() {
    let mock = MockProvider::start();
    let keyweir =
        Config::pool_with(&mock, "timeouts: {first_byte: 200ms}", &["sk-hang-1", "sk-hang-2", "sk-hang-3"]).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
    assert_eq!(answer.attempts(), 2, "a third wait would cost more than it can gain");
}

#[test]
fn the_clients_own_errors_pass_and_touch_no_key() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2"]).start();
    for status in [400, 404, 413, 422] {
        let body = json!({"error": {"message": "it is you", "type": "invalid_request_error", "code": "yours"}});
        let before = mock.count("requests");
        let answer = keyweir.chat(&json!({"mock": {"status": status, "body": body}}));
        assert_eq!((answer.status, answer.attempts()), (status, 1));
        assert_eq!(answer.text(), body.to_string(), "unchanged");
        assert_eq!(mock.count("requests"), before + 1);
    }
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn keys_take_turns() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2", "sk-ok-3"]).start();
    let mut connection = keyweir.connect();
    for _ in 0..30 {
        connection.send(crate::harness::chat(&json!({})));
        assert_eq!(connection.response().status, 200);
    }
    assert_eq!(["sk-ok-1", "sk-ok-2", "sk-ok-3"].map(|key| mock.asked(key)), [10, 10, 10]);
}

#[test]
fn paid_keys_wait_until_the_free_ones_rest() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &[]).start();
    keyweir.write_keys(
        "p:\n- {key: sk-ok-paid, name: paid, priority: 1}\n- {key: sk-ok-free, name: free}\n- {key: sk-ok-off, name: off, disabled: true}\n",
    );
    keyweir.signal("HUP");
    crate::harness::eventually("the keys", || keyweir.chat(&json!({})).status == 200);
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    assert_eq!(mock.asked("sk-ok-paid"), 0);
    let limited = keyweir.chat(&json!({"mock": {"status": 429, "headers": {"retry-after": "30"}}}));
    assert_eq!(limited.status, 429);
    assert_eq!((mock.asked("sk-ok-paid"), mock.asked("sk-ok-off")), (1, 0));
}

//! When no key can serve: an honest answer, and when it is worth coming back.

use serde_json::json;

use crate::harness::{Config, MockProvider, chat};

#[test]
fn all_keys_resting_is_told_with_the_time_of_return() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-429-2"]).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.attempts()), (429, 2));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let retry_after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((5..=30).contains(&retry_after), "{retry_after}");
    assert_eq!(answer.header("x-should-retry"), None, "30 s are worth waiting for");
    let error = &answer.json()["error"];
    assert_eq!((error["type"].as_str(), error["code"].as_str()), (Some("keyweir_error"), Some("all_keys_cooling")));
    assert_eq!(
        (error["provider_status"].as_u64(), error["provider_code"].as_str()),
        (Some(429), Some("rate_limit_exceeded"))
    );
    assert!(error["param"].is_null() && error["retry_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(error["request_id"].as_str(), answer.header("x-request-id"));
}

#[test]
fn an_answer_before_any_attempt_keeps_the_connection() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 429);
    let mut connection = keyweir.connect();
    for _ in 0..3 {
        connection.send(chat(&json!({})));
        let answer = connection.response();
        assert_eq!((answer.status, answer.code().as_str()), (429, "all_keys_cooling"));
        assert_eq!(answer.header("keyweir-attempts"), None, "none was made");
    }
    assert_eq!(mock.asked("sk-429-1"), 1);
}

#[test]
fn a_long_wait_is_not_worth_an_automatic_retry() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, "blacklist: {cooldown: 5m}", &["sk-quota-1"]).start();
    for _ in 0..2 {
        let answer = keyweir.chat(&json!({}));
        assert_eq!((answer.status, answer.header("x-should-retry")), (429, Some("false")));
        let retry_after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((61..=300).contains(&retry_after), "{retry_after}");
    }
}

#[test]
fn without_a_usable_key_nobody_is_told_to_wait() {
    let mock = MockProvider::start();
    for keys in [&["sk-401-1", "sk-401-2"][..], &[]] {
        let keyweir = Config::pool(&mock, keys).start();
        for _ in 0..2 {
            let answer = keyweir.chat(&json!({}));
            assert_eq!((answer.status, answer.code().as_str()), (503, "no_usable_key"));
            assert_eq!((answer.header("x-should-retry"), answer.header("retry-after")), (Some("false"), None));
        }
    }
    assert_eq!((mock.asked("sk-401-1"), mock.asked("sk-401-2")), (1, 1));
}

#[test]
fn spent_attempts_are_told_while_ready_keys_remain() {
    let mock = MockProvider::start();
    let keys = ["sk-429-1", "sk-401-1", "sk-ok-1"];
    let keyweir = Config::pool_with(&mock, "retry: {attempts: 2, key_attempts: 2}", &keys).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.code().as_str(), answer.attempts()), (503, "attempts_spent", 2));
    assert_eq!(answer.json()["error"]["provider_status"], 401);
    assert_eq!(keyweir.chat(&json!({})).status, 200, "a second try finds the ready key");
}

#[test]
fn a_stream_request_is_refused_with_the_same_json() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1"]).start();
    let answer = keyweir.chat(&json!({"stream": true}));
    assert_eq!((answer.status, answer.code().as_str()), (429, "all_keys_cooling"));
}

#[test]
fn too_many_requests_at_once_are_told_to_come_back() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-hang-1"]).limits("in_flight: 2").start();
    let mut waiting = [keyweir.connect(), keyweir.connect()];
    for connection in &mut waiting {
        connection.send(chat(&json!({})));
    }
    crate::harness::eventually("two requests under way", || keyweir.in_flight() == 2);
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.code().as_str(), answer.header("retry-after")), (503, "overloaded", Some("1")));
    drop(waiting);
    crate::harness::eventually("their end", || keyweir.in_flight() == 0);
}

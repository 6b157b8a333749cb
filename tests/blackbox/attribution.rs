//! Whose fault a failure is: an outage, a bad prompt and a sick gateway cost no key; a bad key is found all the same.

use serde_json::{Value, json};

use crate::harness::{Config, Connection, MockProvider, chat, eventually, free_address};

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("sk-{prefix}-{i}")).collect()
}

fn refs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Asks again and again on one connection, which is opened anew where it was closed; gives the statuses.
fn ask(keyweir: &crate::harness::Keyweir, times: usize, members: &Value) -> Vec<u16> {
    let mut connection: Option<Connection> = None;
    (0..times)
        .map(|_| {
            let mut open = connection.take().unwrap_or_else(|| keyweir.connect());
            open.send(chat(members));
            let answer = open.response();
            if answer.header("connection") != Some("close") {
                connection = Some(open);
            }
            answer.status
        })
        .collect()
}

#[test]
fn every_key_is_ready_the_moment_an_outage_ends() {
    let mock = MockProvider::start();
    let keys = names("ok", 10);
    let keyweir = Config::pool(&mock, &refs(&keys)).start();
    assert_eq!(ask(&keyweir, 50, &json!({})), [200; 50]);
    for status in [503, 500, 529, 0] {
        mock.control("outage", &json!({"seconds": 60, "status": status}));
        let before = mock.count("requests");
        let answers = ask(&keyweir, 300, &json!({}));
        assert!(answers.iter().all(|status| *status >= 500), "{answers:?}");
        let attempts = mock.count("requests") - before;
        assert!(attempts <= 360, "{attempts} attempts for 300 requests");
        assert_eq!(keyweir.marked(), [""; 0], "during an outage with status {status}");
        mock.control("outage", &json!({"seconds": 0, "status": status}));
        assert_eq!(ask(&keyweir, 30, &json!({})), [200; 30]);
        assert_eq!(keyweir.marked(), [""; 0]);
    }
}

#[test]
fn a_provider_nobody_can_reach_marks_no_key() {
    let keyweir = Config::pool(free_address(), &refs(&names("ok", 5))).start();
    let nowhere = Config::pool("http://nowhere.invalid", &refs(&names("ok", 5))).start();
    for keyweir in [keyweir, nowhere] {
        assert_eq!(ask(&keyweir, 30, &json!({})), [502; 30]);
        assert_eq!(keyweir.marked(), [""; 0]);
    }
}

#[test]
fn a_bad_key_among_good_ones_is_found_and_no_client_notices() {
    let mock = MockProvider::start();
    let mut keys = names("ok", 20);
    keys.insert(7, "sk-500-bad".into());
    let keyweir = Config::pool(&mock, &refs(&keys)).start();
    assert_eq!(ask(&keyweir, 120, &json!({})), [200; 120]);
    assert_eq!(keyweir.marked(), ["500-bad"]);
    assert_eq!(keyweir.state("500-bad"), ("cooling".into(), "failing".into()));
    assert!((2..=5).contains(&mock.asked("sk-500-bad")), "{}", mock.asked("sk-500-bad"));
}

#[test]
fn a_key_that_an_outage_hid_is_found_after_it() {
    let mock = MockProvider::start();
    let mut keys = names("ok", 20);
    keys.insert(3, "sk-500-bad".into());
    let keyweir = Config::pool(&mock, &refs(&keys)).start();
    mock.control("outage", &json!({"seconds": 60, "status": 503}));
    assert!(ask(&keyweir, 200, &json!({})).iter().all(|status| *status == 503));
    mock.control("reset", &json!({}));
    ask(&keyweir, 200, &json!({}));
    assert_eq!(keyweir.marked(), ["500-bad"]);
}

#[test]
fn a_key_whose_streams_always_break_is_found() {
    let mock = MockProvider::start();
    mock.control("sse", &json!({"events": 4, "interval_ms": 0}));
    let keyweir = Config::pool(&mock, &["sk-cut-bad", "sk-ok-1", "sk-ok-2", "sk-ok-3"]).start();
    eventually("the mark", || {
        (0..4).for_each(|_| drop(keyweir.chat(&json!({"stream": true}))));
        keyweir.marked() == ["cut-bad"]
    });
}

#[test]
fn a_prompt_that_fails_a_thousand_times_marks_nothing() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &refs(&names("ok", 3))).start();
    for _ in 0..100 {
        let answers = ask(&keyweir, 10, &json!({"mock": {"status": 500}}));
        assert_eq!(answers, [500; 10]);
        assert_eq!(ask(&keyweir, 1, &json!({})), [200]);
    }
    assert_eq!(keyweir.marked(), [""; 0]);
    assert!(mock.count("requests") <= 1400, "{}", mock.count("requests"));
}

#[test]
fn two_bad_keys_of_three_are_found_one_by_one() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-500-1", "sk-500-2", "sk-ok-1"]).start();
    eventually("both marks", || {
        ask(&keyweir, 5, &json!({}));
        keyweir.marked() == ["500-1", "500-2"]
    });
    assert_eq!(ask(&keyweir, 10, &json!({})), [200; 10]);
}

#[test]
fn a_gateway_that_refuses_everybody_disables_nobody() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, "blacklist: {cooldown: 1s}", &refs(&names("ok", 6))).start();
    mock.control("outage", &json!({"seconds": 60, "status": 401}));
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.code().as_str()), (429, "all_keys_cooling"), "{}", answer.text());
    for name in ["ok-0", "ok-5"] {
        assert_eq!(keyweir.state(name), ("cooling".into(), "unauthorized".into()));
    }
    assert!(keyweir.log().contains("refuses most keys"), "{}", keyweir.log());
    mock.control("reset", &json!({}));
    eventually("every key's return", || {
        keyweir.chat(&json!({}));
        keyweir.marked().is_empty()
    });
}

#[test]
fn sixty_bad_keys_in_front_of_forty_good_ones_cost_a_wait() {
    let mock = MockProvider::start();
    let mut keys = names("429-x", 60);
    keys.extend(names("ok", 40));
    let keyweir = Config::pool(&mock, &refs(&keys)).start();
    assert_eq!(ask(&keyweir, 20, &json!({})), [200; 20]);
    let mut keys = names("401-x", 60);
    keys.extend(names("ok", 40));
    let keyweir = Config::pool(&mock, &refs(&keys)).start();
    assert_eq!(ask(&keyweir, 20, &json!({})), [200; 20]);
}

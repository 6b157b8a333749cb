//! New keys and settings without a lost request; bad files without an effect.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::{fs, thread};

use serde_json::json;

use crate::harness::{Config, Keyweir, MockProvider, chat, eventually};

const SUCCESSFUL: &str = "keyweir_config_last_reload_successful";

fn key_names(keyweir: &Keyweir) -> Vec<String> {
    let keys = keyweir.admin("GET", "/api/v1/pools/p/keys").json();
    keys["items"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn keys_come_and_go_under_load_without_a_failed_request() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2"]).start();
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for worker in 0..4 {
            let (keyweir, is_over, served) = (&keyweir, &is_over, &served);
            scope.spawn(move || {
                let mut connection = keyweir.connect();
                while !is_over.load(SeqCst) {
                    let is_stream = worker % 2 == 0;
                    connection.send(chat(&json!({"stream": is_stream, "mock": {"events": 5, "interval_ms": 2}})));
                    let answer = connection.response();
                    assert!(answer.status == 200 && answer.is_complete, "{}", answer.text());
                    served.fetch_add(1, SeqCst);
                }
            });
        }
        for round in 0..8 {
            let keys = [format!("sk-ok-{round}"), format!("sk-ok-{}", round + 1), format!("sk-ok-{}", round + 2)];
            keyweir.set_keys(&keys.each_ref().map(String::as_str));
            keyweir.signal("HUP");
            let expected = keys.map(|key| key.trim_start_matches("sk-").to_owned());
            eventually("the new keys", || key_names(&keyweir) == expected);
            let before = served.load(SeqCst);
            eventually("more requests", || served.load(SeqCst) > before + 4);
        }
        is_over.store(true, SeqCst);
    });
    assert!(mock.asked("sk-ok-9") > 0, "new keys are used");
    assert_eq!(keyweir.in_flight(), 0);
}

#[test]
fn a_key_that_stays_keeps_its_marks() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-401-1", "sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    keyweir.set_keys(&["sk-ok-9", "sk-429-1", "sk-401-1"]);
    keyweir.signal("HUP");
    eventually("the reload", || key_names(&keyweir).contains(&"ok-9".to_owned()));
    assert_eq!((keyweir.state("429-1").0, keyweir.state("401-1").0), ("cooling".into(), "disabled".into()));
    for _ in 0..4 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert_eq!((mock.asked("sk-429-1"), mock.asked("sk-401-1")), (1, 1));
}

#[test]
fn a_broken_keys_file_changes_nothing() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    assert_eq!(keyweir.metric(SUCCESSFUL), 1.0);
    keyweir.write_keys("p:\n- {key: sk-ok-2, nam: x}\n");
    keyweir.signal("HUP");
    eventually("the refusal", || keyweir.metric(SUCCESSFUL) == 0.0);
    eventually("the log line", || keyweir.log().contains("keys.yaml:2:"));
    assert_eq!(key_names(&keyweir), ["ok-1"]);
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    keyweir.set_keys(&["sk-ok-2"]);
    keyweir.signal("HUP");
    eventually("the repaired file", || keyweir.metric(SUCCESSFUL) == 1.0);
    assert_eq!(key_names(&keyweir), ["ok-2"]);
}

#[test]
fn a_broken_configuration_changes_nothing() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let good = fs::read_to_string(keyweir.file("keyweir.yaml")).unwrap();
    for broken in
        [good.replace("provider: generic", "provider: nobody"), good.replace("pools:", "pools: ["), String::new()]
    {
        fs::write(keyweir.file("keyweir.yaml"), broken).unwrap();
        let answer = keyweir.admin("POST", "/reload-keys");
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert_eq!((keyweir.metric(SUCCESSFUL), keyweir.chat(&json!({})).status), (0.0, 200));
    }
    fs::write(keyweir.file("keyweir.yaml"), good).unwrap();
    assert_eq!(keyweir.admin("POST", "/reload-keys").status, 200);
    assert_eq!(keyweir.metric(SUCCESSFUL), 1.0);
}

#[test]
fn a_reload_that_would_empty_a_pool_is_refused() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    for empty in ["", "p: []\n", "other: [sk-ok-2]\n"] {
        keyweir.write_keys(empty);
        assert_eq!(keyweir.admin("POST", "/reload-keys").status, 422, "{empty:?}");
        assert_eq!(keyweir.chat(&json!({})).status, 200, "{empty:?}");
    }
    fs::remove_file(keyweir.file("keys.yaml")).unwrap();
    assert_eq!(keyweir.admin("POST", "/reload-keys").status, 422, "a missing file");
    assert_eq!(keyweir.chat(&json!({})).status, 200);
}

#[test]
fn settings_take_effect_and_listeners_wait_for_a_restart() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, "paths: [/old]", &["sk-ok-1"]).start();
    let path = keyweir.file("keyweir.yaml");
    let changed = fs::read_to_string(&path).unwrap().replace("/old", "/new").replace("threads: 2", "threads: 3");
    fs::write(&path, changed).unwrap();
    let answer = keyweir.admin("POST", "/reload-keys");
    assert_eq!(answer.status, 200);
    assert!(answer.json()["summary"].as_str().unwrap().contains("server.threads"), "{}", answer.text());
    let models = |path: &str| keyweir.send(crate::harness::request("GET", path, &[], b"")).status;
    assert_eq!((models("/new/v1/models"), models("/old/v1/models")), (200, 404));
}

#[test]
fn a_missing_keys_file_at_start_is_an_empty_one() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).top("# no keys yet").start();
    drop(keyweir);
    let config = Config::pool(&mock, &[]);
    let keyweir = config.start();
    assert_eq!(keyweir.chat(&json!({})).code(), "no_usable_key");
    keyweir.set_keys(&["sk-ok-1"]);
    assert_eq!(keyweir.admin("POST", "/reload-keys").status, 200);
    assert_eq!(keyweir.chat(&json!({})).status, 200);
}

//! New keys and settings at a reload; bad files without an effect.

use std::fs;

use serde_json::json;

use crate::harness::{Config, MockProvider, eventually};

const SUCCESSFUL: &str = "keyweir_config_last_reload_successful";

#[test]
fn a_key_that_stays_keeps_its_marks() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-401-1", "sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    keyweir.set_keys(&["sk-ok-9", "sk-429-1", "sk-401-1"]);
    keyweir.signal("HUP");
    eventually("the reload", || keyweir.key_names().contains(&"ok-9".to_owned()));
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
    assert_eq!(keyweir.key_names(), ["ok-1"]);
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    keyweir.set_keys(&["sk-ok-2"]);
    keyweir.signal("HUP");
    eventually("the repaired file", || keyweir.metric(SUCCESSFUL) == 1.0);
    assert_eq!(keyweir.key_names(), ["ok-2"]);
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
fn the_api_says_what_a_reload_changed() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2"]).and_pool("q", &mock, "", &["sk-ok-1"]).start();
    let last = keyweir.admin("GET", "/api/v1/reload").json();
    assert_eq!((&last["trigger"], &last["ok"]), (&json!("start"), &json!(true)));

    keyweir.write_keys("p: [sk-ok-2, sk-ok-3, sk-ok-4]\nq: [sk-ok-1, sk-ok-1]\n");
    let report = keyweir.reload();
    let expected = json!([
        {"name": "p", "keys": 3, "added": 2, "removed": 1},
        {"name": "q", "keys": 1, "added": 0, "removed": 0},
    ]);
    assert_eq!((&report["pools"], &report["restart_required"]), (&expected, &json!([])));
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("keys.yaml:2:14: q: warning: 1 duplicate dropped"), "{report}");
    let last = keyweir.admin("GET", "/api/v1/reload").json();
    assert_eq!((&last["trigger"], &last["ok"], &last["pools"]), (&json!("api"), &json!(true), &expected));
}

#[test]
fn the_api_says_every_mistake_of_a_refused_reload() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    keyweir.write_keys("p:\n- {key: sk-canary-9, nam: x}\n- {key: sk-canary-8, weight: 0}\n");
    keyweir.rewrite("threads: 2", "threads: many");
    let refused = keyweir.admin("POST", "/api/v1/reload");
    assert_eq!((refused.status, refused.header("content-type")), (422, Some("application/problem+json")));
    let errors = refused.json()["errors"].clone();
    let place = |n: usize| errors[n].as_str().unwrap().split(": ").take(2).collect::<Vec<_>>().join(" ");
    let dir = keyweir.file("").display().to_string();
    let places: Vec<String> = (0..errors.as_array().unwrap().len()).map(|n| place(n).replace(&dir, "")).collect();
    assert_eq!(places, ["keyweir.yaml:5:12 server.threads", "keys.yaml:2:22 p[0].nam", "keys.yaml:3:30 p[1].weight"]);
    assert!(!refused.text().contains("canary"), "{}", refused.text());
    let last = keyweir.admin("GET", "/api/v1/reload").json();
    assert_eq!((&last["ok"], &last["errors"]), (&json!(false), &errors));
    assert_eq!(keyweir.key_names(), ["ok-1"]);
}

#[test]
fn a_pool_is_emptied_only_by_force() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    keyweir.write_keys("p: []\n");
    for path in ["/api/v1/reload", "/api/v1/reload?force=false", "/reload-keys"] {
        let refused = keyweir.admin("POST", path);
        assert!(refused.status == 422 && refused.text().contains("force=true"), "{path}: {}", refused.text());
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    let forced = keyweir.admin("POST", "/api/v1/reload?force=true");
    assert_eq!(forced.json()["pools"], json!([{"name": "p", "keys": 0, "added": 0, "removed": 1}]));
    assert_eq!(keyweir.chat(&json!({})).code(), "no_usable_key");
}

#[test]
fn a_setting_that_waits_for_a_restart_is_named_until_then() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let other = crate::harness::free_address().to_string();
    for (from, to, setting) in [
        (keyweir.proxy.to_string(), other.clone(), "server.proxy.listen"),
        (keyweir.admin.to_string(), other.clone(), "server.admin.listen"),
        (keyweir.metrics.to_string(), other, "server.metrics.listen"),
        ("threads: 2".into(), "threads: 3".into(), "server.threads"),
    ] {
        keyweir.rewrite(&from, &to);
        for _ in 0..2 {
            assert_eq!(keyweir.reload()["restart_required"], json!([setting]));
        }
        eventually("the log line", || keyweir.log().contains(&format!("restart required for {setting}")));
        keyweir.rewrite(&to, &from);
        assert_eq!(keyweir.reload()["restart_required"], json!([]));
    }
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

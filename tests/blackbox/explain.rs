//! Why there is a key, or none: `GET /api/v1/explain` and `keyweir explain`.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Config, Keyweir, MockProvider};

fn explain(keyweir: &Keyweir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyweir"))
        .args(["explain", "--server", &format!("http://{}", keyweir.admin)])
        .args(args)
        .env("KEYWEIR_ADMIN_TOKEN", ADMIN_TOKEN)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn each_keys_blocker_is_named() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-401-1", "sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    let answer = keyweir.admin("GET", "/api/v1/explain?pool=p&model=gpt-4o").json();
    assert_eq!(answer["keys"], json!({"ready": 1, "cooling": 1, "disabled": 1}));
    let why: Vec<_> = answer["items"].as_array().unwrap().iter().map(|key| (&key["state"], &key["reason"])).collect();
    assert_eq!(why[0], (&json!("cooling"), &json!("rate_limited")));
    assert_eq!(why[1], (&json!("disabled"), &json!("unauthorized")));
    assert_eq!(why[2], (&json!("ready"), &Value::Null));

    let table = explain(&keyweir, &["--pool", "p", "--model", "gpt-4o"]);
    assert_eq!(table.status.code(), Some(0), "{}", text(&table.stderr));
    let table = text(&table.stdout);
    assert!(table.starts_with("pool p, model gpt-4o: 1 ready, 1 cooling, 1 disabled\n"), "{table}");
    assert!(table.contains("401-1  disabled  key         unauthorized  -         "), "{table}");
    let json = explain(&keyweir, &["--format", "json"]);
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout).unwrap()["items"].as_array().unwrap().len(), 3);
}

#[test]
fn the_exit_status_tells_whether_there_is_a_key() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-401-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 503);
    assert_eq!(explain(&keyweir, &[]).status.code(), Some(1));
    let unknown = explain(&keyweir, &["--pool", "none"]);
    assert_eq!((unknown.status.code(), text(&unknown.stdout).as_str()), (Some(1), ""));
    assert_eq!(text(&unknown.stderr), "keyweir: there is no pool \"none\"\n");
    assert_eq!(explain(&keyweir, &["--format", "xml"]).status.code(), Some(2));
}

#[test]
fn a_list_of_thousands_is_whole() {
    let mock = MockProvider::start();
    let names: Vec<String> = (0..2500).map(|i| format!("sk-ok-{i}")).collect();
    let keyweir = Config::pool(&mock, &names.iter().map(String::as_str).collect::<Vec<_>>()).start();
    assert_eq!(text(&explain(&keyweir, &[]).stdout).lines().count(), 2 + 2500);
}

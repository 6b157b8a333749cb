//! The last failures of a pool, and rules tried on them.

use serde_json::{Value, json};

use crate::harness::{Config, Keyweir, MockProvider, Peer, Scripted, eventually};

fn failures(keyweir: &Keyweir, query: &str) -> Value {
    keyweir.admin("GET", &format!("/api/v1/pools/p/failures{query}")).json()
}

fn said(status: u16, message: &str) -> Value {
    json!({"mock": {"status": status, "body": {"error": {"message": message, "code": "x"}}}})
}

#[test]
fn failures_are_remembered_newest_first_page_by_page() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    assert_eq!(failures(&keyweir, "")["items"], json!([]));
    for number in 0..5 {
        keyweir.chat(&said(400, &format!("bad number {number}")));
    }
    let all = failures(&keyweir, "");
    let messages: Vec<_> = all["items"].as_array().unwrap().iter().map(|failure| &failure["message"]).collect();
    assert_eq!(json!(messages), json!((0..5).rev().map(|n| format!("bad number {n}")).collect::<Vec<_>>()));
    let newest = &all["items"][0];
    assert_eq!((&newest["status"], &newest["code"], &newest["key"]), (&json!(400), &json!("x"), &json!("ok-1")));
    assert_eq!((&newest["rule"], &newest["verdict"]["key"]), (&json!("generic-caller"), &json!("keep")));
    assert_eq!((&newest["target"], &newest["model"]), (&json!(mock.to_string()), &json!("gpt-4o")));
    assert!(newest["time"].as_str().unwrap().ends_with('Z') && !newest["request_id"].as_str().unwrap().is_empty());
    assert!(newest["body"].as_str().unwrap().contains("bad number 4"));

    let first = failures(&keyweir, "?limit=2");
    keyweir.chat(&said(400, "one more"));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = failures(&keyweir, &format!("?limit=2&cursor={cursor}"));
    assert_eq!(second["items"][0]["message"], "bad number 2", "what came meanwhile shifts nothing");
    assert_eq!(keyweir.admin("GET", "/api/v1/pools/none/failures").status, 404);
}

#[test]
fn nothing_secret_is_remembered() {
    const BODY: &str = r#"{"error":{"message":"Incorrect API key provided: secret-CANARY. org-CANARY, user a@CANARY.com","organization":"CANARY","user_id":"CANARY"}}"#;
    let provider = Scripted::start(|mut peer: Peer| {
        while peer.request().is_some() {
            let head =
                "OpenAI-Organization: CANARY\r\nSet-Cookie: a=CANARY\r\nX-Told: secret-CANARY\r\nX-Kept: kept\r\n";
            peer.send(format!("HTTP/1.1 401 X\r\n{head}Content-Length: {}\r\n\r\n{BODY}", BODY.len()));
        }
    });
    let keyweir = Config::pool(&provider, &[]).keys("{key: secret-CANARY, name: one}").start();
    keyweir.chat(&json!({}));
    let remembered = failures(&keyweir, "");
    let text = remembered.to_string();
    assert!(!text.contains("CANARY"), "{text}");
    assert_eq!(remembered["items"][0]["headers"]["x-kept"], "kept");
    assert!(remembered["items"][0]["message"].as_str().unwrap().starts_with("Incorrect API key provided: [redacted]"));
}

#[test]
fn a_rule_is_tried_on_what_came() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2"]).start();
    keyweir.chat(&said(400, "out of tea"));
    keyweir.chat(&said(400, "out of coffee"));
    let rule = json!({"id": "tea", "status": [400], "when": [{"message": "^out of tea"}], "key": "cooldown",
                      "rest": "2h", "retry": "other_key"});
    let answer =
        keyweir.admin_json("POST", "/api/v1/verdict", &json!({"pool": "p", "replay": true, "rule": rule})).json();
    assert_eq!((&answer["replayed"], &answer["changed"]), (&json!(2), &json!(1)), "{answer}");
    let tea = &answer["items"][1];
    assert_eq!((&tea["was"]["rule"], &tea["was"]["key"]), (&json!("generic-caller"), &json!("keep")));
    assert_eq!((&tea["becomes"]["rule"], &tea["becomes"]["until"]), (&json!("tea"), &json!(7200)));
    assert_eq!((&answer["items"][0]["changed"], &tea["changed"]), (&json!(false), &json!(true)));

    let unchanged = keyweir.admin_json("POST", "/api/v1/verdict", &json!({"replay": true, "rules": []})).json();
    assert_eq!((&unchanged["replayed"], &unchanged["changed"]), (&json!(2), &json!(0)));
    let given = json!({"status": 400, "body": "out of tea", "rules": [rule]});
    assert_eq!(keyweir.admin_json("POST", "/api/v1/verdict", &given).json()["rule"], "tea", "also on an answer given");
    assert_eq!(keyweir.marked(), [""; 0], "nothing was touched");
}

#[test]
fn a_broken_rule_is_refused_with_its_place() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let broken = json!({"id": "b", "when": [{"message": "("}], "key": "keep", "retry": "none"});
    let answer = keyweir.admin_json("POST", "/api/v1/verdict", &json!({"replay": true, "rules": [broken]}));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(answer.status, 400);
    assert!(detail.starts_with("rules[0].when.0.message: not a regular expression"), "{detail}");
    let unknown = json!({"replay": true, "rule": {"id": "b", "key": "explode", "retry": "none"}});
    assert_eq!(keyweir.admin_json("POST", "/api/v1/verdict", &unknown).status, 400);
    assert_eq!(keyweir.admin_json("POST", "/api/v1/verdict", &json!({})).status, 400, "nothing to judge");
}

#[test]
fn a_flood_costs_bounded_memory_and_outlives_a_reload() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    for _ in 0..200 {
        keyweir.chat(&said(400, &"long ".repeat(3000)));
    }
    let flood = failures(&keyweir, "?limit=1000");
    let kept = flood["items"].as_array().unwrap().len();
    assert!((1..=100).contains(&kept) && flood["items"][0]["body"].as_str().unwrap().len() <= 8 * 1024, "{kept}");
    keyweir.reload();
    eventually("the reload", || failures(&keyweir, "")["total"].as_u64() == Some(kept as u64));
}

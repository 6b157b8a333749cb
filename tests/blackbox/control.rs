//! What operators do to keys while the server runs, through the admin API.

use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Config, Connection, Keyweir, MockProvider, Response};

fn post(keyweir: &Keyweir, path: &str, body: &Value) -> Response {
    let body = body.to_string();
    let mut connection = Connection::open(keyweir.admin);
    connection.send(format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    connection.response()
}

fn id(keyweir: &Keyweir, name: &str) -> String {
    keyweir.key(name)["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_disabled_key_is_not_used_until_it_is_enabled() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2"]).start();
    let path = format!("/api/v1/keys/{}", id(&keyweir, "ok-1"));
    let disabled = keyweir.admin("POST", &format!("{path}/disable"));
    assert_eq!(disabled.status, 200, "{}", disabled.text());
    assert_eq!(keyweir.state("ok-1"), ("disabled".into(), "operator".into()));
    for _ in 0..4 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert_eq!(mock.asked("sk-ok-1"), 0);
    assert_eq!(keyweir.admin("POST", &format!("{path}/reset")).json()["state"], "disabled", "rules' marks only");
    keyweir.signal("HUP");
    crate::harness::eventually("the reload", || keyweir.log().contains("Reloaded"));
    assert_eq!(keyweir.admin("GET", &path).json()["state"], "disabled", "also after a reload");
    assert_eq!(keyweir.admin("POST", &format!("{path}/enable")).json()["state"], "ready");
    assert_eq!(keyweir.admin("GET", &path).json()["pool"], "p");
}

#[test]
fn what_rules_did_can_be_undone() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-401-1", "sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    assert_eq!(keyweir.marked(), ["429-1", "401-1"]);
    let path = format!("/api/v1/keys/{}/reset", id(&keyweir, "429-1"));
    assert_eq!(keyweir.admin("POST", &path).json()["state"], "ready");
    let answer = keyweir.admin("GET", "/reset-keys").json();
    assert_eq!((&answer["success"], &answer["changed"]), (&json!(true), &json!(1)));
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn many_keys_are_changed_by_id_or_filter() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-429-2", "sk-401-1", "sk-ok-1", "sk-ok-2"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    let bulk = |body: &Value| post(&keyweir, "/api/v1/pools/p/keys/bulk", body);
    let reset = bulk(&json!({"action": "reset", "filter": {"reason": "rate_limited"}})).json();
    assert_eq!((&reset["matched"], &reset["changed"]), (&json!(2), &json!(2)));
    assert_eq!(keyweir.marked(), ["401-1"]);
    let ids = [id(&keyweir, "ok-1"), id(&keyweir, "ok-2"), "0".repeat(32)];
    assert_eq!(bulk(&json!({"action": "disable", "ids": ids})).json()["matched"], 2, "an unknown id is passed over");
    bulk(&json!({"action": "reset", "filter": {}}));
    assert_eq!(keyweir.marked(), ["ok-1", "ok-2"], "operators' decisions are spared");
    bulk(&json!({"action": "enable", "filter": {"q": "ok-"}}));
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn nonsense_is_refused_and_changes_nothing() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let refused = |method: &str, path: &str| keyweir.admin(method, path).status;
    assert_eq!(refused("POST", "/api/v1/keys/zz/disable"), 404);
    assert_eq!(refused("POST", &format!("/api/v1/keys/{}/disable", "0".repeat(32))), 404);
    assert_eq!(refused("POST", &format!("/api/v1/keys/{}/explode", id(&keyweir, "ok-1"))), 400);
    assert_eq!(refused("GET", &format!("/api/v1/keys/{}/disable", id(&keyweir, "ok-1"))), 405);
    for body in [
        json!({"action": "disable"}),
        json!({"action": "disable", "ids": [], "filter": {}}),
        json!({"action": "explode", "filter": {}}),
        json!({"action": "disable", "filter": {"stat": "ready"}}),
        json!({"action": "disable", "filter": {"state": "asleep"}}),
        json!([]),
        json!(["disable", null, {}]),
        json!({"action": "disable", "filter": [null, null, null]}),
    ] {
        let answer = post(&keyweir, "/api/v1/pools/p/keys/bulk", &body);
        assert!((400..500).contains(&answer.status), "{body}: {}", answer.status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(post(&keyweir, "/api/v1/pools/none/keys/bulk", &json!({"action": "reset", "filter": {}})).status, 404);
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn the_keys_file_has_the_last_word() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &[]).start();
    keyweir.write_keys("p:\n- {key: sk-ok-1, name: a, disabled: true}\n- sk-ok-2\n");
    keyweir.signal("HUP");
    crate::harness::eventually("the keys", || keyweir.chat(&json!({})).status == 200);
    let answer = keyweir.admin("POST", &format!("/api/v1/keys/{}/enable", id(&keyweir, "a")));
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("provisioned")));
    assert_eq!(keyweir.state("a"), ("disabled".into(), "operator".into()));
}

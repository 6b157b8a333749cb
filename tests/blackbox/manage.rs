//! Pools, keys, settings and tokens that come and go through the API, and what is left of them after a restart.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    ADMIN_TOKEN, Config, Connection, Keyweir, MockProvider, PROGRESS, Response, TOKEN, chat, eventually,
};

fn send(keyweir: &Keyweir, method: &str, path: &str, body: &Value) -> Response {
    send_with(keyweir, method, path, &[], body.to_string().as_bytes())
}

fn send_with(keyweir: &Keyweir, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Response {
    keyweir.begin_admin(method, path, headers, body).response()
}

fn expect(answer: &Response, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    if answer.text().is_empty() { Value::Null } else { answer.json() }
}

/// A mark is promised to be kept by then.
fn within_a_second() {
    let begun = Instant::now();
    eventually("a second", || begun.elapsed() > Duration::from_secs(1));
}

fn code(answer: &Response) -> String {
    answer.json()["code"].as_str().unwrap_or_default().to_owned()
}

fn id_of(keyweir: &Keyweir, name: &str) -> String {
    keyweir.key(name)["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_empty_server_is_filled_through_the_api_and_stays_so() {
    let mock = MockProvider::start();
    let mut keyweir = Config::default().start();
    assert_eq!(keyweir.chat(&json!({})).status, 404, "no pool yet");
    let pool = json!({"name": "p", "targets": [{"url": format!("http://{mock}/v1")}], "retry": {"attempts": 2}});
    let shown = expect(&send(&keyweir, "POST", "/api/v1/pools", &pool), 201);
    assert_eq!((&shown["name"], &shown["provisioned"], &shown["default"]), (&json!("p"), &json!(false), &json!(true)));
    assert_eq!(code(&send(&keyweir, "POST", "/api/v1/pools", &pool)), "conflict");
    let added = expect(
        &send(
            &keyweir,
            "POST",
            "/api/v1/pools/p/keys",
            &json!({"keys": ["sk-ok-1", {"key": "sk-ok-2", "name": "second", "account": "a", "note": "mine"}, "sk-ok-1"]}),
        ),
        201,
    );
    assert_eq!((&added["added"], &added["duplicates"]), (&json!(2), &json!(1)));
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    let second = keyweir.key("second");
    assert_eq!(
        (&second["account"], &second["note"], &second["provisioned"]),
        (&json!("a"), &json!("mine"), &json!(false))
    );

    keyweir.restart();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    assert_eq!(keyweir.key("second")["note"], "mine");
    let export = send(&keyweir, "GET", "/api/v1/pools/p/keys/export?format=text", &Value::Null);
    assert_eq!(export.text(), "sk-ok-1\nsk-ok-2\n");
    let some = |what: &Value| send(&keyweir, "POST", "/api/v1/pools/p/keys/export?format=text", what);
    assert_eq!(some(&json!({"ids": [second["id"]]})).text(), "sk-ok-2\n");
    assert_eq!(some(&json!({"filter": {"q": "sec"}})).text(), "sk-ok-2\n");
    assert_eq!(some(&json!({"filter": {}, "ids": []})).status, 400);
    let all = send_with(&keyweir, "POST", "/api/v1/pools/p/keys/export?format=text", &[], b"");
    assert_eq!(all.text(), "sk-ok-1\nsk-ok-2\n");
    let whole =
        json!({"key": "sk-ok-3", "models": ["q*"], "headers": {"x-a": "b"}, "egress": "http://u:p%40@127.0.0.1:9"});
    expect(&send(&keyweir, "POST", "/api/v1/pools/p/keys", &whole), 201);
    let export = send(&keyweir, "GET", "/api/v1/pools/p/keys/export?format=json", &Value::Null).json();
    for (field, value) in whole.as_object().unwrap() {
        assert_eq!(&export[2][field], value, "nothing is lost");
    }
    expect(&send(&keyweir, "DELETE", "/api/v1/pools/p", &Value::Null), 204);
    assert_eq!(keyweir.chat(&json!({})).status, 404);
}

#[test]
fn keys_are_removed_and_brought_back_with_their_marks() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    expect(&send(&keyweir, "POST", "/api/v1/pools/p/keys", &json!({"key": "sk-429-1", "name": "limited"})), 201);
    eventually("the limit", || {
        keyweir.chat(&json!({}));
        keyweir.state("limited").0 == "cooling"
    });
    let id = id_of(&keyweir, "limited");
    within_a_second();
    expect(&send(&keyweir, "DELETE", &format!("/api/v1/keys/{id}"), &Value::Null), 204);
    assert_eq!(keyweir.admin("GET", &format!("/api/v1/keys/{id}")).status, 404);
    keyweir.restart();
    expect(&send(&keyweir, "POST", &format!("/api/v1/keys/{id}/restore"), &json!({})), 200);
    assert_eq!(keyweir.state("limited"), ("cooling".into(), "rate_limited".into()));
    let answer = send(&keyweir, "POST", &format!("/api/v1/keys/{id}/restore"), &json!({}));
    assert_eq!(answer.status, 404, "it is back already");

    let from_file = id_of(&keyweir, "ok-1");
    for (method, body) in [("DELETE", Value::Null), ("PATCH", json!({"name": "other"}))] {
        let answer = send(&keyweir, method, &format!("/api/v1/keys/{from_file}"), &body);
        assert_eq!((answer.status, code(&answer).as_str()), (409, "provisioned"), "{method}");
    }
}

#[test]
fn what_an_operator_disabled_stays_disabled() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2"]).start();
    let id = id_of(&keyweir, "ok-1");
    expect(&send(&keyweir, "POST", &format!("/api/v1/keys/{id}/disable"), &json!({})), 200);
    keyweir.signal("KILL");
    keyweir.wait();
    keyweir.restart();
    assert_eq!(keyweir.state("ok-1"), ("disabled".into(), "operator".into()));
    let bulk = json!({"action": "reset", "filter": {}});
    expect(&send(&keyweir, "POST", "/api/v1/pools/p/keys/bulk", &bulk), 200);
    keyweir.restart();
    assert_eq!(keyweir.state("ok-1"), ("disabled".into(), "operator".into()), "reset spares what operators disabled");
    expect(&send(&keyweir, "POST", &format!("/api/v1/keys/{id}/enable"), &json!({})), 200);
    keyweir.restart();
    assert_eq!(keyweir.state("ok-1").0, "ready");
}

#[test]
fn a_key_tells_what_it_was_used_for_today() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2"]).start();
    let today = |keyweir: &Keyweir, name: &str| keyweir.key(name)["today"].clone();
    let requests = |keyweir: &Keyweir| ["ok-1", "ok-2"].map(|name| today(keyweir, name)["requests"].as_u64());
    eventually("nothing was asked yet", || requests(&keyweir) == [Some(0), Some(0)]);
    (0..4).for_each(|_| assert_eq!(keyweir.chat(&json!({})).status, 200));
    // Unless midnight is just now.
    eventually("both were asked twice", || requests(&keyweir) == [Some(2), Some(2)]);
    assert!(today(&keyweir, "ok-1")["tokens_out"].as_u64().unwrap() > 0);
    let one = keyweir.admin("GET", &format!("/api/v1/keys/{}", id_of(&keyweir, "ok-1"))).json();
    assert_eq!(one["today"], today(&keyweir, "ok-1"));
    keyweir.restart();
    assert_eq!(requests(&keyweir), [Some(2), Some(2)], "a restart begins no new day");
}

#[test]
fn rests_survive_a_kill() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-429-1", "sk-401-1", "sk-ok-1"]).start();
    eventually("both are marked", || {
        keyweir.chat(&json!({}));
        keyweir.marked().len() == 2
    });
    within_a_second();
    keyweir.signal("KILL");
    keyweir.wait();
    keyweir.restart();
    assert_eq!(keyweir.state("429-1"), ("cooling".into(), "rate_limited".into()));
    assert_eq!(keyweir.state("401-1"), ("disabled".into(), "unauthorized".into()));
    let left = keyweir.key("429-1")["back_in"].as_f64().unwrap();
    assert!(left > 0.0 && left <= 30.0, "{left}");
}

#[test]
fn settings_have_an_origin_and_take_effect_at_once() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool_with(&mock, "retry: {attempts: 2}", &["sk-ok-1"]).start();
    let field = |keyweir: &Keyweir, path: &str| {
        keyweir.admin("GET", "/api/v1/pools/p/settings").json()["settings"][path].clone()
    };
    assert_eq!(field(&keyweir, "retry.attempts"), json!({"value": 2, "origin": "file"}));
    assert_eq!(field(&keyweir, "enabled"), json!({"value": true, "origin": "default"}));
    let put = |keyweir: &Keyweir, body: &Value| send(keyweir, "PUT", "/api/v1/pools/p/settings", body);
    let answer = expect(&put(&keyweir, &json!({"enabled": false, "retry": {"attempts": 5}})), 200);
    assert_eq!(answer["settings"]["retry.attempts"], json!({"value": 5, "origin": "console"}));
    assert_ne!(keyweir.chat(&json!({})).status, 200, "the pool is off");
    keyweir.restart();
    assert_eq!(field(&keyweir, "retry.attempts")["value"], 5);
    expect(&put(&keyweir, &json!({"enabled": null, "retry.attempts": null})), 200);
    assert_eq!(field(&keyweir, "retry.attempts"), json!({"value": 2, "origin": "file"}));
    assert_eq!(keyweir.chat(&json!({})).status, 200);

    for (body, path) in [
        (json!({"retry": {"attempts": -1}}), "pools.p.retry.attempts"),
        (json!({"retry": {"attemptz": 1}}), "pools.p.retry.attemptz"),
        (json!({"headers": {"x-a": {"file": "/etc/passwd"}}}), "pools.p.headers"),
        (json!({"egress": ["http://[redacted]@127.0.0.1:9"]}), "egress: [redacted]"),
    ] {
        let answer = put(&keyweir, &body);
        assert_eq!((answer.status, code(&answer).as_str()), (422, "invalid"), "{body}");
        assert!(answer.json()["errors"][0].as_str().unwrap().starts_with(path), "{}", answer.text());
    }
    let answer = send(&keyweir, "PUT", "/api/v1/settings", &json!({"server": {"threads": 3}}));
    assert_eq!(answer.status, 422, "{}", answer.text());
    expect(&send(&keyweir, "PUT", "/api/v1/settings", &json!({"log.format": "text"})), 200);
    keyweir.reload();
    eventually("lines for people", || keyweir.log().contains(" INFO  keyweir::manage"));
}

#[test]
fn the_second_of_two_editors_is_told() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let read = keyweir.admin("GET", "/api/v1/pools/p/settings");
    let tag = format!("If-Match: {}", read.header("etag").unwrap());
    let put = || send_with(&keyweir, "PUT", "/api/v1/pools/p/settings", &[&tag], b"{\"retry.attempts\": 4}");
    assert_eq!((put().status, put().status), (200, 412));

    let key = json!({"keys": [{"key": "sk-ok-2", "name": "second"}]});
    expect(&send(&keyweir, "POST", "/api/v1/pools/p/keys", &key), 201);
    let second = keyweir.key("second");
    let path = format!("/api/v1/keys/{}", second["id"].as_str().unwrap());
    let seen = format!("If-Match: \"{}\"", second["version"]);
    let write = |note: &str| send_with(&keyweir, "PATCH", &path, &[&seen], note.as_bytes());
    let (first, late) = (write(r#"{"note": "mine"}"#), write(r#"{"note": "yours"}"#));
    assert_eq!((first.status, late.status, code(&late).as_str()), (200, 412, "stale"));
    assert_eq!(keyweir.key("second")["note"], "mine");
    assert_eq!(keyweir.key("ok-1")["version"], Value::Null, "files say what it is");

    let made = expect(&send(&keyweir, "POST", "/api/v1/tokens", &json!({"name": "ci"})), 201);
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    let seen = format!("If-Match: \"{}\"", made["version"]);
    let write = |limit: &str| send_with(&keyweir, "PATCH", &path, &[&seen], limit.as_bytes());
    assert_eq!((write(r#"{"rpm": 5}"#).status, write(r#"{"rpm": 6}"#).status), (200, 412));
    assert_eq!(send(&keyweir, "PATCH", &path, &json!({"rpm": 7})).status, 200, "whoever does not ask is not told");
}

#[test]
fn what_is_done_to_many_keys_is_told_lot_by_lot_and_ends_when_the_asker_leaves() {
    const KEYS: usize = 45_000;
    let keyweir = Config::pool(MockProvider::start(), &[]).start();
    let keys: String = (0..KEYS).map(|number| format!("sk-ok-{number:06}\n")).collect();
    expect(&send_with(&keyweir, "POST", "/api/v1/pools/p/keys/import", &[], keys.as_bytes()), 200);
    let disabled = || keyweir.admin("GET", "/api/v1/pools/p/keys?limit=1&state=disabled").json()["total"].as_u64();

    let begin = |action: &str| keyweir.begin_bulk(&[PROGRESS], &json!({"action": action, "filter": {}}));
    let answer = begin("disable").response();
    let text = answer.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (report, told) = lines.split_last().unwrap();
    assert_eq!(told.last(), Some(&json!({"done": KEYS, "total": KEYS, "changed": KEYS})));
    assert!(told.len() > 1, "{text}");
    assert_eq!(report, &json!({"matched": KEYS, "changed": KEYS, "failed": []}));
    assert_eq!(disabled(), Some(KEYS as u64));

    let mut leaving = begin("enable");
    leaving.until_head_and("\"done\"");
    drop(leaving);
    let mut left = disabled();
    eventually("it to end", || std::mem::replace(&mut left, disabled()) == left);
    assert!(left > Some(0), "it went on without anybody");
}

#[test]
fn tokens_are_made_changed_and_revoked() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let made = expect(&send(&keyweir, "POST", "/api/v1/tokens", &json!({"name": "ci", "rpm": 1})), 201);
    let (id, text) = (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned());
    let ask = |keyweir: &Keyweir| {
        let mut connection = keyweir.connect();
        let bytes = String::from_utf8(chat(&json!({}))).unwrap();
        connection.send(bytes.replace(TOKEN, &text));
        connection.response().status
    };
    assert_eq!((ask(&keyweir), ask(&keyweir)), (200, 429));
    keyweir.restart();
    assert_eq!(ask(&keyweir), 200);
    let path = format!("/api/v1/tokens/{id}");
    let shown = expect(&send(&keyweir, "PATCH", &path, &json!({"rpm": null, "models": ["gpt-*"]})), 200);
    assert_eq!((&shown["rpm"], &shown["models"]), (&Value::Null, &json!(["gpt-*"])));
    assert!(!keyweir.admin("GET", "/api/v1/tokens").text().contains(&text));
    let refused = send(&keyweir, "POST", "/api/v1/tokens", &json!({"name": "ci"}));
    assert_eq!((refused.status, code(&refused).as_str()), (409, "conflict"));
    let refused = send(&keyweir, "POST", "/api/v1/tokens", &json!({"name": "x", "pools": ["nowhere"]}));
    assert_eq!(refused.status, 422, "{}", refused.text());
    expect(&send(&keyweir, "DELETE", &path, &Value::Null), 204);
    assert_eq!(ask(&keyweir), 401);
    assert_eq!(code(&send(&keyweir, "DELETE", "/api/v1/tokens/test", &Value::Null)), "provisioned");
}

/// Runs a command of the program against the server; its exit code and what it printed.
fn cli(keyweir: &Keyweir, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let server = format!("http://{}", keyweir.admin);
    let mut child = Command::new(env!("CARGO_BIN_EXE_keyweir"))
        .args(args)
        .env("KEYWEIR_ADMIN_TOKEN", ADMIN_TOKEN)
        .env("KEYWEIR_SERVER", server)
        .current_dir(keyweir.file("."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn keys_are_managed_from_the_command_line() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let run = |args: &[&str], input: &str| {
        let (code, out, err) = cli(&keyweir, args, input);
        assert_eq!(code, Some(0), "{args:?}: {out}{err}");
        out
    };
    assert_eq!(run(&["keys", "add"], "sk-ok-2\nsk-ok-1\n"), "1 added, 1 there already, 0 not read\n");
    keyweir.replace("more.txt", "sk-ok-3 sk-ok-4");
    assert_eq!(run(&["keys", "import", "more.txt", "--pool", "p"], ""), "2 added, 0 there already, 0 not read\n");
    assert_eq!(run(&["keys", "export", "--format", "text"], ""), "sk-ok-1\nsk-ok-2\nsk-ok-3\nsk-ok-4\n");
    run(&["keys", "disable", "ok-1"], "");
    assert_eq!(keyweir.state("ok-1"), ("disabled".into(), "operator".into()));
    assert!(run(&["keys", "list", "--state", "disabled"], "").contains("ok-1"));
    run(&["keys", "enable", "--all"], "");
    assert_eq!(keyweir.marked(), [] as [&str; 0]);
    let list: Value = serde_json::from_str(&run(&["keys", "list", "--format", "json"], "")).unwrap();
    let added = list["items"].as_array().unwrap().iter().find(|key| key["provisioned"] == false).unwrap();
    let id = added["id"].as_str().unwrap();
    run(&["keys", "remove", id], "");
    run(&["keys", "restore", id], "");
    assert_eq!(keyweir.key_names().len(), 4);
    run(&["keys", "rotate-master"], "");
    assert!(run(&["keys", "export"], "").starts_with("p:\n"));

    let (code, _, err) = cli(&keyweir, &["keys", "disable", "nobody"], "");
    assert!(code != Some(0) && err.contains("nobody"), "{err}");
}

#[test]
fn tokens_are_managed_from_the_command_line() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let (_, text, _) = cli(&keyweir, &["token", "create", "ci", "--rpm", "60"], "");
    assert!(text.starts_with("kw-"), "{text}");
    assert!(cli(&keyweir, &["token", "list"], "").1.contains("ci"));
    assert_eq!(cli(&keyweir, &["token", "revoke", "ci"], "").0, Some(0));
    assert!(!cli(&keyweir, &["token", "list"], "").1.contains("ci"));

    let (code, _, err) = cli(&keyweir, &["token", "reset-admin"], "");
    assert!(code != Some(0) && err.contains("server.admin.token"), "{err}");
    keyweir.rewrite(&format!("token: {ADMIN_TOKEN}"), "token: null");
    let (code, token, err) = cli(&keyweir, &["token", "reset-admin"], "");
    assert_eq!(code, Some(0), "{err}");
    keyweir.signal("HUP");
    let is_open = || {
        let mut connection = Connection::open(keyweir.admin);
        let token = token.trim();
        connection
            .send(format!("GET /api/v1/pools HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"));
        connection.response().status == 200
    };
    eventually("the new token", is_open);
    keyweir.signal("TERM");
    keyweir.wait();
}

//! The request log: what is kept of each request, who finds it how, and that keeping it never holds up a request.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Config, Connection, Keyweir, MockProvider, TOKEN, chat, eventually, post, request};

const ALL: &str = "store: {request_log: all}";

/// The rows that fit, newest first.
fn rows(keyweir: &Keyweir, query: &str) -> Vec<Value> {
    let answer = keyweir.admin("GET", &format!("/api/v1/logs?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["items"].as_array().unwrap().clone()
}

/// Their request ids.
fn ids(keyweir: &Keyweir, query: &str) -> Vec<String> {
    rows(keyweir, query).iter().map(|row| row["request_id"].as_str().unwrap().to_owned()).collect()
}

fn wait_for(keyweir: &Keyweir, count: usize) {
    eventually("the rows", || rows(keyweir, "").len() == count);
}

/// A chat under an id, for a model, in a pool, by a token.
fn ask(keyweir: &Keyweir, id: &str, pool: &str, model: &str, token: &str) -> u16 {
    let mut connection = keyweir.connect();
    let body = json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]}).to_string();
    connection.send(format!(
        "POST /{pool}/v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         X-Request-Id: {id}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    connection.response().status
}

#[test]
fn a_row_says_what_became_of_a_request_and_of_each_attempt() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-ok-2"]).top(ALL).start();
    let answer = keyweir.send(post("/v1/chat/completions?key=HUSH", &json!({"model": "gpt-4o", "messages": []})));
    assert_eq!(answer.status, 200);
    let id = answer.header("x-request-id").unwrap();
    wait_for(&keyweir, 1);
    let row = keyweir.admin("GET", &format!("/api/v1/logs/{id}")).json();
    for (name, value) in [
        ("client", json!("127.0.0.1")),
        ("token", json!("test")),
        ("method", json!("POST")),
        ("path", json!("/v1/chat/completions")),
        ("pool", json!("p")),
        ("key", json!("ok-2")),
        ("model", json!("gpt-4o")),
        ("status", json!(200)),
        ("outcome", json!("ok")),
        ("error", json!(null)),
        ("attempts", json!(2)),
        ("bytes_out", json!(answer.body.len())),
        ("body", json!(null)),
        ("has_body", json!(false)),
        ("same_id", json!(1)),
    ] {
        assert_eq!(row[name], value, "{name}");
    }
    assert_eq!(row["key_id"], keyweir.key("ok-2")["id"]);
    let usage = &answer.json()["usage"];
    assert_eq!((&row["tokens_in"], &row["tokens_out"]), (&usage["prompt_tokens"], &usage["completion_tokens"]));
    assert!(
        row["time"].as_str().unwrap().ends_with('Z') && row["first_byte_ms"].as_u64() <= row["duration_ms"].as_u64()
    );
    let [first, second] = row["trail"].as_array().unwrap().as_slice() else { panic!("two attempts: {row}") };
    assert_eq!(
        (&first["key"], &first["result"], &first["status"]),
        (&json!("429-1"), &json!("rate_limited"), &json!(429))
    );
    assert!(first["rule"].as_str().is_some_and(|rule| !rule.is_empty()) && first["ms"].as_f64() > Some(0.0), "{first}");
    assert_eq!((&second["key"], &second["result"], &second["status"]), (&json!("ok-2"), &json!("ok"), &json!(200)));
    assert_eq!((&second["target"], &second["rule"]), (&json!(mock.to_string()), &json!(null)));
    assert_eq!(rows(&keyweir, "")[0]["trail"], row["trail"], "the list has it too");
    assert_eq!(keyweir.admin("GET", "/api/v1/logs/never").status, 404);
}

#[test]
fn every_filter_finds_its_rows() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"])
        .and_pool("q", &mock, "", &["sk-429-1", "sk-ok-2"])
        .and_pool("dead", &mock, "", &["sk-401-1"])
        .clients(&format!("tokens: [{{name: test, token: {TOKEN}}}, {{name: ci, token: another-client-token}}]"))
        .top(ALL)
        .start();
    assert_eq!(ask(&keyweir, "r1", "p", "gpt-4o", TOKEN), 200);
    wait_for(&keyweir, 1);
    assert_eq!(ask(&keyweir, "r2", "q", "gpt-4o", "another-client-token"), 200);
    wait_for(&keyweir, 2);
    assert_eq!(ask(&keyweir, "r3", "dead", "qwen_3%", TOKEN), 503);
    wait_for(&keyweir, 3);
    assert_eq!(ask(&keyweir, "r4", "nowhere", "gpt-4o", TOKEN), 404);
    wait_for(&keyweir, 4);
    assert_eq!(ask(&keyweir, "r5", "p", "gpt-4o", "wrong-token"), 401);
    wait_for(&keyweir, 5);
    let failing =
        keyweir.admin("GET", "/api/v1/pools/q/keys?q=429-1").json()["items"][0]["id"].as_str().unwrap().to_owned();
    let seen = |query: &str| {
        let mut found = ids(&keyweir, query);
        found.sort_unstable();
        found.join(" ")
    };
    for (query, expected) in [
        ("", "r1 r2 r3 r4 r5"),
        ("pool=p", "r1"),
        ("pool=none", ""),
        ("key=ok-2", "r2"),
        ("key=429-1", "r2"),
        (&format!("key={failing}"), "r2"),
        ("key=429", ""),
        ("token=ci", "r2"),
        ("token=test", "r1 r3 r4"),
        ("model=qwen_3%25", "r3"),
        ("client=127.0.0.1", "r1 r2 r3 r4 r5"),
        ("client=10.0.0.1", ""),
        ("status=200", "r1 r2"),
        ("status=4xx", "r4 r5"),
        ("status=404-503", "r3 r4"),
        ("outcome=exhausted", "r3"),
        ("outcome=rejected", "r4 r5"),
        ("request_id=r4", "r4"),
        ("q=nowhere", "r4"),
        ("q=_3%25", "r3"),
        ("q=%25", "r3"),
        ("since=1h", "r1 r2 r3 r4 r5"),
        ("until=1h", ""),
        ("since=2020-01-01T00:00:00Z&until=2020-02-01T00:00:00%2B01:00", ""),
        ("token=test&status=2xx&pool=p", "r1"),
    ] {
        assert_eq!(seen(query), expected, "{query}");
    }
    for wrong in [
        "status=x",
        "outcome=good",
        "since=yesterday",
        "cursor=x",
        "limit=-1",
        "format=xml",
        "nonsense=1",
        "pool=%00",
        "q=%00",
        "status=99999999999",
        "limit=1&limit=2",
    ] {
        let answer = keyweir.admin("GET", &format!("/api/v1/logs?{wrong}"));
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/problem+json")), "{wrong}");
    }

    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = keyweir.admin("GET", &format!("/api/v1/logs?limit=2{cursor}")).json();
        paged.extend(page["items"].as_array().unwrap().iter().map(|row| row["request_id"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        // What comes meanwhile moves no page.
        ask(&keyweir, "late", "p", "gpt-4o", TOKEN);
    }
    assert_eq!(paged, ["r5", "r4", "r3", "r2", "r1"]);
}

#[test]
fn what_is_kept_is_the_operators_choice_at_once() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let fail = || assert_eq!(keyweir.send(request("GET", "/nowhere", &[], b"")).status, 404);
    let serve = || assert_eq!(keyweir.chat(&json!({})).status, 200);
    serve();
    fail();
    wait_for(&keyweir, 1);
    assert_eq!(rows(&keyweir, "")[0]["status"], 404, "errors, unless told otherwise");
    let path = keyweir.file("keyweir.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let set = |choice: &str| {
        keyweir.replace("keyweir.yaml", &format!("store: {{request_log: {choice}}}\n{text}"));
        keyweir.reload()
    };
    assert_eq!(set("all")["restart_required"], json!([]));
    serve();
    wait_for(&keyweir, 2);
    set("\"off\"");
    fail();
    serve();
    assert_eq!(keyweir.send(request("GET", "/livez", &[], b"")).status, 200);
    set("all");
    fail();
    wait_for(&keyweir, 3);
    assert_eq!(keyweir.admin_json("PUT", "/api/v1/settings", &json!({"store.request_log": "off"})).status, 200);
    fail();
    assert_eq!(keyweir.admin_json("PUT", "/api/v1/settings", &json!({"store.request_log": "all"})).status, 200);
    serve();
    wait_for(&keyweir, 4);
    let moved = format!("store: {{url: \"sqlite://elsewhere.db\"}}\n{text}");
    keyweir.replace("keyweir.yaml", &moved);
    assert_eq!(keyweir.reload()["restart_required"], json!(["store.url"]));
}

#[test]
fn a_failed_authentication_is_kept_with_its_address() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    assert_eq!(ask(&keyweir, "guess", "p", "gpt-4o", "guessed-token-CANARY"), 401);
    wait_for(&keyweir, 1);
    let row = &rows(&keyweir, "")[0];
    assert_eq!(
        (&row["client"], &row["status"], &row["error"]),
        (&json!("127.0.0.1"), &json!(401), &json!("unauthorized"))
    );
    assert_eq!((&row["token"], &row["key"], &row["trail"]), (&json!(null), &json!(null), &json!([])));
    assert!(!row.to_string().contains("CANARY"));
}

#[test]
fn a_body_is_kept_on_request_without_its_secrets() {
    let mock = MockProvider::start();
    let users = "users: [{name: vera, token: a-viewers-token-of-24, role: viewer}]";
    let keyweir = Config::pool(&mock, &["sk-ok-CANARY"])
        .keys("{key: sk-ok-CANARY, name: one}, {key: a.plain.key.with.CANARY2, name: two}")
        .admin(users)
        .top("store: {request_log: all, request_body: true}")
        .start();
    let secrets =
        format!("sk-ok-CANARY a.plain.key.with.CANARY2, {TOKEN}; \"{ADMIN_TOKEN}\" Bearer CANARY3 ms-CANARY4");
    let members = json!({"user": "visible", "metadata": {"api_key": "CANARY5", "note": secrets}});
    let answer = keyweir.chat(&members);
    assert_eq!(answer.status, 200);
    let long = chat(&json!({"user": "x".repeat(10) + &" word".repeat(40_000)}));
    assert_eq!(keyweir.send(long).status, 200);
    wait_for(&keyweir, 2);
    let path = format!("/api/v1/logs/{}", answer.header("x-request-id").unwrap());
    let row = keyweir.admin("GET", &path).json();
    let body = row["body"].as_str().unwrap();
    assert!(body.contains("visible") && body.contains("Hello") && body.contains("[redacted]"), "{body}");
    let newest = rows(&keyweir, "limit=1")[0]["request_id"].as_str().unwrap().to_owned();
    let cut = keyweir.admin("GET", &format!("/api/v1/logs/{newest}")).json();
    let cut = cut["body"].as_str().unwrap();
    assert!(cut.len() <= 64 * 1024 && cut.len() > 56 * 1024 && cut.ends_with('…'), "{}", cut.len());

    let mut viewer = Connection::open(keyweir.admin);
    viewer
        .send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a-viewers-token-of-24\r\n\r\n"));
    let shown = viewer.response().json();
    assert_eq!((&shown["body"], &shown["has_body"], &shown["status"]), (&json!(null), &json!(true), &json!(200)));

    let mut seen = keyweir.admin("GET", "/api/v1/logs").text() + &row.to_string();
    for format in ["csv", "json"] {
        seen += &keyweir.admin("GET", &format!("/api/v1/logs?format={format}")).text();
    }
    for name in ["keyweir.db", "keyweir.db-wal"] {
        seen += &String::from_utf8_lossy(&fs::read(keyweir.file(name)).unwrap_or_default());
    }
    assert!(seen.contains("visible"), "the database was searched");
    for secret in ["CANARY", TOKEN, ADMIN_TOKEN] {
        assert!(!seen.contains(secret), "{secret}");
    }
}

#[test]
fn all_that_fits_can_be_taken_away_as_a_file() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).top(ALL).start();
    let mut connection = keyweir.connect();
    for n in 0..1200 {
        connection.send(request("GET", &format!("/nowhere/{n}"), &[], b""));
        assert_eq!(connection.response().status, 404);
    }
    assert_eq!(ask(&keyweir, "=1+1", "p", "@model,\"x\"", TOKEN), 200);
    eventually("the rows", || ids(&keyweir, "limit=1") == ["=1+1"] && rows(&keyweir, "limit=1000").len() == 1000);
    let json = keyweir.admin("GET", "/api/v1/logs?format=json");
    assert_eq!(json.header("content-disposition"), Some("attachment; filename=\"requests.json\""));
    let all = json.json();
    let paths: Vec<&str> = all.as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect();
    assert_eq!((paths.len(), paths[1], paths[1200]), (1201, "/nowhere/1199", "/nowhere/0"));
    let csv = keyweir.admin("GET", "/api/v1/logs?format=csv");
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let text = csv.text();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("time,request_id,client,"));
    let first = lines.next().unwrap();
    assert!(first.contains(",'=1+1,") && first.contains(",\"'@model,\"\"x\"\"\","), "no formula, and quoted: {first}");
    assert_eq!(lines.count(), 1200);
    assert_eq!(keyweir.admin("GET", "/api/v1/logs?format=csv&status=404&limit=1100").text().lines().count(), 1101);
    assert_eq!(keyweir.admin("GET", "/api/v1/logs?format=json&pool=none").json(), json!([]));
}

#[test]
fn a_store_that_is_gone_costs_rows_and_no_request() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).top(ALL).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    wait_for(&keyweir, 1);
    // A directory where the database was: nothing can be opened or written there.
    let database = keyweir.file("keyweir.db");
    fs::rename(&database, keyweir.file("kept.db")).unwrap();
    for companion in ["keyweir.db-wal", "keyweir.db-shm"] {
        let _there = fs::remove_file(keyweir.file(companion));
    }
    fs::create_dir(&database).unwrap();
    let path = format!("/nowhere/{}", "x".repeat(8000));
    let mut connection = keyweir.connect();
    let refused = request("GET", &path, &[], b"");
    let given_up = || keyweir.metric("keyweir_store_dropped") + keyweir.metric("keyweir_log_dropped_total");
    eventually("rows that are given up", || {
        for _ in 0..500 {
            connection.send(&refused);
            assert_eq!(connection.response().status, 404);
        }
        given_up() > 0.0
    });
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    assert_eq!(keyweir.metric("keyweir_store_up"), 0.0);
    assert_eq!(keyweir.admin("GET", "/readyz").status, 200);
    assert!(keyweir.admin("GET", "/readyz?verbose").text().contains("store"));
    assert_eq!(keyweir.admin("GET", "/api/v1/logs").status, 503);
    assert_eq!(keyweir.admin("GET", "/api/v1/stats").status, 200, "what is counted in memory is still told");
    assert_eq!(keyweir.admin_json("PUT", "/api/v1/log-level", &json!({"level": "debug"})).status, 200);
    fs::remove_dir(&database).unwrap();
    eventually("the rows that were held", || {
        keyweir.admin("GET", "/api/v1/logs?limit=1000").status == 200 && rows(&keyweir, "limit=1000").len() == 1000
    });
    keyweir.signal("TERM");
    assert_eq!(keyweir.wait().code(), Some(0));
}

#[test]
fn what_ended_just_before_the_end_is_kept() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).top(ALL).start();
    for _ in 0..20 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    keyweir.restart();
    assert_eq!(rows(&keyweir, "").len(), 20);
}

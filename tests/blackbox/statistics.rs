//! What is told of how it goes: the overview, series that outlive a crash, events, the audit, the log level.

use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Config, Connection, Keyweir, MockProvider, TOKEN, chat, eventually};

fn get(keyweir: &Keyweir, path: &str) -> Value {
    let answer = keyweir.admin("GET", path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

#[test]
fn the_overview_tells_how_it_goes() {
    let mock = MockProvider::start();
    let keyweir =
        Config::pool(&mock, &["sk-429-1", "sk-401-2", "sk-ok-3"]).and_pool("dead", &mock, "", &["sk-401-1"]).start();
    let fresh = get(&keyweir, "/api/v1/stats?pool=p");
    assert_eq!((&fresh["requests"], &fresh["success_rate"]), (&json!(0), &json!(null)));
    assert_eq!(fresh["duration_seconds"]["p50"], json!(null));
    for _ in 0..3 {
        assert_eq!(keyweir.send(chat_to("/p")).status, 200);
    }
    assert_eq!(keyweir.send(chat_to("/dead")).status, 503);
    eventually("all are counted", || get(&keyweir, "/api/v1/stats")["requests"] == 4);
    let stats = get(&keyweir, "/api/v1/stats");
    assert_eq!((&stats["outcomes"]["ok"], &stats["outcomes"]["exhausted"]), (&json!(3), &json!(1)));
    assert_eq!(
        (&stats["success_rate"], &stats["keys"]),
        (&json!(0.75), &json!({"ready": 1, "cooling": 1, "disabled": 2}))
    );
    assert!(stats["tokens_out"].as_u64() > Some(0), "{stats}");
    for times in ["duration_seconds", "first_byte_seconds"] {
        let [mean, p50, p99] = ["mean", "p50", "p99"].map(|name| stats[times][name].as_f64().unwrap());
        assert!(0.0 < mean && 0.0 < p50 && p50 <= p99, "{stats}");
    }
    let [first] = stats["next_returns"].as_array().unwrap().as_slice() else { panic!("one key rests: {stats}") };
    assert_eq!(
        (&first["pool"], &first["key"], &first["reason"]),
        (&json!("p"), &json!("429-1"), &json!("rate_limited"))
    );
    assert!(first["back_in"].as_f64().is_some_and(|left| 0.0 < left && left <= 30.0));
    let p = &stats["pools"][0];
    assert_eq!((&p["name"], &p["requests"], &p["success_rate"]), (&json!("p"), &json!(3), &json!(1.0)));
    assert_eq!(get(&keyweir, "/api/v1/stats?pool=dead")["requests"], 1);
    assert_eq!(stats["store"]["up"], true);
    assert_eq!(keyweir.admin("GET", "/api/v1/stats?pool=none").status, 404);
}

fn chat_to(path: &str) -> Vec<u8> {
    let text = String::from_utf8(chat(&json!({}))).unwrap();
    text.replacen(" /v1/", &format!(" {path}/v1/"), 1).into_bytes()
}

#[test]
fn counters_survive_a_crash() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).and_pool("dead", &mock, "", &["sk-401-1"]).start();
    let key = keyweir.key("ok-1")["id"].as_str().unwrap().to_owned();
    let ask = |keyweir: &Keyweir, times: u64| {
        let before = get(keyweir, "/api/v1/stats/series")["requests"].as_u64().unwrap();
        for _ in 0..times {
            assert_eq!(keyweir.send(chat_to("/p")).status, 200);
            assert_eq!(keyweir.send(chat_to("/dead")).status, 503);
        }
        eventually("the counters", || get(keyweir, "/api/v1/stats/series")["requests"] == before + 2 * times);
    };
    ask(&keyweir, 5);
    let tokens = get(&keyweir, "/api/v1/stats/series?pool=p")["tokens_in"].as_u64().unwrap();
    assert!(tokens > 0);
    keyweir.signal("KILL");
    keyweir.restart();
    ask(&keyweir, 5);
    for (query, requests, failures) in [
        ("range=1h", 20, 10),
        ("range=24h&pool=p", 10, 0),
        ("range=7d&pool=dead", 10, 10),
        ("range=30d&model=gpt-4o", 10, 0),
        ("range=30d&model=other", 10, 10),
        ("token=test", 20, 10),
        (&format!("key={key}"), 10, 0),
        ("pool=none", 0, 0),
    ] {
        let series = get(&keyweir, &format!("/api/v1/stats/series?{query}"));
        assert_eq!((&series["requests"], &series["failures"]), (&json!(requests), &json!(failures)), "{query}");
        let sum: u64 =
            series["points"].as_array().unwrap().iter().map(|point| point["requests"].as_u64().unwrap()).sum();
        assert_eq!(sum, requests, "{query}");
    }
    assert_eq!(get(&keyweir, "/api/v1/stats/series?pool=p")["tokens_in"], 2 * tokens);
    let day = get(&keyweir, "/api/v1/stats/series?by=pool");
    assert_eq!((day["points"].as_array().unwrap().len(), &day["step_seconds"]), (25, &json!(3600)), "without gaps");
    let mut names: Vec<&str> =
        day["names"].as_array().unwrap().iter().map(|name| name["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["dead", "p"]);
    let minutes = &get(&keyweir, "/api/v1/stats/series?range=1h&pool=p")["minutes"];
    let sum: u64 = minutes.as_array().unwrap().iter().map(|minute| minute["requests"].as_u64().unwrap()).sum();
    assert_eq!(sum, 5, "what this process remembers");
    for wrong in ["range=2h", "by=token", "key=ok-1", "token=test&pool=p", "nonsense=1"] {
        assert_eq!(keyweir.admin("GET", &format!("/api/v1/stats/series?{wrong}")).status, 400, "{wrong}");
    }
}

/// A stream of events.
fn listen(keyweir: &Keyweir) -> Connection {
    let mut stream = Connection::open(keyweir.admin);
    stream
        .send(format!("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"));
    let head = stream.head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    stream
}

/// The data of the next event of that name that fits.
fn heard(stream: &mut Connection, name: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
    let begin = format!("event: {name}\ndata: ");
    let mut text = String::new();
    loop {
        text +=
            &String::from_utf8_lossy(&stream.chunk().filter(|piece| !piece.is_empty()).expect("the stream goes on"));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let data = event.split_once(&begin).map(|(_, data)| serde_json::from_str(data).unwrap());
            text = rest.to_owned();
            if let Some(data) = data.filter(&mut fits) {
                return data;
            }
        }
    }
}

#[test]
fn events_tell_what_happens() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-429-CANARY", "sk-ok-2"])
        .keys("{key: sk-429-CANARY, name: one}, {key: sk-ok-CANARY, name: two}")
        .start();
    let mut stream = listen(&keyweir);
    let counters = heard(&mut stream, "counters", |_| true);
    assert_eq!(counters["pools"][0]["keys"], json!({"ready": 2, "cooling": 0, "disabled": 0}), "at once");
    // The first look was taken once the counters come again.
    heard(&mut stream, "counters", |_| true);
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    let key = heard(&mut stream, "key", |_| true);
    assert_eq!((&key["pool"], &key["key"]), (&json!("p"), &json!("one")));
    assert_eq!((&key["state"], &key["reason"]), (&json!("cooling"), &json!("rate_limited")));
    assert!(key["back_in"].as_f64() > Some(0.0) && key["id"] == keyweir.key("one")["id"]);
    heard(&mut stream, "counters", |counters| {
        let pool = &counters["pools"][0];
        pool["requests"] == 1 && pool["outcomes"]["ok"] == 1 && pool["keys"]["cooling"] == 1 && pool["in_flight"] == 0
    });
    let id = key["id"].as_str().unwrap();
    assert_eq!(keyweir.admin("POST", &format!("/api/v1/keys/{id}/disable")).status, 200);
    assert_eq!(heard(&mut stream, "key", |key| key["state"] == "disabled")["reason"], "operator");
    assert_eq!(keyweir.admin("POST", &format!("/api/v1/keys/{id}/enable")).status, 200);
    assert_eq!(heard(&mut stream, "key", |key| key["state"] == "ready")["key"], "one");
    keyweir.reload();
    assert_eq!(heard(&mut stream, "reload", |_| true)["ok"], true);
    keyweir.write_keys("p: [");
    assert_eq!(keyweir.admin("POST", "/api/v1/reload").status, 422);
    let refused = heard(&mut stream, "reload", |reload| reload["ok"] == false);
    assert!(refused["message"].as_str().unwrap().contains("keys.yaml") && !refused.to_string().contains("CANARY"));
    // A listener does not hold up the end.
    keyweir.signal("TERM");
    assert_eq!(keyweir.wait().code(), Some(0));
}

#[test]
fn listeners_are_bounded_and_leave_room_when_they_go() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let mut streams: Vec<Connection> = (0..100).map(|_| listen(&keyweir)).collect();
    assert_eq!(keyweir.admin("GET", "/api/v1/events").status, 503);
    streams.pop();
    eventually("room for another", || {
        let mut stream = Connection::open(keyweir.admin);
        stream.send(format!(
            "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
        ));
        stream.head().status == 200
    });
    assert_eq!(keyweir.chat(&json!({})).status, 200);
}

#[test]
fn the_audit_tells_who_did_what() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-CANARY"])
        .keys("{key: sk-ok-CANARY, name: one}")
        .admin("users: [{name: otto, token: an-operators-token-24, role: operator}]")
        .start();
    let id = keyweir.key("one")["id"].as_str().unwrap().to_owned();
    let act = |token: &str, action: &str| {
        let mut connection = Connection::open(keyweir.admin);
        connection.send(format!(
            "POST /api/v1/keys/{id}/{action} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(connection.response().status, 200);
    };
    act(ADMIN_TOKEN, "disable");
    act("an-operators-token-24", "enable");
    act(ADMIN_TOKEN, "reset");
    let list = |query: &str| -> Vec<String> {
        let page = get(&keyweir, &format!("/api/v1/audit?{query}"));
        let line = |row: &Value| format!("{} {}", row["actor"].as_str().unwrap(), row["action"].as_str().unwrap());
        page["items"].as_array().unwrap().iter().map(line).collect()
    };
    assert_eq!(list("subject=".to_owned().as_str()), [""; 0]);
    assert_eq!(list(""), ["admin keys.reset", "otto keys.enable", "admin keys.disable"]);
    assert_eq!(list("actor=otto"), ["otto keys.enable"]);
    assert_eq!(list("action=keys.reset"), ["admin keys.reset"]);
    assert_eq!(list(&format!("subject={id}")).len(), 3);
    assert_eq!((list("since=1h").len(), list("until=1h").len()), (3, 0));
    let first = get(&keyweir, "/api/v1/audit?limit=2");
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(list(&format!("cursor={cursor}")), ["admin keys.disable"]);
    assert_eq!(
        (&first["items"][0]["address"], &first["items"][0]["details"]["keys"]),
        (&json!("127.0.0.1"), &json!(1))
    );
    assert!(!first.to_string().contains("CANARY"));
    assert_eq!((list("limit=0").len(), list(&format!("limit={}", u64::MAX)).len()), (1, 3));
    for wrong in ["since=x", "cursor=x", "nonsense=1", "actor=%00"] {
        assert_eq!(keyweir.admin("GET", &format!("/api/v1/audit?{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn the_log_level_holds_until_a_reload() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-ok-2"]).start();
    let set = |level: &Value| keyweir.admin_json("PUT", "/api/v1/log-level", level);
    assert_eq!(get(&keyweir, "/api/v1/log-level"), json!({"level": "info"}));
    for wrong in [json!({"level": "loud"}), json!({}), json!({"level": 1}), json!({"level": "info", "x": 1}), json!(1)]
    {
        let status = set(&wrong).status;
        assert!((400..500).contains(&status), "{wrong}: {status}");
    }
    assert_eq!(set(&json!({"level": "debug"})).json(), json!({"level": "debug"}));
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    eventually("a line of that level", || keyweir.log().contains("A key rests."));
    assert_eq!(get(&keyweir, "/api/v1/audit?action=log_level.set")["items"][0]["subject"], "debug");
    keyweir.reload();
    assert_eq!(get(&keyweir, "/api/v1/log-level")["level"], "info");
    let mut client = Connection::open(keyweir.admin);
    client.send(format!("GET /api/v1/log-level HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"));
    assert_eq!(client.response().status, 401, "a client is no operator");
}

//! No character of a key or token leaves the process, whatever goes wrong, at the most talkative log level.

use std::fs;

use serde_json::json;

use crate::harness::{ADMIN_TOKEN, Config, Connection, Http2, MockProvider, TOKEN, chat, request};

/// Every way a key can fail, each with a text that is easy to find.
const KEYS: &[&str] = &[
    "sk-429-CANARY01",
    "sk-quota-CANARY02",
    "sk-401-CANARY03",
    "sk-403-CANARY04",
    "sk-500-CANARY05",
    "sk-hang-CANARY06",
    "sk-cut-CANARY07",
    "sk-err200-CANARY08",
    "sk-empty-CANARY09",
    "sk-garbage-CANARY10",
    "sk-halfhead-CANARY11",
    "sk-endless-CANARY12",
    "sk-101-CANARY13",
    "sk-early401-CANARY14",
    "sk-close-CANARY15",
    "sk-stale-CANARY16",
    "sk-stall-CANARY17",
    "sk-ok-CANARY18",
    "sk-nolen-CANARY19",
];

#[test]
fn no_secret_shows_anywhere() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, "timeouts: {first_byte: 100ms, hold: 100ms, idle: 200ms}", &[])
        .and_pool("nobody", crate::harness::free_address(), "", &[])
        .limits("buffer: 64KiB, body: 1MiB, header_timeout: 300ms")
        .level("trace")
        .start();
    // Without names: a key's fingerprint stands for it.
    keyweir.write_keys(&format!("p: [{}]\nnobody: [sk-ok-CANARY20]\n", KEYS.join(", ")));
    assert_eq!(keyweir.admin("POST", "/reload-keys").status, 200);
    let mut seen = String::new();
    for round in 0..2 * KEYS.len() {
        let answer = keyweir.chat(&json!({"stream": round % 2 == 0, "mock": {"events": 2, "interval_ms": 1}}));
        seen += &format!("{:?} {}\n", answer.headers, answer.text());
    }
    for bad in [
        request("GET", &format!("/v1/models?key={TOKEN}&x=1"), &[], b""),
        request("GET", &format!("/nobody/v1/models?key={TOKEN}"), &[], b""),
        request("GET", &format!("/nowhere?key={TOKEN}"), &[], b""),
        request("POST", "/v1/chat/completions", &["Transfer-Encoding: chunked"], b"zz\r\n"),
        request("POST", "/v1/chat/completions", &[], &[b'x'; 100_000]),
        request("POST", "/v1/chat/completions", &[], &[b'x'; 2_000_000]),
        request("GET", "/v1/models", &["Host: twice", "X-Api-Key: CANARY-of-the-client"], b""),
        format!("GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}x\r\n\r\n").into_bytes(),
        format!("GET /v1/models?key={TOKEN} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n").into_bytes(),
    ] {
        let answer = keyweir.send(bad);
        seen += &format!("{:?} {}\n", answer.headers, answer.text());
    }
    let answer = Http2::open(keyweir.proxy).post("/v1/chat/completions", &json!({"stream": true})).finish();
    seen += &format!("{:?} {}\n", answer.headers, answer.text());
    keyweir.write_keys("p:\n- {key: sk-CANARY21, key: sk-CANARY22}\n- {key: \"sk CANARY 23\"}\n- [sk-CANARY24]\n");
    assert_eq!(keyweir.admin("POST", "/reload-keys").status, 422);
    let path = keyweir.file("keyweir.yaml");
    let broken = fs::read_to_string(&path).unwrap().replace("name: test", "nam: test");
    fs::write(&path, broken).unwrap();
    seen += &keyweir.admin("POST", "/reload-keys").text();
    let mut gone = keyweir.connect();
    gone.send(chat(&json!({"stream": true})));
    drop(gone);
    for path in
        ["/stats", "/stats?shape=modelscope-balance", "/blacklist", "/api/v1/pools", "/api/v1/pools/p/keys", "/nowhere"]
    {
        seen += &keyweir.admin("GET", path).text();
    }
    let mut connection = Connection::open(keyweir.admin);
    connection.send("GET /stats HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer CANARY-of-a-stranger\r\n\r\n");
    seen += &connection.response().text();
    seen += &keyweir.metrics_text();
    let (mut keyweir, mut logs) = (keyweir, String::new());
    keyweir.signal("TERM");
    keyweir.wait();
    logs += &keyweir.log();
    logs += &keyweir.access_log();
    assert!(logs.lines().count() > 2 * KEYS.len(), "there is something to search");
    for (what, text) in [("an answer", &seen), ("a log", &logs)] {
        for secret in ["CANARY", TOKEN, ADMIN_TOKEN] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} in {what}");
        }
    }
}

//! No character of a key or token leaves the process, whatever goes wrong, at the most talkative log level; and no header
//! or body is logged.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::json;

use crate::harness::{
    ADMIN_TOKEN, Authority, Config, Connection, Dates, Http2, Keyweir, MockProvider, Scripted, TOKEN, chat,
    free_address, request,
};

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

/// What a provider must not answer, and what it may; HUSH stands wherever a text of its own could be.
const ANSWERS: &[&str] = &[
    "HUSH\r\n\r\n",
    "HTTP/1.1 HUSH\r\n\r\n",
    "HTTP/9.9 200 HUSH\r\n\r\n",
    "HTTP/1.1 200 OK\r\nHUSH HUSH\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-Word: HUSH\u{0}\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-Word: HUSH\r\n HUSH\r\n\r\n",
    "HTTP/1.1 200 HUSH\r\nX-Word: HUSH\r\nContent-Length: 4\r\n\r\nHUSHHUSH",
    "HTTP/1.1 200 OK\r\nContent-Length: HUSH\r\n\r\nHUSH",
    "HTTP/1.1 200 OK\r\nContent-Length: 4, 4HUSH\r\n\r\nHUSH",
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: HUSH\r\n\r\nHUSH",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: HUSH\r\n\r\nHUSH",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nHUSH\r\nHUSH",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nHUSHHUSH",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nHUSH\r\n0\r\nX-Word: HUSH\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {\"error\":{\"code\":\"HUSH\",\"message\":\"HUSH\"}}\n\n",
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"HUSH\"}}]}\n\ndata: HUSH",
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{\"error\":{\"message\":\"HUSH",
    "HTTP/1.1 429 HUSH\r\nRetry-After: HUSH\r\nContent-Length: 4\r\n\r\nHUSH",
    "HTTP/1.1 500 HUSH\r\nContent-Type: HUSH\r\nContent-Length: 100\r\n\r\nHUSH",
    "HTTP/1.1 101 HUSH\r\nUpgrade: HUSH\r\nConnection: upgrade\r\n\r\nHUSH",
    "HTTP/1.1 103 HUSH\r\nLink: HUSH\r\n\r\nHTTP/1.1 404 HUSH\r\nX-Word: HUSH\r\nContent-Length: 4\r\n\r\nHUSH",
];

/// The same for a client's requests.
const REQUESTS: &[&str] = &[
    "HUSH\r\n\r\n",
    "GET /v1/models HTTP/1.1\r\nHUSH\r\n\r\n",
    "GET /v1/models HTTP/1.1\r\nHost: HUSH HUSH\r\n\r\n",
    "GET /v1/models HTTP/1.1\r\nHost: a\r\nCookie: HUSH\r\nCookie:HUSH\u{0}\r\n\r\n",
    "GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Basic HUSH\r\nX-Request-Id: H\tUSH\r\n\r\n",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: HUSH\r\n\r\nHUSH",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: HUSH\r\n\r\nHUSH",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\nTransfer-Encoding: chunked\r\n\r\nHUSH\r\n",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nHUSHHUSH",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\nContent-Length: 100000\r\n\r\nHUSH",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\nContent-Length: 4\r\n\r\nHUSHHUSH",
    "GET /v1/realtime HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Word: HUSH\r\n\r\nHUSH",
    "GET /v1/models?word=HUSH HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\nX-Word: HUSH\r\n\r\nHUSH",
    "PRI * HTTP/2.0\r\n\r\nHUSH\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nHUSHHUSHHUSHHUSH",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0\0\0\u{4}\u{1}\u{5}\0\0\0\u{1}HUSH",
    "\u{16}\u{3}\u{1}\0\u{4}HUSH",
    "\u{16}\u{3}\u{3}\0HUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSH",
];

/// Sends everything that can be wrong to every listener, through every provider's answer.
fn provoke(keyweir: &Keyweir, tls: std::net::SocketAddr) {
    for text in ["hush", "{\"HUSH\":\"HUSH\",\"stream\":true}", "{\"messages\":\"HUSH"] {
        for _ in ANSWERS {
            let lines = ["X-Word: HUSH", "Cookie: HUSH", "OpenAI-Organization: HUSH"];
            let mut connection = keyweir.connect();
            connection.send(request("POST", "/v1/chat/completions", &lines, text.as_bytes()));
            connection.any_head();
        }
    }
    for address in [keyweir.proxy, tls, keyweir.admin, keyweir.metrics] {
        for text in REQUESTS {
            let stream = crate::harness::dial(address);
            let mut connection = Connection::over(stream.try_clone().unwrap());
            connection.send(text.replace("TOKEN", TOKEN));
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            connection.raw_rest();
        }
    }
    let client = Http2::open(keyweir.proxy);
    let headers = [("x-word", "HUSH"), ("cookie", "HUSH"), ("content-length", "100")];
    let mut exchange = client.begin("POST", "/v1/chat/completions", &headers, false);
    exchange.send("HUSH", true);
}

#[test]
fn no_header_and_no_body_is_logged() {
    let turn = AtomicUsize::new(0);
    let provider = Scripted::start(move |mut peer| {
        if peer.request().is_some() {
            peer.send(ANSWERS[turn.fetch_add(1, SeqCst) % ANSWERS.len()]);
        }
    });
    let authority = Authority::new();
    let (cert, key) = authority.issue(Dates::Valid);
    let tls = free_address();
    let listen = format!("{{address: \"{tls}\", tls: {{cert: \"{}\", key: \"{}\"}}}}", cert.display(), key.display());
    let mut keyweir = Config::pool_with(&provider, "blacklist: {cooldown: 1ms, max_cooldown: 1ms}", &["sk-ok-1"])
        .also_listen(&listen)
        .limits("buffer: 64KiB, body: 1MiB, header_timeout: 300ms, body_timeout: 300ms")
        .level("trace")
        .env("RUST_LOG", Path::new("trace"))
        .start();
    provoke(&keyweir, tls);
    keyweir.signal("TERM");
    keyweir.wait();
    let log = keyweir.log();
    assert!(log.contains("\"level\":\"debug\""), "there is something to search: {log}");
    assert!(!log.contains("\"level\":\"error\""), "what others do wrong is no error of the server: {log}");
    let access_log = keyweir.access_log();
    for line in log.lines().chain(access_log.lines()) {
        assert!(!line.to_uppercase().contains("HUSH"), "{line}");
    }
    assert!(!access_log.contains("\"request_id\":\"\""), "every line has an id: {access_log}");
}

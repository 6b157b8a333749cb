//! Requests leave by the proxies that are configured, and a proxy that fails costs no client anything while there is
//! another way.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{
    Authority, Config, Dates, Keyweir, MockProvider, Program, Scripted, TlsProvider, chat, eventually, post, request,
};

const LOGIN: Option<(&str, &str)> = Some(("canary", "CANARY-password"));

fn with(mock: impl ToString, settings: &str, keys: &[&str]) -> Config {
    Config::pool_with(mock, &format!("timeouts: {{connect: 2s}}, {settings}"), keys)
}

/// The proxies as the API shows them, by name.
fn egresses(keyweir: &Keyweir) -> BTreeMap<String, Value> {
    let list = keyweir.admin("GET", "/api/v1/egress").json();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| (item["egress"].as_str().unwrap().to_owned(), item.clone())).collect()
}

fn state(keyweir: &Keyweir, name: &str) -> String {
    egresses(keyweir)[name]["state"].as_str().unwrap().to_owned()
}

fn assert_no_canary(keyweir: &Keyweir) {
    let list = keyweir.admin("GET", "/api/v1/egress").text();
    for text in [keyweir.log(), keyweir.access_log(), keyweir.metrics_text(), list] {
        assert!(!text.to_lowercase().contains("canary"), "{text}");
    }
}

#[test]
fn every_kind_of_real_proxy_carries_requests() {
    let mock = MockProvider::start();
    let (http, socks) = (Program::tinyproxy(LOGIN), Program::microsocks(LOGIN));
    for url in [
        http.url("http://canary:CANARY-password@"),
        socks.url("socks5://canary:CANARY-password@"),
        socks.url("socks5h://canary:CANARY-password@"),
    ] {
        let keyweir = with(format!("localhost:{}", mock.address.port()), &format!("egress: [\"{url}\"]"), &["sk-ok-1"])
            .level("debug")
            .start();
        for _ in 0..3 {
            assert_eq!(keyweir.chat(&json!({})).status, 200, "{url}");
        }
        let streamed = keyweir.chat(&json!({"stream": true, "mock": {"events": 3}}));
        assert!(streamed.is_complete && streamed.text().ends_with("data: [DONE]\n\n"), "{url}: {}", streamed.text());
        let egress = egresses(&keyweir).into_values().next().unwrap();
        assert_eq!((egress["state"].as_str(), egress["keys"].as_u64()), (Some("up"), Some(1)), "{egress}");
        assert_no_canary(&keyweir);
    }
}

#[test]
fn tls_goes_through_a_tunnel_and_its_connection_is_kept() {
    let (mock, authority) = (MockProvider::start(), Authority::new());
    let provider = TlsProvider::start(&authority, Dates::Valid, mock.address);
    let proxy = Program::tinyproxy(None);
    let keyweir = with(&provider, &format!("egress: [\"{}\"]", proxy.url("http://")), &["sk-ok-1"])
        .env("SSL_CERT_FILE", &authority.certificate())
        .start();
    eventually("the first check", || state(&keyweir, &proxy.url("http://")) == "up" && provider.handshakes() == 1);
    for _ in 0..5 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert!(provider.handshakes() <= 3, "one for the check, then connections are kept: {}", provider.handshakes());
}

#[test]
fn a_proxy_may_be_spoken_to_over_tls() {
    let (mock, authority) = (MockProvider::start(), Authority::new());
    let proxy = Program::tinyproxy(LOGIN);
    let front = TlsProvider::start(&authority, Dates::Valid, proxy.address);
    let url = front.to_string().replace("https://", "https://canary:CANARY-password@");
    for target in [mock.to_string(), TlsProvider::start(&authority, Dates::Valid, mock.address).to_string()] {
        let keyweir = with(&target, &format!("egress: [\"{url}\"]"), &["sk-ok-1"])
            .env("SSL_CERT_FILE", &authority.certificate())
            .start();
        for _ in 0..3 {
            assert_eq!(keyweir.chat(&json!({})).status, 200, "{target}: {}", keyweir.log());
        }
    }
}

#[test]
fn a_key_leaves_by_its_own_proxy_and_the_others_directly() {
    let mock = MockProvider::start();
    let proxy = Program::microsocks(None);
    let name = proxy.url("socks5://");
    let keyweir = Config::pool(&mock, &[])
        .keys(&format!("{{key: sk-ok-1, name: own, egress: \"{name}\"}}, {{key: sk-ok-2, name: direct}}"))
        .start();
    assert_eq!(egresses(&keyweir)[&name]["keys"], 1);
    drop(proxy);
    for _ in 0..8 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    eventually("the key's rest", || keyweir.state("own") == ("cooling".into(), "egress".into()));
    assert_eq!(keyweir.state("direct").0, "ready");
}

#[test]
fn the_native_path_leaves_by_the_proxy_too() {
    let mock = MockProvider::start();
    let proxy = Program::tinyproxy(None);
    let keyweir = with(&mock, &format!("egress: [\"{}\"]", proxy.url("http://")), &["sk-ok-1"])
        .limits("buffer: 64KiB, body: 8MiB")
        .start();
    let large = json!({"model": "m", "messages": [{"role": "user", "content": "x".repeat(200_000)}]});
    assert_eq!(keyweir.send(post("/v1/chat/completions", &large)).status, 200);
    drop(proxy);
    assert_eq!(keyweir.send(post("/v1/chat/completions", &large)).status, 502, "never around the proxy");
    let socket = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    assert_eq!(keyweir.send(request("GET", "/v1/responses", &socket, b"")).status, 502);
}

#[test]
fn keys_move_to_another_proxy_and_back_and_no_client_notices() {
    let mock = MockProvider::start();
    let (a, b) = (Program::tinyproxy(None), Program::tinyproxy(None));
    let (a_name, b_name) = (a.url("http://"), b.url("http://"));
    let settings = format!("egress: [\"{a_name}\", \"{b_name}\"], egress_check: {{every: 1s, max_failures: 2}}");
    let keys: Vec<String> = (0..8).map(|i| format!("sk-ok-{i}")).collect();
    let keyweir = with(&mock, &settings, &keys.iter().map(String::as_str).collect::<Vec<_>>()).start();
    let serve = || (0..10).for_each(|_| assert_eq!(keyweir.chat(&json!({})).status, 200));
    serve();
    let address = a.stop();
    serve();
    eventually("the end of its use", || state(&keyweir, &a_name) == "down");
    assert_eq!(keyweir.metric(&format!("keyweir_egress_up{{egress=\"{a_name}\"}}")), 0.0);
    assert_eq!(state(&keyweir, &b_name), "up");
    serve();
    assert_eq!(keyweir.marked(), [""; 0], "no key pays for it");
    let _a = Program::tinyproxy_at(address, None);
    eventually("its return", || state(&keyweir, &a_name) == "up");
    assert_eq!(keyweir.metric(&format!("keyweir_egress_up{{egress=\"{a_name}\"}}")), 1.0);
    serve();
}

#[test]
fn without_another_proxy_keys_go_directly_or_rest_as_configured() {
    let mock = MockProvider::start();
    for (on_failure, status) in [("direct", 200), ("rest", 429), ("rebind", 429)] {
        let proxy = Program::microsocks(None);
        let name = proxy.url("socks5h://");
        let check =
            format!("egress: [\"{name}\"], egress_check: {{every: 1s, max_failures: 2, on_failure: {on_failure}}}");
        let keyweir = with(&mock, &check, &["sk-ok-1", "sk-ok-2"]).start();
        assert_eq!(keyweir.chat(&json!({})).status, 200);
        drop(proxy);
        eventually("the end of its use", || state(&keyweir, &name) == "down");
        let answer = keyweir.chat(&json!({}));
        assert_eq!(answer.status, status, "{on_failure}: {}", answer.text());
        if status == 429 {
            assert_eq!(answer.code(), "all_keys_cooling");
            assert_eq!(keyweir.state("ok-1"), ("cooling".into(), "egress".into()));
        }
    }
}

#[test]
fn a_target_that_is_down_puts_no_proxy_out_of_use() {
    let mock = MockProvider::start();
    let (a, b) = (Program::tinyproxy(None), Program::microsocks(None));
    let settings = format!(
        "egress: [\"{}\", \"{}\"], egress_check: {{every: 1s, max_failures: 1}}",
        a.url("http://"),
        b.url("socks5://")
    );
    let target = mock.address;
    let keyweir = with(target, &settings, &["sk-ok-1", "sk-ok-2", "sk-ok-3"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    mock.control("outage", &json!({"seconds": 60, "status": 0}));
    let before = egresses(&keyweir);
    eventually("more checks", || {
        egresses(&keyweir).iter().all(|(name, now)| now["last_check"] != before[name]["last_check"])
    });
    assert!(egresses(&keyweir).values().all(|egress| egress["state"] == "up"), "{:?}", egresses(&keyweir));
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn broken_proxies_cost_no_client_anything() {
    let mock = MockProvider::start();
    let good = Program::tinyproxy(None);
    let bad: [(&str, Scripted); 5] = [
        ("never answers", Scripted::start(|mut peer| peer.closed())),
        (
            "wants another password",
            Scripted::start(|mut peer| {
                peer.head();
                peer.send("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
            }),
        ),
        (
            "cuts its answer",
            Scripted::start(|mut peer| {
                peer.head();
                peer.send("HTTP/1.1 200 Connec");
            }),
        ),
        (
            "answers without end",
            Scripted::start(|mut peer| {
                peer.head();
                peer.send(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(100 * 1024)));
                peer.closed();
            }),
        ),
        (
            "cuts the tunnel",
            Scripted::start(|mut peer| {
                peer.head();
                peer.send("HTTP/1.1 200 OK\r\n\r\n");
                peer.head();
            }),
        ),
    ];
    for (what, proxy) in &bad {
        let settings = format!("egress: [\"http://{proxy}\", \"{}\"], retry: {{attempts: 4}}", good.url("http://"));
        let keys: Vec<String> = (0..6).map(|i| format!("sk-ok-{i}")).collect();
        let keyweir = with(&mock, &settings, &keys.iter().map(String::as_str).collect::<Vec<_>>()).start();
        for _ in 0..12 {
            let answer = keyweir.chat(&json!({}));
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        }
        assert_eq!(keyweir.marked(), [""; 0], "{what}");
        assert!(proxy.connections() > 0, "{what}");
    }
}

#[test]
fn proxies_are_tested_on_demand() {
    let mock = MockProvider::start();
    let (good, dead) = (Program::microsocks(LOGIN), crate::harness::free_address());
    let url = good.url("socks5://canary:CANARY-password@");
    let keyweir = with(&mock, &format!("egress: [\"{url}\", \"http://{dead}\"]"), &["sk-ok-1"]).start();
    let test = |body: Value| keyweir.admin_json("POST", "/api/v1/egress/test", &body);
    let all = test(json!({})).json();
    let found: Vec<_> = all["items"].as_array().unwrap().iter().map(|item| item["ok"].as_bool().unwrap()).collect();
    assert_eq!(found, [true, false], "{all}");
    for (egress, is_ok) in [(url.as_str(), true), (&good.url("socks5://canary:CANARY-wrong@"), false)] {
        let answer = test(json!({"pool": "p", "egress": egress}));
        assert_eq!(answer.json()["items"][0]["ok"], is_ok, "{}", answer.text());
        assert!(!answer.text().to_lowercase().contains("canary"), "{}", answer.text());
    }
    assert_eq!(test(json!({"egress": "canary-CANARY"})).status, 400);
    assert_eq!(test(json!({"pool": "nowhere"})).status, 404);
    assert!(!test(json!({"egress": 5, "x": "CANARY"})).text().contains("CANARY"));
    assert_no_canary(&keyweir);
}

#[test]
fn a_page_that_must_be_served_can_be_the_check() {
    let mock = MockProvider::start();
    let page = Scripted::start(|mut peer| {
        while let Some(head) = peer.head() {
            peer.answer(if head.starts_with("GET /ok?x=1 ") { 204 } else { 500 }, "");
        }
    });
    let proxy = Program::tinyproxy(None);
    let name = proxy.url("http://");
    for (path, is_ok) in [("/ok?x=1", true), ("/no", false)] {
        let check = format!("egress: [\"{name}\"], egress_check: {{url: \"http://{page}{path}\"}}");
        let keyweir = with(&mock, &check, &["sk-ok-1"]).start();
        let answer = keyweir.admin_json("POST", "/api/v1/egress/test", &json!({})).json();
        assert_eq!(answer["items"][0]["ok"], is_ok, "{answer}");
        assert_eq!(keyweir.send(chat(&json!({}))).status, 200, "the page alone is no proof against the only proxy");
    }
}

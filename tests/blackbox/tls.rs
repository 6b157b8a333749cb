//! TLS on both sides: certificates are verified, HTTP/2 is negotiated.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::harness::{
    Authority, Config, Connection, Dates, Http2, Keyweir, MockProvider, Scripted, TOKEN, TlsProvider, eventually,
    free_address, request,
};

fn behind(provider: &TlsProvider, trusted: &Authority) -> Config {
    Config::pool(provider, &["sk-429-1", "sk-ok-1"]).env("SSL_CERT_FILE", &trusted.certificate())
}

/// A3: the connector reaches targets by name and over TLS, and keeps their connections.
#[test]
fn a_provider_of_a_trusted_authority_is_reached() {
    let mock = MockProvider::start();
    let authority = Authority::new();
    let provider = TlsProvider::start(&authority, Dates::Valid, mock.address);
    let keyweir = behind(&provider, &authority).start();
    let big = keyweir.send(request("POST", "/v1/chat/completions", &[], &vec![b'x'; 3 << 20]));
    assert_eq!((big.status, big.attempts()), (200, 2));
    for _ in 0..5 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
        assert!(keyweir.chat(&json!({"stream": true, "mock": {"events": 3, "interval_ms": 1}})).is_complete);
    }
    assert!(provider.handshakes() <= 2, "connections are kept: {} handshakes", provider.handshakes());
    let seen = mock.last().pop().unwrap();
    let host = provider.to_string().replace("https://", "");
    assert!(seen["headers"].to_string().contains(&format!("\"{host}\"")), "{seen}");
}

#[test]
fn sessions_are_resumed() {
    let mock = MockProvider::start();
    let authority = Authority::new();
    let provider = TlsProvider::start(&authority, Dates::Valid, mock.address);
    let keyweir =
        Config::pool(&provider, &["sk-close-1", "sk-nolen-1"]).env("SSL_CERT_FILE", &authority.certificate()).start();
    for _ in 0..4 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert!(provider.handshakes() >= 4 && provider.resumed() > 0, "{} resumed", provider.resumed());
}

fn expect_refused(keyweir: &Keyweir, mock: &MockProvider) {
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    assert_eq!(mock.count("requests"), 0);
    assert_eq!(keyweir.marked(), [""; 0], "no key's fault");
    assert_eq!(keyweir.admin("GET", "/readyz").status, 200, "the server goes on");
}

#[test]
fn an_expired_certificate_is_refused() {
    let mock = MockProvider::start();
    let authority = Authority::new();
    let provider = TlsProvider::start(&authority, Dates::Expired, mock.address);
    expect_refused(&behind(&provider, &authority).start(), &mock);
}

#[test]
fn an_unknown_authority_is_refused() {
    let mock = MockProvider::start();
    let provider = TlsProvider::start(&Authority::new(), Dates::Valid, mock.address);
    expect_refused(&behind(&provider, &Authority::new()).start(), &mock);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let mock = MockProvider::start();
    let authority = Authority::new();
    let provider = TlsProvider::start(&authority, Dates::Valid, mock.address);
    let address = provider.to_string().replace("localhost", "127.0.0.2");
    let keyweir = Config::pool(address, &["sk-ok-1"]).env("SSL_CERT_FILE", &authority.certificate()).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, mock.count("requests")), (502, 0));
}

#[test]
fn a_provider_that_speaks_no_tls_is_refused() {
    let plain = Scripted::start(|mut peer| peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    let keyweir = Config::pool(format!("https://{plain}"), &["sk-ok-1"]).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
}

#[test]
fn a_renewed_certificate_is_shown_to_new_connections() {
    let mock = MockProvider::start();
    let (authority, second) = (Authority::new(), Authority::new());
    let (cert, key) = authority.issue(Dates::Valid);
    let (metrics_cert, metrics_key) = second.issue(Dates::Valid);
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).proxy_tls(cert, key).metrics_tls(metrics_cert, metrics_key).start();
    let mut open = authority.connect(keyweir.proxy);
    let ask = |connection: &mut crate::harness::Connection| {
        connection.send(request("GET", "/v1/models", &[], b""));
        connection.response().status
    };
    assert_eq!(ask(&mut open), 200);
    let shown = || (authority.shown_at(keyweir.proxy), second.shown_at(keyweir.metrics));
    let before = shown();
    authority.issue(Dates::Valid);
    second.issue(Dates::Valid);
    assert_eq!(keyweir.reload()["restart_required"], json!([]));
    let after = shown();
    assert!(after.0.is_some() && after.0 != before.0, "the proxy's");
    assert!(after.1.is_some() && after.1 != before.1, "the operators'");
    assert_eq!((ask(&mut open), ask(&mut authority.connect(keyweir.proxy))), (200, 200));

    // A renewal needs no request either.
    authority.issue(Dates::Valid);
    eventually("the file watch", || authority.shown_at(keyweir.proxy) != after.0);

    authority.issue(Dates::Expired);
    let warnings = keyweir.reload()["warnings"].to_string();
    assert!(warnings.contains("server.proxy.listen[0].tls.cert") && warnings.contains("expired on 2021"), "{warnings}");
    assert_eq!(ask(&mut open), 200, "open connections go on");
}

#[test]
fn a_bad_pair_of_files_changes_nothing() {
    let mock = MockProvider::start();
    let (authority, other) = (Authority::new(), Authority::new());
    let (cert, key) = authority.issue(Dates::Valid);
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).proxy_tls(cert.clone(), key.clone()).start();
    let before = authority.shown_at(keyweir.proxy);
    assert!(before.is_some());
    let (other_cert, other_key) = other.issue(Dates::Valid);
    let good = fs::read(&cert).unwrap();
    for (content, said) in [
        (fs::read(other_cert).unwrap(), "do not go together"),
        (fs::read(other_key).unwrap(), "holds no certificate"),
        (Vec::new(), "holds no certificate"),
    ] {
        fs::write(&cert, content).unwrap();
        keyweir.set_keys(&["sk-ok-2"]);
        let refused = keyweir.admin("POST", "/api/v1/reload");
        assert_eq!(refused.status, 422);
        let error = refused.json()["errors"][0].as_str().unwrap().to_owned();
        assert!(error.contains("keyweir.yaml:2:") && error.contains("server.proxy.listen[0].tls"), "{error}");
        assert!(error.contains(said), "{error}");
        assert!(authority.shown_at(keyweir.proxy) == before && keyweir.key_names() == ["ok-1"]);
    }
    fs::write(&cert, good).unwrap();
    keyweir.reload();
    assert_eq!(keyweir.key_names(), ["ok-2"]);
}

#[test]
fn clients_negotiate_their_protocol() {
    let mock = MockProvider::start();
    let authority = Authority::new();
    let (cert, key) = authority.issue(Dates::Valid);
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-ok-1"]).proxy_tls(cert, key).start();
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1"), ("--no-alpn", "1.1")] {
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "20", option, "--cacert"])
            .arg(authority.certificate())
            .args(["-H", &format!("Authorization: Bearer {TOKEN}"), "-d", "{\"stream\":true}"])
            .args(["-w", "\n%{http_version} %{http_code}"])
            .arg(format!("https://localhost:{}/v1/chat/completions", keyweir.proxy.port()))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{option}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("data: [DONE]"), "{option}: {text}");
        let ending = text.lines().last().unwrap();
        assert!(ending.starts_with(version), "{option}: {ending}");
        assert!(ending.ends_with(" 200"), "{option}: {ending}");
    }
}

/// HTTP/2 over TLS counts like everything else, and beside it.
#[test]
fn connections_are_limited_over_tls_too() {
    let mock = MockProvider::start();
    let authority = Authority::new();
    let (cert, key) = authority.issue(Dates::Valid);
    let plain = free_address();
    let keyweir = Config::pool(&mock, &["sk-ok-1"])
        .proxy_tls(cert, key)
        .also_listen(&format!("\"{plain}\""))
        .limits("connections: 2")
        .start();
    let ask = |client: &Http2| client.post("/v1/chat/completions", &json!({})).finish().status;
    // The server's own look whether its listeners answer may still be counted.
    let mut kept = Vec::new();
    eventually("two connections", || {
        kept.extend(Http2::open_tls(keyweir.proxy, &authority).ok());
        kept.len() == 2
    });
    assert_eq!(kept.iter().map(ask).collect::<Vec<_>>(), [200, 200]);
    assert!(Http2::open_tls(keyweir.proxy, &authority).is_err(), "a third one is closed");
    let mut third = Connection::open(plain);
    third.send(request("GET", "/v1/models", &[], b""));
    let text = String::from_utf8_lossy(&third.raw_rest()).into_owned();
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 503"), "{text}");
    assert_eq!(kept.iter().map(ask).collect::<Vec<_>>(), [200, 200], "those that are open go on");
    kept.pop();
    eventually("room for another one", || {
        Http2::open_tls(keyweir.proxy, &authority).is_ok_and(|next| ask(&next) == 200)
    });
    drop(kept);
    eventually("room for HTTP/1", || {
        let mut next = authority.connect(keyweir.proxy);
        next.send(request("GET", "/v1/models", &["Connection: close"], b""));
        String::from_utf8_lossy(&next.raw_rest()).starts_with("HTTP/1.1 200")
    });
}

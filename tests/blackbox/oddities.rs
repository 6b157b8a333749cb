//! Providers that answer what no provider should: nobody's key pays, and the client is told.

use std::net::TcpListener;

use serde_json::json;

use crate::harness::{Authority, Config, Dates, Keyweir, MockProvider, Peer, Scripted, TlsProvider};

fn answering(head: &'static str, body: &'static str) -> Scripted {
    Scripted::start(move |mut peer: Peer| {
        while peer.request().is_some() {
            peer.send(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    })
}

fn no_key_pays(keyweir: &Keyweir) {
    assert_eq!(keyweir.marked(), [""; 0]);
    assert_eq!(keyweir.admin("GET", "/readyz").status, 200);
}

#[test]
fn a_redirect_is_not_followed_with_a_key() {
    let elsewhere = MockProvider::start();
    let address = elsewhere.address;
    let provider = Scripted::start(move |mut peer: Peer| {
        while peer.request().is_some() {
            peer.send(format!(
                "HTTP/1.1 308 Permanent Redirect\r\nLocation: http://{address}/v1/chat/completions\r\nContent-Length: 0\r\n\r\n"
            ));
        }
    });
    let keyweir = Config::pool(&provider, &["sk-ok-1", "sk-ok-2"]).start();
    let answer = keyweir.chat(&json!({}));
    assert!(!(200..300).contains(&answer.status), "{}", answer.status);
    assert_eq!(elsewhere.count("requests"), 0);
    no_key_pays(&keyweir);
}

#[test]
fn a_page_is_no_answer_about_a_key() {
    const PAGE: &str = "<!doctype html><title>Just a moment...</title><h1>Checking your browser</h1>";
    for head in ["503 Service Unavailable\r\nContent-Type: text/html", "403 Forbidden\r\nContent-Type: text/html"] {
        let provider = answering(head, PAGE);
        let keyweir = Config::pool(&provider, &["sk-ok-1", "sk-ok-2", "sk-ok-3"]).start();
        for _ in 0..20 {
            assert!(keyweir.chat(&json!({})).status >= 400);
        }
        no_key_pays(&keyweir);
    }
}

#[test]
fn a_handshake_that_never_ends_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("https://{}", silent.local_addr().unwrap());
    let keyweir = Config::pool_with(target, "timeouts: {connect: 500ms}", &["sk-ok-1", "sk-ok-2"]).start();
    let answer = keyweir.chat(&json!({}));
    assert!(matches!(answer.code().as_str(), "upstream_unreachable" | "upstream_timeout"), "{}", answer.text());
    no_key_pays(&keyweir);
}

#[test]
fn a_certificate_that_became_wrong_is_refused_and_a_right_one_is_believed_again() {
    let mock = MockProvider::start();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (right, wrong) = (
        TlsProvider::start(&authority, Dates::Valid, mock.address),
        TlsProvider::start(&stranger, Dates::Valid, mock.address),
    );
    let keyweir = Config::pool(&right, &["sk-ok-1"]).env("SSL_CERT_FILE", &authority.certificate()).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    keyweir.rewrite(&right.to_string(), &wrong.to_string());
    keyweir.reload();
    assert_eq!(keyweir.chat(&json!({})).code(), "upstream_unreachable");
    no_key_pays(&keyweir);
    keyweir.rewrite(&wrong.to_string(), &right.to_string());
    keyweir.reload();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
}

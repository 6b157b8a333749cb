//! A request's body reaches the provider as it was sent, however it was framed and however often it is sent again.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::harness::{Config, Http2, Keyweir, MockProvider, Response, eventually, request};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const SIZES: [usize; 7] = [1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB, 20 * MIB, 32 * MIB];
const PATH: &str = "/v1/chat/completions";
const BINARY: &str = "Content-Type: application/octet-stream";

/// How a client frames a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    /// Waits for `100 Continue`.
    Expect,
    Http2,
    /// The end comes in a frame of its own.
    Http2EndApart,
    /// Without `content-length`.
    Http2Unknown,
}

/// Bytes that don't repeat.
fn body(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ size as u64;
    let mut body = Vec::with_capacity(size + 8);
    while body.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(&state.to_le_bytes());
    }
    body.truncate(size);
    body
}

fn sha256(body: &[u8]) -> String {
    digest(&SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn send(keyweir: &Keyweir, framing: Framing, body: &[u8]) -> Response {
    let mut connection = match framing {
        Framing::Http2 | Framing::Http2EndApart | Framing::Http2Unknown => return send_http2(keyweir, framing, body),
        _ => keyweir.connect(),
    };
    match framing {
        Framing::Chunked => {
            connection.send(request("POST", PATH, &[BINARY, "Transfer-Encoding: chunked"], b""));
            for piece in body.chunks(100_000) {
                connection.send(format!("{:x};name=value\r\n", piece.len()));
                connection.send(piece);
                connection.send("\r\n");
            }
            connection.send("0\r\n\r\n");
        }
        Framing::Expect => {
            let length = format!("Content-Length: {}", body.len());
            let head = request("PUT", PATH, &[BINARY, "Expect: 100-continue", &length], b"");
            connection.send(String::from_utf8(head).unwrap().replacen("PUT", "POST", 1));
            let interim = connection.any_head();
            if interim.status != 100 {
                return interim;
            }
            connection.send(body);
        }
        _ => connection.send(request("POST", PATH, &[BINARY], body)),
    }
    connection.response()
}

fn send_http2(keyweir: &Keyweir, framing: Framing, body: &[u8]) -> Response {
    let client = Http2::open(keyweir.proxy);
    let length = body.len().to_string();
    let headers = [("content-type", "application/octet-stream"), ("content-length", length.as_str())];
    let headers = if framing == Framing::Http2Unknown { &headers[..1] } else { &headers[..] };
    let mut exchange = client.begin("POST", PATH, headers, false);
    let is_end_apart = framing != Framing::Http2;
    exchange.send(body.to_vec(), !is_end_apart);
    if is_end_apart {
        exchange.send(Vec::new(), true);
    }
    exchange.answer().finish()
}

/// Sends bodies of these sizes to a pool whose first two keys are limited each time; all three attempts carry the same.
fn replays(framing: Framing, sizes: &[usize]) {
    let mock = MockProvider::start();
    let keys = (0..sizes.len()).flat_map(|i| [format!("sk-429-a{i}"), format!("sk-429-b{i}"), format!("sk-ok-{i}")]);
    let keys: Vec<String> = keys.collect();
    let keyweir = Config::pool(&mock, &keys.iter().map(String::as_str).collect::<Vec<_>>()).start();
    for &size in sizes {
        let body = body(size);
        let answer = send(&keyweir, framing, &body);
        assert_eq!((answer.status, answer.attempts()), (200, 3), "{framing:?} {size}: {}", answer.text());
        let last = mock.last();
        assert_eq!(last.len(), 3, "{framing:?} {size}");
        for seen in &last {
            assert_eq!(seen["body_bytes"], size, "{framing:?}");
            assert_eq!(seen["body_sha256"], sha256(&body), "{framing:?} {size}");
        }
        mock.control("reset", &json!({}));
    }
}

#[test]
fn bodies_of_declared_length_are_replayed() {
    replays(Framing::Length, &SIZES);
}

#[test]
fn chunked_bodies_are_replayed() {
    replays(Framing::Chunked, &SIZES);
}

#[test]
fn bodies_announced_with_expect_are_replayed() {
    replays(Framing::Expect, &[1, MIB]);
}

#[test]
fn http2_bodies_are_replayed() {
    replays(Framing::Http2, &SIZES);
    replays(Framing::Http2Unknown, &[1, MIB]);
}

#[test]
fn http2_bodies_whose_end_comes_apart_are_replayed() {
    replays(Framing::Http2EndApart, &[1, 64 * KIB, MIB]);
}

#[test]
fn an_empty_body_is_one() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-ok-1"]).start();
    let answer = keyweir.send(request("POST", PATH, &[], b""));
    assert_eq!((answer.status, answer.attempts()), (200, 2));
    let answer = Http2::open(keyweir.proxy).begin("POST", PATH, &[], true).answer().finish();
    assert_eq!(answer.status, 200);
    let answer = keyweir.send(request("POST", PATH, &["Transfer-Encoding: chunked"], b"0\r\n\r\n"));
    assert_eq!(answer.status, 200);
    for seen in mock.last() {
        assert_eq!(header(&seen, "content-length").as_deref(), Some("0"), "{seen}");
    }
}

fn header(seen: &Value, name: &str) -> Option<String> {
    let headers = seen["headers"].as_array().unwrap();
    let found = headers.iter().find(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name))?;
    Some(found[1].as_str().unwrap().to_owned())
}

const SMALL: &str = "buffer: 256KiB, body: 1MiB";

#[test]
fn bodies_over_the_limit_are_refused() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).limits(SMALL).start();
    for framing in [
        Framing::Length,
        Framing::Chunked,
        Framing::Expect,
        Framing::Http2,
        Framing::Http2EndApart,
        Framing::Http2Unknown,
    ] {
        let answer = send(&keyweir, framing, &body(2 * MIB));
        assert_eq!(answer.status, 413, "{framing:?}: {}", answer.text());
        if framing != Framing::Expect {
            assert_eq!(answer.code(), "request_too_large", "{framing:?}");
        }
    }
    assert_eq!(mock.count("requests"), 0, "nothing arrived whole");
    assert_eq!(keyweir.chat(&json!({})).status, 200);
}

#[test]
fn bodies_at_the_limit_pass() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).limits(SMALL).start();
    for framing in [Framing::Length, Framing::Chunked, Framing::Http2] {
        for size in [256 * KIB, 256 * KIB + 1, MIB] {
            assert_eq!(send(&keyweir, framing, &body(size)).status, 200, "{framing:?} {size}");
        }
    }
}

#[test]
fn bodies_over_the_buffer_are_streamed_once() {
    let mock = MockProvider::start();
    let framings = [
        Framing::Length,
        Framing::Chunked,
        Framing::Expect,
        Framing::Http2,
        Framing::Http2EndApart,
        Framing::Http2Unknown,
    ];
    for framing in framings {
        let keyweir = Config::pool(&mock, &["sk-429-1", "sk-ok-1"]).limits(SMALL).start();
        let body = body(600 * KIB);
        let refused = send(&keyweir, framing, &body);
        assert_eq!(refused.attempts(), 1, "{framing:?}: cannot be sent again: {}", refused.text());
        assert_eq!((refused.status, refused.code().as_str()), (503, "attempts_spent"), "{framing:?}");
        let served = send(&keyweir, framing, &body);
        assert_eq!((served.status, served.attempts()), (200, 1), "{framing:?}: {}", served.text());
        let last = mock.last();
        assert_eq!(last.len(), 2, "{framing:?}");
        assert_eq!(last[1]["body_sha256"], sha256(&body), "{framing:?}");
        mock.control("reset", &json!({}));
    }
}

#[test]
fn a_streamed_body_and_small_ones_share_nothing() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).limits(SMALL).start();
    for _ in 0..3 {
        assert_eq!(send(&keyweir, Framing::Length, &body(600 * KIB)).status, 200);
        assert_eq!(keyweir.chat(&json!({})).status, 200);
        assert_eq!(send(&keyweir, Framing::Length, &body(100)).status, 200);
    }
    let last = mock.last();
    for (big, small) in [(0, 1), (0, 2)] {
        assert_ne!(last[big]["connection"], last[small]["connection"]);
    }
}

#[test]
fn broken_chunks_are_refused_and_reach_nobody() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    for broken in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
    ] {
        let mut connection = keyweir.connect();
        connection.send(request("POST", PATH, &["Transfer-Encoding: chunked"], broken.as_bytes()));
        let answer = connection.response();
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{broken:?}");
        connection.expect_closed();
    }
    assert_eq!(mock.count("requests"), 0);
    assert_eq!(keyweir.chat(&json!({})).status, 200);
}

#[test]
fn a_body_that_breaks_off_reaches_nobody() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    for (headers, part) in [("Content-Length: 100", "half"), ("Transfer-Encoding: chunked", "5\r\nhel")] {
        let mut connection = keyweir.connect();
        connection.send(format!(
            "POST {PATH} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n{headers}\r\n\r\n{part}",
            crate::harness::TOKEN
        ));
        eventually("the request's arrival", || keyweir.metric("keyweir_in_flight_requests{pool=\"p\"}") == 1.0);
        drop(connection);
        eventually("the request's end", || keyweir.metric("keyweir_in_flight_requests{pool=\"p\"}") == 0.0);
    }
    let client = Http2::open(keyweir.proxy);
    let mut exchange = client.begin("POST", PATH, &[("content-length", "100")], false);
    exchange.send("half", false);
    eventually("the request's arrival", || keyweir.metric("keyweir_in_flight_requests{pool=\"p\"}") == 1.0);
    exchange.reset();
    eventually("the request's end", || keyweir.metric("keyweir_in_flight_requests{pool=\"p\"}") == 0.0);
    assert_eq!(mock.count("requests"), 0);
}

#[test]
fn a_slow_body_is_given_up() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).limits("buffer: 256KiB, body: 1MiB, body_timeout: 300ms").start();
    for (headers, part) in [
        ("Content-Length: 100", "slow"),
        ("Transfer-Encoding: chunked", "5\r\nslo"),
        ("Content-Length: 600000", "slow, and too long to keep"),
    ] {
        let mut connection = keyweir.connect();
        connection.send(format!(
            "POST {PATH} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n{headers}\r\n\r\n{part}",
            crate::harness::TOKEN
        ));
        let answer = connection.response();
        assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"), "{headers}");
        connection.expect_closed();
    }
    let client = Http2::open(keyweir.proxy);
    let mut exchange = client.begin("POST", PATH, &[("content-length", "100")], false);
    exchange.send("slow", false);
    let answer = exchange.answer().finish();
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"), "HTTP/2");
    assert_eq!(mock.count("requests"), 0);
}

//! Upstream connections are kept as long as they are clean, and never a moment longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::json;

use crate::harness::{Config, Http2, MockProvider, Scripted, chat, eventually, request};

const PATH: &str = "/v1/chat/completions";

#[test]
fn one_connection_serves_many_requests() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    for _ in 0..50 {
        connection.send(chat(&json!({})));
        assert_eq!(connection.response().status, 200);
    }
    assert_eq!(mock.count("connections_used"), 1);
}

#[test]
fn refused_requests_keep_their_connection() {
    let mock = MockProvider::start();
    let keys: Vec<String> = (0..8).flat_map(|i| [format!("sk-429-{i}"), format!("sk-401-{i}")]).collect();
    let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    keys.push("sk-ok-1");
    let keyweir = Config::pool(&mock, &keys).start();
    let mut connection = keyweir.connect();
    connection.send(chat(&json!({})));
    let answer = connection.response();
    assert!(answer.status == 200 && answer.attempts() > 5, "{}", answer.attempts());
    for status in [400, 404, 500] {
        connection.send(chat(&json!({"mock": {"status": status}})));
        assert_eq!(connection.response().status, status);
    }
    assert!(mock.count("connections_used") <= 2, "{} connections", mock.count("connections_used"));
}

/// A2: the request whose pooled connection turns out dead is sent again, POST or not: the provider never saw it.
#[test]
fn a_stale_connection_costs_nothing() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-stale-1"]).start();
    let mut connection = keyweir.connect();
    for _ in 0..5 {
        connection.send(chat(&json!({})));
        let answer = connection.response();
        assert_eq!((answer.status, answer.attempts()), (200, 1), "{}", answer.text());
    }
    assert_eq!(keyweir.marked(), [""; 0]);
    // A request is counted when it is over, a moment after its answer.
    let served = "keyweir_requests_total{code=\"200\",outcome=\"ok\",pool=\"p\"}";
    eventually("five requests counted", || keyweir.metric(served) == 5.0);
}

#[test]
fn a_connection_closed_while_idle_is_not_used() {
    let provider = Scripted::start(|mut peer| {
        if peer.request().is_some() {
            peer.answer(200, "{}");
        }
    });
    let keyweir = Config::pool(&provider, &["sk-ok-1"]).start();
    for _ in 0..5 {
        let answer = keyweir.chat(&json!({}));
        assert_eq!((answer.status, answer.attempts()), (200, 1));
    }
}

/// A6: an answer that comes while the body is still going out is seen, and the body goes to another key.
#[test]
fn an_early_refusal_of_a_big_body_is_seen() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-early401-1", "sk-early401-2", "sk-ok-1"]).start();
    let body = vec![b'x'; 5 << 20];
    let answer = keyweir.send(request("POST", PATH, &[], &body));
    assert_eq!((answer.status, answer.attempts()), (200, 3), "{}", answer.text());
    assert_eq!(keyweir.state("early401-1").0, "disabled");
    assert_eq!(mock.last().pop().unwrap()["body_bytes"], 5 << 20);
}

/// A2: a connection on which a request was only half sent is not used again; what follows would be read as its body.
#[test]
fn a_half_sent_request_never_poisons_the_next() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let provider = Scripted::start(move |mut peer| {
        while let Some(head) = peer.head() {
            if head.contains("sk-bad-1") {
                peer.answer(429, "{\"error\":{}}");
                // A second request on this connection would lie behind half a body.
                while let Some(head) = peer.head() {
                    count.fetch_add(head.matches("HTTP/1.1").count(), SeqCst);
                }
                return;
            }
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: ").or(line.strip_prefix("content-length: ")));
            assert!(length.is_some(), "{head}");
            peer.skip(length.unwrap().parse().unwrap());
            peer.answer(200, "{}");
        }
    });
    let keyweir = Config::pool(&provider, &["sk-bad-1", "sk-ok-1"]).start();
    let answer = keyweir.send(request("POST", PATH, &[], &vec![b'x'; 20 << 20]));
    assert_eq!((answer.status, answer.attempts()), (200, 2));
    for _ in 0..5 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert_eq!(seen.load(SeqCst), 0, "nothing was sent behind a half body");
}

/// A7: of an error body only so much is read; neither the retry nor the client waits for its end.
#[test]
fn an_endless_error_is_not_read_to_its_end() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-endless-1", "sk-ok-1"]).start();
    for _ in 0..3 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    eventually("the endless connections' end", || mock.count("connections_open") <= 3);
}

/// A7: hop-by-hop headers of the provider stay on its side, and a long error arrives whole.
#[test]
fn a_long_error_passes_whole() {
    let body = format!("{{\"error\":{{\"message\":\"{}\"}}}}", "x".repeat(300_000));
    let text = body.clone();
    let provider = Scripted::start(move |mut peer| {
        while peer.request().is_some() {
            peer.answer(400, &text);
        }
    });
    let keyweir = Config::pool(&provider, &["sk-ok-1"]).start();
    for _ in 0..2 {
        let answer = keyweir.chat(&json!({}));
        assert!(answer.status == 400 && answer.text() == body);
    }
    assert!(provider.connections() <= 2);
}

#[test]
fn an_error_without_a_body_passes() {
    for framing in ["Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n"] {
        let provider = Scripted::start(move |mut peer| {
            while peer.request().is_some() {
                peer.send(format!("HTTP/1.1 404 Not Found\r\n{framing}\r\n"));
                if framing.starts_with("Transfer") {
                    peer.send("0\r\n\r\n");
                } else if framing.starts_with("Connection") {
                    return;
                }
            }
        });
        let keyweir = Config::pool(&provider, &["sk-ok-1"]).start();
        let mut connection = keyweir.connect();
        for _ in 0..2 {
            connection.send(chat(&json!({})));
            let answer = connection.response();
            assert_eq!((answer.status, answer.body.len(), answer.is_complete), (404, 0, true), "{framing}");
        }
    }
}

/// A3 and A5: interim answers are swallowed, an upgrade nobody asked for is none.
#[test]
fn interim_answers_stay_here() {
    let provider = Scripted::start(|mut peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
            peer.answer(200, "{\"ok\":true}");
        }
    });
    let keyweir = Config::pool(&provider, &["sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    connection.send(chat(&json!({})));
    let answer = connection.any_head();
    assert_eq!((answer.status, answer.header("link")), (200, None));
}

#[test]
fn several_targets_share_the_requests() {
    let mocks = [MockProvider::start(), MockProvider::start()];
    let keyweir = Config::pool(&mocks[0], &["sk-ok-1"])
        .replace_targets(&format!("{{url: \"http://{}\", weight: 3}}, {{url: \"http://{}\"}}", mocks[0], mocks[1]))
        .start();
    for _ in 0..40 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert_eq!(mocks.each_ref().map(|mock| mock.count("requests")), [30, 10]);
    for mock in &mocks {
        assert!(mock.last()[0].to_string().contains(&format!("\"{mock}\"")), "Host is the target's own");
    }
}

#[test]
fn an_unreachable_provider_is_told_as_such() {
    let mock = MockProvider::start();
    let nobody = crate::harness::free_address();
    let keyweir = Config::pool_with(nobody, "timeouts: {connect: 2s}", &["sk-ok-1", "sk-ok-2"])
        .and_pool("noname", "http://does-not-exist.invalid", "timeouts: {connect: 2s}", &["sk-ok-3"])
        .and_pool("good", &mock, "", &["sk-ok-4"])
        .start();
    for path in ["/p/v1/models", "/noname/v1/models"] {
        let answer = keyweir.send(request("GET", path, &[], b""));
        let is_told = answer.status == 502 && answer.code() == "upstream_unreachable";
        // A resolver that does not answer at all is a timeout.
        assert!(is_told || answer.code() == "upstream_timeout", "{path}: {} {}", answer.status, answer.text());
    }
    assert_eq!(keyweir.marked(), [""; 0]);
    assert_eq!(keyweir.send(request("GET", "/good/v1/models", &[], b"")).status, 200, "the server goes on");
}

#[test]
fn an_endless_final_error_ends_with_its_client() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-endless-1"]).start();
    let mut connection = keyweir.connect();
    connection.send(chat(&json!({})));
    assert_eq!(connection.head().status, 500);
    drop(connection);
    eventually("the endless connections' end", || mock.count("connections_open") == 1);
    eventually("the lease's end", || keyweir.in_flight() == 0);
}

#[test]
fn a_long_answer_passes_whole() {
    let body: Vec<u8> = (0..20_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let answer = body.clone();
    let provider = Scripted::start(move |mut peer| {
        while peer.request().is_some() {
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            ));
            peer.send(&answer);
        }
    });
    let keyweir = Config::pool(&provider, &["sk-ok-1"]).start();
    assert!(keyweir.chat(&json!({})).body == body);
    let http2 = Http2::open(keyweir.proxy).post(PATH, &json!({})).finish();
    assert!(http2.is_complete && http2.body == body, "over HTTP/2");
}

#[test]
fn answers_without_a_body_keep_their_framing() {
    for (method, head, status) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", 200),
        ("HEAD", "HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\n", 404),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304),
    ] {
        let provider = Scripted::start(move |mut peer| {
            while peer.request().is_some() {
                peer.send(head);
            }
        });
        let keyweir = Config::pool(&provider, &["sk-ok-1"]).start();
        let mut connection = keyweir.connect();
        for _ in 0..3 {
            connection.send(request(method, "/v1/models", &[], b""));
            assert_eq!(connection.response_to(method).status, status, "{head:?}");
        }
        assert!(provider.connections() <= 2, "{head:?}: {} connections", provider.connections());
    }
}

/// Two framings in one answer: the client must see one of them, and the connection must not be trusted.
#[test]
fn an_answer_framed_twice_arrives_with_one_framing() {
    let provider = Scripted::start(|mut peer| {
        while peer.request().is_some() {
            peer.send(
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            );
        }
    });
    let keyweir = Config::pool(&provider, &["sk-ok-1", "sk-ok-2"]).start();
    for _ in 0..2 {
        let answer = keyweir.chat(&json!({}));
        let framings = ["content-length", "transfer-encoding"].map(|name| answer.header(name).is_some());
        assert_ne!(framings, [true, true], "{:?}", answer.headers);
        assert!(answer.status == 502 || answer.text() == "hello", "{} {}", answer.status, answer.text());
    }
}

#[test]
fn bytes_behind_an_answer_are_not_the_next_one() {
    let provider = Scripted::start(|mut peer| {
        while peer.request().is_some() {
            peer.send(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
            );
        }
    });
    let keyweir = Config::pool(&provider, &["sk-ok-1"]).start();
    for _ in 0..4 {
        assert_eq!(keyweir.chat(&json!({})).text(), "{}");
    }
}

#[test]
fn a_refused_client_sees_why_although_it_goes_on_sending() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    for size in [1_000, 200_000, 5_000_000] {
        let mut connection = keyweir.connect();
        connection.send(format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
        connection.send(vec![b'x'; size]);
        assert_eq!(connection.response().status, 401, "{size}");
    }
}

#[test]
fn trailers_of_a_request_stay_here() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    for _ in 0..2 {
        connection.send(request(
            "POST",
            PATH,
            &["Transfer-Encoding: chunked"],
            b"2\r\n{}\r\n0\r\nX-Trailer: LEAK\r\n\r\n",
        ));
        assert_eq!(connection.response().status, 200);
    }
    assert!(!mock.stats().to_string().contains("LEAK"));
}

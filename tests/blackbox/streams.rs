//! An event stream goes through as it comes, begins only when it has really begun, and never pretends to be finished.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::harness::{Config, Http2, MockProvider, PATIENCE, Peer, Scripted, chat, chunk, event};

const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// A provider that sends what the test sends into the channel, a chunk each; an empty text ends the stream.
pub(crate) fn on_cue() -> (Scripted, Sender<String>) {
    let (cues, receiver) = channel::<String>();
    let receiver = Arc::new(Mutex::new(receiver));
    let provider = Scripted::start(move |mut peer| {
        while peer.request().is_some() {
            peer.begin_stream();
            play(&mut peer, &receiver.lock().unwrap());
        }
    });
    (provider, cues)
}

fn play(peer: &mut Peer, cues: &Receiver<String>) {
    while let Ok(cue) = cues.recv_timeout(PATIENCE) {
        peer.send(chunk(&cue));
        if cue.is_empty() {
            return;
        }
    }
}

#[test]
fn each_event_arrives_before_the_next_is_sent() {
    let (provider, cues) = on_cue();
    let keyweir = Config::pool(&provider, &["sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    connection.send(chat(&json!({"stream": true})));
    for n in 0..5 {
        cues.send(event(&format!("word {n}"))).unwrap();
        if n == 0 {
            let head = connection.head();
            assert_eq!((head.status, head.header("x-accel-buffering")), (200, Some("no")));
        }
        assert_eq!(connection.until(&format!("word {n}")), event(&format!("word {n}")));
    }
    cues.send(DONE.into()).unwrap();
    cues.send(String::new()).unwrap();
    assert_eq!(connection.rest(), (DONE.to_owned(), true));
}

#[test]
fn each_event_arrives_at_once_on_http2_too() {
    let (provider, cues) = on_cue();
    let keyweir = Config::pool(&provider, &["sk-ok-1"]).start();
    let client = Http2::open(keyweir.proxy);
    cues.send(event("word 0")).unwrap();
    let mut answer = client.post("/v1/chat/completions", &json!({"stream": true}));
    assert_eq!(answer.head.status, 200);
    answer.until("word 0");
    for n in 1..5 {
        cues.send(event(&format!("word {n}"))).unwrap();
        answer.until(&format!("word {n}"));
    }
    cues.send(DONE.into()).unwrap();
    cues.send(String::new()).unwrap();
    let answer = answer.finish();
    assert!(answer.is_complete && answer.text().ends_with(DONE));
}

/// A provider whose first key gets `opening` and then whatever `end` does, and whose other keys get a whole stream.
fn first_key_gets(opening: &'static str, end: impl Fn(&mut Peer) + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            peer.begin_stream();
            if head.contains("sk-bad-1") {
                peer.send(chunk(opening));
                end(&mut peer);
                return;
            }
            peer.send(chunk(&event("good")) + &chunk(DONE) + &chunk(""));
        }
    })
}

fn answer_behind(provider: &Scripted) -> crate::harness::Response {
    let keyweir = Config::pool_with(provider, "timeouts: {hold: 10s}", &["sk-bad-1", "sk-good-1"]).start();
    keyweir.chat(&json!({"stream": true}))
}

#[test]
fn what_opens_a_stream_is_held_until_its_first_content() {
    for opening in [
        ": ping\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"role\":\"assistant\",\"content\":[]}}\n\n",
        ": ping\r\n\r\ndata: {\"choices\":[]}\r\n\r\n",
    ] {
        let provider = first_key_gets(opening, |peer| {
            peer.send(chunk("data: {\"error\":{\"code\":\"rate_limit_exceeded\"}}\n\n"))
        });
        let answer = answer_behind(&provider);
        assert_eq!((answer.status, answer.attempts()), (200, 2), "{opening:?}");
        assert_eq!(answer.text(), event("good") + DONE, "{opening:?}: nothing of the failed attempt");
        let provider = first_key_gets(opening, |_| {});
        assert_eq!(answer_behind(&provider).text(), event("good") + DONE, "{opening:?}, then closed");
    }
}

#[test]
fn an_error_in_place_of_content_marks_the_key_it_blames() {
    let provider =
        first_key_gets(ROLE, |peer| peer.send(chunk("data: {\"error\":{\"code\":\"rate_limit_exceeded\"}}\n\n")));
    let keyweir = Config::pool(&provider, &["sk-bad-1", "sk-good-1"]).start();
    assert_eq!(keyweir.chat(&json!({"stream": true})).status, 200);
    assert_eq!(keyweir.state("bad-1"), ("cooling".to_owned(), "rate_limited".to_owned()));
}

#[test]
fn content_of_every_kind_opens_the_stream() {
    for opening in [
        "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"x\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"x\"}}\n\n",
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n",
    ] {
        let (provider, cues) = on_cue();
        let keyweir = Config::pool_with(&provider, "timeouts: {hold: 1h}", &["sk-ok-1"]).start();
        let mut connection = keyweir.connect();
        connection.send(chat(&json!({"stream": true})));
        cues.send(opening.into()).unwrap();
        assert_eq!(connection.head().status, 200, "{opening:?}");
        assert_eq!(connection.until(opening), opening);
    }
}

#[test]
fn a_stream_held_long_enough_is_released() {
    let (provider, cues) = on_cue();
    let keyweir = Config::pool_with(&provider, "timeouts: {hold: 200ms}", &["sk-ok-1", "sk-ok-2"]).start();
    let mut connection = keyweir.connect();
    connection.send(chat(&json!({"stream": true})));
    cues.send(ROLE.into()).unwrap();
    assert_eq!(connection.head().status, 200);
    assert_eq!(connection.until("assistant"), ROLE, "what was held comes first");
    cues.send(event("late")).unwrap();
    assert_eq!(connection.until("late"), event("late"));
    cues.send(DONE.into()).unwrap();
    cues.send(String::new()).unwrap();
    assert_eq!(connection.rest(), (DONE.to_owned(), true));
}

#[test]
fn a_stream_without_content_from_every_key_is_an_error() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-empty-1", "sk-empty-2", "sk-empty-3"]).start();
    let answer = keyweir.chat(&json!({"stream": true}));
    assert!(answer.attempts() > 1, "{}", answer.text());
    assert!(answer.status >= 500 || answer.status == 200, "{}", answer.status);
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn a_cut_stream_ends_with_an_error_event_and_no_clean_end() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-cut-1"]).start();
    for mock in [json!({"events": 4, "interval_ms": 1}), json!({"events": 4, "interval_ms": 1, "die_after": 2})] {
        let answer = keyweir.chat(&json!({"stream": true, "mock": mock}));
        assert_eq!(answer.status, 200);
        assert!(!answer.is_complete, "no last chunk: {}", answer.text());
        expect_error_event(&answer, "upstream_unreachable");
    }
}

/// A8: HTTP/2 throws queued data away when a stream is reset; the error event must have left by then.
#[test]
fn a_cut_stream_tells_http2_clients_too() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-cut-1"]).start();
    let client = Http2::open(keyweir.proxy);
    for _ in 0..5 {
        let body = json!({"stream": true, "mock": {"events": 4, "interval_ms": 1}});
        let answer = client.post("/v1/chat/completions", &body).finish();
        assert!(!answer.is_complete, "reset, not ended: {}", answer.text());
        expect_error_event(&answer, "upstream_unreachable");
    }
}

#[test]
fn a_stream_that_falls_silent_is_broken_off() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, "timeouts: {hold: 100ms, idle: 300ms}", &["sk-stall-1"]).start();
    let answer = keyweir.chat(&json!({"stream": true}));
    assert!(!answer.is_complete);
    expect_error_event(&answer, "upstream_timeout");
    assert!(!answer.text().contains(": keep-alive"), "no comments unless they are asked for: {}", answer.text());
    let whole = keyweir.chat(&json!({}));
    assert!(!whole.is_complete, "half a JSON body is not passed off as one");
}

#[test]
fn a_stream_longer_than_allowed_is_broken_off() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, "timeouts: {total: 500ms}", &["sk-ok-1"]).start();
    let answer = keyweir.chat(&json!({"stream": true, "mock": {"events": 100_000, "interval_ms": 5}}));
    assert!(!answer.is_complete);
    expect_error_event(&answer, "upstream_timeout");
    mock.expect("streams_cancelled", 1);
}

pub(crate) fn expect_error_event(answer: &crate::harness::Response, code: &str) {
    let text = answer.text();
    let events: Vec<&str> = text.split("\n\n").filter(|event| !event.is_empty()).collect();
    let data = events.last().and_then(|event| event.trim_start().strip_prefix("data: "));
    let data = data.unwrap_or_else(|| panic!("no last event: {text:?}"));
    let error: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(error["error"]["type"], "keyweir_error", "{text}");
    assert_eq!(error["error"]["code"], code, "{text}");
    assert_eq!(error["error"]["request_id"].as_str(), answer.header("x-request-id"));
    assert!(!text.contains("[DONE]"), "{text}");
}

/// A provider that ends its streams with the connection, after these events.
fn delimited_by_close(events: &'static [&'static str]) -> Scripted {
    Scripted::start(move |mut peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
            peer.send(event("hello"));
            events.iter().for_each(|text| peer.send(text));
        }
    })
}

#[test]
fn a_stream_that_only_its_connection_ends_must_have_finished() {
    for (events, is_finished) in [
        (&[DONE][..], true),
        (&["data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"], true),
        (&["event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"], true),
        (&[], false),
        (&["data: {\"choices\":[{\"delta\":{\"content\":\"wor"], false),
    ] {
        let provider = delimited_by_close(events);
        let keyweir = Config::pool(&provider, &["sk-ok-1"]).start();
        let answer = keyweir.chat(&json!({"stream": true}));
        assert_eq!(answer.is_complete, is_finished, "{events:?}: {}", answer.text());
        if is_finished {
            assert_eq!(answer.text(), event("hello") + &events.concat());
        } else {
            expect_error_event(&answer, "upstream_unreachable");
        }
    }
}

#[test]
fn answers_delimited_by_close_pass_whole() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-nolen-1"]).start();
    let stream = keyweir.chat(&json!({"stream": true, "mock": {"events": 3}}));
    assert!(stream.is_complete && stream.text().ends_with(DONE), "{}", stream.text());
    let whole = keyweir.chat(&json!({}));
    assert!(whole.is_complete && whole.json()["choices"][0]["finish_reason"] == "stop");
}

#[test]
fn a_cut_body_is_not_passed_off_as_whole() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-cut-1"]).start();
    for frame in ["length", "chunked"] {
        let answer = keyweir.chat(&json!({"mock": {"frame": frame}}));
        assert_eq!(answer.status, 200);
        assert!(!answer.is_complete, "{frame}: {}", answer.text());
        let answer =
            Http2::open(keyweir.proxy).post("/v1/chat/completions", &json!({"mock": {"frame": frame}})).finish();
        assert!(!answer.is_complete, "{frame} over HTTP/2");
    }
}

#[test]
fn a_stream_keeps_its_upstream_connection() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    for _ in 0..5 {
        assert!(keyweir.chat(&json!({"stream": true, "mock": {"events": 2, "interval_ms": 1}})).is_complete);
    }
    assert!(mock.count("connections_used") <= 2, "one per worker thread: {}", mock.count("connections_used"));
}

#[test]
fn a_compressed_stream_passes_unread() {
    let provider = Scripted::start(|mut peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
            peer.send(chunk("not really gzip"));
            peer.closed();
        }
    });
    let keyweir = Config::pool_with(&provider, "timeouts: {hold: 1h}", &["sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    connection.send(chat(&json!({"stream": true})));
    assert_eq!(connection.head().header("content-encoding"), Some("gzip"));
    assert_eq!(connection.until("gzip"), "not really gzip");
}

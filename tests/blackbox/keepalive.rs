//! A stream whose provider is silent is kept alive by comments, between its events and nowhere else.

use serde_json::json;

use crate::harness::{Config, Http2, Scripted, chat, chunk, event};
use crate::streams::{DONE, expect_error_event, on_cue};

const KEPT_ALIVE: &str = ": keep-alive\n\n";

#[test]
fn a_silent_stream_is_kept_alive() {
    let (provider, cues) = on_cue();
    let keyweir = Config::pool_with(&provider, "timeouts: {keepalive_comment: 50ms}", &["sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    connection.send(chat(&json!({"stream": true})));
    for word in ["one", "two"] {
        cues.send(event(word)).unwrap();
        if word == "one" {
            assert_eq!(connection.head().status, 200);
        }
        let seen = connection.until(word);
        assert_eq!(seen.replace(KEPT_ALIVE, ""), event(word));
        assert_eq!(connection.until(&KEPT_ALIVE.repeat(3)), KEPT_ALIVE.repeat(3), "again and again");
    }
    cues.send(DONE.into()).unwrap();
    cues.send(String::new()).unwrap();
    let (rest, is_complete) = connection.rest();
    assert_eq!((rest.replace(KEPT_ALIVE, "").as_str(), is_complete), (DONE, true));
}

#[test]
fn a_silent_stream_is_kept_alive_on_http2_too() {
    let (provider, cues) = on_cue();
    let keyweir = Config::pool_with(&provider, "timeouts: {keepalive_comment: 50ms}", &["sk-ok-1"]).start();
    let client = Http2::open(keyweir.proxy);
    cues.send(event("one")).unwrap();
    let mut answer = client.post("/v1/chat/completions", &json!({"stream": true}));
    answer.until(&KEPT_ALIVE.repeat(2));
    cues.send(DONE.into()).unwrap();
    cues.send(String::new()).unwrap();
    let answer = answer.finish();
    assert!(answer.is_complete && answer.text().ends_with(DONE));
}

#[test]
fn a_stream_released_without_an_event_is_kept_alive() {
    let (provider, cues) = on_cue();
    let settings = "timeouts: {hold: 100ms, keepalive_comment: 50ms}";
    let keyweir = Config::pool_with(&provider, settings, &["sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    connection.send(chat(&json!({"stream": true})));
    assert_eq!(connection.head().status, 200);
    assert_eq!(connection.until(&KEPT_ALIVE.repeat(2)), KEPT_ALIVE.repeat(2));
    cues.send(event("late") + DONE).unwrap();
    cues.send(String::new()).unwrap();
    let (rest, is_complete) = connection.rest();
    assert_eq!((rest.replace(KEPT_ALIVE, ""), is_complete), (event("late") + DONE, true));
}

/// A provider whose streams begin with these chunks and then fall silent.
fn silent_after(chunks: &'static [&'static str]) -> Scripted {
    Scripted::start(move |mut peer| {
        while peer.request().is_some() {
            peer.begin_stream();
            chunks.iter().for_each(|text| peer.send(chunk(text)));
            peer.closed();
        }
    })
}

#[test]
fn comments_are_no_sign_of_life_of_the_provider() {
    let provider = silent_after(&["data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"]);
    let settings = "timeouts: {idle: 500ms, keepalive_comment: 50ms}";
    let keyweir = Config::pool_with(&provider, settings, &["sk-ok-1"]).start();
    let answer = keyweir.chat(&json!({"stream": true}));
    assert!(!answer.is_complete && answer.text().contains(KEPT_ALIVE), "{}", answer.text());
    expect_error_event(&answer, "upstream_timeout");
}

#[test]
fn no_comment_tears_an_event_apart() {
    for chunks in [
        &["data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n", "data: {\"choices\":[{\"del"][..],
        &["data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n"],
        &["data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\r\n\r\n", "event: x\r\n"],
    ] {
        let provider = silent_after(chunks);
        let settings = "timeouts: {hold: 100ms, idle: 400ms, keepalive_comment: 50ms}";
        let keyweir = Config::pool_with(&provider, settings, &["sk-ok-1"]).start();
        let answer = keyweir.chat(&json!({"stream": true}));
        expect_error_event(&answer, "upstream_timeout");
        assert!(answer.text().starts_with(&(chunks.concat() + "\n\ndata: {\"error\"")), "{:?}", answer.text());
    }
}

#[test]
fn only_streams_are_kept_alive() {
    let kinds = [
        "Content-Type: application/json",
        "Content-Type: text/plain",
        "Content-Type: text/event-stream\r\nContent-Encoding: gzip",
    ];
    for kind in kinds {
        let provider = Scripted::start(move |mut peer| {
            while peer.request().is_some() {
                peer.send(format!("HTTP/1.1 200 OK\r\n{kind}\r\nTransfer-Encoding: chunked\r\n\r\n"));
                peer.send(chunk("half\n\n"));
                peer.closed();
            }
        });
        let settings = "timeouts: {hold: 100ms, idle: 400ms, keepalive_comment: 50ms}";
        let keyweir = Config::pool_with(&provider, settings, &["sk-ok-1"]).start();
        let answer = keyweir.chat(&json!({"stream": true}));
        assert_eq!((answer.text().as_str(), answer.is_complete), ("half\n\n", false), "{kind}");
    }
}

/// What keyweir adds to a stream must not count into a length that the provider announced for its own part.
#[test]
fn a_stream_with_a_length_has_room_for_comments_and_an_error() {
    let content = event("x");
    let length = content.len() + 50;
    let provider = Scripted::start(move |mut peer| {
        if peer.request().is_some() {
            let kind = "Content-Type: text/event-stream";
            peer.send(format!("HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{content}"));
            peer.closed();
        }
    });
    let settings = "timeouts: {idle: 500ms, keepalive_comment: 50ms}";
    let keyweir = Config::pool_with(&provider, settings, &["sk-ok-1"]).start();
    let answer = keyweir.chat(&json!({"stream": true}));
    assert!(!answer.is_complete && answer.text().contains(KEPT_ALIVE), "{}", answer.text());
    expect_error_event(&answer, "upstream_timeout");
    let http2 = Http2::open(keyweir.proxy).post("/v1/chat/completions", &json!({"stream": true})).finish();
    assert!(!http2.is_complete);
    expect_error_event(&http2, "upstream_timeout");
}

//! Each behaviour, seen by a client on a plain socket.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

mod client;

use client::Client;

fn streamed(more: Value) -> Value {
    json!({"model": "m", "stream": true, "messages": [], "mock": more})
}

#[tokio::test]
async fn a_good_key_gets_a_completion_of_the_model_asked_for() {
    let mut client = Client::new().await;
    for path in ["/v1/chat/completions", "/chat/completions", "/api/v4/chat/completions?x=1"] {
        client.post(path, "sk-ok-1", &json!({"model": "qwen \"3\"", "messages": []})).await;
        let reply = client.reply().await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.json()["model"], "qwen \"3\"");
        assert_eq!(reply.json()["choices"][0]["message"]["role"], "assistant");
        assert!(reply.json()["usage"]["total_tokens"].as_u64().unwrap() > 0);
    }
    assert_eq!(client.stats().await["connections_used"], 1, "kept alive");
}

#[tokio::test]
async fn models_are_listed_and_the_key_may_travel_in_other_headers() {
    let mut client = Client::new().await;
    for header in ["x-api-key: sk-ok-1", "API-Key: sk-ok-1", "authorization: bearer sk-ok-1"] {
        client.send(&format!("GET /v1/models HTTP/1.1\r\nHost: mock\r\n{header}\r\n\r\n")).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, &reply.json()["object"]), (200, &json!("list")), "{header}");
    }
}

#[tokio::test]
async fn json_that_is_not_declared_as_such_is_still_read() {
    let mut client = Client::new().await;
    for (body, model) in [(r#"{"model":"m2"}"#, "m2"), (r#"{"model":"#, "gpt-4o-mini"), ("a=b", "gpt-4o-mini")] {
        let length = body.len();
        client
            .send(&format!(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: mock\r\napi-key: sk-ok-1\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            ))
            .await;
        assert_eq!(client.reply().await.json()["model"], model, "{body}");
    }
}

#[tokio::test]
async fn embeddings_count_their_inputs_and_know_base64() {
    let mut client = Client::new().await;
    client.post("/v1/embeddings", "sk-ok-1", &json!({"input": ["a", "b"], "dimensions": 4})).await;
    let data = client.reply().await.json()["data"].clone();
    assert_eq!(data.as_array().unwrap().len(), 2);
    assert_eq!(data[1]["embedding"].as_array().unwrap().len(), 4);

    let tokens = json!({"input": [1, 2, 3], "dimensions": 4, "encoding_format": "base64"});
    client.post("/v1/embeddings", "sk-ok-1", &tokens).await;
    let data = client.reply().await.json()["data"].clone();
    assert_eq!(data.as_array().unwrap().len(), 1);
    assert_eq!(data[0]["embedding"].as_str().unwrap().len(), 24, "16 bytes in base64");
}

#[tokio::test]
async fn refused_keys_are_told_so_in_the_providers_words() {
    let mut client = Client::new().await;
    for (key, status, code, retry_after) in [
        ("sk-429-1", 429, json!("rate_limit_exceeded"), Some("30")),
        ("sk-quota-1", 429, json!("insufficient_quota"), None),
        ("sk-401-1", 401, json!("invalid_api_key"), None),
        ("sk-403-1", 403, Value::Null, None),
        ("sk-500-1", 500, Value::Null, None),
        ("whatever", 401, json!("invalid_api_key"), None),
        ("", 401, Value::Null, None),
    ] {
        let reply = client.chat(key, json!({"model": "m"})).await;
        assert_eq!(reply.status, status, "{key}");
        assert_eq!(reply.json()["error"]["code"], code, "{key}");
        assert!(reply.json()["error"]["message"].as_str().is_some_and(|message| message.len() > 20), "{key}");
        assert_eq!(reply.header("retry-after"), retry_after, "{key}");
    }
    assert_eq!(client.stats().await["keys"]["sk-403-1"], json!({"requests": 1, "last_status": 403}));
    assert_eq!(client.stats().await["classes"]["unknown"], 1);
}

#[tokio::test]
async fn keys_with_a_memory_change_their_mind() {
    let mut client = Client::new().await;
    let mut statuses = Vec::new();
    for key in ["sk-flaky-2-a", "sk-flaky-2-a", "sk-flaky-2-a", "sk-flaky-2-b", "sk-rpm-1-a", "sk-rpm-1-a"] {
        statuses.push(client.chat(key, json!({})).await.status);
    }
    assert_eq!(statuses, [500, 500, 200, 500, 200, 429]);
    let reply = client.chat("sk-rpm-1-a", json!({})).await;
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_stream_has_role_contents_finish_usage_and_done() {
    let mut client = Client::new().await;
    let mut body = streamed(json!({"events": 3, "interval_ms": 1}));
    body["stream_options"] = json!({"include_usage": true});
    let reply = client.chat("sk-ok-1", body).await;
    assert!(reply.complete && reply.header("content-type").unwrap().starts_with("text/event-stream"));
    let events = reply.events();
    assert_eq!(events.len(), 7, "{events:?}");
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let stamps: Vec<u64> = events[1..4]
        .iter()
        .map(|event| event["choices"][0]["delta"]["content"].as_str().unwrap())
        .map(|content| content.strip_prefix('T').unwrap().trim_end().parse().unwrap())
        .collect();
    assert_eq!(events[1]["choices"][0]["delta"]["content"].as_str().unwrap().len(), 22, "T, 20 digits, a blank");
    assert!(stamps.is_sorted() && stamps[0] > 0, "{stamps:?}");
    assert_eq!(events[4]["choices"][0]["finish_reason"], "stop");
    assert_eq!(events[5]["usage"]["completion_tokens"], 3);
    assert_eq!(events[6], "[DONE]");
    assert_eq!(client.chat("sk-ok-1", json!({})).await.status, 200, "the connection lives on");
    assert_eq!(client.stats().await["streams_finished"], 1);
}

#[tokio::test]
async fn flawed_streams_are_flawed_as_their_key_says() {
    for (key, script, complete, events, done) in [
        ("sk-cut-1", json!({"events": 4, "interval_ms": 0}), false, 3, false),
        ("sk-ok-1", json!({"events": 4, "interval_ms": 0, "die_after": 1}), false, 2, false),
        ("sk-err200-1", json!({}), true, 1, false),
        ("sk-empty-1", json!({}), true, 2, true),
        ("sk-ok-1", json!({"events": 1, "interval_ms": 0, "frame": "close"}), true, 4, true),
        ("sk-nolen-1", json!({"events": 1, "interval_ms": 0}), true, 4, true),
    ] {
        let reply = Client::new().await.chat(key, streamed(script)).await;
        assert_eq!((reply.status, reply.complete), (200, complete), "{key}");
        assert_eq!(reply.events().len(), events, "{key}: {}", reply.text());
        assert_eq!(reply.events().contains(&json!("[DONE]")), done, "{key}");
        assert_eq!(reply.events()[0].get("error").is_some(), key == "sk-err200-1");
    }
}

#[tokio::test]
async fn flawed_json_is_flawed_as_its_key_says() {
    let reply = Client::new().await.chat("sk-cut-1", json!({})).await;
    assert!(!reply.complete && !reply.body.is_empty());

    let reply = Client::new().await.chat("sk-err200-1", json!({})).await;
    assert_eq!((reply.status, &reply.json()["error"]["type"]), (200, &json!("server_error")));

    let reply = Client::new().await.chat("sk-nolen-1", json!({})).await;
    assert_eq!(reply.header("content-length"), None);
    assert_eq!(reply.json()["object"], "chat.completion");
}

#[tokio::test]
async fn clients_that_leave_are_counted() {
    let client = Client::new().await;
    for (key, body, counter) in [
        ("sk-slow-1", json!({}), "waits_cancelled"),
        ("sk-ok-1", streamed(json!({"interval_ms": 60_000})), "streams_cancelled"),
        ("sk-stall-1", streamed(json!({})), "streams_cancelled"),
        ("sk-hang-1", json!({}), "waits_cancelled"),
    ] {
        let before = client.stats().await;
        let mut leaver = Client::to(client.address).await;
        leaver.post("/v1/chat/completions", key, &body).await;
        client.until("requests", before["requests"].as_u64().unwrap() + 1).await;
        assert_eq!(client.stats().await[counter], before[counter], "{key}: still waiting");
        drop(leaver);
        client.until(counter, before[counter].as_u64().unwrap() + 1).await;
        client.until("streams_open", 0).await;
    }
}

#[tokio::test]
async fn protocol_is_broken_on_demand() {
    for (key, begins) in [
        ("sk-garbage-1", &b"\x16\x03"[..]),
        ("sk-halfhead-1", b"HTTP/1.1 200 OK\r\ncontent-type: appli"),
        ("sk-close-1", b""),
    ] {
        let mut client = Client::new().await;
        client.post("/v1/chat/completions", key, &json!({})).await;
        while client.fill().await {}
        assert!(client.buffer.starts_with(begins), "{key}: {:?}", client.buffer);
        assert_eq!(client.buffer.is_empty(), begins.is_empty(), "{key}");
    }
    let mut client = Client::new().await;
    client.post("/v1/chat/completions", "sk-endless-1", &json!({})).await;
    while client.buffer.len() < 200_000 {
        assert!(client.fill().await, "an endless body ended");
    }
    assert!(client.buffer.starts_with(b"HTTP/1.1 500 "));
    let reply = Client::new().await.chat("sk-101-1", json!({})).await;
    assert_eq!(reply.status, 101);
}

#[tokio::test]
async fn a_stale_connection_dies_on_its_second_request() {
    let mut client = Client::new().await;
    assert!(client.chat("sk-stale-1", json!({})).await.complete);
    client.post("/v1/chat/completions", "sk-stale-1", &json!({})).await;
    assert!(!client.fill().await);
    assert_eq!(client.stats().await["requests"], 1);
}

#[tokio::test]
async fn an_early_401_does_not_wait_for_the_body() {
    let mut client = Client::new().await;
    client
        .send(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: mock\r\nAuthorization: Bearer sk-early401-1\r\n\
             Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n{\"half",
        )
        .await;
    assert_eq!(client.reply().await.status, 401);
    assert_eq!(client.stats().await["connections_open"], 2, "kept open");
    drop(client.stream.shutdown().await);
    assert!(!client.fill().await, "closed after the client");
}

#[tokio::test]
async fn bodies_may_be_chunked_and_expected() {
    let mut client = Client::new().await;
    client
        .send(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: mock\r\nAuthorization: Bearer sk-ok-1\r\nExpect: 100-continue\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await;
    assert!(client.fill().await);
    assert_eq!(std::mem::take(&mut client.buffer), b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send("8\r\n{\"model\"\r\n6;x=y\r\n:\"m2\"}\r\n0\r\nTrailer: 1\r\n\r\n").await;
    assert_eq!(client.reply().await.json()["model"], "m2");
    assert_eq!(client.chat("sk-ok-1", json!({})).await.status, 200, "nothing is left over");
}

#[tokio::test]
async fn the_last_requests_can_be_read_back() {
    let mut client = Client::new().await;
    client.chat("sk-ok-1", json!({})).await;
    let last = client.stats().await["last"][0].clone();
    assert_eq!(last["key"], "sk-ok-1");
    assert_eq!(last["path"], "/v1/chat/completions");
    assert_eq!(last["headers"][0], json!(["Host", "mock"]));
    assert_eq!(last["body_bytes"], 2);
    assert_eq!(last["body_sha256"], "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");

    client.post("/mock/record", "", &json!({"requests": 0})).await;
    assert_eq!(client.reply().await.status, 200);
    client.chat("sk-ok-1", json!({})).await;
    assert_eq!(client.stats().await["last"], json!([]));
    assert_eq!(client.stats().await["requests"], 2);
}

#[tokio::test]
async fn outages_strike_everyone_until_reset() {
    let mut client = Client::new().await;
    client.post("/mock/outage", "", &json!({"seconds": 600, "status": 503})).await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(client.chat("sk-ok-1", json!({})).await.status, 503);

    client.post("/mock/outage", "", &json!({"seconds": 600, "status": 0})).await;
    client.reply().await;
    client.post("/v1/chat/completions", "sk-ok-1", &json!({})).await;
    assert!(!client.fill().await, "closed without an answer");

    let mut client = Client::to(client.address).await;
    client.post("/mock/reset", "", &json!({})).await;
    client.reply().await;
    assert_eq!(client.chat("sk-ok-1", json!({})).await.status, 200);
    assert_eq!(client.stats().await["requests"], 1);

    client.post("/mock/outage", "", &json!({"seconds": 5, "status": 200})).await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 400, "{}", reply.text());
}

#[tokio::test]
async fn the_shape_of_streams_can_be_set() {
    let mut client = Client::new().await;
    client.post("/mock/sse", "", &json!({"events": 2, "interval_ms": 0})).await;
    client.reply().await;
    assert_eq!(client.chat("sk-ok-1", streamed(json!({}))).await.events().len(), 5);
}

#[tokio::test]
async fn a_request_may_bring_its_own_script() {
    let mut client = Client::new().await;
    let script = json!({"status": 418, "sleep_ms": 1, "headers": {"set-cookie": "a=b"}, "body": {"detail": "no"}});
    let reply = client.chat("sk-ok-1", json!({"mock": script})).await;
    assert_eq!(reply.status, 418);
    assert_eq!(reply.header("set-cookie"), Some("a=b"));
    assert_eq!(reply.json(), json!({"detail": "no"}));

    let reply = client.chat("sk-ok-1", json!({"mock": {"frame": "chunked"}})).await;
    assert_eq!((reply.header("content-length"), reply.complete), (None, true));
    assert_eq!(client.chat("sk-ok-1", json!({"mock": {"sleep": 1}})).await.status, 400, "a typo is told");
}

#[tokio::test]
async fn websockets_shake_hands_and_echo() {
    let mut client = Client::new().await;
    client
        .send(
            "GET /v1/realtime?model=m HTTP/1.1\r\nHost: mock\r\nAuthorization: Bearer sk-ok-1\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nearly",
        )
        .await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 101);
    // The example of RFC 6455, section 1.3.
    assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client.send("late").await;
    while client.buffer != b"earlylate" {
        assert!(client.fill().await);
    }
}

#[tokio::test]
async fn nonsense_is_answered_and_ends_the_connection() {
    for text in ["GET\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "\x00\r\n\r\n"] {
        let mut client = Client::new().await;
        client.send(text).await;
        assert_eq!(client.reply().await.status, 400, "{text:?}");
        assert!(!client.fill().await);
    }
    let mut client = Client::new().await;
    client.post("/v1/nowhere", "sk-ok-1", &json!({})).await;
    assert_eq!(client.reply().await.status, 404);
    client.post("/v1/chat/completions", "sk-ok-1", &Value::Null).await;
    assert_eq!(client.reply().await.status, 400, "JSON, but no object");
}

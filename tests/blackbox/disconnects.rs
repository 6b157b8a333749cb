//! A client that leaves takes its request with it: nothing is generated, or paid, for nobody.

use serde_json::{Value, json};

use crate::harness::{Config, Connection, Http2, Keyweir, MockProvider, chat, eventually};

const PATH: &str = "/v1/chat/completions";

fn endless() -> Value {
    json!({"stream": true, "mock": {"events": 100_000, "interval_ms": 5}})
}

fn patient(mock: &MockProvider, key: &str) -> Keyweir {
    Config::pool_with(mock, "timeouts: {first_byte: 1h, hold: 1h, idle: 1h}", &[key, "sk-ok-9"]).start()
}

/// The key is free again and nobody else was asked.
fn expect_given_up(keyweir: &Keyweir, mock: &MockProvider) {
    eventually("the lease's end", || keyweir.in_flight() == 0);
    eventually("the request's end", || keyweir.metric("keyweir_in_flight_requests{pool=\"p\"}") == 0.0);
    assert_eq!(mock.count("requests"), 1, "not tried again for nobody");
    assert_eq!(keyweir.marked(), [""; 0]);
    let log = keyweir.access_line("the-one-that-left");
    assert_eq!(log["outcome"], "cancelled", "{log}");
}

fn begin(keyweir: &Keyweir, members: &Value) -> Connection {
    let request = String::from_utf8(chat(members)).unwrap();
    let mut connection = keyweir.connect();
    connection.send(request.replacen("\r\n", "\r\nx-request-id: the-one-that-left\r\n", 1));
    connection
}

fn begin_http2(client: &Http2, members: &Value) -> crate::harness::Exchange {
    let headers = [("content-type", "application/json"), ("x-request-id", "the-one-that-left")];
    let mut exchange = client.begin("POST", PATH, &headers, false);
    exchange.send(members.to_string().into_bytes(), true);
    exchange
}

#[test]
fn leaving_in_mid_stream_ends_the_upstream_stream() {
    let mock = MockProvider::start();
    let keyweir = patient(&mock, "sk-ok-1");
    let mut connection = begin(&keyweir, &endless());
    assert_eq!(connection.head().status, 200);
    connection.until("\"T");
    drop(connection);
    mock.expect("streams_cancelled", 1);
    expect_given_up(&keyweir, &mock);
}

#[test]
fn leaving_while_the_provider_thinks_ends_the_wait() {
    let mock = MockProvider::start();
    let keyweir = patient(&mock, "sk-hang-1");
    let connection = begin(&keyweir, &json!({}));
    mock.expect("requests", 1);
    drop(connection);
    mock.expect("waits_cancelled", 1);
    expect_given_up(&keyweir, &mock);
}

#[test]
fn leaving_while_the_stream_is_held_ends_it() {
    let mock = MockProvider::start();
    let keyweir = patient(&mock, "sk-stall-1");
    let connection = begin(&keyweir, &json!({"stream": true}));
    mock.expect("streams_open", 1);
    drop(connection);
    mock.expect("streams_cancelled", 1);
    expect_given_up(&keyweir, &mock);
}

#[test]
fn leaving_in_mid_answer_ends_it() {
    let mock = MockProvider::start();
    let keyweir = patient(&mock, "sk-stall-1");
    let connection = begin(&keyweir, &json!({}));
    mock.expect("requests", 1);
    drop(connection);
    mock.expect("waits_cancelled", 1);
    expect_given_up(&keyweir, &mock);
}

#[test]
fn an_http2_client_may_reset_a_stream() {
    let mock = MockProvider::start();
    let keyweir = patient(&mock, "sk-ok-1");
    let client = Http2::open(keyweir.proxy);
    let mut answer = begin_http2(&client, &endless()).answer();
    answer.until("\"T");
    answer.cancel();
    mock.expect("streams_cancelled", 1);
    expect_given_up(&keyweir, &mock);
    assert_eq!(client.post(PATH, &json!({})).finish().status, 200, "the connection goes on");
}

#[test]
fn an_http2_client_may_vanish() {
    let mock = MockProvider::start();
    let keyweir = patient(&mock, "sk-ok-1");
    let client = Http2::open(keyweir.proxy);
    let mut answer = begin_http2(&client, &endless()).answer();
    answer.until("\"T");
    client.abort();
    mock.expect("streams_cancelled", 1);
    expect_given_up(&keyweir, &mock);
}

#[test]
fn an_http2_client_may_leave_while_the_provider_thinks() {
    let mock = MockProvider::start();
    let keyweir = patient(&mock, "sk-hang-1");
    let client = Http2::open(keyweir.proxy);
    let exchange = begin_http2(&client, &json!({}));
    mock.expect("requests", 1);
    exchange.reset();
    mock.expect("waits_cancelled", 1);
    expect_given_up(&keyweir, &mock);
}

#[test]
fn an_http2_client_may_leave_while_the_stream_is_held() {
    let mock = MockProvider::start();
    let keyweir = patient(&mock, "sk-stall-1");
    let client = Http2::open(keyweir.proxy);
    let exchange = begin_http2(&client, &json!({"stream": true}));
    mock.expect("streams_open", 1);
    exchange.reset();
    mock.expect("streams_cancelled", 1);
    expect_given_up(&keyweir, &mock);
}

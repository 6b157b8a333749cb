//! Reloads and drains under load, without a failed request.
//!
//! `KEYWEIR_TEST_ALL` asks for a hundred drains instead of a few.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::{env, thread};

use serde_json::{Value, json};

use crate::harness::{
    Authority, Config, Connection, Dates, Http2, Keyweir, MockProvider, chat, eventually, free_address,
};

fn short_stream() -> Value {
    json!({"stream": true, "mock": {"events": 5, "interval_ms": 2}})
}

/// Clients that ask as fast as they can, until it is over: each must get what it asked for.
struct Load<'a> {
    keyweir: &'a Keyweir,
    is_over: &'a AtomicBool,
    served: &'a AtomicUsize,
}

impl Load<'_> {
    fn count(&self, answer: &crate::harness::Response) {
        assert!(answer.status == 200 && answer.is_complete, "{}: {}", answer.status, answer.text());
        self.served.fetch_add(1, SeqCst);
    }

    fn on_one_connection(&self, members: &Value) {
        let mut connection = self.keyweir.connect();
        while !self.is_over.load(SeqCst) {
            connection.send(chat(members));
            self.count(&connection.response());
        }
    }

    fn on_new_connections(&self, members: &Value) {
        while !self.is_over.load(SeqCst) {
            self.count(&self.keyweir.chat(members));
        }
    }

    fn over_http2(&self, members: &Value) {
        let client = Http2::open(self.keyweir.proxy);
        while !self.is_over.load(SeqCst) {
            self.count(&client.post("/v1/chat/completions", members).finish());
        }
    }
}

/// Files that are refused.
const INVALID: [&str; 4] =
    ["p: [{key: sk-ok-1, nmae: a}]", "p: [sk-ok-1, {key: \"\"}]", "p: [sk-ok-1", "nobody: [sk-ok-1]\np: 5"];

/// Has the keys file read, in one of the ways there are: asked for, signalled, or because it changed.
fn read_again(keyweir: &Keyweir, round: usize, is_valid: bool) {
    match round % 3 {
        0 => keyweir.signal("HUP"),
        1 => assert_eq!(keyweir.admin("POST", "/api/v1/reload").status == 200, is_valid),
        _ => {}
    }
}

#[test]
fn a_hundred_reloads_of_good_and_bad_files_under_load_fail_no_request_and_leak_nothing() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2"]).start();
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let load = || Load { keyweir: &keyweir, is_over: &is_over, served: &served };
        for members in [json!({}), short_stream()] {
            let (first, second, third) = (members.clone(), members.clone(), members);
            scope.spawn(move || load().on_one_connection(&first));
            scope.spawn(move || load().on_new_connections(&second));
            scope.spawn(move || load().over_http2(&third));
        }
        let mut resident = Vec::new();
        for round in 0..100 {
            keyweir.replace("keys.yaml", INVALID[round % INVALID.len()]);
            read_again(&keyweir, round, false);
            eventually("the refusal", || keyweir.metric("keyweir_config_last_reload_successful") == 0.0);
            let keys = [format!("sk-ok-{round}"), format!("sk-ok-{}", round + 1), format!("sk-ok-{}", round + 2)];
            keyweir.replace("keys.yaml", &crate::harness::keys_yaml("p", &keys.each_ref().map(String::as_str)));
            read_again(&keyweir, round, true);
            let expected = keys.map(|key| key.trim_start_matches("sk-").to_owned());
            eventually("the new keys", || keyweir.key_names() == expected);
            let before = served.load(SeqCst);
            eventually("more requests", || served.load(SeqCst) > before + 6);
            resident.push(keyweir.metric("process_resident_memory_bytes"));
        }
        // Not the first rounds: what is made once is made in them.
        let highest = |rounds: &[f64]| rounds.iter().copied().fold(0.0, f64::max);
        let (before, after) = (highest(&resident[20..40]), highest(&resident[80..]));
        assert!(after < before * 1.1, "resident memory grew from {before} to {after} bytes");
        is_over.store(true, SeqCst);
    });
    assert!(mock.asked("sk-ok-101") > 0, "new keys are used");
    assert_eq!(keyweir.in_flight(), 0);
}

/// Clients of a server that is about to end. Whatever was sent before the signal must be answered; what comes later may
/// be turned away, but by an answer or at the door, not by a connection that breaks.
struct Departure<'a> {
    keyweir: &'a Keyweir,
    is_signalled: &'a AtomicBool,
    served: &'a AtomicUsize,
    /// Connections that were opened after the signal, while the socket closed.
    reset: &'a AtomicUsize,
}

impl Departure<'_> {
    /// False once the client was turned away.
    fn ask(&self, connection: &mut Connection, members: &Value, is_new: bool) -> bool {
        connection.send(chat(members));
        let is_early = !self.is_signalled.load(SeqCst);
        let Some(answer) = connection.try_response() else {
            assert!(!is_early, "a request from before the signal was lost");
            assert!(is_new, "a kept connection broke without having said so");
            self.reset.fetch_add(1, SeqCst);
            return false;
        };
        assert!(answer.is_complete, "cut off: {}", answer.text());
        if is_early || answer.status != 503 {
            assert_eq!(answer.status, 200, "{}", answer.text());
            self.served.fetch_add(1, SeqCst);
        } else {
            assert_eq!(answer.code(), "draining");
        }
        answer.status == 200 && answer.header("connection") != Some("close")
    }

    fn on_one_connection(&self, members: &Value) {
        let mut connection = self.keyweir.connect();
        while self.ask(&mut connection, members, false) {}
    }

    fn on_new_connections(&self, members: &Value, open: impl Fn() -> Option<Connection>) {
        loop {
            let Some(mut connection) = open() else {
                assert!(self.is_signalled.load(SeqCst), "a connection from before the signal was refused");
                return;
            };
            if !self.ask(&mut connection, members, true) {
                return;
            }
        }
    }

    /// When a request really leaves is up to the client's own task, so it counts as early once its answer has begun.
    fn over_http2(&self) {
        let client = Http2::open(self.keyweir.proxy);
        while let Some(answer) = client.try_post("/v1/chat/completions", &short_stream()) {
            let is_early = !self.is_signalled.load(SeqCst);
            let answer = answer.finish();
            if answer.status == 503 && !is_early {
                return assert_eq!(answer.code(), "draining");
            }
            assert!(answer.status == 200 && answer.is_complete, "{}: {}", answer.status, answer.text());
            self.served.fetch_add(1, SeqCst);
        }
        assert!(self.is_signalled.load(SeqCst), "the connection ended before the signal");
    }
}

fn drain_under_load(mock: &MockProvider, reset: &AtomicUsize) {
    let (authority, secure) = (Authority::new(), free_address());
    let (cert, key) = authority.issue(Dates::Valid);
    let listen = format!("{{address: \"{secure}\", tls: {{cert: {}, key: {}}}}}", cert.display(), key.display());
    let config = Config::pool(mock, &["sk-ok-1", "sk-ok-2", "sk-ok-3"]).grace("1m").also_listen(&listen);
    let mut keyweir = config.start();
    let (is_signalled, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients = &Departure { keyweir: &keyweir, is_signalled: &is_signalled, served: &served, reset };
    thread::scope(|scope| {
        let longer = json!({"stream": true, "mock": {"events": 30, "interval_ms": 5}});
        for members in [json!({}), short_stream(), longer] {
            let (first, second) = (members.clone(), members);
            scope.spawn(move || clients.on_one_connection(&first));
            scope.spawn(move || clients.on_new_connections(&second, || Connection::try_open(clients.keyweir.proxy)));
        }
        scope.spawn(|| clients.on_new_connections(&json!({}), || authority.try_connect(secure)));
        scope.spawn(|| clients.over_http2());
        eventually("the load", || served.load(SeqCst) > 20);
        is_signalled.store(true, SeqCst);
        keyweir.signal("TERM");
    });
    assert_eq!(keyweir.wait().code(), Some(0));
    assert!(!keyweir.log().contains("cut off"), "{}", keyweir.log());
    let lines = keyweir.access_log().lines().filter(|line| line.contains("\"status\":200")).count();
    assert_eq!(lines, served.load(SeqCst), "every request has its line");
}

#[test]
fn drains_under_load_lose_no_request() {
    let rounds = if env::var_os("KEYWEIR_TEST_ALL").is_some() { 100 } else { 10 };
    let mock = MockProvider::start();
    let reset = AtomicUsize::new(0);
    (0..rounds).for_each(|_| drain_under_load(&mock, &reset));
    assert_eq!(reset.load(SeqCst), 0, "connections were reset");
}

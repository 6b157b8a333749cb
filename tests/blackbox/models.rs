//! Models: refused ones cost no key, aliases are spliced in and nothing else changes, keys keep to their models, and the
//! list says what a client may use.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::{Config, Keyweir, MockProvider, Response, Scripted, TOKEN, chunk, eventually, post, request};

type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A provider that keeps what it is sent and answers a completion.
fn recorder() -> (Scripted, Requests) {
    let requests = Requests::default();
    let kept = requests.clone();
    let provider = Scripted::start(move |mut peer| {
        while let Some(request) = peer.request() {
            kept.lock().unwrap().push(request);
            peer.answer(200, r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#);
        }
    });
    (provider, requests)
}

/// What the provider got last: request line and body.
fn last(requests: &Requests) -> (String, String) {
    let requests = requests.lock().unwrap();
    let (head, body) = requests.last().expect("a request");
    (head.lines().next().unwrap().to_owned(), String::from_utf8_lossy(body).into_owned())
}

fn refused(answer: &Response) -> (u16, String) {
    (answer.status, answer.code())
}

fn send(keyweir: &Keyweir, path: &str, headers: &[&str], body: &str) -> Response {
    keyweir.send(request("POST", path, headers, body.as_bytes()))
}

fn names(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let list = answer.json();
    let list = list["data"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

fn list(keyweir: &Keyweir) -> Response {
    keyweir.send(request("GET", "/v1/models", &[], b""))
}

fn form(model: &str) -> String {
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n\
         --b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b--\r\n"
    )
}

const MULTIPART: &str = "Content-Type: multipart/form-data; boundary=b";
const JSON: &str = "Content-Type: application/json";

#[test]
fn a_denied_model_costs_no_key() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(
        &mock,
        "models: {deny: [\"gpt-4*\", \"o3\"], alias: {smart: gpt-4o, o3: gpt-3.5}}, routes: [\"*\"]",
        &["sk-ok-1"],
    )
    .limits("buffer: 64KiB, body: 1MiB")
    .start();
    let denied = (403, "model_denied".to_owned());
    for body in [
        r#"{"model":"gpt-4o"}"#,
        r#"{"model":"GPT-4o"}"#,
        r#"{"mod\u0065l":"gpt\u002d4o"}"#,
        r#"{"Model":"gpt-4o"}"#,
        r#"{"model":"models/gpt-4o"}"#,
        r#"{"model":"smart"}"#,
        r#"{"model":"gpt-3.5","models":["gpt-4o"]}"#,
    ] {
        assert_eq!(refused(&send(&keyweir, "/v1/chat/completions", &[JSON], body)), denied, "{body}");
    }
    for (path, headers, body) in [
        ("/v1/audio/transcriptions", MULTIPART, form("gpt-4o-transcribe").as_str()),
        ("/v1/models/gpt-4o:generateContent", JSON, "{}"),
        ("/p/openai/deployments/gpt-4o/chat/completions", JSON, "{}"),
        ("/v1/chat/completions", "Content-Type: application/x-www-form-urlencoded", r#"{"model":"gpt-4o"}"#),
        ("/v1/chat/completions", "Content-Type: application/x-www-form-urlencoded", "model=gpt-4o"),
        ("/v1/chat/completions?model=gpt-4o", JSON, "{}"),
    ] {
        assert_eq!(refused(&send(&keyweir, path, &[headers], body)), denied, "{path}");
    }
    assert_eq!(refused(&keyweir.send(request("GET", "/v1/models/gpt-4o", &[], b""))), denied);
    let ambiguous = r#"{"model":"gpt-3.5","model":"gpt-4o"}"#;
    assert_eq!(refused(&send(&keyweir, "/v1/chat/completions", &[JSON], ambiguous)), (400, "bad_request".into()));
    let encoded = send(&keyweir, "/v1/chat/completions", &["Content-Encoding: gzip"], r#"{"model":"gpt-3.5"}"#);
    assert_eq!(refused(&encoded), (415, "bad_request".into()));
    let large = format!(r#"{{"pad":"{}","model":"gpt-4o"}}"#, "x".repeat(100_000));
    for _ in 0..2 {
        let answer = send(&keyweir, "/v1/chat/completions", &[JSON], &large);
        assert_eq!(refused(&answer), (413, "request_too_large".into()), "what can't be held can't be judged");
    }
    let mut chunked = request("POST", "/v1/chat/completions", &[JSON, "Transfer-Encoding: chunked"], b"");
    chunked.extend(chunk(&large).bytes().chain(*b"0\r\n\r\n"));
    assert_eq!(refused(&keyweir.send(chunked)), (413, "request_too_large".into()));
    assert_eq!(mock.count("requests"), 0);

    for model in ["gpt-3.5", "o3", "my-gpt-4o"] {
        assert_eq!(keyweir.chat(&json!({"model": model})).status, 200, "{model}");
    }
    assert_eq!(keyweir.send(post("/v1/embeddings", &json!({"input": "x"}))).status, 200, "the provider's own model");
}

#[test]
fn two_models_in_one_body_are_refused_everywhere() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    for body in [
        r#"{"model":"a","messages":[],"model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"a"}"#,
        &format!(r#"{{"model":"a","pad":"{}","model":"b"}}"#, "x".repeat(300_000)),
    ] {
        let answer = send(&keyweir, "/v1/chat/completions", &[JSON], body);
        assert_eq!(refused(&answer), (400, "bad_request".into()));
    }
    assert_eq!(mock.count("requests"), 0);
    let nested = json!({"tools": [{"model": "x"}, {"model": "y"}], "metadata": {"model": "z"}});
    assert_eq!(keyweir.chat(&nested).status, 200);
    assert_eq!(send(&keyweir, "/v1/chat/completions", &["Content-Type: text/plain"], "no JSON").status, 200);
}

#[test]
fn an_alias_is_spliced_and_all_else_stays() {
    let (provider, requests) = recorder();
    let settings = "models: {alias: {fast: \"Qwen/Qwen3-8B\", \"say \\\"hi\\\"\": plain}}, routes: [\"*\"]";
    let keyweir = Config::pool_with(&provider, settings, &["sk-ok-1"]).start();
    let pad = "y".repeat(200_000);
    for (sent, expected) in [
        (
            "{ \"messages\" : [ {\"content\":\"\\u00e9 fast\"} ],\n\t\"model\" :  \"fast\" , \"n\":1.0e0}",
            "{ \"messages\" : [ {\"content\":\"\\u00e9 fast\"} ],\n\t\"model\" :  \"Qwen/Qwen3-8B\" , \"n\":1.0e0}",
        ),
        (r#"{"mod\u0065l":"f\u0061st"}"#, r#"{"mod\u0065l":"Qwen/Qwen3-8B"}"#),
        (r#"{"model":"say \"hi\""}"#, r#"{"model":"plain"}"#),
        (r#"{"model":"slow","x":"fast"}"#, r#"{"model":"slow","x":"fast"}"#),
        (
            &format!(r#"{{"pad":"{pad}","model":"fast","z":1}}"#),
            &format!(r#"{{"pad":"{pad}","model":"Qwen/Qwen3-8B","z":1}}"#),
        ),
        (&format!(r#"{{"model":"fast","pad":"{pad}"}}"#), &format!(r#"{{"model":"Qwen/Qwen3-8B","pad":"{pad}"}}"#)),
    ] {
        assert_eq!(send(&keyweir, "/v1/chat/completions", &[JSON], sent).status, 200);
        assert!(last(&requests).1 == *expected, "{} bytes sent", sent.len());
        let mut chunked = request("POST", "/v1/chat/completions", &[JSON, "Transfer-Encoding: chunked"], b"");
        for piece in sent.as_bytes().chunks(7001) {
            chunked.extend(chunk(std::str::from_utf8(piece).unwrap()).bytes());
        }
        chunked.extend(b"0\r\n\r\n");
        assert_eq!(keyweir.send(chunked).status, 200);
        assert!(last(&requests).1 == *expected, "{} bytes sent in chunks", sent.len());
    }
    assert_eq!(send(&keyweir, "/v1/audio/transcriptions", &[MULTIPART], &form("fast")).status, 200);
    assert_eq!(last(&requests).1, form("Qwen/Qwen3-8B"));
    for (path, line) in [
        ("/v1/models/fast:generateContent?alt=sse", "POST /v1/models/Qwen%2FQwen3-8B:generateContent?alt=sse HTTP/1.1"),
        (
            "/p/openai/deployments/fast/chat/completions?x=1",
            "POST /openai/deployments/Qwen%2FQwen3-8B/chat/completions?x=1 HTTP/1.1",
        ),
        ("/v1/responses?model=fast&x=fast", "POST /v1/responses?model=Qwen%2FQwen3-8B&x=fast HTTP/1.1"),
    ] {
        assert_eq!(send(&keyweir, path, &[JSON], "{}").status, 200);
        assert_eq!(last(&requests).0, line);
    }
}

#[test]
fn an_alias_survives_retries_and_is_what_people_see() {
    let mock = MockProvider::start();
    let keyweir =
        Config::pool_with(&mock, "models: {alias: {fast: gpt-4o-mini}}", &["sk-401-1", "sk-429-2", "sk-ok-3"])
            .clients(&format!("tokens: [{{name: ci, token: {TOKEN}, models: [fast]}}]"))
            .start();
    let answer = keyweir.send(request(
        "POST",
        "/v1/chat/completions",
        &[JSON, "X-Request-Id: seen"],
        json!({"model": "fast", "messages": []}).to_string().as_bytes(),
    ));
    assert_eq!((answer.status, answer.attempts()), (200, 3));
    assert_eq!(answer.json()["model"], "gpt-4o-mini");
    let bodies: Vec<Value> = mock.last().iter().map(|request| request["body_sha256"].clone()).collect();
    assert!(bodies.len() == 3 && bodies.iter().all(|body| *body == bodies[0]), "every attempt sends the same");
    assert_eq!(keyweir.access_line("seen")["model"], "fast");
    eventually("the tokens", || {
        keyweir.metric("keyweir_tokens_total{model=\"fast\",pool=\"p\",type=\"completion\"}") > 0.0
    });
    let scope = keyweir.chat(&json!({"model": "gpt-4o-mini"}));
    assert_eq!(refused(&scope), (403, "model_denied".into()), "a token's scope is about what it asks for");
    let chances = keyweir.admin("GET", "/api/v1/explain?pool=p&model=fast").json();
    assert_eq!(chances["keys"]["ready"], 1, "{chances}");
}

#[test]
fn a_key_serves_its_models_only() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, "models: {alias: {fast: gpt-4o-mini}}", &[])
        .keys(
            "{key: sk-ok-mini, name: mini, models: [\"gpt-4o-mini\", \"text-*\"]}, {key: sk-ok-big, name: big, models: [gpt-4o]}, \
             {key: sk-401-big, name: dead, models: [gpt-4o]}",
        )
        .start();
    for _ in 0..6 {
        assert_eq!(keyweir.chat(&json!({"model": "gpt-4o-mini"})).status, 200);
        assert_eq!(keyweir.chat(&json!({"model": "fast"})).status, 200, "judged by what it stands for");
    }
    assert_eq!((mock.asked("sk-ok-mini"), mock.asked("sk-ok-big"), mock.asked("sk-401-big")), (12, 0, 0));
    for _ in 0..4 {
        assert_eq!(keyweir.chat(&json!({"model": "gpt-4o"})).status, 200);
    }
    assert_eq!((mock.asked("sk-ok-mini"), mock.asked("sk-ok-big")), (12, 4));
    let nobody = keyweir.chat(&json!({"model": "o3"}));
    assert_eq!(refused(&nobody), (503, "no_usable_key".into()));
    assert_eq!(nobody.header("x-should-retry"), Some("false"));

    let explained = keyweir.admin("GET", "/api/v1/explain?pool=p&model=o3").json();
    let items = explained["items"].as_array().unwrap();
    assert!(items.iter().all(|key| key["blocked_by"] == "model" || key["name"] == "dead"), "{explained}");
    assert_eq!(
        names(&list(&keyweir)),
        ["gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "text-embedding-3-large", "fast"]
    );
    keyweir.write_keys("p: [{key: sk-ok-mini, models: [gpt-4o-mini]}]");
    keyweir.reload();
    assert_eq!(names(&list(&keyweir)), ["gpt-4o-mini", "fast"], "only what some key is for");
    assert_eq!(refused(&keyweir.chat(&json!({"model": "gpt-4o"}))), (503, "no_usable_key".into()));
}

#[test]
fn the_list_is_what_a_client_may_use() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(
        &mock,
        "models: {deny: [\"*-large\"], alias: {fast: gpt-4o-mini, big: text-embedding-3-large, own: unlisted}}",
        &["sk-ok-1", "sk-ok-2"],
    )
    .clients(&format!(
        "tokens: [{{name: all, token: {TOKEN}}}, {{name: some, token: kw-some-models-token, models: [\"gpt-4o\", \"f*\"]}}]"
    ))
    .start();
    let first = list(&keyweir);
    assert_eq!(names(&first), ["gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "fast", "own"]);
    assert_eq!(first.attempts(), 1);
    assert_eq!((first.header("keyweir-pool"), first.header("content-type")), (Some("p"), Some("application/json")));
    for path in ["/models", "/v1/models/", "/p/v1/models", "/openai/p/v1/models"] {
        let again = keyweir.send(request("GET", path, &[], b""));
        assert_eq!(names(&again), names(&first), "{path}");
        assert_eq!(again.attempts(), 0, "{path}");
    }
    let some = "GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer kw-some-models-token\r\n\r\n";
    assert_eq!(names(&keyweir.send(some)), ["gpt-4o", "fast"]);
    assert_eq!(mock.count("requests"), 1, "the provider is asked once");

    let one = keyweir.send(request("GET", "/v1/models/fast", &[], b""));
    assert_eq!(
        (one.status, one.json()["id"].as_str(), one.json()["owned_by"].as_str()),
        (200, Some("fast"), Some("mock"))
    );
    assert_eq!(mock.count("requests"), 1);
    keyweir.rewrite("deny: [\"*-large\"]", "deny: [\"gpt*\"]");
    keyweir.reload();
    let now = names(&list(&keyweir));
    assert_eq!(now, ["text-embedding-3-small", "text-embedding-3-large", "big", "own"], "rules count at once");
    assert_eq!(mock.count("requests"), 1);
}

#[test]
fn many_who_ask_at_once_cost_one_request() {
    let (asked, is_open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, gate) = (asked.clone(), is_open.clone());
    let provider = Scripted::start(move |mut peer| {
        while peer.request().is_some() {
            count.fetch_add(1, SeqCst);
            eventually("the gate", || gate.load(SeqCst));
            peer.answer(200, r#"{"object":"list","data":[{"id":"a"}]}"#);
        }
    });
    let keyweir = Config::pool(&provider, &["sk-ok-1", "sk-ok-2"]).start();
    let mut clients: Vec<_> = (0..20).map(|_| keyweir.connect()).collect();
    for client in &mut clients {
        client.send(request("GET", "/v1/models", &[], b""));
    }
    eventually("the inquiry", || asked.load(SeqCst) == 1);
    eventually("everybody waits", || keyweir.metric("keyweir_in_flight_requests{pool=\"p\"}") == 20.0);
    is_open.store(true, SeqCst);
    for client in &mut clients {
        assert_eq!(names(&client.response()), ["a"]);
    }
    assert_eq!(asked.load(SeqCst), 1);
}

#[test]
fn lists_are_asked_for_like_anything_else() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-401-1", "sk-429-2", "sk-ok-3"]).start();
    let answer = list(&keyweir);
    assert_eq!((answer.status, answer.attempts()), (200, 3));
    assert_eq!((keyweir.state("401-1").0, keyweir.state("429-2").0), ("disabled".into(), "cooling".into()));

    let keyweir = Config::pool(&mock, &["sk-401-1"]).start();
    let answer = list(&keyweir);
    assert_eq!(refused(&answer), (503, "no_usable_key".into()));
    assert_eq!(answer.json()["error"]["provider_status"], 401);
    assert_eq!(answer.attempts(), 1);
}

#[test]
fn one_key_may_list_models_for_all() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, "models: {list_key: ok-2}", &["sk-ok-1", "sk-ok-2", "sk-ok-3"]).start();
    assert_eq!(list(&keyweir).status, 200);
    assert_eq!((mock.asked("sk-ok-1"), mock.asked("sk-ok-2"), mock.asked("sk-ok-3")), (0, 1, 0));
    let keyweir = Config::pool_with(&mock, "models: {list_key: nobody}", &["sk-ok-1"]).start();
    assert_eq!(list(&keyweir).status, 200);
    eventually("the warning", || keyweir.log().contains("no key called nobody"));
}

#[test]
fn an_unreachable_provider_leaves_the_last_list() {
    let is_down = Arc::new(AtomicBool::new(false));
    let down = is_down.clone();
    let shaky = Scripted::start(move |mut peer| {
        while peer.request().is_some() {
            match down.load(SeqCst) {
                true => peer.answer(503, r#"{"error":{"message":"overloaded"}}"#),
                false => peer.answer(200, r#"{"data":[{"id":"b"},{"id":"a"}]}"#),
            }
        }
    });
    let steady = Scripted::start(|mut peer| {
        while peer.request().is_some() {
            peer.answer(200, r#"{"data":[{"id":"a"},{"id":"c"}]}"#);
        }
    });
    let targets = format!("{{url: \"http://{shaky}\"}}, {{url: \"http://{steady}\"}}");
    let keyweir = Config::pool(&shaky, &["sk-ok-1"]).replace_targets(&targets).start();
    assert_eq!(names(&list(&keyweir)), ["b", "a", "c"], "merged");
    is_down.store(true, SeqCst);
    assert_eq!(names(&list(&keyweir)), ["b", "a", "c"]);

    let keyweir = Config::pool_with(&shaky, "retry: {attempts: 1}", &["sk-ok-1"]).start();
    let answer = list(&keyweir);
    assert_eq!(
        (answer.status, answer.json()["error"]["message"].as_str()),
        (503, Some("overloaded")),
        "the provider's word"
    );
    is_down.store(false, SeqCst);
    assert_eq!(names(&list(&keyweir)), ["b", "a"], "no failure is kept");
    let keyweir = Config::pool_with(&shaky, "retry: {attempts: 1}", &["sk-ok-1"]).replace_targets(&targets).start();
    is_down.store(true, SeqCst);
    assert_eq!(names(&list(&keyweir)), ["a", "c"], "what there is");
}

#[test]
fn what_is_no_list_of_openais_passes() {
    let provider = Scripted::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            match head.split(' ').nth(1).unwrap() {
                "/v1/models" => peer.answer(404, r#"{"error":{"message":"no list here"}}"#),
                "/v1/models?page=2" => {
                    peer.answer(200, r#"{"models":[{"name":"models/g"},{"name":"models/h"}],"nextPageToken":"t"}"#)
                }
                "/v1/models?odd=1" => peer.answer(200, r#"{"rows":[]}"#),
                other => peer.answer(200, &json!({"path": other}).to_string()),
            }
        }
    });
    let keyweir = Config::pool_with(&provider, "models: {alias: {fast: g}}", &["sk-ok-1"]).start();
    let get = |path: &str| keyweir.send(request("GET", path, &[], b""));
    assert_eq!(
        (get("/v1/models").status, get("/v1/models").json()["error"]["message"].as_str()),
        (404, Some("no list here"))
    );
    let page = get(&format!("/v1/models?page=2&key={TOKEN}")).text();
    assert_eq!(
        page,
        r#"{"models":[{"name":"models/g"},{"name":"models/h"},{"name":"models/fast"}],"nextPageToken":"t"}"#
    );
    assert_eq!(get("/v1/models?odd=1").text(), r#"{"rows":[]}"#);
    assert_eq!(get("/v1/models/g").json()["path"], "/v1/models/g");
    keyweir.rewrite("models: {", "models: {deny: [h], ");
    keyweir.reload();
    assert_eq!(
        get("/v1/models?page=2").text(),
        r#"{"models":[{"name":"models/g"},{"name":"models/fast"}],"nextPageToken":"t"}"#
    );
    assert_eq!(get("/v1/models?odd=1").status, 502, "what can't be read can't be filtered");
}

//! What a key made is asked for with that key: files, batches, stored responses, tasks.

use serde_json::{Value, json};

use crate::harness::{Config, Keyweir, MockProvider, Response, Scripted, chunk, post, request};

/// Four good keys behind every route.
fn start(mock: &MockProvider) -> Keyweir {
    Config::pool_with(mock, "routes: [\"*\"]", &["sk-ok-1", "sk-ok-2", "sk-ok-3", "sk-ok-4"]).start()
}

fn get(keyweir: &Keyweir, path: &str) -> Response {
    keyweir.send(request("GET", path, &[], b""))
}

fn upload(keyweir: &Keyweir) -> String {
    let form = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b--\r\n";
    let headers = ["Content-Type: multipart/form-data; boundary=b"];
    let answer = keyweir.send(request("POST", "/v1/files", &headers, form.as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    text(&answer.json(), "id")
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no {member}: {value}")).to_owned()
}

fn refused(answer: &Response) -> (u16, String) {
    (answer.status, answer.code())
}

/// The name of the key that the mock was last asked with.
fn last_key(mock: &MockProvider) -> String {
    text(mock.last().last().unwrap(), "key").trim_start_matches("sk-").to_owned()
}

#[test]
fn files_and_batches_stay_with_their_key() {
    let mock = MockProvider::start();
    let keyweir = start(&mock);
    let files: Vec<(String, String)> = (0..8).map(|_| (upload(&keyweir), last_key(&mock))).collect();
    for (file, key) in &files {
        for path in
            [format!("/v1/files/{file}"), format!("/p/v1/files/{file}/content"), format!("/v1/files?after={file}")]
        {
            assert_eq!(get(&keyweir, &path).status, 200, "{path}");
            assert_eq!(last_key(&mock), *key, "{path}");
        }
        let batch =
            keyweir.send(post("/v1/batches", &json!({"input_file_id": file, "endpoint": "/v1/chat/completions"})));
        assert_eq!((batch.status, last_key(&mock)), (200, key.clone()), "{}", batch.text());
        let again = get(&keyweir, &format!("/v1/batches/{}", text(&batch.json(), "id")));
        assert_eq!((again.status, last_key(&mock)), (200, key.clone()));
        let output = get(&keyweir, &format!("/v1/files/{}/content", text(&again.json(), "output_file_id")));
        assert_eq!((output.status, last_key(&mock)), (200, key.clone()), "also what the batch made");
    }
    let apart = json!({"input": [{"role": "user", "content": [
        {"type": "input_file", "file_id": files[0].0}, {"type": "input_file", "file_id": files[1].0}]}]});
    assert_eq!(refused(&keyweir.send(post("/v1/responses", &apart))), (409, "resource_keys_differ".into()));
    assert_eq!(get(&keyweir, "/v1/files/file-of-nobody").status, 404, "the provider's word");
}

#[test]
fn a_conversation_goes_on_with_the_key_of_its_first_response() {
    let mock = MockProvider::start();
    let keyweir = start(&mock);
    for _ in 0..5 {
        let mut previous = Value::Null;
        let mut key = None;
        for _ in 0..3 {
            let body = json!({"model": "gpt-4o", "input": "Hello", "previous_response_id": previous});
            let answer = keyweir.send(post("/v1/responses", &body));
            assert_eq!(answer.status, 200, "{}", answer.text());
            previous = answer.json()["id"].clone();
            assert_eq!(*key.get_or_insert_with(|| last_key(&mock)), last_key(&mock));
        }
        assert_eq!(get(&keyweir, &format!("/v1/responses/{}", previous.as_str().unwrap())).status, 200);
    }
}

#[test]
fn a_streamed_response_is_known_as_soon_as_it_begins() {
    let provider = Scripted::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            let key = head.lines().find_map(|line| line.split_once("sk-ok-")).unwrap().1.to_owned();
            if head.starts_with("GET") {
                peer.answer(200, &json!({"key": key}).to_string());
                continue;
            }
            peer.begin_stream();
            let created = json!({"type": "response.created", "response": {"id": format!("resp_000{key}"), "status": "in_progress"}});
            let delta = json!({"type": "response.output_text.delta", "item_id": "msg_00000001", "delta": "Hello"});
            let whole = format!(
                "event: response.created\ndata: {created}\n\nevent: response.output_text.delta\ndata: {delta}\n\n"
            );
            for piece in whole.as_bytes().chunks(5) {
                peer.send(chunk(std::str::from_utf8(piece).unwrap()));
            }
            peer.send(chunk("data: [DONE]\n\n"));
            peer.send("0\r\n\r\n");
        }
    });
    let keyweir = Config::pool(&provider, &["sk-ok-1", "sk-ok-2", "sk-ok-3"]).start();
    for key in ["1", "2", "3"] {
        let answer = keyweir.send(post("/v1/responses", &json!({"stream": true})));
        assert!(answer.is_complete && answer.text().contains(&format!("resp_000{key}")), "{}", answer.text());
    }
    for key in ["2", "2", "1", "3", "1"] {
        assert_eq!(get(&keyweir, &format!("/v1/responses/resp_000{key}")).json()["key"], key);
    }
}

#[test]
fn image_tasks_are_fetched_with_the_key_that_began_them() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2", "sk-ok-3"]).start();
    for _ in 0..4 {
        let headers = ["Content-Type: application/json", "X-ModelScope-Async-Mode: true"];
        let begun =
            keyweir.send(request("POST", "/v1/images/generations", &headers, br#"{"model":"flux","prompt":"x"}"#));
        let task = text(&begun.json(), "task_id");
        for _ in 0..3 {
            assert_eq!(get(&keyweir, &format!("/v1/tasks/{task}")).status, 200);
        }
    }
}

#[test]
fn without_its_key_a_thing_is_out_of_reach_and_that_is_said() {
    let mock = MockProvider::start();
    let keyweir = start(&mock);
    let file = upload(&keyweir);
    let key = last_key(&mock);
    let id = text(&keyweir.key(&key), "id");
    let asked = mock.count("requests");
    assert_eq!(keyweir.admin("POST", &format!("/api/v1/keys/{id}/disable")).status, 200);
    let answer = get(&keyweir, &format!("/v1/files/{file}"));
    assert_eq!(refused(&answer), (409, "resource_key_unavailable".into()));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(refused(&keyweir.send(post("/v1/batches", &json!({"input_file_id": file})))).0, 409);
    assert_eq!(mock.count("requests"), asked, "no other key was asked");
    assert_eq!(keyweir.admin("POST", &format!("/api/v1/keys/{id}/enable")).status, 200);
    assert_eq!(get(&keyweir, &format!("/v1/files/{file}")).status, 200);

    let limited =
        json!({"input": "x", "previous_response_id": file, "mock": {"status": 429, "headers": {"retry-after": "600"}}});
    let answer = keyweir.send(post("/v1/responses", &limited));
    assert_eq!(refused(&answer), (409, "resource_key_unavailable".into()), "the key is asked and no other");
    assert_eq!(answer.json()["error"]["provider_status"], 429);
    assert_eq!((answer.attempts(), last_key(&mock)), (1, key.clone()));
    let answer = get(&keyweir, &format!("/v1/files/{file}"));
    assert_eq!((answer.status, answer.attempts()), (409, 0));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((500..=600).contains(&wait), "{wait}");
    assert!(answer.json()["error"]["retry_at"].is_string());

    let others: Vec<String> = (1..=4).map(|n| format!("sk-ok-{n}")).filter(|text| !text.ends_with(&key)).collect();
    keyweir.set_keys(&others.iter().map(String::as_str).collect::<Vec<_>>());
    keyweir.reload();
    let answer = get(&keyweir, &format!("/v1/files/{file}"));
    assert_eq!(refused(&answer), (409, "resource_key_unavailable".into()), "the key is gone");
    keyweir.set_keys(&["sk-ok-1", "sk-ok-2", "sk-ok-3", "sk-ok-4"]);
    keyweir.reload();
    assert_eq!(keyweir.admin("POST", &format!("/api/v1/keys/{id}/reset")).status, 200);
    assert_eq!((get(&keyweir, &format!("/v1/files/{file}")).status, last_key(&mock)), (200, key), "and back");
}

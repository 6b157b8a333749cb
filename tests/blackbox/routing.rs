//! Which pool a path belongs to, what of it goes upstream, and who may ask.

use serde_json::json;

use crate::harness::{Config, Http2, Keyweir, MockProvider, Response, TOKEN, request};

fn get(keyweir: &Keyweir, path: &str) -> Response {
    let mut connection = keyweir.connect();
    connection.send(request("GET", path, &[], b""));
    connection.response()
}

/// Asks for each path and compares the pool that served it and the path the provider saw.
fn expect(keyweir: &Keyweir, mock: &MockProvider, cases: &[(&str, &str, &str)]) {
    for (path, pool, upstream) in cases {
        let answer = get(keyweir, path);
        assert_eq!((answer.status, answer.header("keyweir-pool")), (200, Some(*pool)), "{path}: {}", answer.text());
        assert_eq!(mock.last().pop().unwrap()["path"], *upstream, "{path}");
    }
}

#[test]
fn every_form_of_path_finds_its_pool() {
    let mock = MockProvider::start();
    let keyweir = Config::default()
        .and_pool("ms", &mock, "paths: [/ms, /ms/deep/er]", &["sk-ok-1"])
        .and_pool("other", &mock, "", &["sk-ok-2"])
        .and_pool("deep", &mock, "paths: [/ms/deep]", &["sk-ok-3"])
        .top("default_pool: ms")
        .start();
    let models = "/v1/models";
    expect(
        &keyweir,
        &mock,
        &[
            ("/v1/models", "ms", models),
            ("/models", "ms", models),
            ("/openai/ms/v1/models", "ms", models),
            ("/openai/other/v1/models", "other", models),
            ("/openai/other/models", "other", models),
            ("/hf/other/v1/models", "other", models),
            ("/openai/v1/models", "ms", models),
            ("/hf/v1/models", "ms", models),
            ("/openai/models", "ms", models),
            ("/ms/v1/models", "ms", models),
            ("/ms/models", "ms", models),
            ("/other/v1/models", "other", models),
            ("/ms/deep/v1/models", "deep", models),
            ("/ms/deep/er/v1/models", "ms", models),
            ("/v1/models?limit=2&after=x", "ms", "/v1/models?limit=2&after=x"),
        ],
    );
    for path in ["/nope/v1/models", "/msx/v1/models", "/favicon.ico", "/v1beta/models", "/hf/nope/models/x"] {
        let answer = get(&keyweir, path);
        assert!(matches!(answer.status, 403 | 404), "{path}: {}", answer.status);
    }
    let unknown = get(&keyweir, "/nope/v1/models");
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "unknown_path"));
}

#[test]
fn a_targets_path_takes_the_place_of_v1() {
    let mock = MockProvider::start();
    for (base, upstream) in [
        ("", "/v1/models"),
        ("/", "/v1/models"),
        ("/v1", "/v1/models"),
        ("/v4", "/v4/models"),
        ("/compatible-mode/v1", "/compatible-mode/v1/models"),
        ("/api/paas/v4/", "/api/paas/v4/models"),
    ] {
        let keyweir = Config::pool(format!("http://{mock}{base}"), &["sk-ok-1"]).start();
        expect(&keyweir, &mock, &[("/v1/models", "p", upstream), ("/p/models", "p", upstream)]);
    }
}

#[test]
fn azures_deployments_live_under_their_pools_path() {
    let mock = MockProvider::start();
    let keyweir = Config::default().and_pool("az", &mock, "", &["sk-ok-1"]).start();
    let body = json!({"messages": []});
    let path = "/az/openai/deployments/gpt/chat/completions?api-version=1";
    assert_eq!(keyweir.send(crate::harness::post(path, &body)).status, 200);
    assert_eq!(mock.last()[0]["path"], "/openai/deployments/gpt/chat/completions?api-version=1");
}

#[test]
fn the_only_pool_is_the_default_one_and_of_several_none_is() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    assert_eq!(get(&keyweir, "/v1/models").status, 200);
    let several = Config::pool(&mock, &["sk-ok-1"]).and_pool("q", &mock, "", &["sk-ok-2"]).start();
    for path in ["/v1/models", "/models", "/openai/v1/models", "/hf/v1/models"] {
        let answer = get(&several, path);
        assert_eq!((answer.status, answer.code().as_str()), (404, "unknown_path"), "{path}");
    }
    assert_eq!(get(&several, "/q/v1/models").header("keyweir-pool"), Some("q"));
    assert_eq!(get(&several, "/openai/q/v1/models").header("keyweir-pool"), Some("q"));
}

#[test]
fn a_pool_named_openai_owns_its_path() {
    let mock = MockProvider::start();
    let keyweir = Config::default()
        .and_pool("openai", &mock, "", &["sk-ok-1"])
        .and_pool("ms", &mock, "", &["sk-ok-2"])
        .top("default_pool: ms")
        .start();
    expect(
        &keyweir,
        &mock,
        &[
            ("/openai/v1/models", "openai", "/v1/models"),
            ("/openai/ms/v1/models", "ms", "/v1/models"),
            ("/hf/v1/models", "ms", "/v1/models"),
        ],
    );
}

#[test]
fn only_open_routes_are_served() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"])
        .and_pool("wide", &mock, "routes: [\"*\"]", &["sk-ok-2"])
        .and_pool("narrow", &mock, "routes: [\"models\"]", &["sk-ok-3"])
        .start();
    for path in ["/p/v1/files", "/p/v1/organization/users", "/p/fine_tuning/jobs", "/p", "/narrow/v1/embeddings"] {
        let answer = get(&keyweir, path);
        assert_eq!((answer.status, answer.code().as_str()), (403, "route_denied"), "{path}");
    }
    for path in ["/p/v1/chat/../files", "/p/v1/chat/%2e%2e/files", "/p/v1/models/%2E./files", "/p/v1/models/..%2Ffiles"]
    {
        assert_eq!(get(&keyweir, path).status, 400, "{path}");
    }
    assert_eq!(mock.count("requests"), 0);
    assert_eq!(get(&keyweir, "/wide/v1/files").status, 404, "the provider's own answer");
    assert_eq!(get(&keyweir, "/narrow/v1/models").status, 200);
}

#[test]
fn a_disabled_pool_is_routed_to_nobody() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).and_pool("off", &mock, "enabled: false", &["sk-ok-2"]).start();
    assert_eq!(get(&keyweir, "/off/v1/models").status, 404);
}

#[test]
fn a_token_is_taken_in_every_form() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let ask = |target: &str, line: &str| {
        let mut connection = keyweir.connect();
        connection.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{line}\r\n"));
        connection.response().status
    };
    for line in ["Authorization: Bearer", "authorization: bearer", "X-Api-Key:", "x-goog-api-key:", "Api-Key:"] {
        assert_eq!(ask("/v1/models", &format!("{line} {TOKEN}\r\n")), 200, "{line}");
        assert_eq!(ask("/v1/models", &format!("{line} {TOKEN}x\r\n")), 401, "{line}");
        assert_eq!(ask("/v1/models", &format!("{line} \r\n")), 401, "{line}");
    }
    assert_eq!(ask(&format!("/v1/models?key={TOKEN}"), ""), 200);
    assert_eq!(mock.last().pop().unwrap()["path"], "/v1/models");
    assert_eq!(ask(&format!("/v1/models?a=1&key={TOKEN}&b=2"), ""), 200);
    assert_eq!(mock.last().pop().unwrap()["path"], "/v1/models?a=1&b=2");
    assert_eq!(ask("/v1/models?key=wrong", ""), 401);
    assert_eq!(ask("/v1/models", &format!("Authorization: Basic {TOKEN}\r\n")), 401);
    assert_eq!(ask("/v1/models", "Authorization: Bearer sk-ok-1\r\n"), 401, "a provider's key is no token");
}

#[test]
fn without_a_token_nothing_is_served() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    for path in ["/v1/models", "/nowhere", "/p/v1/files"] {
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = connection.response();
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(mock.count("requests"), 0);
}

#[test]
fn anonymous_clients_are_served_where_they_may_be() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).clients("anonymous: true").start();
    assert_eq!(keyweir.send("GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    let other = "GET /v1/models/gpt-4o HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer any\r\n\r\n";
    assert_eq!(keyweir.send(other).status, 404, "the mock's word");
    assert!(!mock.last()[1].to_string().contains("any"), "whatever it sent stays here");
}

#[test]
fn the_proxy_tells_what_it_is_without_a_token() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    for (path, text) in
        [("/", "keyweir"), ("/livez", "ok"), ("/readyz", "ready"), ("/readyz?verbose", "[+]listeners ok")]
    {
        let answer = keyweir.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.text().contains(text), "{path}: {}", answer.text());
        let answer = Http2::open(keyweir.proxy).begin("GET", path, &[], true).answer().finish();
        assert_eq!(answer.status, 200, "{path} over HTTP/2");
    }
    assert_eq!(mock.count("requests"), 0);
}

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::{HeaderMap, Method, Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::admin::reload::{PoolChange, Refusal, Report, Trigger};
use crate::config::ClientLimits;
use crate::telemetry::{AttemptResult, KeyChance, KeySnapshot, Phase, State, TokenSnapshot};
use crate::upstream::Connector;

const TOKEN: &str = "admin-CANARY";

fn key(name: &str, state: State, requests: u64) -> KeySnapshot {
    KeySnapshot {
        id: crate::config::keys::KeyId::of("test", name),
        name: name.into(),
        state,
        reason: (state != State::Ready).then_some("rate_limited"),
        back_in: (state == State::Cooling).then_some(Duration::from_millis(29_200)),
        requests,
        last_used: (requests > 0).then_some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_751_711_400_007)),
        attempts: [requests, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        in_flight: 0,
    }
}

fn pool(name: &str, is_default: bool, keys: Vec<KeySnapshot>) -> PoolSnapshot {
    PoolSnapshot { pool: name.into(), per_key: true, is_default, keys, transitions: vec![], egress: vec![] }
}

fn pools() -> Vec<PoolSnapshot> {
    let first = vec![key("alice", State::Ready, 15), key("bob", State::Cooling, 3), key("carol", State::Disabled, 0)];
    vec![pool("modelscope", true, first), pool("siliconflow", false, vec![key("dave", State::Ready, 0)])]
}

fn tokens() -> Vec<TokenSnapshot> {
    let limits = ClientLimits { rpm: Some(60), ..ClientLimits::default() };
    let used = SystemTime::UNIX_EPOCH + Duration::from_millis(1_751_711_400_007);
    let token = |name: &str| TokenSnapshot {
        name: name.into(),
        reveal_key: false,
        pools: vec!["modelscope".into()],
        models: vec![],
        limits,
        expires: Some(used),
        is_expired: true,
        in_flight: 1,
        requests: 12,
        refused: 3,
        tokens_in: 100,
        tokens_out: 200,
        last_used: Some(used),
    };
    vec![token("ci"), token("laptop")]
}

fn access() -> Access {
    let token = TokenDigest::of(TOKEN.as_bytes());
    Access { token, hosts: vec!["keys.example.org".into()], metrics_token: None }
}

fn chances(model: &str) -> Vec<KeyChance> {
    let chance = |name: &str, state, blocked_by, ready_in| KeyChance {
        name: name.into(),
        state,
        blocked_by,
        reason: blocked_by.map(|_| "rate_limited"),
        ready_in,
    };
    let blocked_by = Some(if model.is_empty() { "key" } else { "model" });
    vec![
        chance("alice", State::Cooling, blocked_by, Some(Duration::from_millis(1500))),
        chance("bob", State::Disabled, Some("operator"), None),
    ]
}

fn state() -> AdminState {
    let readiness = Readiness::default();
    readiness.set_listeners_bound();
    readiness.set_keys_loaded();
    AdminState {
        snapshots: Arc::new(pools),
        egress: Arc::new(Checker::new(Connector::new(), Arc::default())),
        tokens: Arc::new(tokens),
        readiness: Arc::new(readiness),
        access: Arc::new(ArcSwap::from_pointee(access())),
        keypool: Arc::default(),
        explain: Arc::new(|pool, model| (pool == "modelscope").then(|| chances(model))),
        reload: Arc::new(|_| Ok(Report::default())),
        last_reload: Arc::new(ArcSwap::from_pointee(Last {
            time: SystemTime::UNIX_EPOCH,
            trigger: Trigger::Signal,
            outcome: Err(Refusal(vec!["keys.yaml:3:1: p: wrong".into(), "keys.yaml:4:1: p: worse".into()])),
        })),
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn content_type(&self) -> &str {
        self.headers[header::CONTENT_TYPE].to_str().unwrap()
    }
}

async fn answer(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(!text.contains("CANARY"), "{text}");
    Answer { status: parts.status.as_u16(), headers: parts.headers, text }
}

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, "localhost:8081")
}

fn authorized(method: Method, path: &str) -> http::request::Builder {
    request(method, path).header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
}

async fn send_to(state: AdminState, request: http::request::Builder) -> Answer {
    answer(router(state).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await
}

async fn get(path: &str) -> Answer {
    send_to(state(), authorized(Method::GET, path)).await
}

#[tokio::test]
async fn probes_and_public_pages_are_open_and_the_rest_is_not() {
    for path in ["/", "/livez", "/healthz", "/readyz", "/readyz?verbose", "/health", "/info"] {
        assert_eq!(send_to(state(), request(Method::GET, path)).await.status, 200, "{path}");
    }
    let reloads = ["/reload-keys", "/api/v1/reload"].map(|path| (Method::POST, path));
    let pages = ["/stats", "/balance", "/blacklist", "/api/v1/pools", "/api/v1/anything", "/api/v1/reload"];
    for (method, path) in pages.map(|path| (Method::GET, path)).into_iter().chain(reloads) {
        let reload: Reload = Arc::new(|_| panic!("reloaded without a token"));
        let refused = send_to(AdminState { reload, ..state() }, request(method, path)).await;
        assert_eq!(refused.status, 401, "{path}");
        assert_eq!(refused.content_type(), "application/problem+json");
        assert_eq!(refused.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"keyweir\"");
        assert_eq!(refused.json()["status"], 401);
    }
}

#[tokio::test]
async fn only_the_whole_token_as_bearer_opens() {
    let lower = format!("bearer {TOKEN}");
    assert_eq!(send_to(state(), request(Method::GET, "/stats").header("authorization", lower)).await.status, 200);
    for value in ["Bearer ", "Bearer", "Bearer admin-CANAR", "Basic admin-CANARY", "admin-CANARY", "Bearer\u{a0}x"] {
        let refused = send_to(state(), request(Method::GET, "/stats").header("authorization", value)).await;
        assert_eq!(refused.status, 401, "{value}");
    }
    let twice = authorized(Method::GET, "/stats").header("authorization", "Bearer x");
    assert_eq!(send_to(state(), twice).await.status, 401);
}

#[tokio::test]
async fn explain_names_each_keys_first_blocker_and_when_it_is_back() {
    let answer = get("/api/v1/explain?model=qwen").await.json();
    assert_eq!(
        (&answer["pool"], &answer["model"], &answer["ready_in"]),
        (&json!("modelscope"), &json!("qwen"), &json!(1.5))
    );
    assert_eq!(answer["keys"], json!({"ready": 0, "cooling": 1, "disabled": 1}));
    let first = &answer["items"][0];
    assert_eq!((&first["name"], &first["blocked_by"]), (&json!("alice"), &json!("model")));
    assert_eq!((&first["reason"], &first["ready_in"]), (&json!("rate_limited"), &json!(1.5)));
    assert!(first["ready_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(answer["items"][1]["ready_at"], Value::Null);
    assert_eq!(get("/api/v1/explain?pool=modelscope").await.json()["items"][0]["blocked_by"], "key");
    assert_eq!(get("/api/v1/explain?pool=none").await.status, 404);
    assert_eq!(get("/api/v1/explain?limit=1").await.json()["next_cursor"], "1");
}

#[tokio::test]
async fn a_new_token_takes_effect_at_once() {
    let state = state();
    state.access.store(Arc::new(Access { token: TokenDigest::of(b"another"), ..access() }));
    assert_eq!(send_to(state, authorized(Method::GET, "/stats")).await.status, 401);
}

#[tokio::test]
async fn foreign_hosts_are_misdirected() {
    let with = |host: &str| Request::builder().uri("/livez").header(header::HOST, host);
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8081", "[::1]:8081", "10.1.2.3", "Keys.example.org:443"] {
        assert_eq!(send_to(state(), with(host)).await.status, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "a b", "[::1", "keys.example.org.x"]
    {
        let refused = send_to(state(), with(host)).await;
        assert_eq!(refused.status, 421, "{host}");
        assert_eq!(refused.content_type(), "application/problem+json");
    }
    assert_eq!(send_to(state(), Request::builder().uri("/livez")).await.status, 421, "no Host");
    assert_eq!(send_to(state(), with("localhost").header(header::HOST, "evil.example")).await.status, 421);
    let absolute = Request::builder().uri("http://evil.example/livez").header(header::HOST, "localhost");
    assert_eq!(send_to(state(), absolute).await.status, 421);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    for path in ["/", "/stats", "/nothing", "/readyz"] {
        let headers = get(path).await.headers;
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"), "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    for path in ["/nothing", "/api/v1/nothing", "/api/v1/pools/nothing/keys", "/stats?pool=nothing"] {
        let missing = get(path).await;
        assert_eq!((missing.status, missing.content_type()), (404, "application/problem+json"), "{path}");
        assert_eq!(missing.json()["code"], "not_found");
    }
    let refused = send_to(state(), authorized(Method::DELETE, "/stats")).await;
    assert_eq!((refused.status, refused.content_type()), (405, "application/problem+json"));
}

#[tokio::test]
async fn readyz_follows_the_readiness_and_lists_its_checks() {
    let draining = state();
    draining.readiness.enter(Phase::Leaving);
    let answer = send_to(draining, request(Method::GET, "/readyz?verbose")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.text.contains("[+]listeners ok\n") && answer.text.contains("[-]not-draining failed\n"));

    let starting = AdminState { readiness: Arc::default(), ..state() };
    assert_eq!(send_to(starting, request(Method::GET, "/readyz")).await.status, 503);
    let starting = AdminState { readiness: Arc::default(), ..state() };
    assert_eq!(send_to(starting, request(Method::GET, "/livez")).await.status, 200);
}

#[tokio::test]
async fn readyz_requires_keys_only_when_asked() {
    let keyless = || AdminState {
        snapshots: Arc::new(|| vec![pool("modelscope", true, vec![key("bob", State::Cooling, 1)])]),
        ..state()
    };
    assert_eq!(send_to(keyless(), request(Method::GET, "/readyz")).await.status, 200);
    assert_eq!(send_to(keyless(), request(Method::GET, "/readyz?require=keys")).await.status, 503);
    assert_eq!(get("/readyz?require=keys").await.status, 200);
    assert_eq!(get("/readyz?require=luck").await.status, 400);
}

#[tokio::test]
async fn stats_have_the_shape_of_the_siliconflow_balancer() {
    let expected = json!({"totalKeys": 3, "activeKeys": 1, "keyStats": [
        {"index": 1, "requestCount": 15, "lastUsed": "2025-07-05T10:30:00.007Z", "isActive": true},
        {"index": 2, "requestCount": 3, "lastUsed": "2025-07-05T10:30:00.007Z", "isActive": false},
        {"index": 3, "requestCount": 0, "lastUsed": null, "isActive": false},
    ]});
    assert_eq!(get("/stats").await.json(), expected);
    assert_eq!(get("/stats?pool=siliconflow").await.json()["totalKeys"], 1);
}

#[tokio::test]
async fn stats_have_the_shape_of_modelscope_balance_when_asked() {
    let expected = json!({
        "alice": {"healthy": true, "last_used": "2025-07-05T10:30:00Z", "requests": 15},
        "bob": {"healthy": false, "last_used": "2025-07-05T10:30:00Z", "requests": 3},
        "carol": {"healthy": false, "last_used": null, "requests": 0},
    });
    assert_eq!(get("/stats?shape=modelscope-balance").await.json(), expected);
    assert_eq!(get("/stats?shape=round").await.status, 400);
}

#[tokio::test]
async fn without_a_default_pool_one_must_be_named() {
    let several =
        AdminState { snapshots: Arc::new(|| vec![pool("a", false, vec![]), pool("b", false, vec![])]), ..state() };
    let answer = send_to(several, authorized(Method::GET, "/stats")).await;
    assert_eq!(answer.status, 404);
    assert!(answer.text.contains("?pool="));
}

#[tokio::test]
async fn the_blacklist_says_why_and_how_long() {
    let expected = json!({"pool": "modelscope", "total": 2, "blacklist": [
        {"name": "bob", "state": "cooling", "reason": "rate_limited", "back_in": 30},
        {"name": "carol", "state": "disabled", "reason": "rate_limited", "back_in": null},
    ]});
    assert_eq!(get("/blacklist").await.json(), expected);
}

#[tokio::test]
async fn balances_are_null_while_unknown() {
    let balance = get("/balance?refresh=true").await.json();
    assert_eq!((&balance["success"], &balance["totalBalance"]), (&json!(true), &Value::Null));
    let first = json!({"index": 1, "balance": null, "lastChecked": null, "isActive": true});
    assert_eq!(balance["keyBalances"][0], first);
}

#[tokio::test]
async fn health_and_info_tell_no_names() {
    let health = get("/health").await.json();
    assert_eq!(
        (&health["status"], &health["totalKeys"], &health["activeKeys"]),
        (&json!("healthy"), &json!(4), &json!(2))
    );
    let info = get("/info").await.json();
    assert_eq!(info, json!({"name": "keyweir", "version": env!("CARGO_PKG_VERSION"), "pools": 2}));
}

#[tokio::test]
async fn reload_keys_counts_before_and_after() {
    let reloads = Arc::new(AtomicUsize::new(0));
    let (seen, done) = (Arc::clone(&reloads), Arc::clone(&reloads));
    let growing = AdminState {
        snapshots: Arc::new(move || {
            let keys = (0..4 + 4 * seen.load(Ordering::SeqCst)).map(|n| key(&n.to_string(), State::Ready, 0));
            vec![pool("modelscope", true, keys.collect())]
        }),
        reload: Arc::new(move |force| {
            assert!(!force);
            done.fetch_add(1, Ordering::SeqCst);
            Ok(report())
        }),
        ..state()
    };
    let answer = send_to(growing, authorized(Method::POST, "/reload-keys")).await.json();
    assert_eq!(answer["message"], "Successfully reloaded API keys. Previous: 4, New: 8");
    assert_eq!(
        (&answer["success"], &answer["keyCount"], &answer["summary"]),
        (&json!(true), &json!(8), &json!("8 keys, 4 added, 0 removed; restart required for server.threads"))
    );
}

#[tokio::test]
async fn a_refused_reload_says_why() {
    for path in ["/reload-keys", "/api/v1/reload"] {
        let mistakes = vec!["keys.yaml:3:1: p: not a key".to_owned(), "keys.yaml:5:1: p: nor this".to_owned()];
        let refusing = AdminState { reload: Arc::new(move |_| Err(Refusal(mistakes.clone()))), ..state() };
        let answer = send_to(refusing, authorized(Method::POST, path)).await;
        assert_eq!((answer.status, answer.content_type()), (422, "application/problem+json"));
        assert_eq!(answer.json()["detail"], "keys.yaml:3:1: p: not a key\nkeys.yaml:5:1: p: nor this");
        assert_eq!(answer.json()["errors"], json!(["keys.yaml:3:1: p: not a key", "keys.yaml:5:1: p: nor this"]));
    }
}

fn report() -> Report {
    let pool = PoolChange { name: "modelscope".into(), keys: 8, added: 4, removed: 0 };
    Report { pools: vec![pool], warnings: vec!["w".into()], restart_required: vec!["server.threads".into()] }
}

#[tokio::test]
async fn a_reload_says_what_it_changed() {
    for (query, forced) in [("", false), ("?force=false", false), ("?force=true", true)] {
        let forcing = AdminState {
            reload: Arc::new(move |force| {
                assert_eq!(force, forced);
                Ok(report())
            }),
            ..state()
        };
        let answer = send_to(forcing, authorized(Method::POST, &format!("/api/v1/reload{query}"))).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["ok"], &body["trigger"]), (200, &json!(true), &json!("api")));
        assert_eq!(body["pools"], json!([{"name": "modelscope", "keys": 8, "added": 4, "removed": 0}]));
        assert_eq!((&body["warnings"], &body["restart_required"]), (&json!(["w"]), &json!(["server.threads"])));
        assert!(body["message"].as_str().unwrap().starts_with("8 keys, 4 added"), "{body}");
    }
    assert_eq!(send_to(state(), authorized(Method::POST, "/api/v1/reload?force=perhaps")).await.status, 400);
}

#[tokio::test]
async fn the_last_reload_is_shown() {
    let body = get("/api/v1/reload").await.json();
    let expected = json!({
        "time": "1970-01-01T00:00:00.000Z", "trigger": "signal", "ok": false,
        "message": "keys.yaml:3:1: p: wrong\nkeys.yaml:4:1: p: worse",
        "errors": ["keys.yaml:3:1: p: wrong", "keys.yaml:4:1: p: worse"],
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn the_api_lists_pools_and_keys() {
    let pools = get("/api/v1/pools").await.json();
    let first = json!({"name": "modelscope", "default": true, "keys": {"ready": 1, "cooling": 1, "disabled": 1}});
    assert_eq!((&pools["total"], &pools["items"][0]), (&json!(2), &first));

    let keys = get("/api/v1/pools/modelscope/keys").await.json();
    assert_eq!(keys["items"][1]["name"], "bob");
    assert_eq!(keys["items"][1]["back_in"], 29.2);
    assert_eq!(keys["items"][0]["attempts"][AttemptResult::Ok.as_str()], 15);
}

#[tokio::test]
async fn key_lists_are_filtered_and_paged() {
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
    };
    let keys = "/api/v1/pools/modelscope/keys";
    let first = get(&format!("{keys}?limit=2")).await.json();
    assert_eq!((names(&first), &first["next_cursor"]), (vec!["alice".into(), "bob".into()], &json!("2")));
    let second = get(&format!("{keys}?limit=2&cursor=2")).await.json();
    assert_eq!((names(&second), &second["next_cursor"]), (vec!["carol".into()], &Value::Null));
    assert_eq!(names(&get(&format!("{keys}?state=cooling")).await.json()), ["bob"]);
    assert_eq!(names(&get(&format!("{keys}?q=aro")).await.json()), ["carol"]);
    assert_eq!(get(&format!("{keys}?cursor=99999999")).await.json()["items"], json!([]));
    for query in ["state=odd", "limit=-1", "cursor=x"] {
        assert_eq!(get(&format!("{keys}?{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn an_answer_can_be_tried_against_the_rules() {
    let ask = async |trial: Value| {
        let request = authorized(Method::POST, "/api/v1/verdict").header("content-type", "application/json");
        let request = request.body(Body::from(trial.to_string())).unwrap();
        answer(router(state()).oneshot(request).await.unwrap()).await
    };
    let trial = json!({
        "provider": "modelscope",
        "status": 429,
        "headers": {"content-type": "application/json"},
        "body": {"errors": {"message": "You have exceeded today's quota for model Qwen/Q, please try again tomorrow"}},
        "now": "2026-01-01T15:00:00Z",
    });
    let found = ask(trial).await.json();
    let words = ["rule", "key", "scope", "retry"].map(|name| found[name].as_str().unwrap());
    assert_eq!(words, ["modelscope-day-model", "cooldown_model", "account", "other_key"]);
    assert_eq!(found["until"], 3600, "midnight in Shanghai");
    assert_eq!(found["answer"]["is_error"], true);
    for (trial, status) in [
        (json!({"status": 500, "pool": "none"}), 404),
        (json!({"status": 500, "provider": "none"}), 404),
        (json!({"status": 500, "provider": "openai", "headers": {"a b": "c"}}), 400),
        (json!({"status": 500, "provider": "openai", "now": "soon"}), 400),
        (json!({"stats": 500}), 400),
        (json!({}), 400),
    ] {
        assert_eq!(ask(trial.clone()).await.status, status, "{trial}");
    }
}

#[tokio::test]
async fn tokens_are_listed_with_scopes_limits_and_use() {
    let list = get("/api/v1/tokens?q=lap").await.json();
    assert_eq!(list["total"], 1);
    let expected = json!({
        "name": "laptop", "reveal_key": false, "pools": ["modelscope"], "models": [],
        "rpm": 60, "tpm": null, "rpd": null, "concurrency": null,
        "expires": "2025-07-05T10:30:00.007Z", "expired": true,
        "in_flight": 1, "requests": 12, "refused": 3, "tokens_in": 100, "tokens_out": 200,
        "last_used": "2025-07-05T10:30:00.007Z",
    });
    assert_eq!(list["items"][0], expected);
    assert_eq!(get("/api/v1/tokens?limit=1").await.json()["next_cursor"], "1");
    assert_eq!(send_to(state(), request(Method::GET, "/api/v1/tokens")).await.status, 401);
}

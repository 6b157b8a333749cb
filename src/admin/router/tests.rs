use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::{HeaderMap, Method, Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::config::ClientLimits;
use crate::keypool::Wanted;
use crate::pool::{Mark, Place, Reason, Scope};
use crate::telemetry::{KeyChance, KeySnapshot, Phase, State, TokenSnapshot};
use crate::upstream::Connector;

const TOKEN: &str = "admin-CANARY";

fn key(name: &str, state: State, requests: u64) -> KeySnapshot {
    KeySnapshot {
        limits: Vec::new(),
        id: crate::config::KeyId::of("test", name),
        name: name.into(),
        state,
        reason: (state != State::Ready).then_some("rate_limited"),
        back_in: (state == State::Cooling).then_some(Duration::from_millis(29_200)),
        requests,
        last_used: (requests > 0).then_some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_751_711_400_007)),
        attempts: [requests, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        in_flight: 0,
        recheck_at: None,
        balance: None,
    }
}

fn pool(name: &str, is_default: bool, keys: Vec<KeySnapshot>) -> PoolSnapshot {
    PoolSnapshot {
        pool: name.into(),
        per_key: true,
        is_default,
        keys: Arc::new(keys),
        transitions: vec![],
        egress: vec![],
        targets: vec![],
    }
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
        spent: crate::clients::Spent::default(),
        last_used: Some(used),
    };
    vec![token("ci"), token("laptop")]
}

fn access() -> Access {
    let user =
        |name: &str, role, token: &str| User { name: name.into(), role, token: TokenDigest::of(token.as_bytes()) };
    let users = vec![user("admin", Role::Admin, TOKEN)];
    Access { users, hosts: vec!["keys.example.org".into()], metrics_token: None }
}

fn chances(model: &str) -> Vec<KeyChance> {
    let chance = |name: &str, state, blocked_by, ready_in| KeyChance {
        name: name.into(),
        state,
        blocked_by,
        reason: blocked_by.map(|_| "rate_limited"),
        ready_in,
        deferred: Duration::ZERO,
        next_probe: None,
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
    let manager = Folder::new().manager();
    AdminState {
        snapshots: Arc::new(pools),
        egress: Arc::new(Checker::new(Connector::new(), Arc::default())),
        balances: Arc::new(Balances::new(Connector::new(), manager.live().edge.clone())),
        tokens: Arc::new(tokens),
        readiness: Arc::new(readiness),
        access: Arc::new(ArcSwap::from_pointee(access())),
        sessions: Sessions::default(),
        throttle: Throttle::default(),
        keypool: Arc::default(),
        explain: Arc::new(|pool, model| (pool == "modelscope").then(|| chances(model))),
        prober: Arc::new(Prober::new(Connector::new(), manager.live().edge.clone())),
        manager,
    }
}

/// Where a manager has its files.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("keyweir-router-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir(&folder.0).unwrap();
        folder.write_keys("[sk-1, sk-2]");
        let store = folder.0.join("keyweir.db");
        let text = format!(
            "server: {{admin: {{token: {TOKEN}}}}}\nstore: {{url: \"sqlite://{}\"}}\n\
             clients: {{anonymous: true}}\npools:\n  p: {{targets: [{{url: \"http://127.0.0.1:1\"}}]}}\n",
            store.display(),
        );
        fs::write(folder.0.join("keyweir.yaml"), text).unwrap();
        folder
    }

    fn write_keys(&self, keys: &str) {
        fs::write(self.0.join("keys.yaml"), format!("p: {keys}\n")).unwrap();
    }

    fn manager(&self) -> Arc<Manager> {
        let path = self.0.join("keyweir.yaml");
        let start = || Manager::start(path.clone(), crate::config::load(&path).unwrap()).unwrap();
        // It blocks.
        Arc::new(std::thread::scope(|scope| scope.spawn(start).join().unwrap()))
    }

    fn state(&self) -> AdminState {
        let manager = self.manager();
        let keypool = manager.live().keypool.clone();
        let snapshots = Arc::new(move || keypool.snapshots(Some("p")));
        AdminState { snapshots, keypool: manager.live().keypool.clone(), manager, ..state() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What was left open is gone all the same.
        let _gone = fs::remove_dir_all(&self.0);
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
        let refused = send_to(state(), request(method, path)).await;
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
    state.access.store(Arc::new(Access { users: Vec::new(), ..access() }));
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
        // A built console is kept by the browser, which asks before each use.
        let is_page = path == "/" && headers["cache-control"] == "no-cache";
        assert!(is_page || headers["cache-control"] == "no-store", "{path}");
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
    let folder = Folder::new();
    let state = folder.state();
    folder.write_keys("[sk-1, sk-2, sk-3]");
    let answer = send_to(state, authorized(Method::POST, "/reload-keys")).await.json();
    assert_eq!(answer["message"], "Successfully reloaded API keys. Previous: 2, New: 3");
    assert_eq!(
        (&answer["success"], &answer["keyCount"], &answer["summary"]),
        (&json!(true), &json!(3), &json!("3 keys, 1 added, 0 removed"))
    );
}

#[tokio::test]
async fn a_refused_reload_says_why_and_is_remembered() {
    let folder = Folder::new();
    let router = router(folder.state());
    let send = |request: http::request::Builder| async {
        answer(router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await
    };
    folder.write_keys("[\"two words\"]");
    for path in ["/reload-keys", "/api/v1/reload"] {
        let answer = send(authorized(Method::POST, path)).await;
        assert_eq!((answer.status, answer.content_type()), (422, "application/problem+json"));
        let body = answer.json();
        assert!(body["detail"].as_str().unwrap().contains("keys.yaml:1:"), "{body}");
        assert_eq!(body["errors"][0], body["detail"]);
        let last = send(authorized(Method::GET, "/api/v1/reload")).await.json();
        assert_eq!((&last["trigger"], &last["ok"], &last["message"]), (&json!("api"), &json!(false), &body["detail"]));
    }
}

#[tokio::test]
async fn a_reload_says_what_it_changed() {
    let folder = Folder::new();
    let router = router(folder.state());
    let reload = |query: &str| {
        let request = authorized(Method::POST, &format!("/api/v1/reload{query}"));
        let router = router.clone();
        async move { answer(router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await }
    };
    folder.write_keys("[sk-3]");
    let body = reload("").await.json();
    assert_eq!((&body["ok"], &body["trigger"]), (&json!(true), &json!("api")));
    assert_eq!(body["pools"], json!([{"name": "p", "keys": 1, "added": 1, "removed": 2}]));
    folder.write_keys("[]");
    assert_eq!(reload("?force=false").await.status, 422, "the last key");
    assert_eq!(reload("?force=true").await.status, 200);
    assert_eq!(reload("?force=perhaps").await.status, 400);
}

#[tokio::test]
async fn the_api_lists_pools_and_keys() {
    let folder = Folder::new();
    let state = three_keys(&folder);
    let (_, key) = state.keypool.key(state.keypool.matching("p", &Wanted::default()).unwrap()[0]).unwrap();
    let router = router(state);
    let get = async |path: &str| {
        let request = authorized(Method::GET, path).body(Body::empty()).unwrap();
        answer(router.clone().oneshot(request).await.unwrap()).await.json()
    };
    let pools = get("/api/v1/pools").await;
    let first = json!({
        "name": "p", "default": true, "enabled": true, "provider": "generic", "paths": ["/p"], "provisioned": true,
        "keys": {"ready": 1, "cooling": 1, "disabled": 1}, "targets": [],
    });
    assert_eq!((&pools["total"], &pools["items"][0]), (&json!(1), &first));
    assert_eq!(get("/api/v1/pools/p").await, first);

    let keys = get("/api/v1/pools/p/keys").await;
    assert_eq!((&keys["items"][0]["id"], &keys["items"][1]["name"]), (&json!(key.id.to_string()), &json!("bob")));
    assert!((29.0..=30.0).contains(&keys["items"][1]["back_in"].as_f64().unwrap()), "{keys}");
    assert_eq!((&keys["items"][0]["requests"], &keys["items"][2]["state"]), (&json!(1), &json!("disabled")));
}

/// One key is ready and was used once, one rests, one is disabled.
fn three_keys(folder: &Folder) -> AdminState {
    folder.write_keys("[{key: sk-1, name: alice}, {key: sk-2, name: bob}, {key: sk-3, name: carol}]");
    let state = folder.state();
    let (pool, now) = (state.keypool.entries()[0].pool.clone(), crate::keypool::now());
    let rest = Mark::Cool { reason: Reason::RateLimited, stated: Some(Duration::from_secs(30)) };
    pool.mark(1, Scope::Key, rest, &Place { target: "t", model: "m" }, now);
    pool.disable(2, now);
    drop(pool.checkout("m", now));
    state
}

#[tokio::test]
async fn key_lists_are_filtered_and_paged() {
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
    };
    let folder = Folder::new();
    let router = router(three_keys(&folder));
    let get = async |path: &str| {
        let request = authorized(Method::GET, path).body(Body::empty()).unwrap();
        answer(router.clone().oneshot(request).await.unwrap()).await
    };
    let keys = "/api/v1/pools/p/keys";
    let first = get(&format!("{keys}?limit=2")).await.json();
    assert_eq!((names(&first), &first["next_cursor"]), (vec!["alice".into(), "bob".into()], &json!("2")));
    let second = get(&format!("{keys}?limit=2&cursor=2")).await.json();
    assert_eq!((names(&second), &second["next_cursor"]), (vec!["carol".into()], &Value::Null));
    let cooling = get(&format!("{keys}?state=cooling")).await.json();
    assert_eq!((names(&cooling), &cooling["total"]), (vec!["bob".into()], &json!(1)));
    assert_eq!(names(&get(&format!("{keys}?reason=operator")).await.json()), ["carol"]);
    assert_eq!(names(&get(&format!("{keys}?state=ready&reason=operator")).await.json()), [] as [&str; 0]);
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
        (json!({"stats": 500}), 422),
        (json!({"provider": "openai"}), 422),
        (json!([null, "openai", 500]), 422),
    ] {
        assert_eq!(ask(trial.clone()).await.status, status, "{trial}");
    }
}

#[tokio::test]
async fn tokens_are_listed_with_scopes_limits_and_use() {
    let list = get("/api/v1/tokens?q=lap").await.json();
    assert_eq!(list["total"], 1);
    let expected = json!({
        "id": "laptop", "name": "laptop", "provisioned": true, "created_at": null, "version": null, "reveal_key": false, "pools": ["modelscope"], "models": [],
        "rpm": 60, "tpm": null, "rpd": null, "concurrency": null,
        "budget": null, "spent": {"day": 0.0, "month": 0.0},
        "expires": "2025-07-05T10:30:00.007Z", "expired": true,
        "in_flight": 1, "requests": 12, "refused": 3, "tokens_in": 100, "tokens_out": 200,
        "last_used": "2025-07-05T10:30:00.007Z",
    });
    assert_eq!(list["items"][0], expected);
    assert_eq!(get("/api/v1/tokens?limit=1").await.json()["next_cursor"], "1");
    assert_eq!(send_to(state(), request(Method::GET, "/api/v1/tokens")).await.status, 401);
}

//! The admin listener against those who guess, listen in, or ask for what they must not have.

use std::collections::BTreeMap;
use std::{env, fs};

use keyweir::admin::routes;
use serde_json::{Value, json};

use crate::harness::{
    ADMIN_TOKEN, Config, Connection, Keyweir, MockProvider, Program, Response, TOKEN, eventually, free_address,
    new_directory, spawn, try_admin,
};

fn send(keyweir: &Keyweir, method: &str, path: &str, headers: &[&str], body: &str) -> Response {
    let mut connection = Connection::open(keyweir.admin);
    connection.send(bytes(method, path, headers, body));
    connection.response_to(method)
}

fn bytes(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

const JSON: &str = "Content-Type: application/json";

fn credentials(token: &str) -> String {
    json!({"token": token}).to_string()
}

#[test]
fn guessing_is_slowed_down_and_nobody_else_suffers() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let login = send(&keyweir, "POST", "/api/v1/session", &[JSON], &credentials(ADMIN_TOKEN));
    let cookie = format!("Cookie: {}", login.header("set-cookie").unwrap().split(';').next().unwrap());

    let mut guesses: Vec<_> = (0..400).map(|_| Connection::open(keyweir.admin)).collect();
    for (number, guess) in guesses.iter_mut().enumerate() {
        guess.send(bytes("POST", "/api/v1/session", &[JSON], &credentials(&format!("kwa-guess-{number}"))));
    }
    let answers: Vec<_> = guesses.iter_mut().map(Connection::response).collect();
    let judged = answers.iter().filter(|answer| answer.status == 401).count();
    assert!((10..=14).contains(&judged), "{judged} of 400 at once, some more as time passes");
    for answer in answers.iter().filter(|answer| answer.status != 401) {
        assert_eq!((answer.status, &answer.json()["code"]), (429, &json!("throttled")));
        assert!((1..=7).contains(&answer.header("retry-after").unwrap().parse::<u32>().unwrap()));
    }
    let right = send(&keyweir, "POST", "/api/v1/session", &[JSON], &credentials(ADMIN_TOKEN));
    assert_eq!(right.status, 429, "a guess is not told from the truth");
    assert_eq!(send(&keyweir, "GET", "/api/v1/pools", &[&cookie], "").status, 200, "who is in stays in");
    assert_eq!(keyweir.admin("GET", "/api/v1/pools").status, 200, "programs go on");
    assert_eq!(keyweir.chat(&json!({})).status, 200, "clients notice nothing");
    let wrong = keyweir.metric("keyweir_admin_auth_failures_total{reason=\"unknown\"}");
    let throttled = keyweir.metric("keyweir_admin_auth_failures_total{reason=\"throttled\"}");
    assert_eq!(wrong + throttled, 401.0);

    eventually("the log", || keyweir.log().contains("refused at the admin listener"));
    let log = keyweir.log();
    let line = log.lines().find(|line| line.contains("refused at the admin listener")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert!(line.to_string().contains("127.0.0.1"), "{line}");
    assert!(log.lines().filter(|line| line.contains("refused at the admin")).count() < 100, "lines are rationed");
}

/// Two thousand, or with `KEYWEIR_TEST_ALL` ten thousand.
#[test]
fn a_crowd_at_the_door_is_survived() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let crowd = if env::var_os("KEYWEIR_TEST_ALL").is_some() { 10_000 } else { 2_000 };
    // Half of what may be open at once is left to others that are tested beside this.
    let crowd = crowd.min(open_files() / 2);
    let body = credentials("kwa-guess");
    let mut connections: Vec<_> = (0..crowd).filter_map(|_| Connection::try_open(keyweir.admin)).collect();
    assert_eq!(connections.len(), crowd);
    for connection in &mut connections {
        connection.send(bytes("POST", "/api/v1/session", &[JSON], &body));
    }
    assert_eq!(keyweir.chat(&json!({})).status, 200, "clients notice nothing");
    let mut told = BTreeMap::new();
    for connection in &mut connections {
        // Beyond the bound of connections the answer may be lost with them.
        let status = connection.try_response().map_or(503, |answer| answer.status);
        *told.entry(status).or_insert(0) += 1;
    }
    assert!(told.keys().all(|status| [401, 429, 503].contains(status)), "{told:?}");
    assert!(told.get(&503).is_none_or(|busy| *busy <= crowd.saturating_sub(4096)), "{told:?}");
    drop(connections);
    eventually("room for operators", || {
        try_admin(keyweir.admin, "GET", "/api/v1/pools", &Value::Null).is_some_and(|answer| answer.status == 200)
    });
    assert_eq!(keyweir.chat(&json!({})).status, 200);
}

/// How many files a process may have open.
fn open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX)
}

#[test]
fn an_export_whose_reader_leaves_harms_nothing() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let keys: String = (0..20_000).map(|number| format!("sk-ok-{number:040}\n")).collect();
    let path = "/api/v1/pools/p/keys";
    let bearer = format!("Authorization: Bearer {ADMIN_TOKEN}");
    assert_eq!(send(&keyweir, "POST", &format!("{path}/import"), &[&bearer], &keys).json()["added"], 20_000);
    for _ in 0..20 {
        let mut reader = Connection::open(keyweir.admin);
        reader.send(bytes("GET", &format!("{path}/export?format=text"), &[&bearer], ""));
        assert_eq!(reader.head().status, 200);
    }
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    let whole = keyweir.admin("GET", &format!("{path}/export?format=text"));
    assert_eq!((whole.status, whole.text().lines().count()), (200, 20_001));
    let audit = keyweir.admin("GET", "/api/v1/audit?limit=100").json();
    let exports = audit["items"].as_array().unwrap().iter().filter(|line| line["action"] == "keys.export").count();
    assert_eq!(exports, 21, "whoever left may have read it all");
}

#[test]
fn wrong_bearer_tokens_are_slowed_down_too() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &[]).start();
    let mut connection = Connection::open(keyweir.admin);
    let mut guess = |number: usize| {
        let bearer = format!("Authorization: Bearer kwa-guess-{number}");
        connection.send(bytes("GET", "/api/v1/pools", &[&bearer], ""));
        connection.response().status
    };
    assert!((0..100).all(|number| guess(number) == 401), "a program with an old token does not lock its host out");
    let limit = (100..2000).find(|number| guess(*number) == 429);
    assert!(limit.is_some(), "but nobody guesses for ever");
    assert_eq!(keyweir.admin("GET", "/livez").status, 200, "what is open stays open");
}

#[test]
fn pages_may_load_their_own_files_and_answers_nothing() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &[]).start();
    for path in ["/", "/stats", "/api/v1/pools", "/api/v1/nowhere", "/readyz"] {
        let answer = keyweir.admin("GET", path);
        let is_page = answer.header("content-type").unwrap().starts_with("text/html");
        let policy = answer.header("content-security-policy").unwrap();
        let parts: Vec<_> = policy.split("; ").collect();
        assert!(parts.contains(&"default-src 'none'") && parts.contains(&"frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(parts.contains(&"script-src 'self'"), is_page, "{path}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{path}: {policy}");
        // A built console is kept by the browser, which asks before each use.
        let cached = answer.header("cache-control").unwrap();
        assert!(cached == "no-store" || (is_page && cached == "no-cache"), "{path}: {cached}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
    let page = keyweir.admin("GET", "/").text();
    assert!(!page.contains("<script>") && !page.contains("style=") && !page.contains("<style"), "{page}");
}

/// What `keyweir check` says about a configuration, and whether it accepts it.
fn check(text: &str) -> (bool, String) {
    let dir = new_directory();
    fs::write(dir.join("keyweir.yaml"), text).unwrap();
    fs::write(dir.join("keys.yaml"), "").unwrap();
    let status = spawn(&dir, &["check", "-c", "keyweir.yaml"], &[]).wait().unwrap();
    let said = ["stdout.log", "stderr.log"].map(|name| fs::read_to_string(dir.join(name)).unwrap()).concat();
    fs::remove_dir_all(&dir).unwrap();
    (status.success(), said)
}

#[test]
fn an_address_that_others_reach_takes_a_token_and_tls() {
    let port = free_address().port();
    let admin =
        |address: &str, settings: &str| check(&format!("server: {{admin: {{listen: \"{address}\"{settings}}}}}\n"));
    let open = [format!("0.0.0.0:{port}"), format!("[::]:{port}"), "192.0.2.7:8081".to_owned()];
    for address in &open {
        let (accepted, said) = admin(address, "");
        assert!(!accepted && said.contains("needs a configured token") && said.contains("needs TLS"), "{said}");
        let (accepted, said) = admin(address, ", token: kwa-a-token-of-the-admin");
        assert!(!accepted && said.contains("plaintext: true"), "{said}");
        let (accepted, said) = admin(address, ", plaintext: true");
        assert!(!accepted && said.contains("set token"), "{said}");
        let (accepted, said) = admin(address, ", plaintext: true, token: kwa-a-token-of-the-admin");
        assert!(accepted, "{said}");
    }
    for address in ["127.0.0.1:8081", "127.8.8.8:8081", "[::1]:8081", "unix:admin.sock"] {
        let (accepted, said) = admin(address, "");
        assert!(accepted, "{address}: {said}");
    }
    let dir = new_directory();
    fs::write(dir.join("keyweir.yaml"), format!("server: {{admin: {{listen: \"{}\"}}}}\n", open[0])).unwrap();
    let mut child = spawn(&dir, &["run", "-c", "keyweir.yaml"], &[]);
    assert!(!child.wait().unwrap().success(), "it does not start either");
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn nothing_is_sent_to_metadata_services_unless_that_is_meant() {
    let pool = |url: &str, admin: &str| {
        check(&format!("server: {{admin: {{{admin}}}}}\npools: {{p: {{provider: generic, targets: [\"{url}\"]}}}}\n"))
    };
    let forbidden = ["http://169.254.169.254/v1", "http://[::ffff:a9fe:a9fe]/v1", "http://metadata.google.internal/v1"];
    for url in forbidden {
        let (accepted, said) = pool(url, "");
        assert!(!accepted && said.contains("keyweir.yaml:2:") && said.contains("allow_link_local: true"), "{said}");
        let (accepted, said) = pool(url, "allow_link_local: true");
        assert!(accepted, "{said}");
    }
    let (accepted, said) = pool("http://0xA9FEA9FE/v1", "allow_link_local: true");
    assert!(!accepted && said.contains("unusual spelling"), "{said}");

    let keyweir = Config::default().start();
    let bearer = format!("Authorization: Bearer {ADMIN_TOKEN}");
    for url in forbidden {
        let body = json!({"name": "q", "targets": [url]}).to_string();
        let answer = send(&keyweir, "POST", "/api/v1/pools", &[&bearer, JSON], &body);
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert!(answer.text().contains("allow_link_local"), "{}", answer.text());
    }
}

#[test]
fn a_name_that_resolves_to_a_metadata_service_is_not_connected_to() {
    let dns = Program::dnsmasq(&[("rebound.test", "169.254.169.254")]);
    let servers = format!("dns: [\"{}\"]", dns.address);
    let keyweir = Config::pool_with("rebound.test:80", "timeouts: {connect: 2s}", &["sk-1"]).server(&servers).start();
    assert_eq!(keyweir.chat(&json!({})).code(), "upstream_unreachable");
    assert!(keyweir.log().contains("allow_link_local"), "{}", keyweir.log());
    assert_eq!(keyweir.marked(), [""; 0], "no key is to blame");
}

const VIEWER: &str = "kwa-canary-viewer-token";
const GUESS: &str = "kwa-canary-of-a-stranger";

#[test]
fn no_secret_comes_out_of_the_admin_listener() {
    let mock = MockProvider::start();
    let users = format!("users: [{{name: vera, token: {VIEWER}}}]");
    let keyweir = Config::pool(&mock, &["sk-ok-canary-key"]).admin(&users).level("trace").start();
    keyweir.write_keys("p: [{key: sk-ok-canary-key, name: a}]\n");
    keyweir.reload();
    let mut seen = String::new();
    let mut note = |answer: &Response| {
        let told = answer.headers.iter().filter(|(name, _)| name != "set-cookie");
        seen += &format!("{:?} {}\n", told.collect::<Vec<_>>(), answer.text());
    };
    let login = |body: &str| send(&keyweir, "POST", "/api/v1/session", &[JSON], body);
    let opened = login(&credentials(ADMIN_TOKEN));
    let cookie = opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    note(&opened);
    for body in [
        credentials(GUESS),
        json!({"token": VIEWER, "user": "otto"}).to_string(),
        json!({"token": [VIEWER]}).to_string(),
        json!({VIEWER: 1}).to_string(),
        json!(VIEWER).to_string(),
        VIEWER.to_owned(),
    ] {
        note(&login(&body));
    }
    let callers = [ADMIN_TOKEN, VIEWER, GUESS].map(|token| format!("Authorization: Bearer {token}"));
    let callers = callers.into_iter().chain([format!("Cookie: {cookie}\r\nSec-Fetch-Site: same-origin")]);
    for caller in callers {
        // An export is what shows keys; of an event stream there is no end.
        let quiet =
            |path: &str| !path.ends_with("/export") && !path.ends_with("/events") && !path.ends_with("/session");
        for route in routes().iter().filter(|route| quiet(&route.path)) {
            let path = route.path.replace("{pool}", "p").replace("{key}", "a").replace("{action}", "reset");
            note(&send(&keyweir, route.method.as_str(), &path, &[&caller], ""));
        }
    }
    // Bodies that hold a key and are not understood.
    let posts = ["pools/p/keys", "pools/p/keys/bulk", "pools/p/keys/import", "tokens", "verdict", "pools"];
    for (method, path) in posts.map(|path| ("POST", path)).into_iter().chain([("PUT", "settings")]) {
        for body in [
            r#""sk-canary-key""#,
            r#"{"key": ["sk-canary-key"], "rpm": "sk-canary-key"}"#,
            r#"{"sk-canary-key": 1}"#,
            "sk-canary-key, {",
        ] {
            let bearer = format!("Authorization: Bearer {ADMIN_TOKEN}");
            note(&send(&keyweir, method, &format!("/api/v1/{path}?dry_run=true"), &[&bearer, JSON], body));
        }
    }
    keyweir.rewrite("name: vera", "nam: vera");
    note(&keyweir.admin("POST", "/api/v1/reload"));
    note(&keyweir.admin("GET", "/api/v1/reload"));
    seen += &keyweir.metrics_text();
    let (mut keyweir, mut logs) = (keyweir, String::new());
    keyweir.signal("TERM");
    keyweir.wait();
    logs += &keyweir.log();
    logs += &keyweir.access_log();
    let id = cookie.split_once('=').unwrap().1;
    for secret in [ADMIN_TOKEN, VIEWER, GUESS, TOKEN, "canary-key", id] {
        for (what, text) in [("an answer", &seen), ("a log", &logs)] {
            assert_eq!(text.lines().find(|line| line.contains(secret)), None, "{secret} in {what}");
        }
    }
}

//! A running keyweir: its files in a directory of its own, its logs in files, ended with the test.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use serde_json::Value;

use super::client::{self, Connection, Response};
use super::{eventually, pause};

/// The client token every configuration here knows.
pub(crate) const TOKEN: &str = "kw-canary-client-token";
pub(crate) const ADMIN_TOKEN: &str = "kwa-canary-admin-token";
/// The header of whoever wants to hear of long work line by line.
pub(crate) const PROGRESS: &str = "Accept: application/x-ndjson";
/// Whatever takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A configuration in the making. Each text is YAML in flow style, without its outer braces.
#[derive(Clone)]
pub(crate) struct Config {
    proxy: String,
    proxy_tls: Option<(PathBuf, PathBuf)>,
    metrics_tls: Option<(PathBuf, PathBuf)>,
    also_listen: String,
    admin: String,
    admin_tls: Option<(PathBuf, PathBuf)>,
    metrics: String,
    limits: String,
    server: String,
    grace: String,
    tokens: String,
    level: &'static str,
    log: &'static str,
    stdout_is_stuck: bool,
    top: String,
    pools: String,
    keys: String,
    env: Vec<(String, String)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            proxy: String::new(),
            proxy_tls: None,
            metrics_tls: None,
            also_listen: String::new(),
            admin: String::new(),
            admin_tls: None,
            metrics: String::new(),
            limits: String::new(),
            server: String::new(),
            grace: "10s".into(),
            tokens: format!("tokens: [{{name: test, token: {TOKEN}}}]"),
            level: "info",
            log: "access: stdout",
            stdout_is_stuck: false,
            top: String::new(),
            pools: String::new(),
            keys: String::new(),
            env: Vec::new(),
        }
    }
}

impl Config {
    /// One pool `p` in front of `target`, with these keys.
    pub(crate) fn pool(target: impl ToString, keys: &[&str]) -> Self {
        Self::default().and_pool("p", target, "", keys)
    }

    /// The same with settings of the pool.
    pub(crate) fn pool_with(target: impl ToString, settings: &str, keys: &[&str]) -> Self {
        Self::default().and_pool("p", target, settings, keys)
    }

    /// One more pool. A target may be an address or a URL.
    pub(crate) fn and_pool(mut self, name: &str, target: impl ToString, settings: &str, keys: &[&str]) -> Self {
        let target = target.to_string();
        let url = if target.contains("://") { target } else { format!("http://{target}") };
        let comma = if settings.is_empty() { "" } else { ", " };
        self.pools += &format!("  {name}: {{provider: generic, targets: [{{url: \"{url}\"}}]{comma}{settings}}}\n");
        self.keys += &keys_yaml(name, keys);
        self
    }

    /// Other targets for the only pool: YAML in flow style.
    pub(crate) fn replace_targets(mut self, targets: &str) -> Self {
        let (before, rest) = self.pools.split_once("targets: [").expect("a pool");
        let (_, after) = rest.split_once(']').expect("its targets");
        self.pools = format!("{before}targets: [{targets}]{after}");
        self
    }

    /// Another provider for the only pool.
    pub(crate) fn provider(mut self, provider: &str) -> Self {
        self.pools = self.pools.replacen("provider: generic", &format!("provider: {provider}"), 1);
        self
    }

    /// Other keys for the only pool: YAML in flow style.
    pub(crate) fn keys(mut self, keys: &str) -> Self {
        self.keys = format!("p: [{keys}]\n");
        self
    }

    pub(crate) fn limits(mut self, limits: &str) -> Self {
        self.limits = limits.into();
        self
    }

    /// What stands in `server:` beside the rest.
    pub(crate) fn server(mut self, settings: &str) -> Self {
        self.server = format!("  {settings}\n");
        self
    }

    pub(crate) fn proxy(mut self, settings: &str) -> Self {
        self.proxy = format!(", {settings}");
        self
    }

    pub(crate) fn proxy_tls(mut self, cert: PathBuf, key: PathBuf) -> Self {
        self.proxy_tls = Some((cert, key));
        self
    }

    pub(crate) fn metrics_tls(mut self, cert: PathBuf, key: PathBuf) -> Self {
        self.metrics_tls = Some((cert, key));
        self
    }

    /// More addresses of the proxy listener.
    pub(crate) fn also_listen(mut self, addresses: &str) -> Self {
        self.also_listen = format!(", {addresses}");
        self
    }

    /// What stands in `admin:` beside address and token.
    pub(crate) fn admin(mut self, settings: &str) -> Self {
        self.admin = format!(", {settings}");
        self
    }

    pub(crate) fn admin_tls(mut self, cert: PathBuf, key: PathBuf) -> Self {
        self.admin_tls = Some((cert, key));
        self
    }

    pub(crate) fn metrics_token(mut self, token: &str) -> Self {
        self.metrics = format!(", token: {token}");
        self
    }

    /// What stands in `clients:` instead of the one token.
    pub(crate) fn clients(mut self, clients: &str) -> Self {
        self.tokens = clients.into();
        self
    }

    pub(crate) fn grace(mut self, grace: &str) -> Self {
        self.grace = grace.into();
        self
    }

    /// Time between the signal and the end of listening.
    pub(crate) fn delay(mut self, delay: &str) -> Self {
        self.grace += &format!(", delay: {delay}");
        self
    }

    pub(crate) fn level(mut self, level: &'static str) -> Self {
        self.level = level;
        self
    }

    /// What stands in `log:` beside the level.
    pub(crate) fn log(mut self, log: &'static str) -> Self {
        self.log = log;
        self
    }

    /// Standard output is a pipe that nobody reads.
    pub(crate) fn stuck_stdout(mut self) -> Self {
        self.stdout_is_stuck = true;
        self
    }

    /// Lines at the top of the file.
    pub(crate) fn top(mut self, lines: &str) -> Self {
        self.top = format!("{lines}\n");
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &Path) -> Self {
        self.env.push((name.into(), value.display().to_string()));
        self
    }

    pub(crate) fn yaml(&self, [proxy, admin, metrics]: [SocketAddr; 3]) -> String {
        let listen = |address, tls: &Option<(PathBuf, PathBuf)>| match tls {
            None => format!("\"{address}\""),
            Some((cert, key)) => {
                let (cert, key) = (cert.display(), key.display());
                format!("{{address: \"{address}\", tls: {{cert: \"{cert}\", key: \"{key}\"}}}}")
            }
        };
        let (proxy, metrics) = (listen(proxy, &self.proxy_tls), listen(metrics, &self.metrics_tls));
        let admin = listen(admin, &self.admin_tls);
        let Self {
            also_listen,
            admin: admin_settings,
            metrics: metrics_token,
            limits,
            grace,
            tokens,
            server,
            level,
            log,
            top,
            pools,
            ..
        } = self;
        format!(
            "{top}server:\n  proxy: {{listen: [{proxy}{also_listen}]{}}}\n  admin: {{listen: {admin}, token: {ADMIN_TOKEN}{admin_settings}}}\n  \
             metrics: {{listen: {metrics}{metrics_token}}}\n  threads: 2\n  limits: {{{limits}}}\n{server}  shutdown: {{grace: {grace}}}\n\
             log: {{level: {level}, {log}}}\nkeys_file: keys.yaml\nclients: {{{tokens}}}\npools:\n{pools}",
            self.proxy
        )
    }

    /// Starts the binary and waits until it is ready.
    pub(crate) fn start(&self) -> Keyweir {
        // Between the choice of a port and its use another process may take it.
        (0..5).find_map(|_| self.try_start()).expect("keyweir starts; its log is above")
    }

    fn try_start(&self) -> Option<Keyweir> {
        let mut keyweir = self.launch();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if keyweir.exit_status().is_some() {
                eprintln!("keyweir ended at once: {}", keyweir.log());
                return None;
            }
            if std::net::TcpStream::connect(keyweir.admin).is_ok() && keyweir.admin("GET", "/readyz").status == 200 {
                return Some(keyweir);
            }
            pause();
        }
        panic!("keyweir is not ready: {}", keyweir.log());
    }

    /// Starts the binary and does not wait.
    pub(crate) fn launch(&self) -> Keyweir {
        let dir = new_directory();
        let addresses = [free_address(), free_address(), free_address()];
        fs::write(dir.join("keyweir.yaml"), self.yaml(addresses)).unwrap();
        fs::write(dir.join("keys.yaml"), &self.keys).unwrap();
        let mut command = command(&dir, &["run", "-c", "keyweir.yaml"], &self.env);
        if self.stdout_is_stuck {
            command.stdout(Stdio::piped());
        }
        let child = command.spawn().unwrap();
        let [proxy, admin, metrics] = addresses;
        Keyweir { child, proxy, admin, metrics, dir }
    }
}

/// Keys named after their text without `sk-`.
pub(crate) fn keys_yaml(pool: &str, keys: &[&str]) -> String {
    let entry = |key: &&str| format!("  - {{key: \"{key}\", name: \"{}\"}}\n", key.trim_start_matches("sk-"));
    match keys {
        [] => format!("{pool}: []\n"),
        _ => format!("{pool}:\n{}", keys.iter().map(entry).collect::<String>()),
    }
}

/// An admin request with the token and a JSON body, to a server that may end before its answer has.
pub(crate) fn try_admin(address: SocketAddr, method: &str, path: &str, body: &Value) -> Option<Response> {
    let mut connection = Connection::try_open(address)?;
    connection.send(admin_request(method, path, &[], body.to_string().as_bytes()));
    connection.try_response().filter(|answer| answer.is_complete)
}

/// An admin request's bytes, with the token and a JSON body; `headers` are whole lines.
fn admin_request(method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Starts the binary in `dir`, its output in files there.
pub(crate) fn spawn(dir: &Path, args: &[&str], env: &[(String, String)]) -> Child {
    command(dir, args, env).spawn().unwrap()
}

fn command(dir: &Path, args: &[&str], env: &[(String, String)]) -> Command {
    let file = |name: &str| Stdio::from(fs::File::create(dir.join(name)).unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyweir"));
    command
        .args(args)
        .current_dir(dir)
        .env_remove("STATE_DIRECTORY")
        .env_remove("NOTIFY_SOCKET")
        .envs(env.iter().cloned())
        .stdin(Stdio::null())
        .stdout(file("stdout.log"))
        .stderr(file("stderr.log"));
    command
}

/// An empty directory.
pub(crate) fn new_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("blackbox-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// An address nobody listens on, below the range from which the kernel gives ports to outgoing connections.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = u32::from(NEXT.fetch_add(1, Relaxed));
        let port = 10_000 + (process::id().wrapping_mul(331).wrapping_add(step)) % 20_000;
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A keyweir process.
pub(crate) struct Keyweir {
    child: Child,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: SocketAddr,
    dir: PathBuf,
}

impl Keyweir {
    /// A new connection to the proxy listener.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.proxy)
    }

    /// Sends one request on a connection of its own.
    pub(crate) fn send(&self, request: impl AsRef<[u8]>) -> Response {
        let mut connection = self.connect();
        connection.send(request);
        connection.response()
    }

    /// A chat completion with these members beside the usual ones.
    pub(crate) fn chat(&self, members: &Value) -> Response {
        self.send(client::chat(members))
    }

    /// An admin request with the token.
    pub(crate) fn admin(&self, method: &str, path: &str) -> Response {
        let mut connection = Connection::open(self.admin);
        connection.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\nContent-Length: 0\r\n\r\n"
        ));
        connection.response()
    }

    /// Sends an admin request with the token and a JSON body; `headers` are whole lines.
    pub(crate) fn begin_admin(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Connection {
        let mut connection = Connection::open(self.admin);
        connection.send(admin_request(method, path, headers, body));
        connection
    }

    /// Asks for something to be done to many keys of the pool `p`.
    pub(crate) fn begin_bulk(&self, headers: &[&str], body: &Value) -> Connection {
        self.begin_admin("POST", "/api/v1/pools/p/keys/bulk", headers, body.to_string().as_bytes())
    }

    /// An admin request with the token and a JSON body.
    pub(crate) fn admin_json(&self, method: &str, path: &str, body: &Value) -> Response {
        try_admin(self.admin, method, path, body).expect("an answer")
    }

    /// A key of pool `p`, as the admin API shows it.
    pub(crate) fn key(&self, name: &str) -> Value {
        let keys = self.admin("GET", "/api/v1/pools/p/keys?limit=1000").json();
        let items = keys["items"].as_array().unwrap();
        items.iter().find(|key| key["name"] == name).unwrap_or_else(|| panic!("no key {name}: {keys}")).clone()
    }

    /// A key's state and reason.
    pub(crate) fn state(&self, name: &str) -> (String, String) {
        let key = self.key(name);
        let text = |field: &str| key[field].as_str().unwrap_or_default().to_owned();
        (text("state"), text("reason"))
    }

    /// Names of the keys of pool `p` that are not ready.
    pub(crate) fn marked(&self) -> Vec<String> {
        let keys = self.admin("GET", "/api/v1/pools/p/keys?limit=1000").json();
        let marked = keys["items"].as_array().unwrap().iter().filter(|key| key["state"] != "ready");
        marked.map(|key| key["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Requests under way with keys of pool `p`.
    pub(crate) fn in_flight(&self) -> u64 {
        let keys = self.admin("GET", "/api/v1/pools/p/keys?limit=1000").json();
        keys["items"].as_array().unwrap().iter().map(|key| key["in_flight"].as_u64().unwrap()).sum()
    }

    /// The Prometheus text.
    pub(crate) fn metrics_text(&self) -> String {
        let mut connection = Connection::open(self.metrics);
        connection.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        connection.response().text()
    }

    /// The value of one series, 0 if it is not there.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.metrics_text();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0.0)
    }

    /// The application log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("stderr.log")).unwrap_or_default()
    }

    /// The access log so far.
    pub(crate) fn access_log(&self) -> String {
        fs::read_to_string(self.dir.join("stdout.log")).unwrap_or_default()
    }

    /// Waits for the access line of this request.
    pub(crate) fn access_line(&self, request_id: &str) -> Value {
        let mut line = Value::Null;
        eventually("the access line", || {
            let log = self.access_log();
            let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|found| found["request_id"] == request_id).map(|found| line = found).is_some()
        });
        line
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Replaces the keys file.
    pub(crate) fn write_keys(&self, text: &str) {
        fs::write(self.file("keys.yaml"), text).unwrap();
    }

    /// Replaces the keys of pool `p` in the keys file.
    pub(crate) fn set_keys(&self, keys: &[&str]) {
        self.write_keys(&keys_yaml("p", keys));
    }

    /// Changes the configuration as an editor does: another file takes its name.
    pub(crate) fn rewrite(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.file("keyweir.yaml")).unwrap();
        assert!(text.contains(from), "no {from:?} in {text}");
        self.replace("keyweir.yaml", &text.replace(from, to));
    }

    /// Puts another file under a name in one step.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        fs::write(self.file("replacement.tmp"), text).unwrap();
        fs::rename(self.file("replacement.tmp"), self.file(name)).unwrap();
    }

    /// Reloads through the API, which must succeed; the report.
    pub(crate) fn reload(&self) -> Value {
        let answer = self.admin("POST", "/api/v1/reload");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Names of the keys of pool `p`.
    pub(crate) fn key_names(&self) -> Vec<String> {
        let keys = self.admin("GET", "/api/v1/pools/p/keys?limit=1000").json();
        keys["items"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Sends a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "the signal is sent");
    }

    /// The same, if there is still somebody to get it.
    pub(crate) fn signal_if_running(&mut self, name: &str) {
        if self.exit_status().is_none() {
            self.signal(name);
        }
    }

    /// Ends the process and starts it again on the same files.
    pub(crate) fn restart(&mut self) {
        self.signal_if_running("TERM");
        self.wait();
        self.child = spawn(&self.dir, &["run", "-c", "keyweir.yaml"], &[]);
        eventually("the restart", || {
            std::net::TcpStream::connect(self.admin).is_ok() && self.admin("GET", "/readyz").status == 200
        });
    }

    /// Starts the process again and kills it after a while, whatever it does then.
    pub(crate) fn start_and_kill(&mut self, life: Duration) {
        let until = Instant::now() + life;
        self.child = spawn(&self.dir, &["run", "-c", "keyweir.yaml"], &[]);
        eventually("the moment", || Instant::now() > until);
        self.signal("KILL");
        self.wait();
    }

    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until the process ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the end of the process", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }
}

impl Drop for Keyweir {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to wait for either.
        let _ended = self.child.kill();
        let _status = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log\n{}--- access log\n{}", self.log(), self.access_log());
        }
        // Left behind, a directory is only untidy.
        let _removed = fs::remove_dir_all(&self.dir);
    }
}

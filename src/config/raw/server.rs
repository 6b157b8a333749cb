//! `server:`, `log:`, `store:` and `shared_state:`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::value::REDACTED;
use super::{OneOrMany, Secret, Size, Time};

/// Listeners, threads, limits, shutdown.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The listener clients send their requests to.
    pub proxy: Proxy,
    /// The listener of the console and the admin API.
    pub admin: Admin,
    /// The listener of `GET /metrics`.
    pub metrics: Metrics,
    /// Name servers (`IP` or `IP:PORT`) for the hosts of providers and proxies; `[]` = the system's.
    pub dns: Vec<String>,
    /// Worker threads; `auto` = one per CPU available. Needs a restart.
    pub threads: Threads,
    /// Bounds on what clients may do.
    pub limits: Limits,
    /// How the process ends.
    pub shutdown: Shutdown,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            proxy: Proxy::default(),
            admin: Admin::default(),
            metrics: Metrics::default(),
            dns: Vec::new(),
            threads: Threads::Word(Auto::Auto),
            limits: Limits::default(),
            shutdown: Shutdown::default(),
        }
    }
}

/// The listener clients send their requests to.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// Addresses (`IP:PORT`, `unix:PATH`), or `{address, tls}`. Cleartext HTTP/2 is accepted. Needs a restart.
    pub listen: OneOrMany<Listen>,
    /// The older balancers' endpoints (`/stats`, `/health`, …) here too.
    pub status_endpoints: bool,
    /// Which browsers' pages may call.
    pub cors: Cors,
    /// Networks whose `X-Forwarded-For` is believed, e.g. `10.0.0.0/8`.
    pub trusted_proxies: Vec<String>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            listen: OneOrMany::Many(vec![Listen::Address("127.0.0.1:8080".into())]),
            status_endpoints: false,
            cors: Cors::default(),
            trusted_proxies: Vec::new(),
        }
    }
}

/// A listening address, with or without TLS.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Listen {
    /// `IP:PORT` or `unix:PATH`.
    Address(String),
    /// With TLS.
    Full(ListenFull),
}

/// A listening address with TLS.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenFull {
    /// `IP:PORT` or `unix:PATH`.
    pub address: String,
    /// Certificate and key; HTTP/2 is negotiated by ALPN.
    pub tls: Option<Tls>,
}

/// PEM files, relative to the configuration file; re-read on reload.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain.
    pub cert: String,
    /// The private key.
    pub key: String,
}

/// Which browsers' pages may call.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Origins such as `https://chat.example.com`; `["*"]` = all, `[]` = none.
    pub origins: Vec<String>,
}

/// The listener of the console and the admin API.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address. Other than loopback needs a `token`, and TLS or `plaintext: true`. Needs a restart.
    pub listen: Listen,
    /// The admin token. Without one, the first run makes one.
    pub token: Option<Secret>,
    /// Further people and programs, each with a token and a role.
    pub users: Vec<User>,
    /// `Host` values accepted besides localhost and IP addresses.
    pub hosts: Vec<String>,
    /// Accept an address other than loopback without TLS.
    pub plaintext: bool,
    /// Let targets, egress proxies and webhooks be link-local addresses or clouds' metadata services.
    pub allow_link_local: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: Listen::Address("127.0.0.1:8081".into()),
            token: None,
            users: Vec::new(),
            hosts: Vec::new(),
            plaintext: false,
            allow_link_local: false,
        }
    }
}

/// Somebody beside the holder of the admin token.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Shown in logs and in the audit log; unique, and not `admin`.
    pub name: String,
    /// The user's token, for the console's login and as bearer.
    pub token: Secret,
    /// What the user may do.
    #[serde(default)]
    pub role: Role,
}

/// What an operator may do; each role includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See everything but secrets.
    #[default]
    Viewer,
    /// Also enable, disable, reset and test keys, and reload the files.
    Operator,
    /// Also change settings, pools, keys, tokens and the log level, and export keys.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// The listener of `GET /metrics`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Address. Needs a restart.
    pub listen: Listen,
    /// A token the scraper has to send; null = open.
    pub token: Option<Secret>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: Listen::Address("127.0.0.1:8082".into()), token: None }
    }
}

/// A number of threads.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Threads {
    /// One per CPU available.
    Word(Auto),
    /// This many.
    Count(#[schemars(range(min = 1, max = 1024))] u32),
}

/// Left to keyweir.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auto {
    /// Found out at start.
    Auto,
}

/// Bounds on what clients may do.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Request bodies up to this size are held in memory, so that another key can be tried.
    pub buffer: Size,
    /// Largest request body; above `buffer` it is streamed once and not retried.
    pub body: Size,
    /// Largest request head.
    pub headers: Size,
    /// Time for a whole request head.
    pub header_timeout: Time,
    /// Time between two pieces of a request body.
    pub body_timeout: Time,
    /// Idle time of a client's connection between requests.
    pub keepalive: Time,
    /// Client connections at once; one more gets 503, on TLS listeners it is closed.
    #[schemars(range(min = 1))]
    pub connections: u32,
    /// Client connections at once from one address; 0 = no limit.
    pub connections_per_ip: u32,
    /// Requests at once; above, 503 `overloaded`.
    #[schemars(range(min = 1))]
    pub in_flight: u32,
    /// Bytes per second a client must read at least; 0 = no limit.
    pub min_send_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buffer: Size::mebibytes(32),
            body: Size::mebibytes(32),
            headers: Size(32 * 1024),
            header_timeout: Time::seconds(10),
            body_timeout: Time::seconds(60),
            keepalive: Time::seconds(75),
            connections: 20_000,
            connections_per_ip: 0,
            in_flight: 10_000,
            min_send_rate: 0,
        }
    }
}

/// How the process ends.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// Time between SIGTERM and the end of listening: `/readyz` is 503 and requests are still served, so that load
    /// balancers can take this process out first.
    pub delay: Time,
    /// How long running streams may go on after that.
    pub grace: Time,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { delay: Time::seconds(0), grace: Time::seconds(600) }
    }
}

/// The application log and the access log.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Least important messages written.
    pub level: Level,
    /// One JSON object per line, or text for people.
    pub format: Format,
    /// Where access lines go: `stdout`, `off`, or a file.
    pub access: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info, format: Format::Json, access: "stdout".into() }
    }
}

/// Importance of log messages.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it; docs would turn into noise in the schema")]
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it; docs would turn into noise in the schema")]
pub enum Format {
    Json,
    Text,
}

/// Where states, statistics and requests are kept.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `sqlite://FILE`, `mysql://…` or `postgres://…`. Relative files: `$STATE_DIRECTORY`, else the working directory. Needs a restart.
    pub url: DatabaseUrl,
    /// Which requests are kept with their details, their attempts among them: none, those that went wrong, all.
    pub request_log: RequestLog,
    /// Keep the beginning (60 KiB) of their bodies too, without what looks like a secret.
    pub request_body: bool,
    /// How long requests are kept. Counters by hour are kept for 31 days at least.
    pub retention: Time,
    /// How much room they may take.
    pub max_size: Size,
    /// Seals keys kept in the store, 32 characters or more; null = `$KEYWEIR_MASTER_KEY`, else one is made beside the database.
    pub master_key: Option<Secret>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: DatabaseUrl("sqlite://keyweir.db".into()),
            request_log: RequestLog::Errors,
            request_body: false,
            retention: Time::seconds(7 * 86_400),
            max_size: Size::mebibytes(1024),
            master_key: None,
        }
    }
}

/// A database's URL; user and password are never shown.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DatabaseUrl(pub String);

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

impl DatabaseUrl {
    fn shown(&self) -> String {
        match (self.0.split_once("://"), self.0.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{REDACTED}@{place}"),
            (Some(("sqlite", _)), None) => self.0.clone(),
            _ => REDACTED.into(),
        }
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

/// Which requests are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it; docs would turn into noise in the schema")]
pub enum RequestLog {
    Off,
    Errors,
    All,
}

/// Several nodes, one view of the keys.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedState {
    /// `redis://…`
    pub url: Secret,
}

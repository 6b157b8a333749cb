//! The effective configuration: what the rest of the program reads.
//!
//! Every value here is validated and has its default filled in, so no other room checks a range or parses a unit.
//! Nothing here knows YAML; `raw` does, and `validate` turns one into the other. A `Config` never changes: a reload
//! makes a new one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use rustls::sign::CertifiedKey;

use super::balance::BalanceCheck;
use super::egress::Egress;
use super::key_id::KeyId;
use super::models::Models;
use super::prices::{Budget, Prices};
use super::raw::keys::FileFormat;
pub use super::raw::keys::Limits as KeyLimits;
pub use super::raw::server::{RequestLog, Role};
pub use super::raw::upkeep::OnFailure;
use super::schedule::Schedule;
use super::secret::{Secret, TokenDigest};
use crate::verdict::Engine;
use crate::verdict::pack::{Auth, Pack};

/// The whole of `keyweir.yaml`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listeners, limits and shutdown.
    pub server: Server,
    /// Application and access log.
    pub log: Log,
    /// Where what was learnt and done at run time is kept.
    pub store: Store,
    /// Who may use the keys.
    pub clients: Clients,
    /// The keys files, absolute or relative to the working directory (already joined with the configuration's folder).
    pub keys_files: Vec<KeysFile>,
    /// Index in `pools` of the pool that owns unprefixed paths.
    pub default_pool: Option<usize>,
    /// Pools in the order of the file.
    pub pools: Vec<Pool>,
}

/// `server:`
#[derive(Debug, Clone)]
pub struct Server {
    /// The proxy's own listeners and what belongs to them.
    pub proxy: Proxy,
    /// The admin listener.
    pub admin: Admin,
    /// The Prometheus listener.
    pub metrics: Metrics,
    /// Name servers; none = the system's.
    pub dns: Vec<SocketAddr>,
    /// Worker threads of the proxy service, at least 1 (`auto` is resolved).
    pub threads: usize,
    /// Bounds on what clients may do.
    pub limits: Limits,
    /// How the process ends.
    pub shutdown: Shutdown,
}

/// `server.shutdown:`
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// From SIGTERM until the listeners close, while `/readyz` says 503 and requests are served.
    pub delay: Duration,
    /// How long running streams may go on after that.
    pub grace: Duration,
}

/// `server.proxy:`
#[derive(Debug, Clone)]
pub struct Proxy {
    /// At least one.
    pub listen: Vec<Listen>,
    /// Older balancers' endpoints on the proxy listener too.
    pub status_endpoints: bool,
    /// Allowed CORS origins.
    pub cors: Cors,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// `server.proxy.cors.origins`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// No CORS headers at all.
    Off,
    /// `["*"]`
    Any,
    /// Exact origins.
    List(Vec<String>),
}

/// One listening address.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// The certificate; `None` = plain text (HTTP/1.1 and cleartext HTTP/2).
    pub tls: Option<Tls>,
}

/// TCP or unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:8080`, `[::]:8080`
    Tcp(SocketAddr),
    /// `unix:PATH`
    Unix(PathBuf),
}

/// The certificate of a TLS listener.
#[derive(Debug, Clone)]
pub struct Tls {
    /// File of the certificate chain (PEM).
    pub cert: PathBuf,
    /// File of the private key (PEM).
    pub key: PathBuf,
    /// What they held when the configuration was read; they belong together.
    pub pair: Arc<CertifiedKey>,
}

/// `server.admin:`
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where.
    pub listen: Listen,
    /// The admin bearer token; `None` = one is made at the first run.
    pub token: Option<Secret>,
    /// Who else may come in, each with a name and a token of its own.
    pub users: Vec<AdminUser>,
    /// Extra `Host` values accepted.
    pub hosts: Vec<String>,
    /// Non-loopback without TLS is accepted.
    pub plaintext: bool,
    /// Connections to link-local addresses are accepted.
    pub allow_link_local: bool,
}

/// `server.admin.users[]`
#[derive(Debug, Clone)]
pub struct AdminUser {
    /// Shown in logs; never `admin`, which is the holder of the admin token.
    pub name: String,
    /// What the user shows.
    pub token: Secret,
    /// What the user may do.
    pub role: Role,
}

/// `server.metrics:`
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Where.
    pub listen: Listen,
    /// Bearer token asked of the scraper; `None` = open.
    pub token: Option<Secret>,
}

/// `server.limits:`
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bodies up to this size (bytes) are held in memory and can be replayed.
    pub buffer: usize,
    /// Largest body at all (bytes), `>= buffer`.
    pub body: usize,
    /// Largest request head (bytes).
    pub headers: usize,
    /// Time for a whole request head.
    pub header_timeout: Duration,
    /// Time between two pieces of a request body.
    pub body_timeout: Duration,
    /// Idle time of a client connection between requests.
    pub keepalive: Duration,
    /// Client connections at once.
    pub connections: usize,
    /// Client connections at once from one address; 0 = no limit.
    pub connections_per_ip: usize,
    /// Requests at once.
    pub in_flight: usize,
    /// Bytes per second a client must read; 0 = no limit.
    pub min_send_rate: usize,
}

/// `log:`
#[derive(Debug, Clone)]
pub struct Log {
    /// Most talkative level written.
    pub level: log::LevelFilter,
    /// Line format of the application log.
    pub format: LogFormat,
    /// Where access lines go.
    pub access: AccessLog,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// `log.access`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Standard output.
    Stdout,
    /// None.
    Off,
    /// Appended to a file.
    File(PathBuf),
}

/// `store:`
#[derive(Debug, Clone)]
pub struct Store {
    /// The database; the URL may hold a password.
    pub url: Secret,
    /// Where a relative SQLite file and the generated master key are; empty = the working directory.
    pub directory: PathBuf,
    /// Which requests are kept with their details.
    pub request_log: RequestLog,
    /// Request bodies are kept too.
    pub request_body: bool,
    /// How long requests are kept.
    pub retention: Duration,
    /// How much room they may take (bytes).
    pub max_size: u64,
    /// Seals what is secret; `None` = the generated one.
    pub master_key: Option<Secret>,
    /// The one before it, with which what is sealed can still be opened to seal it anew.
    pub previous_master_key: Option<Secret>,
}

impl Config {
    /// Every listener, with the setting that names it.
    pub fn listeners(&self) -> impl Iterator<Item = (&'static str, &Listen)> {
        let proxy = self.server.proxy.listen.iter().map(|listen| ("server.proxy.listen", listen));
        let (admin, metrics) = (&self.server.admin.listen, &self.server.metrics.listen);
        proxy.chain([("server.admin.listen", admin), ("server.metrics.listen", metrics)])
    }
}

/// `clients:`
#[derive(Debug, Clone)]
pub struct Clients {
    /// Requests without a token are served.
    pub anonymous: bool,
    /// Configured tokens.
    pub tokens: Vec<ClientToken>,
}

/// One entry of `clients.tokens`.
#[derive(Debug, Clone)]
pub struct ClientToken {
    /// Shown in logs.
    pub name: String,
    /// Of the token itself.
    pub digest: TokenDigest,
    /// The client is told which key served it.
    pub reveal_key: bool,
    /// Names of the pools it may use; none = all.
    pub pools: Vec<String>,
    /// Globs of the models it may use; none = all.
    pub models: Vec<String>,
    /// How much of everything it may use.
    pub limits: ClientLimits,
    /// From when on it is refused.
    pub expires: Option<SystemTime>,
}

impl ClientToken {
    /// A token that may do everything.
    pub fn unlimited(name: impl Into<String>, digest: TokenDigest) -> Self {
        Self {
            name: name.into(),
            digest,
            reveal_key: false,
            pools: Vec::new(),
            models: Vec::new(),
            limits: ClientLimits::default(),
            expires: None,
        }
    }
}

/// How much a client token may use; `None` = as much as it likes, never 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// Requests within any minute.
    pub rpm: Option<u64>,
    /// Tokens of text within any minute.
    pub tpm: Option<u64>,
    /// Requests per day (UTC).
    pub rpd: Option<u64>,
    /// Requests at once.
    pub concurrency: Option<u64>,
    /// Money.
    pub budget: Option<Budget>,
}

/// One keys file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysFile {
    /// Where.
    pub path: PathBuf,
    /// Pool of formats that name none.
    pub pool: Option<String>,
    /// How it is written.
    pub format: FileFormat,
}

/// One entry of `pools:`.
#[derive(Debug, Clone)]
pub struct Pool {
    /// `[a-z0-9][a-z0-9-]*`
    pub name: String,
    /// A disabled pool is routed to nobody.
    pub enabled: bool,
    /// The provider's pack.
    pub provider: Arc<Pack>,
    /// What its answers mean: the pool's own rules before the pack's.
    pub verdicts: Arc<Engine>,
    /// Upstream base URLs, at least one.
    pub targets: Vec<Target>,
    /// Path prefixes, each starting with `/` and not ending with one.
    pub paths: Vec<String>,
    /// Which routes are open.
    pub routes: Routes,
    /// Round robin starts at this key.
    pub start_index: usize,
    /// Bounds on attempts.
    pub retry: Retry,
    /// What a failure costs.
    pub blacklist: Blacklist,
    /// Per-attempt and per-request deadlines.
    pub timeouts: Timeouts,
    /// Models by name.
    pub models: Models,
    /// Proxies over which keys without one of their own are spread; none = directly.
    pub egress: Vec<Egress>,
    /// How proxies are checked.
    pub egress_check: EgressCheck,
    /// How often keys' balances are asked for, and how much each shall have left.
    pub balance: BalanceCheck,
    /// How keys are tested.
    pub probe: Probe,
    /// When all disabled keys are tried again, if at all.
    pub reactivate: Option<Reactivate>,
    /// What models cost.
    pub prices: Prices,
    /// Headers added upstream.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Per-key metrics on or off (`auto` is resolved against the number of keys where they are known).
    pub per_key_metrics: PerKeyMetrics,
}

impl Pool {
    /// Where a key goes: as the first target wants it.
    pub fn auth(&self) -> &Auth {
        self.provider.auth_below(self.targets.first().map_or("", |target| &target.path))
    }
}

/// `probe:`
#[derive(Debug, Clone)]
pub struct Probe {
    /// How often a key that serves no requests is tested; `None` = never.
    pub every: Option<Duration>,
    /// How many at once, at least 1.
    pub concurrency: usize,
}

/// `reactivate:`
#[derive(Debug, Clone)]
pub struct Reactivate {
    /// When.
    pub schedule: Schedule,
    /// A key is tested before it is used again.
    pub probe: bool,
}

/// One upstream base URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `https`
    pub tls: bool,
    /// Host name or IP literal without brackets.
    pub host: String,
    /// Port, the scheme's default filled in.
    pub port: u16,
    /// Path that takes the place of the client's `/v1`; never ends with `/`; `/v1` when the URL had none.
    pub path: String,
    /// Share of requests, at least 1.
    pub weight: usize,
    /// How its health is checked.
    pub health: Health,
}

/// `health:` of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How often.
    pub every: Duration,
    /// What is asked for, beginning with `/`; `None` = a connection is all.
    pub path: Option<String>,
}

impl Target {
    /// The whole URL.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    /// The value of the `Host` header: the port only where it is not the scheme's default.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// `routes:` of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Routes {
    /// The inference routes of contract §2.
    Inference,
    /// Globs over the path behind the pool's prefix, without `/v1` (`["*"]` = everything).
    Globs(Vec<String>),
}

/// `retry:` of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Attempts whose failure is not certainly a key's fault, the first included; at least 1.
    pub attempts: u32,
    /// Attempts in all, certain key verdicts included; `>= attempts`.
    pub key_attempts: u32,
    /// No attempt starts later than this after the request's start.
    pub deadline: Duration,
}

/// `blacklist:` of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blacklist {
    /// Consecutive uncertain failures before a key rests; at least 1.
    pub threshold: u32,
    /// Rest where the provider states no time.
    pub cooldown: Duration,
    /// The operator chose it, so it beats what a pack guesses of a limit.
    pub is_cooldown_chosen: bool,
    /// Cap of escalation (never of a time the provider stated).
    pub max_cooldown: Duration,
    /// Whom a 5xx blames.
    pub on_5xx: On5xx,
    /// A rule may disable a key; `false` rests it instead.
    pub permanent: bool,
}

/// `blacklist.on_5xx`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On5xx {
    /// Fault attribution decides.
    Attribute,
    /// The key.
    Key,
    /// Nobody.
    Never,
}

/// `timeouts:` of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP and TLS handshakes together.
    pub connect: Duration,
    /// From the request's last byte to the answer's head.
    pub first_byte: Duration,
    /// How long a stream is held for its first event.
    pub hold: Duration,
    /// Between two pieces of an answer's body.
    pub idle: Duration,
    /// The whole attempt.
    pub total: Duration,
    /// Silence after which the client of a stream is sent a comment; zero = never.
    pub keepalive_comment: Duration,
}

/// `egress_check:` of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressCheck {
    /// How often.
    pub every: Duration,
    /// What is fetched through them, with its query; `None` = the pool's own target.
    pub url: Option<Target>,
    /// For one check.
    pub timeout: Duration,
    /// Failures in a row before a proxy is out of use; at least 1.
    pub max_failures: u32,
    /// What happens to its keys then.
    pub on_failure: OnFailure,
}

/// `metrics.per_key` of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerKeyMetrics {
    /// On up to 1,000 keys.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// One key of a keys file, validated.
#[derive(Debug, Clone)]
pub struct KeySpec {
    /// Stable over restarts and files: made of pool and key.
    pub id: KeyId,
    /// The key's text: visible ASCII, no spaces.
    pub key: Secret,
    /// Unique in the pool; a fingerprint where the file names none.
    pub name: String,
    /// Keys of one account share quota.
    pub account: Option<String>,
    /// Share of requests, at least 1.
    pub weight: u32,
    /// Lower is tried first.
    pub priority: u32,
    /// What its provider grants it; `None` = nobody said.
    pub limits: Option<Box<KeyLimits>>,
    /// Globs of the models it may be used for; none = all.
    pub models: Vec<String>,
    /// A proxy of its own. Few keys have one, and there may be very many keys.
    pub egress: Option<Box<Egress>>,
    /// Headers added upstream for this key.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Switched off in the file.
    pub disabled: bool,
    /// Added at run time, and in no file.
    pub is_stored: bool,
}

/// The keys of every pool, in the order of `Config::pools`.
pub type Keys = Vec<Vec<Arc<KeySpec>>>;

//! The server: builds Pingora's `Server` from a configuration and runs it until a signal ends it. Wiring only.
//!
//! One process holds the proxy, the admin and the metrics listener, the key pool service, and the services that sweep
//! idle connections, reload on SIGHUP or a changed file, and drain on SIGTERM.

mod accept;
mod change;
mod drain;
mod files;
mod first_run;
mod listen;
mod reload;
mod tls;
mod watch;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::{Server, background_service};
use pingora::server::RunArgs;
use pingora::server::configuration::ServerConf;
use pingora::services::background::GenBackgroundService;
use pingora_proxy::ProxyServiceBuilder;
use thiserror::Error;
use tokio::sync::Notify;

use crate::admin::reload::Trigger;
use crate::admin::{self, Access, AdminState};
use crate::config::{Config, Keys, Loaded};
use crate::health::{self, Checker};
use crate::keypool::KeyPool;
use crate::proxy::admit::{Admission, available_memory};
use crate::proxy::front;
use crate::proxy::tls_door::TlsDoor;
use crate::proxy::{Edge, Gateway};
use crate::telemetry::{AccessLog, Readiness, Snapshots, logger, metrics, redact};
use crate::upstream::target::TargetError;
use crate::upstream::{Connector, dns};

pub use first_run::{FirstRun, Tokens};
pub(crate) use listen::reachable;

use accept::{Listeners, Socket};
use drain::{Drain, Signals};
use listen::ToTheEnd;
use reload::Reloader;
use tls::Certificates;

/// Attempts per request that Pingora allows at most; ours are bounded by the pool's `retry`, whose largest value fits.
const MAX_ATTEMPTS: usize = 100_000;
/// Pingora's own grace period (seconds), so long that it never ends: the drain ends the process, by a setting that a
/// reload may change.
const PINGORA_GRACE: u64 = u32::MAX as u64;

/// Why the server can't start.
#[derive(Debug, Error)]
pub enum ServerError {
    /// An address can't be listened on.
    #[error("{setting}: can't listen on {address}: {source}")]
    Listen {
        /// The setting that names the address.
        setting: &'static str,
        /// The address.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A TLS listener can't be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(Box<pingora::Error>),
    /// A target can't be used.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The access log can't be opened.
    #[error("log.access: {0}")]
    AccessLog(std::io::Error),
    /// The generated tokens can't be kept.
    #[error("{path}: can't keep the generated tokens: {source}")]
    FirstRun {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What all services share.
struct Shared {
    /// The configuration in effect.
    config: Arc<ArcSwap<Config>>,
    keypool: Arc<KeyPool>,
    edge: Arc<ArcSwap<Edge>>,
    admission: Arc<Admission>,
    readiness: Arc<Readiness>,
    access_log: Arc<AccessLog>,
    access: Arc<ArcSwap<Access>>,
    certificates: Arc<Certificates>,
}

/// Runs the server until a signal ends it. `path` is where the configuration is read again from at a reload; `None`
/// for a configuration that is not in a file.
///
/// # Errors
/// If it can't start; once it runs, failures are logged and survived.
pub fn run(loaded: Loaded, path: Option<PathBuf>, tokens: Tokens) -> Result<(), ServerError> {
    let Loaded { config, keys, .. } = loaded;
    let sockets = listen::bind(&config)?;
    redact::install_panic_hook();

    let shared = Shared::new(&config, keys, &tokens)?;
    let mut server = Server::new_with_opt_and_conf(None, server_conf(&config));
    server.bootstrap();
    let reloader = Arc::new(Reloader::new(path, &shared));
    let connector = Connector::new();
    let checker = Arc::new(Checker::new(connector.clone(), shared.keypool.clone()));
    server.add_service(proxy_service(&server, &config, &shared, connector.clone(), sockets)?);
    add_operator_services(&mut server, &config, &shared, &reloader, checker.clone())?;
    server.add_service(background_service("host names", dns::Refresher));
    server.add_service(background_service("egress checks", health::Schedule(checker)));
    server.add_service(GenBackgroundService::new("key pool".into(), shared.keypool.clone()));
    server.add_service(background_service("idle upstream connections", connector.sweeper()));
    server.add_service(background_service("reload", watch::Service(reloader)));
    server.add_service(background_service("ready", listen::Announce::new(&config, shared.readiness.clone())));
    let Shared { config, readiness, admission, access_log, .. } = shared;
    let hurry = Arc::new(Notify::new());
    let signals = Signals { config: config.clone(), readiness: readiness.clone(), hurry: hurry.clone() };
    server.add_service(background_service("drain", Drain { config, readiness, admission, access_log, hurry }));
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    logger::flush();
    Ok(())
}

impl Shared {
    fn new(config: &Config, keys: Keys, tokens: &Tokens) -> Result<Self, ServerError> {
        dns::use_name_servers(&config.server.dns);
        let keypool = Arc::new(KeyPool::default());
        let entries = keypool.prepare(config, keys);
        let edge = Edge::new(config, &entries, &tokens.clients, None)?;
        let access_log = AccessLog::open(&config.log).map_err(ServerError::AccessLog)?;
        keypool.put_in_place(entries);
        metrics::config_reloaded(true);
        let readiness = Arc::<Readiness>::default();
        readiness.set_keys_loaded();
        Ok(Self {
            config: Arc::new(ArcSwap::from_pointee(config.clone())),
            edge: Arc::new(ArcSwap::from_pointee(edge)),
            keypool,
            admission: Arc::new(Admission::new(available_memory())),
            readiness,
            access_log: Arc::new(access_log),
            access: Arc::new(ArcSwap::from_pointee(reload::access(config, tokens))),
            certificates: Arc::new(Certificates::of(config)),
        })
    }
}

fn server_conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: config.server.threads,
        grace_period_seconds: Some(PINGORA_GRACE),
        graceful_shutdown_timeout_seconds: Some(1),
        max_retries: MAX_ATTEMPTS,
        upstream_keepalive_pool_size: 1,
        ..ServerConf::default()
    }
}

fn proxy_service(
    server: &Server,
    config: &Config,
    shared: &Shared,
    connector: Connector,
    sockets: Vec<Socket>,
) -> Result<Listeners, ServerError> {
    let limits = &config.server.limits;
    let (admission, edge) = (shared.admission.clone(), shared.edge.clone());
    let proxy = Arc::new(OnceLock::new());
    let shown = proxy.clone();
    let gateway = Gateway::new(
        shared.edge.clone(),
        shared.admission.clone(),
        shared.readiness.clone(),
        shared.access_log.clone(),
    );
    let mut options = HttpServerOptions::default();
    options.force_custom = true;
    options.h2_idle_timeout = Some(limits.keepalive);
    let mut service = ProxyServiceBuilder::new(&server.configuration, gateway)
        .name("proxy")
        .server_options(options)
        .custom(
            connector,
            Arc::new(move |proxy, stream, shutdown| {
                shown.get_or_init(|| proxy.clone());
                Box::pin(front::serve(proxy, stream, shutdown.clone(), admission.clone(), edge.clone()))
            }),
        )
        .build();
    if let Some(proxy) = service.app_logic_mut() {
        proxy.h2_options = Some(front::http2(limits));
    }
    for listen in &config.server.proxy.listen {
        service.add_listener(listen::for_clients(listen, &shared.certificates)?);
    }
    let door = Arc::new(TlsDoor::new(shared.admission.clone(), shared.edge.clone()));
    service.endpoints().set_pre_tls_callback(door.clone());
    let with_tls = |socket: Socket| {
        let settings = listen::tls_for_clients(&socket.address(), &shared.certificates)?;
        Ok((socket, settings.map(TlsSettings::build)))
    };
    let sockets = sockets.into_iter().map(with_tls).collect::<Result<_, ServerError>>()?;
    Ok(Listeners { inner: service, sockets, door, proxy })
}

fn add_operator_services(
    server: &mut Server,
    config: &Config,
    shared: &Shared,
    reloader: &Arc<Reloader>,
    checker: Arc<Checker>,
) -> Result<(), ServerError> {
    let snapshots: Snapshots = {
        let (keypool, reloader) = (shared.keypool.clone(), reloader.clone());
        Arc::new(move || keypool.snapshots(reloader.default_pool().as_deref()))
    };
    metrics::register_keys(snapshots.clone());
    let state = AdminState {
        snapshots,
        keypool: shared.keypool.clone(),
        egress: checker,
        explain: {
            let keypool = shared.keypool.clone();
            Arc::new(move |pool, model| keypool.explain(pool, model))
        },
        tokens: {
            let edge = shared.edge.clone();
            Arc::new(move || edge.load().tokens())
        },
        readiness: shared.readiness.clone(),
        access: shared.access.clone(),
        reload: {
            let reloader = reloader.clone();
            Arc::new(move |force| reloader.reload(Trigger::Api, force))
        },
        last_reload: reloader.last.clone(),
    };
    let admin = listen::for_operators(&config.server.admin.listen, &shared.certificates)?;
    server.add_service(ToTheEnd(admin::service("admin", admin, admin::router(state))));
    let metrics = listen::for_operators(&config.server.metrics.listen, &shared.certificates)?;
    server.add_service(ToTheEnd(admin::service("metrics", metrics, admin::metrics_router(shared.access.clone()))));
    Ok(())
}

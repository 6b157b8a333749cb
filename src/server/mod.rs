//! The server: builds Pingora's `Server` from a configuration and runs it until a signal ends it. Wiring only.
//!
//! One process holds the proxy, the admin and the metrics listener, the key pool service, and the services that sweep
//! idle connections, reload on SIGHUP or a changed file, and drain on SIGTERM.

mod accept;
mod drain;
mod listen;
mod watch;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::{Server, background_service};
use pingora::server::RunArgs;
use pingora::server::configuration::ServerConf;
use pingora::services::background::GenBackgroundService;
use pingora_proxy::ProxyServiceBuilder;
use thiserror::Error;
use tokio::sync::Notify;

use crate::admin::{self, AdminState};
use crate::config::{Config, Loaded};
use crate::health::{self, BalanceChecks, Balances, Checker, Prober, Probes, TargetChecks};
use crate::manage::{Live, Manager, Recorder, StartError, Writer};
use crate::proxy::admit::{Admission, available_memory};
use crate::proxy::front;
use crate::proxy::tls_door::TlsDoor;
use crate::proxy::{Gateway, StatusPages};
use crate::telemetry::{Readiness, Snapshots, logger, metrics, redact};
use crate::upstream::{Connector, Sweeper, dns};

pub(crate) use listen::reachable;

use accept::{Listeners, Socket};
use drain::{Drain, Signals};
use listen::ToTheEnd;

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
    /// What the server is made of can't be had.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// What all services share.
struct Shared {
    manager: Arc<Manager>,
    live: Live,
    admission: Arc<Admission>,
    readiness: Arc<Readiness>,
}

/// Runs the server until a signal ends it. `path` is where the configuration was read, and is read again at a reload.
///
/// # Errors
/// If it can't start; once it runs, failures are logged and survived.
pub fn run(loaded: Loaded, path: PathBuf) -> Result<(), ServerError> {
    let config = loaded.config.clone();
    let sockets = listen::bind(&config)?;
    redact::install_panic_hook();

    let shared = Shared::new(path, loaded)?;
    let mut server = Server::new_with_opt_and_conf(None, server_conf(&config));
    server.bootstrap();
    let connector = Connector::new();
    let asker = connector.apart();
    let checker = Arc::new(Checker::new(asker.clone(), shared.live.keypool.clone()));
    let balances = Arc::new(Balances::new(asker.clone(), shared.live.edge.clone()));
    let prober = Arc::new(Prober::new(asker.clone(), shared.live.edge.clone()));
    let state = Arc::new(admin_state(&shared, checker.clone(), balances.clone(), prober.clone()));
    let status = admin::status_pages(state.clone());
    server.add_service(proxy_service(&server, &config, &shared, (connector.clone(), status), sockets)?);
    add_operator_services(&mut server, &config, &shared, state)?;
    server.add_service(background_service("host names", dns::Refresher));
    server.add_service(background_service("egress checks", health::Schedule(checker)));
    server.add_service(background_service("balances", BalanceChecks(balances)));
    let targets = TargetChecks::new(asker.clone(), shared.live.edge.clone());
    server.add_service(background_service("target checks", targets));
    server.add_service(background_service("probes", Probes::new(prober, shared.manager.clone())));
    let Shared { manager, live, readiness, admission } = shared;
    server.add_service(GenBackgroundService::new("key pool".into(), live.keypool.clone()));
    server.add_service(background_service("idle upstream connections", Sweeper::new([&connector, &asker])));
    server.add_service(background_service("reload", watch::Service(manager.clone())));
    server
        .add_service(background_service("journal", Writer { manager: manager.clone(), readiness: readiness.clone() }));
    server.add_service(background_service("records", Recorder { manager: manager.clone() }));
    server.add_service(background_service("ready", listen::Announce::new(&config, readiness.clone())));
    let hurry = Arc::new(Notify::new());
    let signals = Signals { config: live.config.clone(), readiness: readiness.clone(), hurry: hurry.clone() };
    server.add_service(background_service("drain", Drain { manager, readiness, admission, hurry }));
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    logger::flush();
    Ok(())
}

impl Shared {
    fn new(path: PathBuf, loaded: Loaded) -> Result<Self, ServerError> {
        let manager = Arc::new(Manager::start(path, loaded)?);
        let readiness = Arc::<Readiness>::default();
        readiness.set_keys_loaded();
        let live = manager.live().clone();
        Ok(Self { manager, live, admission: Arc::new(Admission::new(available_memory())), readiness })
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
    (connector, status): (Connector, StatusPages),
    sockets: Vec<Socket>,
) -> Result<Listeners, ServerError> {
    let limits = &config.server.limits;
    let (admission, edge) = (shared.admission.clone(), shared.live.edge.clone());
    let proxy = Arc::new(OnceLock::new());
    let shown = proxy.clone();
    let gateway = Gateway::new(
        shared.live.edge.clone(),
        shared.admission.clone(),
        shared.readiness.clone(),
        connector.clone(),
        shared.live.access_log.clone(),
        shared.live.records.clone(),
        status,
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
        service.add_listener(listen::for_clients(listen, &shared.live.certificates)?);
    }
    let door = Arc::new(TlsDoor::new(shared.admission.clone(), shared.live.edge.clone()));
    service.endpoints().set_pre_tls_callback(door.clone());
    let with_tls = |socket: Socket| {
        let settings = listen::tls_for_clients(&socket.address(), &shared.live.certificates)?;
        Ok((socket, settings.map(TlsSettings::build)))
    };
    let sockets = sockets.into_iter().map(with_tls).collect::<Result<_, ServerError>>()?;
    Ok(Listeners { inner: service, sockets, door, proxy })
}

/// What the operators' listeners show and do, and the older balancers' endpoints.
fn admin_state(shared: &Shared, checker: Arc<Checker>, balances: Arc<Balances>, prober: Arc<Prober>) -> AdminState {
    let Live { keypool, edge, access, .. } = shared.live.clone();
    let manager = shared.manager.clone();
    let snapshots: Snapshots = {
        let (keypool, manager, edge) = (keypool.clone(), manager.clone(), edge.clone());
        Arc::new(move || edge.load().with_targets(keypool.snapshots(manager.default_pool().as_deref())))
    };
    AdminState {
        snapshots,
        explain: {
            let keypool = keypool.clone();
            Arc::new(move |pool, model| keypool.explain(pool, model))
        },
        keypool,
        egress: checker,
        balances,
        prober,
        tokens: Arc::new(move || edge.load().tokens()),
        readiness: shared.readiness.clone(),
        access,
        manager,
        sessions: admin::Sessions::default(),
        throttle: admin::Throttle::default(),
    }
}

fn add_operator_services(
    server: &mut Server,
    config: &Config,
    shared: &Shared,
    state: Arc<AdminState>,
) -> Result<(), ServerError> {
    let Live { access, certificates, .. } = &shared.live;
    metrics::register_keys(state.snapshots.clone());
    let admin = listen::for_operators(&config.server.admin.listen, certificates)?;
    server.add_service(ToTheEnd(admin::service("admin", admin, admin::router(state))));
    let metrics = listen::for_operators(&config.server.metrics.listen, certificates)?;
    server.add_service(ToTheEnd(admin::service("metrics", metrics, admin::metrics_router(access.clone()))));
    Ok(())
}

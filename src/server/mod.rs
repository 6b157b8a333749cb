//! The server: builds Pingora's `Server` from a configuration and runs it until a signal ends it. Wiring only.
//!
//! One process holds the proxy, the admin and the metrics listener, the key pool service, and the services that sweep
//! idle connections, reload on SIGHUP and drain on SIGTERM.

mod drain;
mod first_run;
mod listen;
mod reload;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::apps::HttpServerOptions;
use pingora::prelude::{Server, background_service};
use pingora::protocols::http::v2::server::H2Options;
use pingora::server::RunArgs;
use pingora::server::configuration::ServerConf;
use pingora::services::background::GenBackgroundService;
use pingora::services::listening::Service;
use pingora_proxy::ProxyServiceBuilder;
use thiserror::Error;

use crate::admin::{self, AdminState};
use crate::config::{self, Config, Loaded};
use crate::keypool::KeyPool;
use crate::proxy::admit::{Admission, available_memory};
use crate::proxy::front::{self, HeadLimits};
use crate::proxy::{Edge, Gateway};
use crate::telemetry::{AccessLog, Readiness, Snapshots, logger, metrics, redact};
use crate::upstream::Connector;
use crate::upstream::target::TargetError;

pub use first_run::{FirstRun, Tokens};
pub(crate) use listen::reachable;

use drain::{Drain, Signals};
use reload::Reloader;

/// Attempts per request that Pingora allows at most; ours are bounded by the pool's `retry`, whose largest value fits.
const MAX_ATTEMPTS: usize = 100_000;
/// Streams of one HTTP/2 client connection.
const HTTP2_STREAMS: u32 = 256;

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
    /// A listener can't be set up.
    #[error(transparent)]
    Service(#[from] admin::ServiceError),
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
    keypool: Arc<KeyPool>,
    edge: Arc<ArcSwap<Edge>>,
    admission: Arc<Admission>,
    readiness: Arc<Readiness>,
    access_log: Arc<AccessLog>,
    tokens: Tokens,
}

/// Runs the server until a signal ends it. `path` is where the configuration is read again from at a reload; `None`
/// for a configuration that is not in a file.
///
/// # Errors
/// If it can't start; once it runs, failures are logged and survived.
pub fn run(loaded: Loaded, path: Option<PathBuf>, tokens: Tokens) -> Result<(), ServerError> {
    let Loaded { config, keys, .. } = loaded;
    listen::check_free(&config)?;
    redact::install_panic_hook();

    let keypool = Arc::new(KeyPool::default());
    let entries = keypool.prepare(&config, keys);
    let edge = Edge::new(&config, &entries, &tokens.clients)?;
    keypool.put_in_place(entries);
    metrics::config_reloaded(true);
    let shared = Shared {
        keypool,
        edge: Arc::new(ArcSwap::from_pointee(edge)),
        admission: Arc::new(Admission::new(available_memory())),
        readiness: Arc::default(),
        access_log: Arc::new(AccessLog::open(&config.log.access, config.log.format).map_err(ServerError::AccessLog)?),
        tokens,
    };
    shared.readiness.set_keys_loaded();

    let mut server = Server::new_with_opt_and_conf(None, server_conf(&config));
    server.bootstrap();
    let reloader = Arc::new(Reloader::new(path, config.clone(), &shared));
    let connector = Connector::new();
    server.add_service(proxy_service(&server, &config, &shared, connector.clone())?);
    add_operator_services(&mut server, &config, &shared, &reloader)?;
    server.add_service(GenBackgroundService::new("key pool".into(), shared.keypool.clone()));
    server.add_service(background_service("idle upstream connections", connector.sweeper()));
    server.add_service(background_service("reload", reload::Service(reloader)));
    server.add_service(background_service("ready", listen::Announce::new(&config, shared.readiness.clone())));
    let drain = Drain { admission: shared.admission, access_log: shared.access_log, grace: config.server.grace };
    server.add_service(background_service("drain", drain));
    server.run(RunArgs { shutdown_signal: Box::new(Signals { readiness: shared.readiness }) });
    logger::flush();
    Ok(())
}

fn server_conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: config.server.threads,
        // The drain ends the process as soon as nothing is under way; this is only the longest it may take.
        grace_period_seconds: Some(config.server.grace.as_secs()),
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
) -> Result<Service<front::Proxy>, ServerError> {
    let limits = &config.server.limits;
    let head = HeadLimits {
        connections: limits.connections,
        size: limits.headers,
        time: limits.header_timeout,
        keepalive: limits.keepalive,
    };
    let admission = shared.admission.clone();
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
                Box::pin(front::serve(proxy, stream, shutdown.clone(), admission.clone(), head))
            }),
        )
        .build();
    if let Some(proxy) = service.app_logic_mut() {
        let mut http2 = H2Options::new();
        http2
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_header_list_size(u32::try_from(limits.headers).unwrap_or(u32::MAX));
        proxy.h2_options = Some(http2);
    }
    for listen in &config.server.proxy.listen {
        service.add_listener(listen::proxy_listener(listen)?);
    }
    Ok(service)
}

fn add_operator_services(
    server: &mut Server,
    config: &Config,
    shared: &Shared,
    reloader: &Arc<Reloader>,
) -> Result<(), ServerError> {
    let snapshots: Snapshots = {
        let (keypool, reloader) = (shared.keypool.clone(), reloader.clone());
        Arc::new(move || keypool.snapshots(reloader.default_pool().as_deref()))
    };
    metrics::register_keys(snapshots.clone());
    let state = AdminState {
        snapshots,
        explain: {
            let keypool = shared.keypool.clone();
            Arc::new(move |pool, model| keypool.explain(pool, model))
        },
        verdicts: {
            let keypool = shared.keypool.clone();
            Arc::new(move |pool| keypool.verdicts(pool))
        },
        readiness: shared.readiness.clone(),
        token: Arc::new(ArcSwap::from_pointee(shared.tokens.admin)),
        hosts: config.server.admin.hosts.clone(),
        reload: {
            let reloader = reloader.clone();
            Arc::new(move || reloader.reload())
        },
    };
    let admin = &config.server.admin;
    server.add_service(admin::service("admin", &admin.listen, admin::router(state))?);
    let token = config.server.metrics.token.as_ref().map(config::Secret::digest);
    server.add_service(admin::service("metrics", &config.server.metrics.listen, admin::metrics_router(token))?);
    Ok(())
}

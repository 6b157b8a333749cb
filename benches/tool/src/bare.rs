//! The baseline: what Pingora costs before anyone adds a feature.
//!
//! One upstream, connections kept alive on both sides, the key injected as keyweir injects it; no client check, no
//! log, no metrics, and not even the compression module that Pingora puts in front by default.

use std::net::SocketAddr;

use async_trait::async_trait;
use pingora::http::RequestHeader;
use pingora::modules::http::HttpModules;
use pingora::prelude::*;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

#[derive(clap::Args)]
pub struct Options {
    /// Address to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Address of the provider.
    #[arg(long)]
    upstream: SocketAddr,
    /// The key sent to it.
    #[arg(long)]
    key: String,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

struct Bare {
    upstream: SocketAddr,
    authorization: String,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        _ctx: &mut (),
    ) -> Result<()> {
        request.insert_header("Authorization", self.authorization.as_str())
    }
}

/// Serves until a signal.
pub fn run(options: Options) -> anyhow::Result<()> {
    let conf = ServerConf {
        threads: options.threads,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = Bare { upstream: options.upstream, authorization: format!("Bearer {}", options.key) };
    let mut service = http_proxy_service(&server.configuration, proxy);
    service.add_tcp(&options.listen.to_string());
    server.add_service(service);
    server.run_forever()
}

//! One small request of our own, for checks: is there an answer, and which.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::protocols::ALPN;
use tokio::time::timeout;

use super::connector::Connector;
use super::exchange::Exchange;
use super::payload::Payload;
use super::target::Target;
use crate::keypool::Egress;

const AGENT: &str = concat!("keyweir/", env!("CARGO_PKG_VERSION"));
/// Interim answers read over.
const MAX_INTERIM: usize = 16;

impl Connector {
    /// Connects anew to a target and, if `path` is given, asks for it; the status of the answer, whose body is not read.
    ///
    /// # Errors
    /// If there is no connection, or no answer, in this time.
    pub async fn ask(
        &self,
        target: &Target,
        egress: Option<&Arc<Egress>>,
        path: Option<&str>,
        limit: Duration,
    ) -> Result<Option<u16>> {
        let mut peer = target.peer(egress, true);
        peer.options.alpn = ALPN::H1;
        let asking = async {
            let stream = self.transport.new_stream(&*peer).await?;
            let Some(path) = path else { return Ok(None) };
            let mut exchange = Exchange::new(stream);
            exchange.queue(&request(target, path)?, Payload::default())?;
            for _ in 0..MAX_INTERIM {
                let status = exchange.read_head().await?.status;
                if !status.is_informational() {
                    return Ok(Some(status.as_u16()));
                }
            }
            Error::e_explain(InvalidHTTPHeader, "too many interim answers")
        };
        // Boxed: a dial is large.
        match timeout(limit, Box::pin(asking)).await {
            Ok(answer) => answer,
            Err(_) => Error::e_explain(ReadTimedout, "no answer in time"),
        }
    }
}

fn request(target: &Target, path: &str) -> Result<RequestHeader> {
    let mut head = Request::new(()).into_parts().0;
    head.method = Method::GET;
    head.uri = path.parse::<Uri>().or_err(InvalidHTTPHeader, "the path is not valid")?;
    head.headers.insert(HOST, target.host.clone());
    head.headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    head.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(head.into())
}

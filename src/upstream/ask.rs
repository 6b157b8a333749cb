//! One small request of our own, for checks and probes: is there an answer, and which.
//!
//! It takes the same way as a client's request: peer, proxy, TLS and, unless it is to show that there is a connection to
//! be had, the connections kept alive. Redirects are not followed, so a key goes nowhere but where it was sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::protocols::{ALPN, Stream};
use pingora::upstreams::peer::Peer;
use tokio::time::timeout;

use super::connector::Connector;
use super::dial::{EGRESS_SILENT, is_egress_fault};
use super::exchange::Exchange;
use super::target::Target;
use crate::keypool::Egress;
use crate::telemetry::AttemptResult;
use crate::verdict::Blame;

const AGENT: &str = concat!("keyweir/", env!("CARGO_PKG_VERSION"));
/// Interim answers read over.
const MAX_INTERIM: usize = 16;

/// What is asked.
pub struct Inquiry {
    /// How.
    pub method: Method,
    /// Path and query at the target's host.
    pub path: String,
    /// What the request carries beside `Host` and what every request of ours has.
    pub headers: HeaderMap,
    /// JSON; empty = none.
    pub body: Bytes,
    /// Over a connection of its own.
    pub is_fresh: bool,
    /// From the dial to the end of the answer.
    pub limit: Duration,
    /// Most of the answer's body that is read (bytes).
    pub most: usize,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status; a redirect is an answer like any other.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, or as much of it as was to be read.
    pub body: Bytes,
}

impl Inquiry {
    /// A page fetched to see whether it is there: nothing of its body is read.
    pub fn page(path: &str, limit: Duration) -> Self {
        let (path, headers) = (path.to_owned(), HeaderMap::new());
        Self { method: Method::GET, path, headers, body: Bytes::new(), is_fresh: true, limit, most: 0 }
    }

    fn head(&self, target: &Target) -> Result<RequestHeader> {
        let mut head = Request::new(()).into_parts().0;
        head.method = self.method.clone();
        head.uri = self.path.parse::<Uri>().or_err(InvalidHTTPHeader, "the path is not valid")?;
        head.headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        head.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        self.headers.iter().for_each(|(name, value)| drop(head.headers.insert(name, value.clone())));
        head.headers.insert(HOST, target.host.clone());
        if self.is_fresh {
            head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.method != Method::GET {
            head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            head.headers.insert(CONTENT_LENGTH, self.body.len().into());
        }
        Ok(head.into())
    }
}

impl Connector {
    /// Connects anew to a target, and no more.
    ///
    /// # Errors
    /// If there is no connection in this time.
    pub async fn reach(&self, target: &Target, egress: Option<&Arc<Egress>>, limit: Duration) -> Result<()> {
        let peer = plain(target.peer(egress, true));
        in_time(limit, async { self.transport.new_stream(&*peer).await.map(drop) }).await
    }

    /// Asks a target for something.
    ///
    /// # Errors
    /// If there is no connection, or no whole answer, in the inquiry's time.
    pub async fn ask(&self, target: &Target, egress: Option<&Arc<Egress>>, inquiry: &Inquiry) -> Result<Reply> {
        let head = inquiry.head(target)?;
        let peer = target.peer(egress, inquiry.is_fresh);
        let group = peer.reuse_hash();
        let asking = async {
            let kept = if inquiry.is_fresh { None } else { self.idle.take(group) };
            if let Some(stream) = kept {
                match self.exchange(stream, &head, inquiry, group).await {
                    // It had died before.
                    Err(error) if matches!(error.retry, RetryType::ReusedOnly) => {}
                    answered => return answered,
                }
            }
            let stream = self.transport.new_stream(&*plain(peer)).await?;
            self.exchange(stream, &head, inquiry, group).await
        };
        in_time(inquiry.limit, asking).await
    }

    async fn exchange(&self, stream: Stream, head: &RequestHeader, inquiry: &Inquiry, group: u64) -> Result<Reply> {
        let mut exchange = Exchange::new(stream);
        exchange.queue(head, inquiry.body.clone().into())?;
        let head = final_head(&mut exchange).await?;
        let mut body = BytesMut::new();
        while body.len() < inquiry.most {
            match exchange.read_piece().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => break,
                // What a refusal says so far has to do.
                Err(_) if head.status.as_u16() >= 400 => break,
                Err(error) => return Err(error),
            }
        }
        if let Some(stream) = exchange.into_stream() {
            self.idle.put(group, stream);
        }
        body.truncate(inquiry.most);
        Ok(Reply { status: head.status.as_u16(), headers: head.headers.clone(), body: body.freeze() })
    }
}

async fn final_head(exchange: &mut Exchange) -> Result<pingora::http::ResponseHeader> {
    for _ in 0..MAX_INTERIM {
        let head = exchange.read_head().await?;
        if !head.status.is_informational() {
            return Ok(head);
        }
    }
    Error::e_explain(InvalidHTTPHeader, "too many interim answers")
}

fn plain(mut peer: Box<HttpPeer>) -> Box<HttpPeer> {
    peer.options.alpn = ALPN::H1;
    peer
}

async fn in_time<T>(limit: Duration, asking: impl Future<Output = Result<T>>) -> Result<T> {
    // Boxed: a dial is large.
    match timeout(limit, Box::pin(asking)).await {
        Ok(answer) => answer,
        Err(_) => Error::e_explain(ReadTimedout, "no answer in time"),
    }
}

/// Who is to blame for an attempt that brought no answer.
pub fn blame(error: &Error) -> Blame {
    let kind = error.etype();
    let result = match kind {
        _ if *kind == EGRESS_SILENT => AttemptResult::Timeout,
        ReadTimedout | WriteTimedout | ConnectTimedout | TLSHandshakeTimedout => AttemptResult::Timeout,
        ReadError | WriteError | ConnectionClosed | InvalidHTTPHeader | H1Error => AttemptResult::Broken,
        _ => AttemptResult::Unreachable,
    };
    if is_egress_fault(error) { Blame::of_egress(result) } else { Blame::of_failure(result) }
}

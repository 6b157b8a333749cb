//! One request of keyweir's own, over the same connections as the clients' requests.

use bytes::{Bytes, BytesMut};
use pingora::connectors::http::custom::{Connection, Connector as _};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::protocols::http::custom::client::Session as _;

use super::connector::Connector;
use super::session::UpstreamSession;

/// A request whose answer has begun.
pub struct Call {
    connector: Connector,
    peer: Box<HttpPeer>,
    session: UpstreamSession,
}

impl Call {
    /// Sends a request that carries its [`Attempt`](super::Attempt), and waits for the answer's head.
    ///
    /// # Errors
    /// If there is no answer. One that says [`retry`](Error::retry) is a pooled connection's that had died before: the
    /// same request may be sent again on a fresh one.
    pub async fn begin(connector: &Connector, peer: Box<HttpPeer>, request: RequestHeader) -> Result<Self> {
        let (session, is_reused) = match connector.reused_http_session(&*peer).await {
            Some(session) => (session, true),
            None => match connector.get_http_session(&*peer).await? {
                (Connection::Session(session), _) => (session, false),
                (Connection::Stream(_), _) => return Error::e_explain(InternalError, "no session"),
            },
        };
        let mut call = Self { connector: connector.clone(), peer, session };
        match call.exchange(request).await {
            Ok(()) => Ok(call),
            Err(mut error) => {
                let is_stale = is_reused && matches!(error.retry, RetryType::ReusedOnly);
                error.set_retry(is_stale);
                Err(error)
            }
        }
    }

    async fn exchange(&mut self, request: RequestHeader) -> Result<()> {
        self.session.write_request_header(Box::new(request), true).await?;
        self.session.read_response_header().await
    }

    /// The answer's head.
    pub fn head(&self) -> Option<&ResponseHeader> {
        self.session.response_header()
    }

    /// Reads the answer to its end.
    ///
    /// # Errors
    /// If it breaks off, or is longer than `limit` bytes.
    pub async fn body(mut self, limit: usize) -> Result<Bytes> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.session.read_response_body().await? {
            body.extend_from_slice(&piece);
            if body.len() > limit {
                return Error::e_explain(ReadError, "the answer is too long");
            }
        }
        self.close().await;
        Ok(body.freeze())
    }

    /// Gives the connection back, if it can serve again.
    pub async fn close(self) {
        self.connector.release_http_session(self.session, &*self.peer, None).await;
    }
}

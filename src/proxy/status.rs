//! The older balancers' endpoints on the clients' listener, where `server.proxy.status_endpoints` opens them.
//!
//! Which clients may ask is decided here, as for every request of theirs. What they are told, and who may act as an
//! operator, is the admin plane's business: it comes as a [`StatusPages`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;

use super::answer::Answer;
use super::authenticate::{authenticate, without_token};
use super::context::Context;
use super::edge::Edge;
use super::read_body::Failure;
use super::{cors, names};
use crate::clients::Client;

/// Whom an endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Everybody.
    Anybody,
    /// Clients.
    Client,
    /// Operators; whether it is one, the page itself finds out.
    Operator,
}

/// A request for one of the endpoints, by somebody who may make it.
#[derive(Debug)]
pub struct StatusRequest {
    /// Never HEAD: that is a GET here.
    pub method: Method,
    /// With the query.
    pub path: String,
    /// As the client sent it.
    pub authorization: Option<HeaderValue>,
    /// Where it came from.
    pub from: Option<IpAddr>,
    /// For errors.
    pub request_id: Arc<str>,
}

/// What is answered.
#[derive(Debug)]
pub struct StatusAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, but for the length.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// The endpoints.
pub struct StatusPages {
    /// Whom each path answers.
    pub paths: HashMap<String, Who>,
    /// What each answers.
    pub answer: Box<dyn Fn(StatusRequest) -> BoxFuture<'static, StatusAnswer> + Send + Sync>,
}

impl StatusPages {
    /// Whom the endpoint at this path answers, if there is one.
    pub(super) fn find(&self, edge: &Edge, path: &str) -> Option<Who> {
        if edge.status_endpoints { self.paths.get(path).copied() } else { None }
    }

    /// Answers a request for an endpoint.
    ///
    /// # Errors
    /// If the client may not ask, or the answer can't be written as it is.
    pub(super) async fn page(
        &self,
        request: &RequestHeader,
        context: &mut Context,
        edge: &Edge,
        who: Who,
    ) -> Result<(ResponseHeader, Bytes), Failure> {
        let query = request.uri.query();
        if who == Who::Client {
            context.client = authenticate(edge, &request.headers, query, context.client_ip)?;
        }
        let query = scoped(query.and_then(without_token), context.client.as_deref())?;
        let request_id = context.request_id();
        let asked = StatusRequest {
            method: if request.method == Method::HEAD { Method::GET } else { request.method.clone() },
            path: [request.uri.path(), &query].concat(),
            authorization: request.headers.get(http::header::AUTHORIZATION).cloned(),
            from: context.client_ip,
            request_id: request_id.clone(),
        };
        let answer = (self.answer)(asked).await;
        let (head, body) = written(answer, request, edge, &request_id).map_err(Failure::Gone)?;
        context.bytes_out = body.len() as u64;
        Ok((head, body))
    }
}

/// The query with the one pool that the client may see, if it names none.
///
/// # Errors
/// [`Answer::PoolDenied`] if it names another.
fn scoped(query: Option<String>, client: Option<&Client>) -> Result<String, Answer> {
    let named = query.as_deref().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("pool=")));
    let chosen = match (client, named) {
        (Some(client), Some(name)) if !client.may_use_pool(name) => return Err(Answer::PoolDenied),
        (Some(client), None) => client.pools().first(),
        _ => None,
    };
    let parts = query.into_iter().chain(chosen.map(|pool| format!("pool={pool}")));
    let query = parts.collect::<Vec<_>>().join("&");
    Ok(if query.is_empty() { query } else { format!("?{query}") })
}

fn written(
    answer: StatusAnswer,
    request: &RequestHeader,
    edge: &Edge,
    request_id: &str,
) -> Result<(ResponseHeader, Bytes)> {
    let mut head = ResponseHeader::build(answer.status, Some(8))?;
    for (name, value) in &answer.headers {
        head.insert_header(name, value)?;
    }
    head.insert_header(http::header::CONTENT_LENGTH, answer.body.len())?;
    head.insert_header(names::X_REQUEST_ID, request_id)?;
    if let Some(origin) = cors::allowed_origin(&edge.cors, &request.headers) {
        cors::allow(&mut head, origin)?;
    }
    Ok((head, answer.body))
}

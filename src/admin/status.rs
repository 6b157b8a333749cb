//! The older balancers' endpoints for the clients' listener.
//!
//! The same routes as on the admin listener, asked by whom the proxy let in: what only looks needs no more than that,
//! what acts takes an operator's token as everywhere. Errors have the shape of the proxy's own.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

use super::legacy;
use super::problem::Problem;
use super::router::{AdminState, mount};
use super::routes::{Need, Route};
use super::service::Peer;
use crate::proxy::{StatusAnswer, StatusPages, StatusRequest, Who};

/// Longest answer (bytes): a million keys.
const ANSWER_MAX: usize = 512 * 1024 * 1024;

/// The endpoints, and whom each answers.
pub fn status_pages(state: Arc<AdminState>) -> StatusPages {
    let paths = legacy::routes().map(|route| (who(&route), route.path)).map(|(who, path)| (path, who));
    let router = router(state);
    StatusPages {
        paths: paths.collect(),
        answer: Box::new(move |asked| {
            let router = router.clone();
            async move { answer(router, asked).await }.boxed()
        }),
    }
}

fn who(route: &Route) -> Who {
    match route.need {
        // Some balancers told it to everybody; a client's token tells more clients apart from strangers.
        Need::Nothing if route.path == "/info" => Who::Anybody,
        Need::Nothing | Need::Role(_) => Who::Client,
        Need::Token(_) => Who::Operator,
    }
}

fn router(state: Arc<AdminState>) -> Router {
    // The proxy asked the others for what they take.
    let left = |need| if matches!(need, Need::Token(_)) { need } else { Need::Nothing };
    let routes = legacy::routes().map(|route| Route { need: left(route.need), ..route });
    let wrong_method = async || {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "bad_request", "this path takes another method, see Allow")
    };
    mount(routes, &state).method_not_allowed_fallback(wrong_method).with_state(state)
}

async fn answer(router: Router, asked: StatusRequest) -> StatusAnswer {
    let StatusRequest { method, path, authorization, from, request_id } = asked;
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    match path.parse() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return refusal(StatusCode::BAD_REQUEST, HeaderMap::new(), &Value::Null, &request_id),
    }
    if let Some(authorization) = authorization {
        request.headers_mut().insert(header::AUTHORIZATION, authorization);
    }
    let address = from.map(|address| SocketAddr::new(address, 0));
    request.extensions_mut().insert(Peer { address, is_tls: false });
    let response = match TowerToHyperService::new(router).call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    shown(response, &request_id).await
}

async fn shown(response: Response, request_id: &str) -> StatusAnswer {
    let (head, body) = response.into_parts();
    let body = to_bytes(body, ANSWER_MAX).await.unwrap_or_default();
    let mut headers = head.headers;
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let is_problem = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    if is_problem {
        let problem = serde_json::from_slice(&body).unwrap_or_default();
        return refusal(head.status, headers, &problem, request_id);
    }
    StatusAnswer { status: head.status, headers, body }
}

/// A problem as the proxy tells its own.
fn refusal(status: StatusCode, mut headers: HeaderMap, problem: &Value, request_id: &str) -> StatusAnswer {
    let text = |field: &str, default: &str| problem[field].as_str().unwrap_or(default).to_owned();
    let error = json!({
        "message": text("detail", "The request is not understood."),
        "type": "keyweir_error",
        "code": text("code", "bad_request"),
        "param": null,
        "request_id": request_id,
    });
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    StatusAnswer { status, headers, body: Bytes::from(json!({"error": error}).to_string()) }
}

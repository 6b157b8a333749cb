//! The metrics listener: `GET /metrics`, open unless a token is configured.
//!
//! There is no `Host` rule here: scrapers come by service names, and nothing on this page is worth a rebinding attack.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::guard;
use super::problem::Problem;
use super::router::Access;
use crate::telemetry::metrics;

/// The metrics listener's routes.
pub fn metrics_router(access: Arc<ArcSwap<Access>>) -> Router {
    Router::new()
        .route("/metrics", get(page))
        .fallback(async || Problem::not_found("metrics are at /metrics"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "metrics are read with GET")
        })
        .layer(from_fn(guard::harden))
        .with_state(access)
}

async fn page(State(access): State<Arc<ArcSwap<Access>>>, headers: HeaderMap) -> Response {
    if access.load().metrics_token.is_some_and(|token| !guard::carries(&headers, &token)) {
        return Problem::unauthorized("send the metrics token: Authorization: Bearer <token>").into_response();
    }
    let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
    ([(header::CONTENT_TYPE, content_type)], metrics::encode()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::config::TokenDigest;

    fn router(metrics_token: Option<TokenDigest>) -> Router {
        let access = Access { users: Vec::new(), hosts: Vec::new(), metrics_token };
        metrics_router(Arc::new(ArcSwap::from_pointee(access)))
    }

    async fn get(router: Router, path: &str, token: Option<&str>) -> Response {
        let mut request = Request::builder().uri(path).header(header::HOST, "prometheus.internal:8082");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn metrics_are_open_without_a_token() {
        let response = get(router(None), "/metrics", None).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; version=0.0.4");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains("\nkeyweir_build_info{"));
        assert_eq!(get(router(None), "/", None).await.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_configured_token_is_asked_for() {
        let router = router(Some(TokenDigest::of(b"right")));
        let refused = get(router.clone(), "/metrics", None).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert!(refused.headers().contains_key(header::WWW_AUTHENTICATE));
        assert_eq!(get(router.clone(), "/metrics", Some("wrong")).await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(get(router, "/metrics", Some("right")).await.status(), StatusCode::OK);
    }
}

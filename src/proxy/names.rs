//! Header names of our own, parsed at compile time.

use http::HeaderName;

/// Given by the client or made; on every answer.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The provider's own request id.
pub(super) const X_UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");
/// Attempts made.
pub(super) const KEYWEIR_ATTEMPTS: HeaderName = HeaderName::from_static("keyweir-attempts");
/// The pool that served.
pub(super) const KEYWEIR_POOL: HeaderName = HeaderName::from_static("keyweir-pool");
/// The key that served, for clients that may know.
pub(super) const KEYWEIR_KEY: HeaderName = HeaderName::from_static("keyweir-key");
/// Tells a reverse proxy in front not to hold events back.
pub(super) const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

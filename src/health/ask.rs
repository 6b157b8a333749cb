//! One request to a provider on our own account, with one key of a pool or with none.
//!
//! It goes as a client's would: to the pool's target, with its auth form and headers, by the key's proxy. Invariant: the
//! key is in the request and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use pingora::prelude::*;

use crate::config::{self, Timeouts};
use crate::keypool::{self, Egress, Entry};
use crate::upstream::{Connector, Inquiry, Reply, Target};

/// What a provider is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// How.
    pub method: Method,
    /// A path below the base URL, or a URL of its own, as packs write it. Whether a key may be sent to the latter is for
    /// [`Pack::may_ask`](crate::verdict::pack::Pack::may_ask) to say.
    pub url: String,
    /// JSON; empty = none.
    pub body: Bytes,
    /// Most of the answer that is read (bytes); what is longer is cut.
    pub most: usize,
}

impl Question {
    /// A `GET`.
    pub fn get(url: impl Into<String>, most: usize) -> Self {
        Self { method: Method::GET, url: url.into(), body: Bytes::new(), most }
    }
}

/// Asks a pool's provider something with one of its keys (`None` = without any). Redirects are answers.
///
/// # Errors
/// If there is no answer in time, or the question's URL is none; [`blame`](crate::upstream::blame) tells whose fault the
/// former is.
pub async fn ask(
    connector: &Connector,
    pool: &Entry,
    target: &Arc<Target>,
    key: Option<u32>,
    question: &Question,
) -> Result<Reply> {
    let egress = leaves_by(pool, key);
    let (target, path) = place(question, target, pool.config.timeouts.connect)?;
    let inquiry = Inquiry {
        method: question.method.clone(),
        path,
        headers: headers(pool, key),
        body: question.body.clone(),
        is_fresh: false,
        limit: limit(&pool.config.timeouts),
        most: question.most,
    };
    connector.ask(&target, egress.as_ref(), &inquiry).await
}

/// By which proxy a key's request leaves now. What is asked without a key leaves as anybody's would.
pub(super) fn leaves_by(pool: &Entry, key: Option<u32>) -> Option<Arc<Egress>> {
    match key {
        Some(key) => pool.egresses().of(key, keypool::now()).cloned(),
        None => pool.egresses().list().iter().find(|egress| !egress.is_down()).cloned(),
    }
}

/// Where a question goes, and for which path.
fn place(question: &Question, target: &Arc<Target>, connect: Duration) -> Result<(Arc<Target>, String)> {
    if question.url.starts_with('/') {
        return Ok((target.clone(), [&target.path, &*question.url].concat()));
    }
    let page = config::Target::page(&question.url).or_err(InvalidHTTPHeader, "not a URL that can be asked")?;
    let path = page.path.clone();
    let target = Target::new(&page, connect).or_err(InvalidHTTPHeader, "not a host that can be asked")?;
    Ok((Arc::new(target), path))
}

fn headers(pool: &Entry, key: Option<u32>) -> HeaderMap {
    let credential = key.and_then(|key| pool.credential(key));
    let own = credential.map(|credential| credential.headers).unwrap_or_default();
    let config = &pool.config;
    let all = config.provider.headers.iter().chain(&config.headers).chain(own);
    let mut headers: HeaderMap = HeaderMap::new();
    all.for_each(|(name, value)| drop(headers.insert(name, value.clone())));
    if let Some(credential) = credential {
        headers.insert(config.auth().header(), credential.value.clone());
    }
    headers
}

fn limit(timeouts: &Timeouts) -> Duration {
    (timeouts.connect + timeouts.first_byte).min(timeouts.total)
}

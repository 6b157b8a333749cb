//! `GET /models`: what the provider lists, without what is closed, with the aliases.
//!
//! Every target of the pool is asked, with one key each; the answer is kept for a while and asked for by one request at a
//! time, whatever comes meanwhile. What a client may see of it is judged when it asks. If the provider can't be asked the
//! last list is good enough.

mod ask;
mod list;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderValue, Method};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use pingora::http::RequestHeader;
use tokio::time::timeout;

use super::answer::{Answer, Provider};
use super::authenticate::without_token;
use super::context::{Bound, Context};
use super::edge::EdgePool;
use super::model::Care;
use super::route::Route;
use super::scope;
use crate::clients::Client;
use crate::upstream::Connector;

use ask::Reply;
use list::List;

/// How long a list is good.
const KEPT: Duration = Duration::from_secs(300);
/// While there is an older list, a provider that failed is not asked again for this time.
const PAUSE: Duration = Duration::from_secs(10);
/// How long all targets have to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lists kept of one pool: providers filter and page by the query.
const QUERIES: usize = 32;

/// What a request wants of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    /// One model that is an alias.
    Alias(String),
}

/// What a request gets.
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) kind: HeaderValue,
    pub(super) body: Bytes,
}

/// The lists of one pool, by query.
#[derive(Default)]
pub(super) struct Catalog(Mutex<Vec<(String, Arc<Slot>)>>);

/// The lock is held while the provider is asked: whoever comes meanwhile waits for the same answer.
type Slot = tokio::sync::Mutex<Known>;

#[derive(Default)]
struct Known {
    /// The last list of each target.
    lists: Vec<Option<List>>,
    merged: Option<List>,
    /// When the provider was asked last, and what became of it.
    asked: Option<Instant>,
    failure: Option<Failure>,
}

#[derive(Clone)]
enum Failure {
    Ours(Answer, Option<Provider>),
    Theirs(Reply),
}

impl Catalog {
    fn slot(&self, query: &str) -> Arc<Slot> {
        let mut slots = self.0.lock();
        if let Some((_, slot)) = slots.iter().find(|(known, _)| known == query) {
            return slot.clone();
        }
        if slots.len() >= QUERIES {
            slots.remove(0);
        }
        let slot = Arc::<Slot>::default();
        slots.push((query.to_owned(), slot.clone()));
        slot
    }
}

impl Known {
    /// Whether to ask the provider, for a request that came at `since`.
    fn is_outdated(&self, since: Instant) -> bool {
        let Some(asked) = self.asked.filter(|asked| *asked < since) else { return self.asked.is_none() };
        let kept = match (&self.failure, &self.merged) {
            (None, _) => KEPT,
            (Some(_), Some(_)) => PAUSE,
            (Some(_), None) => Duration::ZERO,
        };
        asked.elapsed() >= kept
    }

    /// Takes what the targets said. One that failed is represented by its last list.
    fn take(&mut self, said: Vec<Result<Reply, Failure>>) {
        self.lists.resize_with(said.len(), || None);
        let mut failures = Vec::new();
        for (known, said) in self.lists.iter_mut().zip(said) {
            let read = said.and_then(|reply| {
                let list = (reply.status == 200).then(|| List::parse(&reply.body)).flatten();
                list.ok_or(Failure::Theirs(reply))
            });
            match read {
                Ok(list) => *known = Some(list),
                Err(failure) => failures.push(failure),
            }
        }
        self.asked = Some(Instant::now());
        let is_answered = failures.len() < self.lists.len();
        self.failure = failures.into_iter().next().filter(|_| !is_answered);
        let mut lists = self.lists.iter().flatten().cloned();
        if let Some(mut merged) = lists.next() {
            lists.for_each(|list| merged.merge(&list));
            self.merged = Some(merged);
        }
    }
}

impl Failure {
    /// The provider's own word about the request: no older list is any better.
    fn is_final(&self) -> bool {
        matches!(self, Self::Theirs(reply) if reply.status < 500)
    }
}

/// Whether a request is answered from the list. `path` is what lies behind the pool's prefix.
///
/// # Errors
/// If it asks about one model that is closed.
pub(super) fn wanted(
    request: &RequestHeader,
    path: &str,
    pool: &EdgePool,
    client: Option<&Client>,
) -> Result<Option<Wanted>, Answer> {
    if request.method != Method::GET {
        return Ok(None);
    }
    let Some((_, name)) = split(path) else { return Ok(None) };
    let name = name.trim_matches('/');
    if name.is_empty() {
        return Ok(Some(Wanted::All));
    }
    let name = percent_decode_str(name).decode_utf8_lossy();
    let models = &pool.entry.config.models;
    scope::check_name(client, models, &name)?;
    Ok(models.replacement(&name).map(|_| Wanted::Alias(name.into_owned())))
}

/// The path of the list, and what is behind it.
fn split(path: &str) -> Option<(&str, &str)> {
    let list = ["/models", "/openai/v1/models", "/openai/models"].into_iter().find(|list| path.starts_with(list))?;
    let (list, name) = path.split_at_checked(list.len())?;
    (name.is_empty() || name.starts_with('/')).then_some((list, name))
}

/// The request for the list, with nothing of the client's but its query.
fn inquiry(request: &RequestHeader, route: &Route, query: &str) -> Result<RequestHeader, Answer> {
    let path = request.uri.path();
    let name = split(route.rest(path)).map_or(0, |(_, name)| name.len());
    let list = path.get(..path.len() - name).unwrap_or(path);
    let uri = if query.is_empty() { list.to_owned() } else { format!("{list}?{query}") };
    RequestHeader::build(Method::GET, uri.as_bytes(), None).map_err(|_| Answer::Internal)
}

/// Answers from the list, which is asked for first if need be.
///
/// # Errors
/// If there is none.
pub(super) async fn page(
    connector: &Connector,
    context: &mut Context,
    request: &RequestHeader,
    wanted: Wanted,
) -> Result<Page, Answer> {
    let since = Instant::now();
    let (edge, route) = (context.edge.clone().ok_or(Answer::Internal)?, context.route.clone().ok_or(Answer::Internal)?);
    let pool = edge.pools.get(route.pool).ok_or(Answer::Internal)?;
    let query = request.uri.query().and_then(without_token).unwrap_or_default();
    let slot = pool.catalog.slot(if wanted == Wanted::All { &query } else { "" });
    let mut known = slot.lock().await;
    if known.is_outdated(since) {
        let request = inquiry(request, &route, if wanted == Wanted::All { &query } else { "" })?;
        let said = ask_all(connector, context, pool, &request).await;
        known.take(said);
    }
    let client = context.client.as_deref();
    match (&known.merged, &known.failure) {
        (Some(list), failure) if !failure.as_ref().is_some_and(Failure::is_final) => {
            Ok(shown(list, pool, client, &wanted))
        }
        (_, Some(Failure::Ours(answer, provider))) => {
            context.provider = provider.clone();
            Err(answer.clone())
        }
        (_, Some(Failure::Theirs(reply))) => {
            let is_filtered = scope::care(client, &pool.entry.config.models, false) == Care::Filter;
            // What can't be read can't be filtered.
            if reply.status < 300 && is_filtered { Err(Answer::UpstreamUnreachable) } else { Ok(passed(reply)) }
        }
        (_, None) => Err(Answer::Internal),
    }
}

/// Asks every target, each with a context of its own; the request's takes over what belongs in its log line.
async fn ask_all(
    connector: &Connector,
    context: &mut Context,
    pool: &EdgePool,
    request: &RequestHeader,
) -> Vec<Result<Reply, Failure>> {
    let mut inquiries: Vec<Context> = pool.targets.iter().map(|_| Context::new()).collect();
    let asking = inquiries.iter_mut().zip(pool.targets.iter()).map(|(inquiry, target)| {
        inquiry.edge = context.edge.clone();
        inquiry.route = context.route.clone();
        inquiry.request_id = Some(context.request_id());
        inquiry.bound = Bound { key: pool.entry.list_key(), target: Some(target.clone()), is_by_resource: false };
        async move {
            let said = timeout(PATIENCE, ask::ask(connector, inquiry, request)).await;
            let said = said.unwrap_or(Err(Answer::UpstreamTimeout));
            said.map_err(|answer| Failure::Ours(answer, inquiry.provider.take()))
        }
    });
    let asking: Vec<_> = asking.collect();
    let said = join_all(asking).await;
    let count = inquiries.iter().map(|inquiry| inquiry.attempts.count).sum();
    if let Some(inquiry) = inquiries.into_iter().next() {
        context.times = inquiry.times;
        context.attempts = inquiry.attempts;
        context.attempts.count = count;
    }
    said
}

fn shown(list: &List, pool: &EdgePool, client: Option<&Client>, wanted: &Wanted) -> Page {
    let models = &pool.entry.config.models;
    let may_see = |name: &str| scope::check_name(client, models, name).is_ok();
    let is_served = |model: &str| pool.entry.pool.serves(model);
    let body = match wanted {
        Wanted::All => {
            let aliases = models.alias.iter().map(|(alias, model)| (alias.as_str(), model.as_str()));
            let aliases = aliases.filter(|(alias, model)| may_see(alias) && is_served(model));
            list.render(|name| may_see(name) && is_served(models.resolve(name)), aliases)
        }
        Wanted::Alias(alias) => list.alias(alias, models.resolve(alias)).into(),
    };
    Page { status: 200, kind: HeaderValue::from_static("application/json"), body }
}

fn passed(reply: &Reply) -> Page {
    let kind = reply.kind.clone().unwrap_or(HeaderValue::from_static("application/json"));
    Page { status: reply.status, kind, body: reply.body.clone() }
}

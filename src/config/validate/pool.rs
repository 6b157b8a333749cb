//! `pools:`

use std::collections::HashMap;
use std::sync::Arc;

use super::server::positive;
use super::{Context, balance, headers, models, prices, provider, secret, target, upkeep};
use crate::config::egress::Egress;
use crate::config::model::{Blacklist, EgressCheck, On5xx, PerKeyMetrics, Pool, Retry, Routes, Target, Timeouts};
use crate::config::problem::{At, is_plain_word};
use crate::config::raw::pool as raw;
use crate::config::raw::upkeep::EgressCheck as EgressCheckText;
use crate::config::raw::{Named, Secret, pool::TargetEntry};
use crate::config::suggest;
use crate::verdict::Engine;
use crate::verdict::pack::{self, Pack};

/// First path segments with a meaning of their own on the listeners.
const RESERVED: [&str; 20] = [
    "v1",
    "v1beta",
    "hf",
    "chat",
    "models",
    "embeddings",
    "api",
    "livez",
    "readyz",
    "healthz",
    "info",
    "stats",
    "health",
    "balance",
    "reload-keys",
    "blacklist",
    "reset-keys",
    "keys",
    "metrics",
    "mock",
];

/// All pools, with no path in two of them.
pub(crate) fn pools(raw: &Named<raw::Pool>, at: &At<'_>, context: &Context<'_>) -> Option<Vec<Pool>> {
    let mut owners: HashMap<String, &str> = HashMap::new();
    let mut pools = Vec::with_capacity(raw.0.len());
    for (name, raw) in &raw.0 {
        let at = at.field(name);
        pool_name(name, &at);
        let pool = pool(name, raw, &at, context);
        for path in pool.iter().flat_map(|pool| &pool.paths) {
            if let Some(owner) = owners.insert(path.clone(), name) {
                let written = raw.paths.iter().position(|written| written.trim_end_matches('/') == path);
                let paths = at.field("paths");
                let place = written.map_or(at, |index| paths.index(index));
                place.error(format!("the path {path} belongs to pool {owner} already; give one of them other paths"));
            }
        }
        pools.push(pool);
    }
    pools.into_iter().collect()
}

fn pool_name(name: &str, at: &At<'_>) {
    let well_formed = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !well_formed {
        at.error("not a pool's name; write lower-case letters, digits and dashes, e.g. modelscope-2");
    } else if RESERVED.contains(&name) {
        at.error(format!("{name} is a path of keyweir's own; call the pool e.g. {name}-pool"));
    }
}

fn pool(name: &str, raw: &raw::Pool, at: &At<'_>, context: &Context<'_>) -> Option<Pool> {
    let provider = provider(&raw.provider, &at.field("provider"), context);
    let targets = targets(raw, provider.as_deref(), at);
    let verdicts = provider.clone().and_then(|provider| verdicts(&raw.rules, provider, &at.field("rules")));
    let retry = retry(&raw.retry, &at.field("retry"));
    let blacklist = blacklist(&raw.blacklist, &at.field("blacklist"));
    let timeouts = timeouts(&raw.timeouts, &at.field("timeouts"));
    Some(Pool {
        name: name.to_owned(),
        enabled: raw.enabled,
        paths: paths(name, &raw.paths, &at.field("paths")),
        routes: routes(&raw.routes, &at.field("routes")),
        start_index: raw.select.start_index as usize,
        retry,
        blacklist,
        timeouts,
        models: models::models(&raw.models, &at.field("models")),
        egress: egress(&raw.egress, &at.field("egress"), context),
        egress_check: egress_check(&raw.egress_check, &at.field("egress_check")),
        balance: balance::balance(&raw.balance, &at.field("balance")),
        probe: upkeep::probe(&raw.probe),
        reactivate: upkeep::reactivate(&raw.reactivate, &at.field("reactivate")),
        prices: prices::prices(&raw.prices, &at.field("prices")),
        headers: headers::headers(&raw.headers, &at.field("headers"), context),
        per_key_metrics: match raw.metrics.per_key {
            raw::PerKey::Auto => PerKeyMetrics::Auto,
            raw::PerKey::On => PerKeyMetrics::On,
            raw::PerKey::Off => PerKeyMetrics::Off,
        },
        provider: provider?,
        verdicts: verdicts?,
        targets,
    })
}

/// A built-in pack, or a file with one.
fn provider(name: &str, at: &At<'_>, context: &Context<'_>) -> Option<Arc<Pack>> {
    if [".yaml", ".yml"].iter().any(|ending| name.ends_with(ending)) {
        return provider::read(name, at, context);
    }
    let pack = pack::find(name);
    if pack.is_none() {
        let written = if is_plain_word(name) { name } else { "" };
        let known = pack::PACKS.iter().map(|pack| pack.name.as_str());
        at.error(format!("unknown provider; {}", suggest::among(written, known)));
    }
    pack.cloned()
}

fn verdicts(raw: &raw::Rules, provider: Arc<Pack>, at: &At<'_>) -> Option<Arc<Engine>> {
    let is_shadow = matches!(raw.mode, raw::RulesMode::Shadow);
    let list = at.field("list");
    let flaws = match Engine::new(provider, &raw.list, is_shadow) {
        Ok(engine) => return Some(Arc::new(engine)),
        Err(flaws) => flaws,
    };
    for (place, flaw) in flaws {
        complain(&list.index(place), &flaw.path, &flaw.message);
    }
    None
}

/// Complains about the field that a path leads to.
pub(super) fn complain(at: &At<'_>, path: &[String], message: &str) {
    match path.split_first() {
        None => at.error(message),
        Some((step, rest)) => match step.parse() {
            Ok(index) => complain(&at.index(index), rest, message),
            Err(_) => complain(&at.field(step), rest, message),
        },
    }
}

fn targets(raw: &raw::Pool, provider: Option<&Pack>, at: &At<'_>) -> Vec<Target> {
    let here = at.field("targets");
    if !raw.targets.is_empty() {
        let read = |(index, entry): (usize, &TargetEntry)| match entry {
            TargetEntry::Url(url) => target::target(url, &here.index(index)),
            TargetEntry::Full(full) => target::target_with(full, &here.index(index)),
        };
        return raw.targets.iter().enumerate().filter_map(read).collect();
    }
    match provider {
        Some(Pack { base_url: Some(url), .. }) => target::target(url, &here).into_iter().collect(),
        Some(_) if at.field("provider").is_damaged() => Vec::new(),
        Some(pack) => {
            at.missing(
                "targets",
                format!(
                    "provider {} has no base URL of its own; write targets: [{{url: \"https://HOST/v1\"}}]",
                    pack.name
                ),
            );
            Vec::new()
        }
        None => Vec::new(),
    }
}

fn egress(raw: &[Secret], at: &At<'_>, context: &Context<'_>) -> Vec<Egress> {
    let mut list: Vec<Egress> = Vec::with_capacity(raw.len());
    for (index, url) in raw.iter().enumerate() {
        let at = at.index(index);
        let Some(egress) = secret::egress(url, &at, context) else { continue };
        if list.iter().any(|other| other.name == egress.name) {
            at.error("written twice: same protocol, host, port and user; remove one");
        }
        list.push(egress);
    }
    list
}

fn egress_check(raw: &EgressCheckText, at: &At<'_>) -> EgressCheck {
    EgressCheck {
        every: positive(raw.every, &at.field("every")),
        url: raw.url.as_ref().and_then(|url| target::page(url, &at.field("url"))),
        timeout: positive(raw.timeout, &at.field("timeout")),
        max_failures: raw.max_failures,
        on_failure: raw.on_failure,
    }
}

fn paths(name: &str, raw: &[String], at: &At<'_>) -> Vec<String> {
    if raw.is_empty() {
        return vec![format!("/{name}")];
    }
    let mut paths: Vec<String> = Vec::with_capacity(raw.len());
    for (index, path) in raw.iter().enumerate() {
        let at = at.index(index);
        let trimmed = path.trim_end_matches('/');
        let refusal = if !path.starts_with('/') {
            Some("must begin with /, e.g. /modelscope")
        } else if trimmed.is_empty() {
            Some("/ alone is what default_pool is for; write a prefix such as /modelscope")
        } else if ["/livez", "/readyz"].contains(&trimmed) {
            Some("a path of keyweir's own; write another")
        } else if !is_clean(trimmed) {
            Some("must be plain segments: no //, ., .., ?, #, %, spaces or control characters")
        } else {
            None
        };
        match refusal {
            Some(message) => at.error(message),
            None if paths.iter().any(|other| other == trimmed) => at.error("written twice; remove one"),
            None => paths.push(trimmed.to_owned()),
        }
    }
    paths
}

fn is_clean(path: &str) -> bool {
    path.bytes().all(|b| b.is_ascii_graphic() && !b"?#%\\\"<>".contains(&b))
        && path.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..")
}

fn routes(raw: &raw::Routes, at: &At<'_>) -> Routes {
    match raw {
        raw::Routes::Word(raw::Inference::Inference) => Routes::Inference,
        raw::Routes::Globs(globs) => {
            for (index, _) in globs.iter().enumerate().filter(|(_, glob)| glob.is_empty()) {
                at.index(index).error("is empty; write a glob such as /chat/*");
            }
            if globs.is_empty() {
                at.error("an empty list closes every route; write inference, or [\"*\"] for all");
            }
            Routes::Globs(globs.clone())
        }
    }
}

fn retry(raw: &raw::Retry, at: &At<'_>) -> Retry {
    let here = at.field("key_attempts");
    if here.node().is_some() && raw.key_attempts < raw.attempts {
        here.error(format!("must be at least attempts ({})", raw.attempts));
    }
    Retry {
        attempts: raw.attempts,
        key_attempts: raw.key_attempts.max(raw.attempts),
        deadline: positive(raw.deadline, &at.field("deadline")),
    }
}

fn blacklist(raw: &raw::Blacklist, at: &At<'_>) -> Blacklist {
    let here = at.field("max_cooldown");
    if here.node().is_some() && raw.max_cooldown.0 < raw.cooldown.0 {
        here.error(format!("must be at least cooldown ({})", raw.cooldown));
    }
    Blacklist {
        threshold: raw.threshold,
        cooldown: raw.cooldown.0,
        is_cooldown_chosen: at.field("cooldown").node().is_some(),
        max_cooldown: raw.max_cooldown.0.max(raw.cooldown.0),
        on_5xx: match raw.on_5xx {
            raw::On5xx::Attribute => On5xx::Attribute,
            raw::On5xx::Key => On5xx::Key,
            raw::On5xx::Never => On5xx::Never,
        },
        permanent: raw.permanent,
    }
}

fn timeouts(raw: &raw::Timeouts, at: &At<'_>) -> Timeouts {
    Timeouts {
        connect: positive(raw.connect, &at.field("connect")),
        first_byte: positive(raw.first_byte, &at.field("first_byte")),
        hold: raw.hold.0,
        idle: positive(raw.idle, &at.field("idle")),
        total: positive(raw.total, &at.field("total")),
        keepalive_comment: raw.keepalive_comment.0,
    }
}

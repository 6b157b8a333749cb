//! What keyweir knows of each provider before the first request: where it lives, how it wants its key, what its errors
//! mean.
//!
//! A pack is data, one YAML file per provider, embedded and parsed once; docs/verdicts.md describes the format. Sources
//! are each provider's API reference and what its users report; the base URLs are what OpenAI-compatible clients are
//! told to use.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use once_cell::sync::Lazy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::balance::Balance;
use super::layer::Layer;
use super::reset::{self, Limit, LimitHeaders};
use super::rule::{Flaw, RuleText};
use crate::config::raw::Named;
use crate::config::yaml;
use crate::pool::Scope;

/// A pack as it is written.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PackText {
    /// A built-in pack. What is not given here is taken from it, and its rules follow those given here.
    pub extends: Option<String>,
    /// Base URLs; the first is used where the pool names no target. None = the pool must name one.
    pub base_urls: Vec<String>,
    /// Where the key goes. Default: `Authorization: Bearer`.
    pub auth: Option<AuthText>,
    /// Where it goes below base URLs that don't end in `/openai`, for providers that have an interface of their own
    /// beside that of OpenAI.
    pub native_auth: Option<AuthText>,
    /// Headers every request to this provider carries.
    pub headers: Named<String>,
    /// IANA zone of the clock by which quotas begin anew. Default: UTC.
    pub reset_zone: Option<String>,
    /// The headers that tell of limits. Default: those of the generic pack.
    pub limit_headers: Vec<LimitHeaders>,
    /// How to find out whether a key works without spending anything.
    pub probe: Option<Probe>,
    /// How to ask for a key's balance.
    pub balance: Option<Balance>,
    /// Rules tried before every provider's own; only in the generic pack.
    #[schemars(skip)]
    pub guards: Vec<RuleText>,
    /// What the provider's errors mean; the first rule that matches decides. One with the id of a rule of the extended pack
    /// takes its place. The generic pack's follow.
    pub rules: Vec<RuleText>,
}

/// The header a key travels in.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthText {
    /// Its name.
    pub header: String,
    /// What stands before the key, its blank included.
    pub prefix: String,
}

impl Default for AuthText {
    fn default() -> Self {
        Self { header: "authorization".into(), prefix: "Bearer ".into() }
    }
}

/// A request that shows whether a key works.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Default: `GET`, or `POST` if it has a body.
    #[serde(default)]
    pub method: Option<Method>,
    /// A path below the base URL, or a URL of its own.
    pub url: String,
    /// JSON; `{model}` stands for the model to test with.
    #[serde(default)]
    pub body: Option<String>,
    /// Statuses that show a dead key; a 400 and 403 are read by the rules first.
    pub dead: Vec<u16>,
    /// Statuses besides 2xx that show one that works, of a request that is meant to be refused for something else.
    #[serde(default)]
    pub alive: Vec<u16>,
    /// Where in a 2xx a `true` shows a dead key (JSON pointers, RFC 6901).
    #[serde(default)]
    pub dead_if: Vec<String>,
}

/// How a probe is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words say it; docs would turn into noise in the schema")]
pub enum Method {
    Get,
    Post,
}

impl Probe {
    /// How it is sent.
    pub fn method(&self) -> Method {
        self.method.unwrap_or(if self.body.is_some() { Method::Post } else { Method::Get })
    }

    /// It lists models, as some providers do for anyone.
    pub fn is_of_models(&self) -> bool {
        self.url == "/models"
    }

    /// It can only be sent with a model.
    pub fn needs_model(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.contains("{model}"))
    }

    /// A chat of one token, which every provider has.
    pub fn chat() -> Self {
        let body = r#"{"model": "{model}", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}"#;
        Self {
            method: None,
            url: "/chat/completions".into(),
            body: Some(body.into()),
            dead: vec![401],
            alive: Vec::new(),
            dead_if: Vec::new(),
        }
    }
}

/// One provider's pack.
#[derive(Debug)]
pub struct Pack {
    /// What `provider:` names.
    pub name: String,
    /// The file it is written in, if it is not part of the program.
    pub file: Option<PathBuf>,
    /// Base URL used where the pool names no target; `None` = the pool must name one.
    pub base_url: Option<String>,
    /// All of them.
    pub base_urls: Vec<String>,
    /// Where the key goes.
    pub auth: Auth,
    /// Where it goes below base URLs that don't end in `/openai`, if elsewhere.
    pub native_auth: Option<Auth>,
    /// Headers every request to this provider carries.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The clock by which quotas begin anew.
    pub zone: TimeZone,
    /// How to find out whether a key works.
    pub probe: Option<Probe>,
    /// How to ask for a key's balance.
    pub balance: Option<Balance>,
    pub(super) guards: Vec<RuleText>,
    pub(super) rules: Vec<RuleText>,
    limits: Vec<Limit>,
    /// The guards and the rules, compiled when first needed.
    layers: [OnceLock<Layer>; 2],
    /// The pack as it was written, for those that extend it.
    text: PackText,
}

/// The header a key travels in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    header: HeaderName,
    prefix: String,
}

impl Auth {
    /// The header's name.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The header's text for one key.
    pub fn value(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

impl PackText {
    /// What is not given is taken from the pack that it extends.
    fn over(mut self, base: &Self) -> Self {
        let own = |rule: &RuleText| self.rules.iter().any(|other| other.id == rule.id);
        let inherited: Vec<_> = base.rules.iter().filter(|rule| !own(rule)).cloned().collect();
        self.rules.extend(inherited);
        let headers = base.headers.0.iter().filter(|(name, _)| !self.headers.0.iter().any(|(own, _)| own == name));
        let headers: Vec<_> = headers.cloned().collect();
        self.headers.0.extend(headers);
        let or = |own: Vec<_>, base: &Vec<_>| if own.is_empty() { base.clone() } else { own };
        Self {
            base_urls: or(self.base_urls, &base.base_urls),
            auth: self.auth.or_else(|| base.auth.clone()),
            native_auth: self.native_auth.or_else(|| base.native_auth.clone()),
            reset_zone: self.reset_zone.or_else(|| base.reset_zone.clone()),
            limit_headers: if self.limit_headers.is_empty() { base.limit_headers.clone() } else { self.limit_headers },
            probe: self.probe.or_else(|| base.probe.clone()),
            balance: self.balance.or_else(|| base.balance.clone()),
            ..self
        }
    }
}

impl Pack {
    /// A pack of one's own.
    ///
    /// # Errors
    /// Every mistake in it, with its place.
    pub fn new(name: String, file: PathBuf, text: PackText) -> Result<Self, Vec<Flaw>> {
        let base = text.extends.as_deref().map(|base| find(base).ok_or(base)).transpose();
        let base = base.map_err(|_| vec![flaw(&["extends"], "not a built-in pack")])?;
        let own_rules = text.rules.len();
        let text = base.map_or_else(|| text.clone(), |base| text.clone().over(&base.text));
        let mut flaws = Vec::new();
        let pack = Self::build(name, Some(file), text, &mut flaws);
        let layer = match Layer::new(&pack.rules, own_rules) {
            Ok(layer) => layer,
            Err(found) => {
                flaws.extend(found.into_iter().map(|(place, Flaw { mut path, message })| {
                    path.splice(0..0, ["rules".to_owned(), place.to_string()]);
                    Flaw { path, message }
                }));
                return Err(flaws);
            }
        };
        if !flaws.is_empty() {
            return Err(flaws);
        }
        Ok(Self { layers: [OnceLock::from(Layer::default()), OnceLock::from(layer)], ..pack })
    }

    fn build(name: String, file: Option<PathBuf>, text: PackText, flaws: &mut Vec<Flaw>) -> Self {
        let kept = text.clone();
        let auth = text.auth.unwrap_or_default();
        let zone = text.reset_zone.as_deref().map_or(Ok(TimeZone::UTC), TimeZone::get).unwrap_or_else(|_| {
            flaws.push(flaw(&["reset_zone"], "no such time zone; write an IANA name such as Asia/Shanghai"));
            TimeZone::UTC
        });
        let headers = text.headers.0.iter().filter_map(|(name, value)| {
            let header = header_name(name).and_then(|header| Some((header, HeaderValue::try_from(value).ok()?)));
            if header.is_none() {
                flaws.push(flaw(&["headers", name], "not a header, or no valid value for one"));
            }
            header
        });
        let headers = headers.collect();
        let auth = ready_auth("auth", auth, flaws);
        let native_auth = text.native_auth.map(|text| ready_auth("native_auth", text, flaws));
        let urls = [
            ("probe", text.probe.as_ref().map(|probe| &probe.url)),
            ("balance", text.balance.as_ref().map(|b| &b.url)),
        ];
        for (field, url) in urls {
            let is_url = |url: &String| ["/", "https://", "http://"].iter().any(|start| url.starts_with(start));
            if url.is_some_and(|url| !is_url(url)) {
                flaws.push(flaw(&[field, "url"], "write a path that begins with /, or a URL"));
            }
        }
        let of_balance = text.balance.iter().flat_map(Balance::flaws);
        flaws.extend(of_balance.map(|(field, message)| flaw(&["balance", field], message)));
        let limits = text.limit_headers.iter().enumerate();
        let limits = limits.filter_map(|(place, limit)| ready_limit(place, limit, flaws)).collect();
        Self {
            name,
            file,
            base_url: text.base_urls.first().cloned(),
            base_urls: text.base_urls,
            auth,
            native_auth,
            headers,
            zone,
            probe: text.probe,
            balance: text.balance,
            guards: text.guards,
            rules: text.rules,
            limits,
            layers: Default::default(),
            text: kept,
        }
    }

    /// Its rules between those of all providers, in the order they are asked.
    pub(super) fn layers(&self) -> impl Iterator<Item = &Layer> {
        let generic: &Self = generic();
        let others = Some(generic).filter(|generic| !std::ptr::eq(*generic, self)).map(|generic| generic.layer(RULES));
        [generic.layer(GUARDS), self.layer(RULES)].into_iter().chain(others)
    }

    /// Whether something is asked at that `url` with the keys of a pool at the base URL `base`. A URL of its own is the
    /// provider's own address: nobody else's key is sent there.
    pub fn may_ask(&self, url: &str, base: &str) -> bool {
        url.starts_with('/') || self.base_urls.iter().any(|own| own.trim_end_matches('/') == base)
    }

    /// Where the key goes below a base URL with this path.
    pub fn auth_below(&self, path: &str) -> &Auth {
        self.native_auth.as_ref().filter(|_| !path.trim_end_matches('/').ends_with("/openai")).unwrap_or(&self.auth)
    }

    /// Embedded packs are compiled when they are used first: a test compiles each.
    fn layer(&self, which: usize) -> &Layer {
        static EMPTY: Lazy<Layer> = Lazy::new(Layer::default);
        let rules = if which == GUARDS { &self.guards } else { &self.rules };
        self.layers.get(which).map_or(&EMPTY, |layer| layer.get_or_init(|| Layer::new(rules, 0).unwrap_or_default()))
    }

    pub(super) fn limits(&self) -> &[Limit] {
        if self.limits.is_empty() { &generic().limits } else { &self.limits }
    }

    /// The limits of which the head of a success says that nothing is left: what each is on, and for how long.
    pub fn used_up(&self, headers: &HeaderMap, now: impl Fn() -> Timestamp) -> Vec<(Scope, Duration)> {
        reset::used_up(self.limits(), &self.zone, headers, now)
    }
}

/// Places in [`Pack::layers`].
const GUARDS: usize = 0;
const RULES: usize = 1;

fn flaw(path: &[&str], message: &str) -> Flaw {
    Flaw { path: path.iter().map(|&step| step.to_owned()).collect(), message: message.to_owned() }
}

fn header_name(text: &str) -> Option<HeaderName> {
    HeaderName::try_from(text).ok()
}

fn ready_auth(field: &str, text: AuthText, flaws: &mut Vec<Flaw>) -> Auth {
    let header = header_name(&text.header).unwrap_or_else(|| {
        flaws.push(flaw(&[field, "header"], "not a header's name; write e.g. x-api-key"));
        http::header::AUTHORIZATION
    });
    if HeaderValue::from_str(&text.prefix).is_err() {
        flaws.push(flaw(&[field, "prefix"], "must be plain visible text, e.g. \"Bearer \""));
    }
    Auth { header, prefix: text.prefix }
}

fn ready_limit(place: usize, limit: &LimitHeaders, flaws: &mut Vec<Flaw>) -> Option<Limit> {
    let place = place.to_string();
    let mut read = |field: &str, text: &str| {
        let name = header_name(text);
        if name.is_none() {
            flaws.push(flaw(&["limit_headers", &place, field], "not a header's name"));
        }
        name
    };
    let remaining = read("remaining", &limit.remaining);
    let reset = limit.reset.as_deref().map(|text| read("reset", text));
    if reset.is_none() && limit.until.is_none() {
        flaws.push(flaw(&["limit_headers", &place], "needs reset, the header that tells the end, or until: midnight"));
    }
    Some(Limit { remaining: remaining?, reset: reset.flatten(), until: limit.until, scope: limit.scope })
}

macro_rules! packs {
    ($($name:literal),+) => { &[$(($name, include_str!(concat!("packs/", $name, ".yaml")))),+] };
}

/// `generic`, the plain OpenAI-compatible one, comes first.
const SOURCES: &[(&str, &str)] = packs![
    "generic",
    "vllm",
    "azure",
    "anthropic",
    "openai",
    "gemini",
    "siliconflow",
    "modelscope",
    "deepseek",
    "moonshot",
    "zhipu",
    "dashscope",
    "volcengine",
    "groq",
    "together",
    "fireworks",
    "mistral",
    "openrouter",
    "xai",
    "cerebras",
    "huggingface",
    "nvidia"
];

/// All packs.
#[expect(clippy::panic, reason = "the packs are part of the program, and a test parses each")]
pub static PACKS: Lazy<Vec<Arc<Pack>>> = Lazy::new(|| {
    let parse = |(name, text): &(&str, &str)| {
        let text: PackText = yaml::parse(text).unwrap_or_else(|error| panic!("pack {name}: {error}"));
        let mut flaws = Vec::new();
        let pack = Pack::build((*name).to_owned(), None, text, &mut flaws);
        if !flaws.is_empty() {
            panic!("pack {name}: {flaws:?}");
        }
        Arc::new(pack)
    };
    SOURCES.iter().map(parse).collect()
});

/// The pack of that name.
pub fn find(name: &str) -> Option<&'static Arc<Pack>> {
    PACKS.iter().find(|pack| pack.name == name)
}

/// The pack of providers nobody knows.
#[expect(clippy::expect_used, reason = "it is the first of the embedded packs")]
pub fn generic() -> &'static Arc<Pack> {
    PACKS.first().expect("the generic pack")
}

/// The JSON Schema of a pack, which is also that of `pools.*.rules.list`.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(PackText);
    schema.insert("title".into(), "A provider's pack".into());
    schema.to_value()
}

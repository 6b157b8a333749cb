//! Which pool a path belongs to, and what of it goes upstream (contract §4).

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::answer::Answer;
use crate::config::{Pool, Routes};

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// Index of the pool.
    pub(super) pool: usize,
    /// Where in the path begins what lies behind the pool's prefix and `/v1`: at a slash, or at the end.
    rest_at: usize,
    /// The rest keeps its own root: it does not follow the target's path.
    pub(super) is_rooted: bool,
}

impl Route {
    /// What of the request's path goes upstream.
    pub(super) fn rest<'a>(&self, path: &'a str) -> &'a str {
        path.get(self.rest_at..).unwrap_or_default()
    }
}

/// Paths of all pools, longest first.
pub(super) struct PathTable {
    names: Vec<(String, usize)>,
    prefixes: Vec<(String, usize)>,
    default: Option<usize>,
}

/// First segments that stand for an unprefixed OpenAI path.
const INFERENCE: [&str; 11] = [
    "chat",
    "completions",
    "responses",
    "messages",
    "embeddings",
    "models",
    "images",
    "audio",
    "moderations",
    "rerank",
    "tasks",
];

impl PathTable {
    pub(super) fn new(pools: &[Pool], default: Option<usize>) -> Self {
        let enabled = || pools.iter().enumerate().filter(|(_, pool)| pool.enabled);
        let names = enabled().map(|(index, pool)| (pool.name.clone(), index)).collect();
        let mut prefixes: Vec<_> =
            enabled().flat_map(|(index, pool)| pool.paths.iter().map(move |path| (path.clone(), index))).collect();
        prefixes.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self { names, prefixes, default: default.filter(|&i| pools.get(i).is_some_and(|pool| pool.enabled)) }
    }

    /// Finds the pool for a path (without its query).
    ///
    /// # Errors
    /// [`Answer::UnknownPath`], or [`Answer::BadRequest`] for a path that names its parent.
    pub(super) fn find(&self, path: &str) -> Result<Route, Answer> {
        if has_dot_segment(path) {
            return Err(Answer::BadRequest("The path has dot segments."));
        }
        let alias = ["/openai", "/hf"].into_iter().find_map(|alias| below(path, alias));
        let (pool, rest) = alias
            .and_then(|rest| self.by_name(rest))
            .or_else(|| self.by_prefix(path))
            .or_else(|| Some((self.default?, alias?)))
            .or_else(|| Some((self.default?, path)).filter(|_| is_openai_path(path)))
            .ok_or(Answer::UnknownPath)?;
        let is_rooted = below(rest, "/openai").is_some();
        let version = || ["/v1", "/v1beta"].into_iter().find_map(|version| below(rest, version));
        let rest = if is_rooted { rest } else { version().unwrap_or(rest) };
        Ok(Route { pool, rest_at: path.len() - rest.len(), is_rooted })
    }

    /// `/{pool}/…` behind an alias.
    fn by_name<'a>(&self, rest: &'a str) -> Option<(usize, &'a str)> {
        let segment = rest.strip_prefix('/')?.split('/').next()?;
        let (name, index) = self.names.iter().find(|(name, _)| name == segment)?;
        Some((*index, rest.get(1 + name.len()..)?))
    }

    fn by_prefix<'a>(&self, path: &'a str) -> Option<(usize, &'a str)> {
        self.prefixes.iter().find_map(|(prefix, index)| Some((*index, below(path, prefix)?)))
    }
}

/// What of `path` lies below `prefix`, at a segment's boundary.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_openai_path(path: &str) -> bool {
    below(path, "/v1").is_some() || is_inference(path)
}

fn is_inference(rest: &str) -> bool {
    rest.strip_prefix('/').and_then(|rest| rest.split('/').next()).is_some_and(|first| INFERENCE.contains(&first))
}

/// A segment that a provider's server may resolve, and so step around the route filter. Some servers decode the path
/// first, so encoded dots and slashes count as well.
fn has_dot_segment(path: &str) -> bool {
    let is_dots = |path: &str| path.split(['/', '\\']).any(|segment| segment == "." || segment == "..");
    if !path.contains('%') {
        return is_dots(path);
    }
    let decoded = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    is_dots(&decoded)
}

/// The routes a pool serves.
pub(super) enum RouteFilter {
    Inference,
    Globs(GlobSet),
}

impl RouteFilter {
    pub(super) fn new(routes: &Routes) -> Self {
        let Routes::Globs(globs) = routes else { return Self::Inference };
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            // Validated with the configuration; what still fails here serves nothing.
            if let Ok(glob) = GlobBuilder::new(glob.trim_start_matches('/')).build() {
                set.add(glob);
            }
        }
        set.build().map_or(Self::Globs(GlobSet::empty()), Self::Globs)
    }

    pub(super) fn admits(&self, route: &Route, path: &str) -> bool {
        let rest = route.rest(path);
        match self {
            Self::Globs(globs) => globs.is_match(rest.trim_start_matches('/')),
            Self::Inference if route.is_rooted => azure_operation(rest).is_some_and(is_inference),
            Self::Inference => is_inference(rest),
        }
    }
}

/// The operation behind Azure's `/openai/deployments/{name}` or `/openai/v1`.
fn azure_operation(rest: &str) -> Option<&str> {
    let rest = below(rest, "/openai")?;
    if let Some(operation) = below(rest, "/v1") {
        return Some(operation);
    }
    let deployment = below(rest, "/deployments")?.strip_prefix('/')?;
    deployment.find('/').and_then(|slash| deployment.get(slash..)).or(Some(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pools 0 "ms" at /ms and /ms/long, 1 "openai" at /openai, 2 "az" at /az; the default is `default`.
    fn find(path: &str, default: Option<usize>) -> Result<(usize, String), u16> {
        let table = PathTable {
            names: vec![("ms".into(), 0), ("openai".into(), 1), ("az".into(), 2)],
            prefixes: vec![("/ms/long".into(), 0), ("/openai".into(), 1), ("/ms".into(), 0), ("/az".into(), 2)],
            default,
        };
        table.find(path).map(|route| (route.pool, route.rest(path).to_owned())).map_err(|answer| answer.status())
    }

    #[test]
    fn the_first_match_of_the_contract_wins() {
        for (path, pool, rest) in [
            ("/openai/ms/v1/chat/completions", 0, "/chat/completions"),
            ("/hf/az/v1/models", 2, "/models"),
            ("/ms/v1/chat/completions", 0, "/chat/completions"),
            ("/ms/chat/completions", 0, "/chat/completions"),
            ("/ms/v1beta/models/gemini:generateContent", 0, "/models/gemini:generateContent"),
            ("/ms/long/v1/models", 0, "/models"),
            ("/openai/v1/models", 1, "/models"),
            ("/hf/v1/models", 0, "/models"),
            ("/v1/chat/completions", 0, "/chat/completions"),
            ("/chat/completions", 0, "/chat/completions"),
            ("/embeddings", 0, "/embeddings"),
            ("/az/openai/deployments/gpt/chat/completions", 2, "/openai/deployments/gpt/chat/completions"),
        ] {
            assert_eq!(find(path, Some(0)), Ok((pool, rest.to_owned())), "{path}");
        }
    }

    #[test]
    fn what_nobody_owns_is_unknown() {
        for path in ["/", "/nope/v1/chat/completions", "/msx/v1/models", "/favicon.ico", "/v1beta/models"] {
            assert_eq!(find(path, Some(0)), Err(404), "{path}");
        }
        assert_eq!(find("/v1/models", None), Err(404));
        assert_eq!(find("/hf/v1/models", None), Err(404));
    }

    #[test]
    fn dot_segments_are_refused() {
        for path in [
            "/ms/v1/chat/../files",
            "/ms/%2e%2E/x",
            "/ms/.%2e/x",
            "/ms/./x",
            "/ms/v1/models/..%2Ffiles",
            "/ms/x%5c..%5cy",
        ] {
            assert_eq!(find(path, Some(0)), Err(400), "{path}");
        }
        assert!(find("/ms/v1/models/qwen2.5..1", Some(0)).is_ok());
    }

    #[test]
    fn only_listed_routes_are_served() {
        let admits = |filter: &RouteFilter, rest: &str| {
            filter.admits(&Route { pool: 0, rest_at: 0, is_rooted: rest.starts_with("/openai/") }, rest)
        };
        let inference = RouteFilter::Inference;
        for rest in
            ["/chat/completions", "/models", "/models/x", "/openai/deployments/gpt/embeddings", "/openai/v1/responses"]
        {
            assert!(admits(&inference, rest), "{rest}");
        }
        for rest in ["/files", "/fine_tuning/jobs", "", "//files", "/openai/deployments/gpt", "/openai/files"] {
            assert!(!admits(&inference, rest), "{rest}");
        }
        let globs = RouteFilter::new(&Routes::Globs(vec!["chat/*".into(), "/files".into()]));
        assert!(admits(&globs, "/chat/completions") && admits(&globs, "/files"));
        assert!(!admits(&globs, "/models"));
        assert!(admits(&RouteFilter::new(&Routes::Globs(vec!["*".into()])), "/organization/usage/x"));
    }
}

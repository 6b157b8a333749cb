//! What keyweir knows of each provider before the first request: where it lives and how it wants its key.
//!
//! Sources: each provider's API reference; the base URLs are what its own OpenAI-compatible clients are told to use.

use http::HeaderName;

/// One provider's pack.
#[derive(Debug, PartialEq, Eq)]
pub struct Pack {
    /// What `provider:` names.
    pub name: &'static str,
    /// Base URL used where the pool names no target; `None` = the pool must name one.
    pub base_url: Option<&'static str>,
    /// Where the key goes.
    pub auth: Auth,
    /// Headers every request to this provider carries.
    pub headers: &'static [(&'static str, &'static str)],
}

/// The header a key travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY`
    Bearer,
    /// The bare key in a header of its own.
    Header(&'static str),
}

impl Auth {
    /// The header's name.
    pub fn header(self) -> HeaderName {
        match self {
            Auth::Bearer => http::header::AUTHORIZATION,
            Auth::Header(name) => HeaderName::from_static(name),
        }
    }

    /// The header's text for one key.
    pub fn value(self, key: &str) -> String {
        match self {
            Auth::Bearer => format!("Bearer {key}"),
            Auth::Header(_) => key.to_owned(),
        }
    }
}

const fn bearer(name: &'static str, base_url: &'static str) -> Pack {
    Pack { name, base_url: Some(base_url), auth: Auth::Bearer, headers: &[] }
}

/// All packs; `generic` is the plain OpenAI-compatible one.
pub static PACKS: &[Pack] = &[
    Pack { name: "generic", base_url: None, auth: Auth::Bearer, headers: &[] },
    Pack { name: "vllm", base_url: None, auth: Auth::Bearer, headers: &[] },
    Pack { name: "azure", base_url: None, auth: Auth::Header("api-key"), headers: &[] },
    Pack {
        name: "anthropic",
        base_url: Some("https://api.anthropic.com/v1"),
        auth: Auth::Header("x-api-key"),
        headers: &[("anthropic-version", "2023-06-01")],
    },
    bearer("openai", "https://api.openai.com/v1"),
    bearer("gemini", "https://generativelanguage.googleapis.com/v1beta/openai"),
    bearer("siliconflow", "https://api.siliconflow.cn/v1"),
    bearer("modelscope", "https://api-inference.modelscope.cn/v1"),
    bearer("deepseek", "https://api.deepseek.com/v1"),
    bearer("moonshot", "https://api.moonshot.cn/v1"),
    bearer("zhipu", "https://open.bigmodel.cn/api/paas/v4"),
    bearer("dashscope", "https://dashscope.aliyuncs.com/compatible-mode/v1"),
    bearer("volcengine", "https://ark.cn-beijing.volces.com/api/v3"),
    bearer("groq", "https://api.groq.com/openai/v1"),
    bearer("together", "https://api.together.xyz/v1"),
    bearer("fireworks", "https://api.fireworks.ai/inference/v1"),
    bearer("mistral", "https://api.mistral.ai/v1"),
    bearer("openrouter", "https://openrouter.ai/api/v1"),
    bearer("xai", "https://api.x.ai/v1"),
    bearer("cerebras", "https://api.cerebras.ai/v1"),
    bearer("huggingface", "https://router.huggingface.co/v1"),
    bearer("nvidia", "https://integrate.api.nvidia.com/v1"),
];

/// The pack of that name.
pub fn find(name: &str) -> Option<&'static Pack> {
    PACKS.iter().find(|pack| pack.name == name)
}

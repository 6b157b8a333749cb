//! SiliconFlow API Load Balancer: `.env`, and `keys.txt` beside it.

use super::{Folder, Settings, Takeover};
use crate::config::formats::{Format, provider_of};

const POOL: &str = "siliconflow";

pub(super) fn convert(mut settings: Settings, text: &str, mut folder: Folder) -> anyhow::Result<Takeover> {
    let file = folder.text("keys.txt")?;
    let mut to = Takeover::new("SiliconFlow API Load Balancer", &folder);
    to.listen("PORT", "0.0.0.0", settings.take("PORT").and_then(|port| port.parse().ok()).unwrap_or(3000));
    let client = settings.take("LB_API_KEY").unwrap_or_default();
    let admin = settings.take("LB_ADMIN_KEY").unwrap_or_default();
    to.tokens(&[("LB_API_KEY".into(), client)], Some(("LB_ADMIN_KEY", &admin)))?;
    let url = settings.take("SILICONFLOW_BASE_URL");
    let provider = url.as_deref().map_or(Some("siliconflow"), provider_of).unwrap_or("generic");
    to.draft.set(&["pools", POOL, "provider"], provider.into());
    if let Some(url) = url {
        to.set("SILICONFLOW_BASE_URL", &["pools", POOL, "targets"], vec![url]);
    }
    to.draft.set(&["server", "proxy", "status_endpoints"], true.into());
    // The file came first, and the variables only without one.
    match file {
        Some(file) => to.take_keys("keys.txt", "keys.txt", &file, Format::Text, POOL),
        None => to.take_keys("SILICONFLOW_API_KEY_…", ".env", text, Format::Env, POOL),
    }
    settings.values.retain(|name, _| !name.starts_with("SILICONFLOW_API_KEY"));
    settings.rest().for_each(|name| to.lose(name, "not a setting of SiliconFlow API Load Balancer"));
    to.change("the admin key is no client token: requests to the API need the other one");
    to.change("a key is never deleted from your file; one without balance rests, and is told apart from a limited one");
    to.change("429 rests a key for as long as the provider says, and 60 s where it says nothing");
    Ok(to)
}

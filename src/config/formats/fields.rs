//! What the fields of a key are called, here and by other programs.

use std::sync::Arc;

use super::{Details, Entry, State};
use crate::config::secret::Secret;
use crate::verdict::pack::PACKS;

/// What a field says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Key,
    /// A list of keys.
    Keys,
    Name,
    Account,
    Weight,
    Priority,
    Disabled,
    Enabled,
    State,
    Pool,
    /// Where a provider is mounted: its pool's name.
    Path,
    Provider,
    BaseUrl,
    Limits,
    Models,
    Egress,
    Headers,
}

/// The field of that name, whatever its style (`apiKey`, `api_key`, `API-KEY`).
pub(super) fn field(name: &str) -> Option<Field> {
    // No field's name is long, and a key in a name's place need not be looked at.
    if name.len() > 24 {
        return None;
    }
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    Some(match plain.as_str() {
        "key" | "apikey" | "keyvalue" | "value" | "token" | "secret" | "secretkey" => Field::Key,
        "keys" | "apikeys" | "data" | "items" => Field::Keys,
        "name" | "label" | "alias" | "note" | "notes" | "remark" => Field::Name,
        "account" | "accountid" | "owner" => Field::Account,
        "weight" => Field::Weight,
        "priority" => Field::Priority,
        "disabled" => Field::Disabled,
        "enabled" | "isactive" | "active" | "isenabled" => Field::Enabled,
        "status" | "state" => Field::State,
        "pool" => Field::Pool,
        "path" => Field::Path,
        "provider" | "type" | "channel" | "group" | "groupname" => Field::Provider,
        "baseurl" | "targeturl" | "url" => Field::BaseUrl,
        "limits" => Field::Limits,
        "models" => Field::Models,
        "egress" | "proxy" | "proxyurl" => Field::Egress,
        "headers" | "customheaders" => Field::Headers,
        _ => return None,
    })
}

/// The state another program's word stands for; one-api and its like write numbers.
pub(super) fn state(word: &str) -> Option<State> {
    Some(match word.to_ascii_lowercase().as_str() {
        "active" | "valid" | "enabled" | "ok" | "ready" | "normal" | "healthy" | "1" => State::Active,
        "limited" | "cooling" | "cooldown" | "rate_limited" => State::Limited,
        "disabled" | "inactive" | "off" | "paused" | "2" => State::Disabled,
        "invalid" | "dead" | "error" | "revoked" | "expired" | "unhealthy" | "3" => State::Invalid,
        _ => return None,
    })
}

/// The provider whose API lives at this URL.
pub fn provider_of(url: &str) -> Option<&'static str> {
    let host = host(url)?;
    let lives_there = |base: &String| self::host(base).is_some_and(|known| known.eq_ignore_ascii_case(host));
    if host.ends_with(".openai.azure.com") {
        return Some("azure");
    }
    PACKS.iter().find(|pack| pack.base_urls.iter().any(lives_there)).map(|pack| pack.name.as_str())
}

fn host(url: &str) -> Option<&str> {
    let rest = url.trim().split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.split(':').next().filter(|host| !host.is_empty())
}

/// What holds for all keys below a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Hints {
    pub(super) pool: Option<Arc<str>>,
    pub(super) provider: Option<Arc<str>>,
    pub(super) base_url: Option<Arc<str>>,
    pub(super) disabled: bool,
}

impl Hints {
    /// An entry for a key below this place.
    pub(super) fn entry(&self, line: usize, key: &str) -> Entry {
        Entry {
            pool: self.pool.clone(),
            provider: self.provider.clone(),
            base_url: self.base_url.clone(),
            disabled: self.disabled,
            ..Entry::new(line, Secret::new(key.to_owned()))
        }
    }

    /// Notes a base URL, and the provider that lives there.
    pub(super) fn set_base_url(&mut self, url: &str) {
        self.provider = self.provider.take().or_else(|| provider_of(url).map(Arc::from));
        self.base_url = Some(url.into());
    }
}

impl Entry {
    /// Fills in a field written as plain text.
    pub(super) fn set(&mut self, field: Field, text: &str) -> Result<(), &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(());
        }
        match field {
            Field::Name => self.name = Some(text.to_owned()),
            Field::Account => self.account = Some(text.to_owned()),
            Field::Weight => {
                self.weight = whole(text).filter(|weight| *weight > 0).ok_or("weight is not a whole number from 1")?;
            }
            Field::Priority => self.priority = whole(text).ok_or("priority is not a whole number from 0")?,
            Field::Disabled => self.disabled |= flag(text).ok_or("disabled is neither true nor false")?,
            Field::Enabled => self.disabled |= !flag(text).ok_or("enabled is neither true nor false")?,
            Field::State => self.state = state(text),
            Field::Pool => self.pool = Some(text.into()),
            Field::Provider => self.provider = Some(text.to_ascii_lowercase().into()),
            Field::BaseUrl => self.base_url = Some(text.into()),
            Field::Egress => self.details_mut().egress = Some(Secret::new(text.to_owned())),
            Field::Models => self.details_mut().models = text.split_whitespace().map(str::to_owned).collect(),
            Field::Key | Field::Keys | Field::Path | Field::Limits | Field::Headers => {}
        }
        Ok(())
    }

    pub(super) fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }
}

fn whole(text: &str) -> Option<u32> {
    text.parse().ok()
}

/// A truth value as the various formats write it.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_known_in_every_style() {
        for name in ["api_key", "apiKey", "API-KEY", "key_value", "value"] {
            assert_eq!(field(name), Some(Field::Key), "{name}");
        }
        assert_eq!(field("server_port"), None);
    }

    #[test]
    fn providers_are_known_by_their_host() {
        assert_eq!(provider_of("https://api-inference.modelscope.cn"), Some("modelscope"));
        assert_eq!(provider_of("https://API.siliconflow.cn:443/v1"), Some("siliconflow"));
        assert_eq!(provider_of("https://mine.openai.azure.com/openai"), Some("azure"));
        for url in ["https://proxy.example.com/api.openai.com", "api.openai.com", "", "https://", "https://x@/"] {
            assert_eq!(provider_of(url), None, "{url}");
        }
    }
}

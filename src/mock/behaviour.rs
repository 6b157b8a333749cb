//! A key's prefix and the behaviour it stands for.
//!
//! `sk-<class>-…`: the class is the word after `sk-`; `flaky` and `rpm` carry a number after it (`sk-rpm-3-alice`).

/// What a key makes the mock do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// `sk-ok-*`
    Ok,
    /// `sk-429-*`: rate limited, `Retry-After: 30`
    RateLimited,
    /// `sk-quota-*`: 429 `insufficient_quota`, no `Retry-After`
    OutOfQuota,
    /// `sk-401-*`
    Revoked,
    /// `sk-403-*`
    Forbidden,
    /// `sk-500-*`
    ServerError,
    /// `sk-slow-*`: first byte after 5 s
    Slow,
    /// `sk-hang-*`: no byte ever
    Hang,
    /// `sk-stall-*`: a stream's head and role delta, then silence; JSON: half the body, then silence
    Stall,
    /// `sk-cut-*`: closed in the middle of the answer
    Cut,
    /// `sk-err200-*`: status 200 with an error in the first event, or as the JSON
    ErrorIn200,
    /// `sk-empty-*`: status 200 and no content
    Empty,
    /// `sk-flaky-N-*`: a 500 for each of the first N requests
    Flaky(u64),
    /// `sk-rpm-N-*`: N requests in any 60 s
    PerMinute(usize),
    /// `sk-garbage-*`: bytes that are not HTTP
    Garbage,
    /// `sk-halfhead-*`: half an answer's head, then closed
    HalfHead,
    /// `sk-endless-*`: a 500 whose body never ends
    Endless,
    /// `sk-101-*`: an upgrade nobody asked for
    UnaskedUpgrade,
    /// `sk-early401-*`: a 401 before the body, which is never read
    Early401,
    /// `sk-close-*`: closed as soon as the request is read
    Close,
    /// `sk-nolen-*`: a 200 delimited by the end of the connection
    NoLength,
    /// `sk-stale-*`: keep-alive promised, then closed on the connection's next request
    Stale,
    /// Any other key
    Unknown,
    /// No key at all
    Missing,
}

/// Every class that is a bare word.
const CLASSES: &[(&str, Behaviour)] = &[
    ("ok", Behaviour::Ok),
    ("429", Behaviour::RateLimited),
    ("quota", Behaviour::OutOfQuota),
    ("401", Behaviour::Revoked),
    ("403", Behaviour::Forbidden),
    ("500", Behaviour::ServerError),
    ("slow", Behaviour::Slow),
    ("hang", Behaviour::Hang),
    ("stall", Behaviour::Stall),
    ("cut", Behaviour::Cut),
    ("err200", Behaviour::ErrorIn200),
    ("empty", Behaviour::Empty),
    ("garbage", Behaviour::Garbage),
    ("halfhead", Behaviour::HalfHead),
    ("endless", Behaviour::Endless),
    ("101", Behaviour::UnaskedUpgrade),
    ("early401", Behaviour::Early401),
    ("close", Behaviour::Close),
    ("nolen", Behaviour::NoLength),
    ("stale", Behaviour::Stale),
];

impl Behaviour {
    /// The behaviour of a key.
    pub(super) fn of(key: Option<&str>) -> Behaviour {
        match key {
            None | Some("") => Behaviour::Missing,
            Some(key) => Behaviour::scripted(key).unwrap_or(Behaviour::Unknown),
        }
    }

    fn scripted(key: &str) -> Option<Behaviour> {
        let (class, rest) = key.strip_prefix("sk-")?.split_once('-')?;
        let number = || rest.split('-').next().unwrap_or(rest).parse::<u32>().ok();
        match class {
            "flaky" => Some(Behaviour::Flaky(number()?.into())),
            "rpm" => Some(Behaviour::PerMinute(usize::try_from(number()?).ok()?)),
            _ => CLASSES.iter().find(|(name, _)| *name == class).map(|&(_, behaviour)| behaviour),
        }
    }

    /// The class's name, as the statistics show it.
    pub(super) fn class(self) -> &'static str {
        match self {
            Behaviour::Flaky(_) => "flaky",
            Behaviour::PerMinute(_) => "rpm",
            Behaviour::Unknown => "unknown",
            Behaviour::Missing => "missing",
            _ => CLASSES.iter().find(|(_, behaviour)| *behaviour == self).map_or("unknown", |&(name, _)| name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_names_the_behaviour() {
        assert_eq!(Behaviour::of(Some("sk-ok-1")), Behaviour::Ok);
        assert_eq!(Behaviour::of(Some("sk-early401-a-b")), Behaviour::Early401);
        assert_eq!(Behaviour::of(Some("sk-flaky-3-x")), Behaviour::Flaky(3));
        assert_eq!(Behaviour::of(Some("sk-rpm-10-x-2")), Behaviour::PerMinute(10));
        assert_eq!(Behaviour::of(Some("sk-rpm-10")), Behaviour::PerMinute(10));
    }

    #[test]
    fn anything_else_is_no_key_of_ours() {
        for key in ["sk-okay-1", "sk-ok", "ok-1", "sk-rpm-x-1", "sk-flaky--1", "Bearer sk-ok-1"] {
            assert_eq!(Behaviour::of(Some(key)), Behaviour::Unknown, "{key}");
        }
        assert_eq!(Behaviour::of(None), Behaviour::Missing);
        assert_eq!(Behaviour::of(Some("")), Behaviour::Missing);
    }

    #[test]
    fn every_class_is_shown_under_the_word_that_chose_it() {
        for (name, behaviour) in CLASSES {
            assert_eq!(behaviour.class(), *name);
        }
    }
}

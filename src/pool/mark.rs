//! What the pool is told about a key, and what it tells of what became of it.

use std::time::Duration;

/// Why a key is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The provider limits its rate.
    RateLimited = 1,
    /// The provider does not know it (any more).
    Unauthorized,
    /// The provider refuses it something.
    Forbidden,
    /// Its account has nothing left.
    Exhausted,
    /// It failed where others did not.
    Failing,
    /// The operator switched it off.
    Operator,
    /// The proxy it leaves by is out of use.
    Egress,
    /// It has less left than it shall have.
    Balance,
    /// It gave what it may within a minute, a day or at once.
    Limit,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::RateLimited,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Exhausted,
        Self::Failing,
        Self::Operator,
        Self::Egress,
        Self::Balance,
        Self::Limit,
    ];

    /// As shown in metrics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Exhausted => "exhausted",
            Self::Failing => "failing",
            Self::Operator => "operator",
            Self::Egress => "egress",
            Self::Balance => "balance",
            Self::Limit => "limit",
        }
    }

    pub(super) fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == value)
    }
}

/// What a certain verdict does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A rest: as long as stated, else by the pool's rules.
    Cool {
        /// Why.
        reason: Reason,
        /// What the provider stated.
        stated: Option<Duration>,
    },
    /// A rest whose end nobody stated: a guess, doubled for each rest in a row.
    Escalate {
        /// Why.
        reason: Reason,
        /// The first rest.
        first: Duration,
        /// The longest.
        most: Duration,
        /// The so-many-th in a row, with no success in between, disables instead.
        disable_on: Option<u32>,
    },
    /// Switched off until someone or something brings it back.
    Disable(Reason),
}

impl Mark {
    /// Why.
    pub fn reason(self) -> Reason {
        match self {
            Self::Cool { reason, .. } | Self::Escalate { reason, .. } | Self::Disable(reason) => reason,
        }
    }

    /// The rest it states or begins with, if any.
    pub fn rest(self) -> Option<Duration> {
        match self {
            Self::Cool { stated, .. } => stated,
            Self::Escalate { first, .. } => Some(first),
            Self::Disable(_) => None,
        }
    }
}

/// What a mark is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The key.
    Key,
    /// The key, for this model only.
    Model,
    /// All keys of the key's account.
    Account,
    /// All keys of the key's account, for this model only.
    AccountModel,
    /// All keys that leave by the key's egress.
    Egress,
}

/// Where an attempt went.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The target's authority.
    pub target: &'a str,
    /// The model asked for; empty if none was.
    pub model: &'a str,
}

/// Something an operator wants to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The key was ready and rests now.
    Rested(Reason, Duration),
    /// The key was in use and is disabled now.
    Disabled(Reason),
    /// So many accounts behind the key's egress were limited, and none served, that the egress rests.
    EgressLimited(Duration),
    /// So many keys were refused within a minute that the target is to blame: they rest instead of being disabled.
    MassRefusal {
        /// Keys refused so far.
        keys: usize,
    },
}

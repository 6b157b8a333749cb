//! Why each key would or would not be handed out now.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::model::{ModelBoard, Models};
use super::quota::PLACE_WAIT;
use super::rest::{FULL, NEVER, Rest};
use super::{Key, Millis, Pool, Reason};

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Ready,
    /// Not before this much time has passed.
    Cooling(Duration, Option<Reason>),
    /// Not at all.
    Disabled(Option<Reason>),
}

/// What keeps a key from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocker {
    /// The operator switched it off.
    Operator,
    /// A mark of its own.
    Key,
    /// A mark on its account.
    Account,
    /// A mark on its egress.
    Egress,
    /// A mark of its own for the model asked about, or, without a reason, it is not for this model at all.
    Model,
}

impl Blocker {
    /// As shown in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Key => "key",
            Self::Account => "account",
            Self::Egress => "egress",
            Self::Model => "model",
        }
    }
}

/// One key's chances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// The first thing that blocks it, and why; `None` if it is ready.
    pub blocked: Option<(Blocker, Option<Reason>)>,
    /// Until nothing blocks it any more; `None` where time alone does not bring it back.
    pub ready_in: Option<Duration>,
    /// For so long others are asked first: nothing is left of a limit.
    pub deferred: Duration,
}

impl Pool {
    /// What a request for this model would find, key by key in the order of [`Pool::keys`]. An empty name asks about no
    /// model in particular.
    pub fn explain(&self, model: &str, now: Millis) -> Vec<Explanation> {
        let view = self.view(model, now);
        (0..).zip(&self.keys).map(|(index, key)| self.explain_key(index, key, view.board(), now)).collect()
    }

    /// The same, for each key and the model it rests for longest, if it rests for any.
    pub fn explain_worst(&self, now: Millis) -> Vec<Explanation> {
        let models = self.models.load();
        let explain = |(index, key)| self.explain_key(index, key, worst(&models, index, now), now);
        (0..).zip(&self.keys).map(explain).collect()
    }

    /// Whether a key may be used, its account and egress included.
    pub fn standing(&self, index: u32, now: Millis) -> Standing {
        self.standing_for(index, None, now)
    }

    /// The same for the model it rests for longest, if it rests for any: what operators are shown.
    pub fn worst_standing(&self, index: u32, now: Millis) -> Standing {
        self.standing_for(index, worst(&self.models.load(), index, now), now)
    }

    fn standing_for(&self, index: u32, model: Option<&ModelBoard>, now: Millis) -> Standing {
        let Some(key) = self.key(index) else { return Standing::Disabled(None) };
        let explanation = self.explain_key(index, key, model, now);
        let reason = explanation.blocked.and_then(|(_, reason)| reason);
        match (explanation.blocked, explanation.ready_in) {
            (None, _) => Standing::Ready,
            (Some(_), Some(left)) => Standing::Cooling(left, reason),
            (Some(_), None) => Standing::Disabled(reason),
        }
    }

    fn explain_key(&self, index: u32, key: &Key, model: Option<&ModelBoard>, now: Millis) -> Explanation {
        let group = |place| self.group(place).map(|group| &*group.rest);
        let rests = [
            (Blocker::Key, Some(&key.state.own)),
            (Blocker::Key, Some(&key.state.suspicion)),
            (Blocker::Key, Some(&key.state.balance)),
            (Blocker::Account, group(key.account)),
            (Blocker::Egress, group(key.egress)),
            (Blocker::Model, model.and_then(|model| model.mark(index))),
        ];
        let mark = |(blocker, rest): (Blocker, Option<&Rest>)| {
            rest.filter(|rest| !rest.is_over(now)).map(|rest| (blocker, rest.reason()))
        };
        let is_limited = key.state.limit.load(Relaxed) > now.0;
        let blocked = if key.is_switched_off() {
            Some((Blocker::Operator, Some(Reason::Operator)))
        } else if model.is_some_and(|model| model.is_closed(index)) {
            Some((Blocker::Model, None))
        } else {
            rests.into_iter().find_map(mark).or(is_limited.then_some((Blocker::Key, Some(Reason::Limit))))
        };
        let until = self.deadlines(index, model);
        Explanation {
            blocked,
            ready_in: match until.blocked {
                NEVER => None,
                FULL => Some(PLACE_WAIT),
                until => Some(now.until(Millis(until))),
            },
            deferred: now.until(Millis(until.deferred)),
        }
    }
}

/// The model for which a key rests longest, if it rests for any.
fn worst(models: &Models, index: u32, now: Millis) -> Option<&ModelBoard> {
    models
        .iter()
        .map(|board| &**board)
        .filter(|board| board.until(index) > now.0)
        .max_by_key(|board| board.until(index))
}

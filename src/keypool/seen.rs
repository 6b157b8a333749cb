//! What a pool's keys are doing, one by one and without a copy of anything: cheap enough to look at often.

use std::time::Duration;

use super::Entry;
use crate::pool::{Key, Millis, Reason, Standing};
use crate::telemetry::State;

/// What a key is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// What.
    pub state: State,
    /// Why it is not ready.
    pub reason: Option<&'static str>,
    /// Until it is ready again; `None` where time alone does not bring it back.
    pub back_in: Option<Duration>,
}

impl Seen {
    /// Whether something happened to the key between the two, beside time going by.
    pub fn is_other(&self, other: Self) -> bool {
        (self.state, self.reason) != (other.state, other.reason)
    }
}

impl From<Standing> for Seen {
    fn from(standing: Standing) -> Self {
        let (state, reason, back_in) = match standing {
            Standing::Ready => (State::Ready, None, None),
            Standing::Cooling(left, reason) => (State::Cooling, reason, Some(left)),
            Standing::Disabled(reason) => (State::Disabled, reason, None),
        };
        Self { state, reason: reason.map(Reason::as_str), back_in }
    }
}

impl Entry {
    /// Every key and what it is doing, as operators are shown it.
    pub fn seen(&self, now: Millis) -> impl Iterator<Item = (&Key, Seen)> {
        (0..).zip(self.pool.keys()).map(move |(index, key)| (key, self.pool.worst_standing(index, now).into()))
    }
}

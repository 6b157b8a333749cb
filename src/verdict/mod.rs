//! What a provider's answer means, for the key that was used and for the request.
//!
//! An answer is read (`normalise`), the first rule that matches (`layer`) gives a [`Verdict`] (`engine`), and what that
//! comes to for keys and retries is a [`Blame`]. Rules are data: packs, one per provider, and the pools' own (docs/verdicts.md).
//! All of it runs on failures only, but a glance at the limits a success tells of.

pub mod balance;
mod blame;
pub mod case;
mod decode;
mod engine;
mod event;
mod fields;
mod layer;
mod matcher;
mod memory;
mod normalise;
pub mod pack;
mod redact;
mod reset;
mod rule;
mod salvage;

pub(crate) use decode::json;
pub(crate) use event::has_content;

pub use blame::{Blame, Fault, Habits};
pub use engine::{Engine, Judgement, Verdict};
pub use memory::{Failure, Memory, Scene};
pub use normalise::{Answer, Found, Normalised};
pub use reset::Rest;
pub use rule::{Action, Flaw, Retry, RuleText, Scope};

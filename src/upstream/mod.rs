//! The way to the providers: targets, dialling, connections kept alive, and one exchange over such a connection.
//!
//! keyweir gives Pingora a connector of its own (docs/adr/0001): the `ProxyHttp` phases stay, yet the exchange with the
//! upstream is ours. That is what lets a body of any size be replayed, an error's text be read before deciding to retry,
//! a connection outlive a 429, and a stream be held until its first event.

mod ask;
pub mod attempt;
mod breaker;
mod call;
pub mod connector;
pub mod dial;
pub mod dns;
mod egress;
mod evidence;
mod exchange;
pub mod first_event;
mod framing;
mod idle;
mod interject;
mod outbox;
pub mod payload;
mod race;
mod session;
mod tail;
pub mod target;
pub mod targets;

pub use ask::{Inquiry, Reply, blame};
pub use attempt::{Attempt, Evidence};
pub use call::Call;
pub use connector::{Connector, Sweeper};
pub use payload::Payload;
pub use target::Target;
pub use targets::{Targets, Wanted};

//! Events for those who watch: what becomes of keys, reloads, counters.
//!
//! Whoever has something to tell calls [`publish`]; without a listener that is one load of an atomic. Events wait in a
//! ring that all listeners read: one that is too slow loses the oldest and is told how many.

use std::sync::Arc;

use once_cell::sync::Lazy;
use serde_json::Value;
use tokio::sync::broadcast::{Receiver, Sender};

/// Events that a slow listener may fall behind.
const BEHIND: usize = 1024;

static EVENTS: Lazy<Sender<Event>> = Lazy::new(|| Sender::new(BEHIND));

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// What kind of thing.
    pub name: &'static str,
    /// The rest, as JSON.
    pub data: Arc<str>,
}

/// Somebody listens.
pub fn is_heard() -> bool {
    EVENTS.receiver_count() > 0
}

/// How many listen.
pub fn listeners() -> usize {
    EVENTS.receiver_count()
}

/// Tells those who listen; `data` is made only if somebody does.
pub fn publish(name: &'static str, data: impl FnOnce() -> Value) {
    if is_heard() {
        // The last listener may have left meanwhile.
        let _heard = EVENTS.send(Event { name, data: data().to_string().into() });
    }
}

/// Listens from now on.
pub fn listen() -> Receiver<Event> {
    EVENTS.subscribe()
}

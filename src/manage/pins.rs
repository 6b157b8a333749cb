//! Which key made what, between the pools, which know moments of their own clock, and the store, which knows wall time.

use std::collections::HashMap;
use std::sync::Arc;

use super::Manager;
use super::marks::{moment, wall};
use crate::keypool::{Entry, Pin, ResourceId, Span, now};
use crate::pool::Millis;
use crate::store::StoredPin;

fn to_store(pool: &str, pin: Pin, now: Millis) -> StoredPin {
    StoredPin {
        pool: pool.into(),
        resource: *pin.resource.as_bytes(),
        is_lasting: pin.span == Span::Lasting,
        key: pin.key,
        target: (*pin.target).into(),
        until: wall(pin.until, now),
    }
}

fn to_pool(stored: StoredPin, now: Millis) -> Pin {
    Pin {
        resource: ResourceId::from_bytes(stored.resource),
        span: if stored.is_lasting { Span::Lasting } else { Span::Passing },
        key: stored.key,
        target: stored.target.into(),
        until: moment(stored.until, now),
    }
}

impl Manager {
    /// Hands what keys made to the journal.
    pub(super) fn journal_pins(&self, entries: &[Arc<Entry>]) {
        let (journal, now) = (self.store.journal(), now());
        for entry in entries.iter().filter(|entry| !entry.pins.is_empty()) {
            entry.pins.take_new().into_iter().for_each(|pin| journal.pin(to_store(&entry.config.name, pin, now)));
        }
    }

    /// Gives the pools the pins the store has kept.
    pub(super) fn restore_pins(&self) {
        let entries = self.live.keypool.entries();
        // What is given back counts as kept already, and so must all that was there before.
        self.journal_pins(&entries);
        let stored = match Self::wait(self.store.pins()) {
            Ok(stored) => stored,
            Err(error) => return log::warn!(error:%; "Which key made what can't be read; any key is asked."),
        };
        let mut by_pool: HashMap<String, Vec<StoredPin>> = HashMap::new();
        for pin in stored {
            by_pool.entry(pin.pool.clone()).or_default().push(pin);
        }
        let now = now();
        for entry in entries.iter() {
            let pins = by_pool.remove(&entry.config.name).unwrap_or_default();
            entry.pins.restore(pins.into_iter().map(|pin| to_pool(pin, now)), now);
        }
    }
}

//! Which key made what: files, batches, stored responses, tasks. Nobody else may ask for them.
//!
//! Ids are kept as digests, for whoever knows one may have the thing. The number is bounded: beyond it the oldest of its
//! kind are forgotten, and then any key is asked, as if the thing had been made elsewhere. Things that last have room of
//! their own, so that passing ones can't push them out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::config::KeyId;
use crate::pool::Millis;

/// Things of one kind that are remembered per pool.
const ROOM: usize = 50_000;
/// How long one is remembered.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a thing is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceId([u8; 16]);

impl ResourceId {
    /// The digest of the provider's id.
    pub fn of(id: &str) -> Self {
        let mut digest = [0; 16];
        for (byte, hashed) in digest.iter_mut().zip(Sha256::digest(id.as_bytes())) {
            *byte = hashed;
        }
        Self(digest)
    }

    /// A digest that was kept.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The digest as bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// How long a thing is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Responses and tasks: there are many, and they are soon forgotten.
    Passing,
    /// Files, batches, assistants: until somebody deletes them.
    Lasting,
}

/// One thing and who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The thing.
    pub resource: ResourceId,
    /// How long it is of use.
    pub span: Span,
    /// The key that made it.
    pub key: KeyId,
    /// The target it was made at, by its authority.
    pub target: Arc<str>,
    /// When it is forgotten.
    pub until: Millis,
}

/// What the keys of one pool made. Outlives reloads.
#[derive(Default)]
pub struct Pins {
    is_used: AtomicBool,
    shelves: Mutex<[Shelf; 2]>,
}

/// Things of one kind, the oldest first.
#[derive(Default)]
struct Shelf {
    known: HashMap<ResourceId, Pin>,
    order: VecDeque<ResourceId>,
    /// How many of them, from the front, were told already.
    told: usize,
}

impl Pins {
    /// Nothing was made so far.
    pub fn is_empty(&self) -> bool {
        !self.is_used.load(Relaxed)
    }

    /// Who made a thing, as far as is known.
    pub fn find(&self, id: &str, now: Millis) -> Option<Pin> {
        if self.is_empty() {
            return None;
        }
        let resource = ResourceId::of(id);
        let shelves = self.shelves.lock();
        let pin = shelves.iter().find_map(|shelf| shelf.known.get(&resource)).filter(|pin| pin.until > now);
        pin.cloned()
    }

    /// Remembers who made a thing.
    pub fn add(&self, id: &str, span: Span, key: KeyId, target: &Arc<str>, now: Millis) {
        let pin = Pin { resource: ResourceId::of(id), span, key, target: target.clone(), until: now.after(KEPT) };
        self.put(pin, now);
    }

    /// What was made since this was asked last: to be kept beyond the process.
    pub fn take_new(&self) -> Vec<Pin> {
        let mut shelves = self.shelves.lock();
        let take = |shelf: &mut Shelf| {
            let new = shelf.order.range(shelf.told.min(shelf.order.len())..);
            let new: Vec<Pin> = new.filter_map(|resource| shelf.known.get(resource).cloned()).collect();
            shelf.told = shelf.order.len();
            new
        };
        shelves.iter_mut().flat_map(take).collect()
    }

    /// Takes back what was kept, the oldest first.
    pub fn restore(&self, pins: impl IntoIterator<Item = Pin>, now: Millis) {
        for pin in pins {
            self.put(pin, now);
        }
        self.shelves.lock().iter_mut().for_each(|shelf| shelf.told = shelf.order.len());
    }

    fn put(&self, pin: Pin, now: Millis) {
        if pin.until <= now {
            return;
        }
        self.is_used.store(true, Relaxed);
        let [passing, lasting] = &mut *self.shelves.lock();
        match pin.span {
            Span::Passing => passing.put(pin),
            Span::Lasting => lasting.put(pin),
        }
    }
}

impl Shelf {
    fn put(&mut self, pin: Pin) {
        if let Some(known) = self.known.get_mut(&pin.resource) {
            // Seen again, in a list for example.
            if known.key == pin.key {
                return;
            }
            *known = pin;
            return;
        }
        if self.order.len() >= ROOM
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
            self.told = self.told.saturating_sub(1);
        }
        self.order.push_back(pin.resource);
        self.known.insert(pin.resource, pin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1000);

    fn key(name: &str) -> KeyId {
        KeyId::of("p", name)
    }

    fn maker(pins: &Pins, id: &str, now: Millis) -> Option<KeyId> {
        pins.find(id, now).map(|pin| pin.key)
    }

    #[test]
    fn who_made_a_thing_is_known_for_a_while() {
        let pins = Pins::default();
        assert!(pins.is_empty());
        let target: Arc<str> = "api.example".into();
        pins.add("file-1", Span::Lasting, key("a"), &target, NOW);
        pins.add("resp_1", Span::Passing, key("b"), &target, NOW);
        assert_eq!(maker(&pins, "file-1", NOW), Some(key("a")));
        assert_eq!(maker(&pins, "resp_1", NOW), Some(key("b")));
        assert_eq!(maker(&pins, "resp_2", NOW), None);
        assert_eq!(maker(&pins, "file-1", NOW.after(KEPT)), None);
    }

    #[test]
    fn the_oldest_of_a_kind_are_forgotten() {
        let pins = Pins::default();
        let target: Arc<str> = "api.example".into();
        pins.add("file-1", Span::Lasting, key("a"), &target, NOW);
        for number in 0..=ROOM {
            pins.add(&format!("resp_{number}"), Span::Passing, key("b"), &target, NOW);
        }
        assert_eq!(maker(&pins, "resp_0", NOW), None);
        assert_eq!(maker(&pins, "resp_1", NOW), Some(key("b")));
        assert_eq!(maker(&pins, "file-1", NOW), Some(key("a")));
    }

    #[test]
    fn what_is_new_is_told_once_and_can_be_taken_back() {
        let pins = Pins::default();
        let target: Arc<str> = "api.example".into();
        pins.add("file-1", Span::Lasting, key("a"), &target, NOW);
        pins.add("file-1", Span::Lasting, key("a"), &target, NOW.after(Duration::from_secs(1)));
        pins.add("resp_1", Span::Passing, key("b"), &target, NOW);
        let kept = pins.take_new();
        assert_eq!(kept.len(), 2);
        assert_eq!(pins.take_new(), []);
        pins.add("file-2", Span::Lasting, key("a"), &target, NOW);
        assert_eq!(pins.take_new().len(), 1);

        let next = Pins::default();
        next.restore(kept, NOW);
        assert_eq!(maker(&next, "file-1", NOW), Some(key("a")));
        assert_eq!(maker(&next, "resp_1", NOW), Some(key("b")));
        assert_eq!(next.take_new(), [], "they are kept already");
    }
}

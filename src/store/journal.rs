//! The journal: what the data path learns, taken without waiting and written behind.
//!
//! Marks of the same key and subject are kept as the newest only, and counts are added up, so both stay bounded by what
//! there is rather than by how long the database is away. Request rows are a bounded queue; beyond it they are dropped
//! and counted. What a failed write took comes back, unless something newer is there.

mod batch;
mod writer;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::counters::{KeyUse, TokenUse, Use};
use super::health::Pending;
use super::marks::{Mark, MarkRow, StoredMark, Subject};
use super::pins::{PinId, StoredPin};
use super::requests::{Request, RequestRow};
use super::text::{HOUR, RowIds, fits};
use crate::config::KeyId;

pub(super) use writer::run;

/// Most marks held.
const MARKS: usize = 2_000_000;
/// Most pins held.
const PINS: usize = 100_000;
/// Most sums held.
const COUNTERS: usize = 1_000_000;
/// Most request rows held.
const REQUESTS: usize = 20_000;
/// Most bytes of them.
const REQUEST_BYTES: usize = 64 << 20;

/// Takes what is to be kept. Cheap to clone; no method waits for the database.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    marks: Mutex<HashMap<(KeyId, Subject), Option<Mark>>>,
    pins: Mutex<HashMap<PinId, StoredPin>>,
    counts: Mutex<Counts>,
    requests: Mutex<Requests>,
    /// What is on its way to the database. Locked before the others, by whoever takes it or puts it back.
    leaving: Mutex<Pending>,
    /// Rows dropped since the start.
    dropped: AtomicU64,
    work: Notify,
    ids: Arc<RowIds>,
}

/// Sums of use.
#[derive(Default)]
struct Counts {
    /// By hour and key; few models each, so a list of them.
    keys: HashMap<(i64, KeyId), Vec<ModelUse>>,
    tokens: HashMap<i64, HashMap<Box<str>, Use>>,
    /// Sums in both.
    total: usize,
}

/// Use of a key for one model.
struct ModelUse {
    model: Box<str>,
    pool: Box<str>,
    sum: Use,
}

#[derive(Default)]
struct Requests {
    rows: VecDeque<RequestRow>,
    bytes: usize,
}

impl Journal {
    pub(super) fn new(ids: Arc<RowIds>) -> Self {
        Self(Arc::new(Inner {
            marks: Mutex::default(),
            pins: Mutex::default(),
            counts: Mutex::default(),
            requests: Mutex::default(),
            leaving: Mutex::default(),
            dropped: AtomicU64::new(0),
            work: Notify::new(),
            ids,
        }))
    }

    /// Keeps a mark, in place of an older one of that subject. A model or account whose name has more than 191 characters
    /// is not kept.
    pub fn mark(&self, key: KeyId, subject: Subject, mark: Mark) {
        self.put(key, subject, Some(mark));
    }

    /// Forgets a mark.
    pub fn unmark(&self, key: KeyId, subject: Subject) {
        self.put(key, subject, None);
    }

    fn put(&self, key: KeyId, subject: Subject, mark: Option<Mark>) {
        let mut marks = self.0.marks.lock();
        if !subject.fits() || (marks.len() >= MARKS && !marks.contains_key(&(key, subject.clone()))) {
            drop(marks);
            return self.drop_rows(1);
        }
        marks.insert((key, subject), mark);
        drop(marks);
        self.wake();
    }

    /// Keeps which key made a thing.
    pub fn pin(&self, pin: StoredPin) {
        let mut pins = self.0.pins.lock();
        if !pin.fits() || (pins.len() >= PINS && !pins.contains_key(&pin.id())) {
            drop(pins);
            return self.drop_rows(1);
        }
        pins.insert(pin.id(), pin);
        drop(pins);
        self.wake();
    }

    /// Adds to a key's use of a model in the hour of `at` (Unix milliseconds).
    pub fn count(&self, at: i64, pool: &str, key: KeyId, model: &str, sum: Use) {
        // A name that can't be kept is counted, if without it.
        let model = if fits(model) { model } else { "" };
        let mut counts = self.0.counts.lock();
        let is_full = counts.total >= COUNTERS;
        let models = counts.keys.entry((at.div_euclid(HOUR), key)).or_default();
        let known = models.iter_mut().find(|known| *known.model == *model);
        match known {
            Some(known) => known.sum += sum,
            None if is_full => {
                drop(counts);
                return self.drop_rows(1);
            }
            None => {
                models.push(ModelUse { model: model.into(), pool: pool.into(), sum });
                counts.total += 1;
            }
        }
        drop(counts);
        self.wake();
    }

    /// Adds to a client token's use in the hour of `at` (Unix milliseconds).
    pub fn count_token(&self, at: i64, token: &str, sum: Use) {
        let mut counts = self.0.counts.lock();
        let is_full = counts.total >= COUNTERS;
        let hour = counts.tokens.entry(at.div_euclid(HOUR)).or_default();
        match hour.get_mut(token) {
            Some(known) => *known += sum,
            None if is_full || !fits(token) => {
                drop(counts);
                return self.drop_rows(1);
            }
            None => {
                hour.insert(token.into(), sum);
                counts.total += 1;
            }
        }
        drop(counts);
        self.wake();
    }

    /// Keeps a request's row, or drops and counts it where there is no room.
    pub fn log(&self, request: Request) {
        let id = self.0.ids.next(request.at);
        let row = request.row(id);
        let mut requests = self.0.requests.lock();
        if requests.rows.len() >= REQUESTS || requests.bytes + row.bytes() > REQUEST_BYTES {
            drop(requests);
            return self.drop_rows(1);
        }
        requests.bytes += row.bytes();
        requests.rows.push_back(row);
        drop(requests);
        self.wake();
    }

    /// Lets the writer look.
    pub(super) fn wake(&self) {
        self.0.work.notify_one();
    }

    fn drop_rows(&self, rows: u64) {
        self.0.dropped.fetch_add(rows, Ordering::Relaxed);
    }

    /// What is held or on its way, and how many rows were dropped.
    pub(super) fn pending(&self) -> (Pending, u64) {
        let leaving = self.0.leaving.lock();
        let pending = Pending {
            marks: leaving.marks + self.0.marks.lock().len(),
            pins: leaving.pins + self.0.pins.lock().len(),
            counters: leaving.counters + self.0.counts.lock().total,
            requests: leaving.requests + self.0.requests.lock().rows.len(),
        };
        (pending, self.0.dropped.load(Ordering::Relaxed))
    }

    /// Marks of these keys that were read, as they are once those that wait are written.
    pub(super) fn over(&self, read: Vec<StoredMark>, keys: &HashSet<KeyId>) -> Vec<StoredMark> {
        let waiting = self.0.marks.lock();
        let is_old = |mark: &StoredMark| waiting.contains_key(&(mark.key, mark.subject.clone()));
        let kept = read.into_iter().filter(|mark| !is_old(mark));
        let newer = waiting.iter().filter(|((key, _), _)| keys.contains(key)).filter_map(|((key, subject), mark)| {
            Some(StoredMark { key: *key, subject: subject.clone(), mark: mark.clone()? })
        });
        kept.chain(newer).collect()
    }

    /// Takes waiting marks out, for something newer is about to be written.
    pub(super) fn hold(&self, subjects: impl Iterator<Item = (KeyId, Subject)>) -> Held {
        let mut marks = self.0.marks.lock();
        let held = subjects.filter_map(|subject| marks.remove_entry(&subject));
        Held { marks: held.map(|((key, subject), mark)| (key, subject, mark)).collect(), journal: self.clone() }
    }

    /// Puts marks back that were not written, where nothing newer came meanwhile.
    fn put_back(&self, rows: Vec<MarkRow>) {
        let mut marks = self.0.marks.lock();
        for (key, subject, mark) in rows {
            if let Entry::Vacant(free) = marks.entry((key, subject)) {
                free.insert(mark);
            }
        }
    }
}

/// Marks taken out of the journal. They return unless they are forgotten.
pub(super) struct Held {
    marks: Vec<MarkRow>,
    journal: Journal,
}

impl Held {
    /// Something newer was written.
    pub(super) fn forget(mut self) {
        self.marks.clear();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.journal.put_back(std::mem::take(&mut self.marks));
    }
}

impl Counts {
    fn add(&mut self, key: KeyUse) {
        let models = self.keys.entry((key.hour, key.key)).or_default();
        match models.iter_mut().find(|known| *known.model == *key.model) {
            Some(known) => known.sum += key.sum,
            None => {
                models.push(ModelUse { model: key.model.into(), pool: key.pool.into(), sum: key.sum });
                self.total += 1;
            }
        }
    }

    fn add_token(&mut self, token: TokenUse) {
        match self.tokens.entry(token.hour).or_default().entry(token.token.into()) {
            Entry::Occupied(mut known) => *known.get_mut() += token.sum,
            Entry::Vacant(free) => {
                free.insert(token.sum);
                self.total += 1;
            }
        }
    }
}

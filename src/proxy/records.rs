//! What finished requests leave behind for the store: sums of use, and rows of the request log.
//!
//! A request that ends adds to sums in memory, and where its row is wanted hands over what it has as it is; another
//! thread takes both from here, makes text of the rows and brings them to the store's journal. Like the access log's
//! buffers these are split into shards, so that workers do not meet on one lock; rows are bounded in number and bytes,
//! and beyond that dropped and counted.

mod row;

pub use row::{Attempt, Trail};

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Uri};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clients::{Client, Used};
use crate::config::KeyId;
use crate::config::prices::Money;
use crate::keypool::Entry;
use crate::telemetry::{AttemptResult, ModelId, Outcome, PoolMetrics, metrics};

/// Most rows held, in all shards.
const ROWS: usize = 8192;
/// Most bytes of bodies held, in all shards.
const BODY_BYTES: usize = 16 << 20;
/// Largest part of a body that is kept (bytes): what stands in for secrets may make it a little longer, and the store cuts
/// at 64 KiB.
const BODY_MAX: usize = 60 * 1024;

/// What finished requests left behind.
pub struct Records {
    shards: Box<[Shard]>,
    /// A shard is half full.
    filling: Notify,
}

/// Two cache lines each, as in the logs' buffers.
#[repr(align(128))]
#[derive(Default)]
struct Shard(Mutex<Left>);

#[derive(Default)]
struct Left {
    sums: Sums,
    rows: Vec<Finished>,
    body_bytes: usize,
}

/// Use, summed up.
#[derive(Default)]
pub struct Sums {
    /// By key and model.
    pub keys: HashMap<(KeyId, ModelId), KeySum>,
    /// By client.
    pub clients: HashMap<Box<str>, Sum>,
}

/// How much a key was used for a model.
pub struct KeySum {
    /// The key's pool, which knows the model's name.
    pub pool: Arc<PoolMetrics>,
    /// How much.
    pub sum: Sum,
}

/// How much something was used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// Requests.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Tokens of text.
    pub tokens: Used,
    /// What clients were charged.
    pub cost: Money,
    /// How long they took together.
    pub duration: Duration,
}

/// One request, for the sums.
pub(super) struct Counted<'a> {
    pub(super) pool: &'a Arc<PoolMetrics>,
    pub(super) key: KeyId,
    pub(super) model: ModelId,
    pub(super) client: Option<&'a str>,
    pub(super) sum: Sum,
}

/// A finished request, as it was when it ended.
pub struct Finished {
    /// When it ended.
    pub(super) time: SystemTime,
    pub(super) request_id: Arc<str>,
    pub(super) client_ip: Option<IpAddr>,
    pub(super) client: Option<Arc<Client>>,
    pub(super) method: Method,
    /// Its query, which may hold a token, goes no further.
    pub(super) uri: Uri,
    pub(super) pool: Option<Arc<Entry>>,
    /// Place of the key used last.
    pub(super) key: Option<u32>,
    pub(super) model: String,
    pub(super) status: u16,
    pub(super) outcome: Outcome,
    /// Our own answer's code.
    pub(super) error: Option<&'static str>,
    pub(super) attempts: u32,
    pub(super) trail: Vec<Tried>,
    pub(super) duration: Duration,
    pub(super) first_byte: Option<Duration>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) tokens: Option<Used>,
    pub(super) body: Option<Kept>,
}

/// One attempt, ended.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) key: Arc<str>,
    pub(super) target: Arc<str>,
    pub(super) result: AttemptResult,
    /// The provider's, if it answered.
    pub(super) status: Option<u16>,
    /// The rule that judged the answer.
    pub(super) rule: Option<Arc<str>>,
    pub(super) took: Duration,
}

/// The beginning of a request's body.
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    /// There was more.
    pub(super) is_cut: bool,
}

impl Default for Records {
    fn default() -> Self {
        let shards = 2 * thread::available_parallelism().map_or(1, usize::from);
        Self { shards: (0..shards).map(|_| Shard::default()).collect(), filling: Notify::new() }
    }
}

impl Records {
    /// Takes what a request leaves behind. Never waits for more than a moment.
    pub(super) fn add(&self, counted: Option<Counted<'_>>, row: Option<Finished>) {
        if counted.is_none() && row.is_none() {
            return;
        }
        let mut left = self.own_shard().0.lock();
        if let Some(counted) = counted {
            left.sums.add(&counted);
        }
        let Some(row) = row else { return };
        let body = row.body.as_ref().map_or(0, |body| body.bytes.len());
        let most = ROWS / self.shards.len();
        if left.rows.len() >= most || left.body_bytes + body > BODY_BYTES / self.shards.len() {
            drop(left);
            return metrics::log_dropped(1);
        }
        left.body_bytes += body;
        left.rows.push(row);
        if left.rows.len() == most / 2 {
            self.filling.notify_one();
        }
    }

    /// Resolves when rows should be taken soon.
    pub async fn filling(&self) {
        self.filling.notified().await;
    }

    /// Takes the rows so far, in the order in which the requests ended.
    pub fn take_rows(&self) -> Vec<Finished> {
        let mut rows = Vec::new();
        for shard in &self.shards {
            let mut left = shard.0.lock();
            left.body_bytes = 0;
            rows.append(&mut left.rows);
        }
        rows.sort_by_key(|row| row.time);
        rows
    }

    /// Takes the sums so far, shard by shard.
    pub fn take_sums(&self) -> impl Iterator<Item = Sums> {
        self.shards.iter().map(|shard| std::mem::take(&mut shard.0.lock().sums))
    }

    fn own_shard(&self) -> &Shard {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static OWN: usize = NEXT.fetch_add(1, Relaxed));
        let own = OWN.try_with(|own| *own).unwrap_or(0);
        &self.shards[own % self.shards.len()]
    }
}

impl Kept {
    /// Copied, for the pieces may be part of something larger.
    pub(super) fn beginning_of(pieces: &[Bytes]) -> Self {
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let mut bytes = Vec::with_capacity(length.min(BODY_MAX));
        for piece in pieces {
            let room = BODY_MAX - bytes.len();
            bytes.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        Self { bytes, is_cut: length > BODY_MAX }
    }
}

impl Sums {
    fn add(&mut self, counted: &Counted<'_>) {
        let new = || KeySum { pool: counted.pool.clone(), sum: Sum::default() };
        self.keys.entry((counted.key, counted.model)).or_insert_with(new).sum.add(&counted.sum);
        let Some(client) = counted.client else { return };
        match self.clients.get_mut(client) {
            Some(known) => known.add(&counted.sum),
            None => drop(self.clients.insert(client.into(), counted.sum)),
        }
    }
}

impl Sum {
    fn add(&mut self, more: &Self) {
        self.requests += more.requests;
        self.failures += more.failures;
        self.tokens.prompt += more.tokens.prompt;
        self.tokens.completion += more.tokens.completion;
        self.cost = self.cost.plus(more.cost);
        self.duration += more.duration;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(milliseconds: u64, body: usize) -> Finished {
        Finished {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds),
            request_id: "r".into(),
            client_ip: None,
            client: None,
            method: Method::GET,
            uri: Uri::from_static("/"),
            pool: None,
            key: None,
            model: String::new(),
            status: 200,
            outcome: Outcome::Ok,
            error: None,
            attempts: 0,
            trail: Vec::new(),
            duration: Duration::ZERO,
            first_byte: None,
            bytes_in: 0,
            bytes_out: 0,
            tokens: None,
            body: Some(Kept { bytes: vec![b'x'; body], is_cut: false }),
        }
    }

    #[test]
    fn rows_of_all_threads_come_in_the_order_of_time() {
        let records = Records::default();
        thread::scope(|scope| {
            for first in 0..4 {
                let records = &records;
                scope.spawn(move || (0..100).for_each(|n| records.add(None, Some(finished(4 * n + first, 0)))));
            }
        });
        let times: Vec<_> = records.take_rows().iter().map(|row| row.time).collect();
        assert!(times.len() == 400 && times.is_sorted());
        assert!(records.take_rows().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_dropped() {
        let records = Records::default();
        (0..2 * ROWS as u64).for_each(|n| records.add(None, Some(finished(n, 0))));
        let kept = records.take_rows().len();
        assert_eq!(kept, ROWS / records.shards.len());
        (0..1000).for_each(|n| records.add(None, Some(finished(n, BODY_MAX))));
        let kept = records.take_rows();
        assert!(!kept.is_empty() && kept.len() * BODY_MAX <= BODY_BYTES / records.shards.len());
        records.add(None, Some(finished(0, BODY_MAX)));
        assert_eq!(records.take_rows().len(), 1, "there is room again");
    }

    #[test]
    fn sums_add_up_by_key_model_and_client() {
        let records = Records::default();
        let pool = PoolMetrics::for_pool("sums");
        let model = pool.model("m", true);
        let sum = Sum {
            requests: 1,
            failures: 1,
            tokens: Used { prompt: 2, completion: 3 },
            cost: Money(7),
            duration: Duration::from_micros(400),
        };
        for (key, model) in [("a", model), ("a", model), ("b", model), ("a", pool.model("", true))] {
            let key = KeyId::of("sums", key);
            records.add(Some(Counted { pool: &pool, key, model, client: Some("ci"), sum }), None);
        }
        let sums: Vec<Sums> = records.take_sums().filter(|sums| !sums.keys.is_empty()).collect();
        let [sums] = &sums[..] else { panic!("one thread") };
        let of = |key, model| sums.keys[&(KeyId::of("sums", key), model)].sum;
        assert_eq!((of("a", model).requests, of("a", model).duration), (2, Duration::from_micros(800)));
        assert_eq!((of("b", model).tokens, of("a", pool.model("", true)).failures), (sum.tokens, 1));
        assert_eq!(sums.clients["ci"].requests, 4);
    }
}

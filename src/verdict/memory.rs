//! The last failures of a pool, so that a changed rule can be tried on what really came.
//!
//! Invariants: bounded in number, bytes and work per second, however many fail; nothing is kept that names a key or an
//! account, so that whoever may read failures learns no secret.

use std::collections::VecDeque;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::decode;
use super::engine::{Engine, Judgement, Verdict};
use super::normalise::Answer;
use super::redact;

/// Failures kept, and the bytes of their texts.
const FAILURES: usize = 100;
const BYTES: usize = 256 * 1024;
/// More in one second are alike, and cost time when time is short.
const PER_SECOND: u32 = 10;
/// A longer text is cut, in bytes.
const BODY: usize = 8 * 1024;
const HEADER: usize = 256;
const HEADERS: usize = 48;

/// What a failure was about.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The request's id.
    pub request_id: Arc<str>,
    /// The key's name.
    pub key: Arc<str>,
    /// The target's authority.
    pub target: Arc<str>,
    /// The status of the head, also of an error inside a 200.
    pub status: u16,
}

/// One failing answer, without anything secret.
#[derive(Debug)]
pub struct Failure {
    /// Counts up in a pool.
    pub id: u64,
    /// When it came.
    pub time: Timestamp,
    /// What it was about.
    pub scene: Scene,
    /// The model asked for; empty if none was.
    pub model: String,
    /// Its status as rules see it; `None` = an error inside a 200.
    pub status: Option<u16>,
    /// The head.
    pub headers: HeaderMap,
    /// The body, as text.
    pub body: String,
    /// The error's code, type and message.
    pub words: [String; 3],
    /// What became of it.
    pub verdict: Verdict,
    /// What the pool's rules that are only tried would have made of it.
    pub shadow: Option<Verdict>,
}

/// The last failures of one pool.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    failures: VecDeque<Arc<Failure>>,
    bytes: usize,
    next: u64,
    passed_over: u64,
    second: i64,
    in_second: u32,
}

impl Memory {
    /// Remembers a failure, unless too many came within this second. `secret` is the key's text.
    pub fn remember(&self, scene: impl FnOnce() -> Scene, answer: &Answer<'_>, judgement: &Judgement, secret: &str) {
        let time = Timestamp::now();
        let Some(id) = self.0.lock().admit(time) else { return };
        let clean = |text: &str| redact::text(text, secret);
        let fields = &judgement.answer.fields;
        let failure = Failure {
            id,
            time,
            scene: scene(),
            model: answer.model.to_owned(),
            status: answer.status,
            headers: headers(answer.headers, secret),
            body: clean(cut(&decode::text(answer.headers, answer.body), BODY)),
            words: [&fields.code, &fields.kind, &fields.message].map(|text| clean(text)),
            verdict: judgement.verdict.clone(),
            shadow: judgement.shadow.clone(),
        };
        self.0.lock().push(failure);
    }

    /// Those remembered, newest first, and how many were passed over.
    pub fn failures(&self) -> (Vec<Arc<Failure>>, u64) {
        let ring = self.0.lock();
        (ring.failures.iter().rev().cloned().collect(), ring.passed_over)
    }
}

impl Ring {
    fn admit(&mut self, now: Timestamp) -> Option<u64> {
        if std::mem::replace(&mut self.second, now.as_second()) != now.as_second() {
            self.in_second = 0;
        }
        self.in_second += 1;
        if self.in_second > PER_SECOND {
            self.passed_over += 1;
            return None;
        }
        self.next += 1;
        Some(self.next)
    }

    fn push(&mut self, failure: Failure) {
        self.bytes += failure.size();
        self.failures.push_back(Arc::new(failure));
        while self.failures.len() > FAILURES || self.bytes > BYTES {
            let Some(oldest) = self.failures.pop_front() else { break };
            self.bytes -= oldest.size();
        }
    }
}

impl Failure {
    /// What these rules make of it.
    pub fn replay(&self, engine: &Engine) -> Verdict {
        let answer =
            Answer { status: self.status, headers: &self.headers, body: self.body.as_bytes(), model: &self.model };
        engine.judge(&answer, self.time).verdict
    }

    fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        self.body.len() + self.model.len() + headers + self.words.iter().map(String::len).sum::<usize>()
    }
}

/// The head without what names an account, and without what is no longer true of the body.
fn headers(head: &HeaderMap, secret: &str) -> HeaderMap {
    let clean = |(name, value): (&HeaderName, &HeaderValue)| {
        let text = redact::text(cut(value.to_str().ok()?, HEADER), secret);
        Some((name.clone(), HeaderValue::from_str(&text).ok()?))
    };
    head.iter().filter(|(name, _)| !redact::is_secret_header(name)).filter_map(clean).take(HEADERS).collect()
}

fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::pack;

    fn remember(memory: &Memory, body: &str) {
        let headers = HeaderMap::new();
        let answer = Answer { status: Some(429), headers: &headers, body: body.as_bytes(), model: "m" };
        let judgement = Engine::of_pack(pack::generic()).judge(&answer, Timestamp::UNIX_EPOCH);
        let scene = || Scene { request_id: "r".into(), key: "k".into(), target: "t".into(), status: 429 };
        // As if each came in a second of its own.
        memory.0.lock().second = 0;
        memory.remember(scene, &answer, &judgement, "hush-hush");
    }

    #[test]
    fn the_last_ones_are_kept_in_bounded_memory() {
        let memory = Memory::default();
        (0..150).for_each(|number| remember(&memory, &format!("number {number}")));
        let (failures, passed_over) = memory.failures();
        assert_eq!((failures.len(), passed_over), (FAILURES, 0));
        assert_eq!((failures[0].id, failures[0].body.as_str()), (150, "number 149"), "newest first");
        (0..40).for_each(|_| remember(&memory, &"long ".repeat(2000)));
        let bytes = memory.0.lock().bytes;
        assert!(bytes <= BYTES && memory.failures().0.len() < FAILURES);
        (0..150).for_each(|_| remember(&memory, "short"));
        let size: usize = memory.failures().0.iter().map(|failure| failure.size()).sum();
        let bytes = memory.0.lock().bytes;
        assert_eq!((bytes, memory.failures().0.len()), (size, FAILURES));
    }

    #[test]
    fn a_flood_is_passed_over() {
        let mut ring = Ring::default();
        let now = Timestamp::from_second(5).unwrap();
        let admitted = (0..1000).filter(|_| ring.admit(now).is_some()).count();
        assert_eq!((admitted, ring.passed_over), (PER_SECOND as usize, 1000 - u64::from(PER_SECOND)));
        assert!(ring.admit(Timestamp::from_second(6).unwrap()).is_some());
    }
}

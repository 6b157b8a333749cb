//! Upstream connections between two requests.
//!
//! Pingora's own pool spawns a task per idle connection and compares addresses at reuse; that costs more system calls
//! than the request itself. Here an idle connection just lies in a shard and is tested by one poll when it is taken:
//! pending means alive, anything readable means closed or stray bytes. A sweep every few seconds drops what has died or
//! outlived its time, so that closed connections hold no file descriptors.
//!
//! Invariant: a connection is in the pool only between a complete request with its complete answer and the next request.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Context;

use parking_lot::Mutex;
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, ReadBuf};

/// Idle connections kept per shard and target; more are closed.
const PER_TARGET: usize = 256;
const SHARDS: usize = 64;

struct Idle {
    stream: Stream,
    /// Number of the sweep before which it was put here: a clock that costs nothing to read.
    since: usize,
}

type Shard = Mutex<HashMap<u64, Vec<Idle>>>;

/// All idle upstream connections, in one shard per worker thread, so that threads rarely meet at a lock.
pub(super) struct IdlePool {
    shards: Box<[Shard]>,
    sweeps: AtomicUsize,
}

impl IdlePool {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect(), sweeps: AtomicUsize::new(0) }
    }

    /// The most recently used live connection of that group: this thread's, else another one's. A request may end on
    /// another thread than it began; without looking there its connection would be missed, and one more opened.
    pub(super) fn take(&self, group: u64) -> Option<Stream> {
        let (mine, used) = (mine(), THREADS.load(Relaxed).min(SHARDS));
        let shards = (mine..used).chain(0..mine).filter_map(|index| self.shards.get(index));
        shards.into_iter().find_map(|shard| take_from(shard, group))
    }

    /// Keeps a connection for the next request of its group.
    pub(super) fn put(&self, group: u64, stream: Stream) {
        let mut shard = self.shard().lock();
        let idle = shard.entry(group).or_default();
        if idle.len() < PER_TARGET {
            idle.push(Idle { stream, since: self.sweeps.load(Relaxed) });
        }
    }

    /// Closes what has died or been idle for more than `kept` sweeps.
    pub(super) fn sweep(&self, kept: usize) {
        let now = self.sweeps.fetch_add(1, Relaxed) + 1;
        for shard in &self.shards {
            let mut dead = Vec::new();
            shard.lock().retain(|_, idle| {
                dead.extend(idle.extract_if(.., |i| now - i.since > kept || !is_alive(&mut i.stream)));
                !idle.is_empty()
            });
            // The sockets close here, outside the lock.
            drop(dead);
        }
    }

    fn shard(&self) -> &Shard {
        &self.shards[mine()]
    }
}

/// Threads that have used a pool.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// This thread's shard.
fn mine() -> usize {
    thread_local! {
        static MINE: usize = THREADS.fetch_add(1, Relaxed) % SHARDS;
    }
    MINE.with(|mine| *mine)
}

fn take_from(shard: &Shard, group: u64) -> Option<Stream> {
    let mut shard = shard.lock();
    let idle = shard.get_mut(&group)?;
    while let Some(mut candidate) = idle.pop() {
        if is_alive(&mut candidate.stream) {
            return Some(candidate.stream);
        }
    }
    None
}

/// Nothing to read: neither an end nor stray bytes.
fn is_alive(stream: &mut Stream) -> bool {
    let mut byte = [0_u8; 1];
    let mut cx = Context::from_waker(std::task::Waker::noop());
    Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Stream, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(64);
        (Box::new(ours), theirs)
    }

    #[tokio::test]
    async fn a_live_connection_is_reused_and_a_closed_one_is_not() {
        let pool = IdlePool::new();
        let (alive, _peer) = pair();
        let (dead, closed_peer) = pair();
        pool.put(1, alive);
        pool.put(1, dead);
        drop(closed_peer);
        assert!(pool.take(1).is_some());
        assert!(pool.take(1).is_none());
    }

    #[tokio::test]
    async fn stray_bytes_disqualify_a_connection() {
        let pool = IdlePool::new();
        let (ours, mut peer) = pair();
        tokio::io::AsyncWriteExt::write_all(&mut peer, b"x").await.unwrap();
        pool.put(1, ours);
        assert!(pool.take(1).is_none());
    }

    #[test]
    fn a_connection_put_by_one_thread_is_found_by_another() {
        let pool = IdlePool::new();
        let (ours, _peer) = pair();
        std::thread::scope(|scope| scope.spawn(|| pool.put(1, ours)).join().unwrap());
        assert!(pool.take(1).is_some());
    }

    #[tokio::test]
    async fn groups_do_not_mix_and_the_sweep_forgets_old_ones() {
        let pool = IdlePool::new();
        let (ours, _peer) = pair();
        pool.put(1, ours);
        assert!(pool.take(2).is_none());
        pool.sweep(1);
        pool.sweep(1);
        assert!(pool.take(1).is_none());
    }
}

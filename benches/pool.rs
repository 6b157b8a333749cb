//! What the pool costs a request, and what it costs when many keys change at once. `make bench` runs it.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use keyweir::config::KeyId;
use keyweir::pool::{Mark, Millis, Place, Pool, Reason, Rules, Scope, Seed};
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const T0: Millis = Millis(1_000_000);
const HERE: Place<'static> = Place { target: "api.example", model: "m" };
const RULES: Rules =
    Rules { threshold: 1, cooldown: Duration::from_secs(60), max_cooldown: Duration::from_secs(600), permanent: true };
/// What a request does besides, at the very least, in rounds of arithmetic: some two microseconds.
const OTHER_WORK: u64 = 8000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    checkouts(&mut criterion);
    threads(&mut criterion);
    transitions(&mut criterion);
    criterion.final_summary();
    if std::env::args().any(|argument| argument == "--bench") {
        returns();
    }
}

fn pool(keys: usize) -> Arc<Pool> {
    let seed = |number: usize| Seed {
        id: KeyId::of("bench", &number.to_string()),
        name: number.to_string().into(),
        priority: 0,
        account: None,
        egress: None,
        limits: None,
        models: Vec::new(),
        is_off: false,
    };
    let pool = Arc::new(Pool::new((0..keys).map(seed).collect(), RULES, 0, None));
    pool.open(None, T0);
    pool
}

/// What a request that is served asks of the pool.
fn request(pool: &Arc<Pool>, now: Millis) {
    if let Ok(lease) = pool.checkout(HERE.model, now) {
        pool.served(0, &HERE);
        pool.succeed(black_box(lease.index()), &HERE);
    }
}

/// CPU time, which other work on the machine disturbs less than wall time.
fn cpu_time_of(rounds: u64, mut act: impl FnMut()) -> Duration {
    let started = cpu_time();
    (0..rounds).for_each(|_| act());
    cpu_time() - started
}

fn checkouts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checkout and success");
    for keys in [1000, 1_000_000] {
        let pool = pool(keys);
        group.bench_function(BenchmarkId::from_parameter(keys), |bencher| {
            bencher.iter_custom(|requests| cpu_time_of(requests, || request(&pool, T0)));
        });
    }
    group.finish();
}

/// The same from threads that also do something else: what one costs the other shows as the difference.
fn threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("threads, with 2 µs of other work");
    let pool = pool(1000);
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::from_parameter(threads), |bencher| {
            bencher.iter_custom(|requests| {
                thread::scope(|scope| {
                    let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| paced(&pool, requests))).collect();
                    workers.into_iter().filter_map(|worker| worker.join().ok()).max().unwrap_or_default()
                })
            });
        });
    }
    group.finish();
}

fn paced(pool: &Arc<Pool>, requests: u64) -> Duration {
    cpu_time_of(requests, || {
        request(pool, T0);
        black_box((0..OTHER_WORK).fold(1, |sum: u64, round| black_box(sum ^ round)));
    })
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn transitions(criterion: &mut Criterion) {
    let pool = pool(100_000);
    let (mut index, mut now) = (0, T0);
    let mark = Mark::Cool { reason: Reason::RateLimited, stated: Some(Duration::from_secs(60)) };
    criterion.bench_function("a rest begins, of 100000 keys", |bencher| {
        bencher.iter_custom(|marks| {
            cpu_time_of(marks, || {
                index = (index + 7919) % 100_000;
                // Each key is marked once a minute, when it is just back.
                now = if index == 0 { now.after(Duration::from_secs(60)) } else { now };
                black_box(pool.mark(index, Scope::Key, mark, &HERE, now));
            })
        });
    });
}

/// 100,000 keys come back within one second: how long does a request wait for its key meanwhile?
fn returns() {
    const KEYS: u32 = 100_000;
    let mut longest: Vec<_> = (0..15)
        .map(|_| {
            let pool = pool(KEYS as usize);
            for index in 0..KEYS {
                let stated = Some(Duration::from_millis(u64::from(index * 7919 % 1000)));
                pool.mark(index, Scope::Key, Mark::Cool { reason: Reason::RateLimited, stated }, &HERE, T0);
            }
            longest_request(&pool)
        })
        .collect();
    longest.sort();
    let (least, median) = (longest[0], longest[longest.len() / 2]);
    report(&format!(
        "100000 keys return within a second: the longest request takes {least:.1?} at best, {median:.1?} as a rule"
    ));
}

fn longest_request(pool: &Arc<Pool>) -> Duration {
    let started = Instant::now();
    let now = || T0.after(started.elapsed());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                while pool.advance(now(), 256) >= 256 {
                    thread::yield_now();
                }
                thread::park_timeout(Duration::from_millis(20));
            }
        });
        let mut longest = Duration::ZERO;
        while now() < T0.after(Duration::from_millis(1100)) {
            let asked = Instant::now();
            request(pool, now());
            longest = longest.max(asked.elapsed());
            // Rather here than in the midst of a request, if somebody else wants the core.
            thread::yield_now();
        }
        is_over.store(true, Relaxed);
        longest
    })
}

#[expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]
fn report(line: &str) {
    println!("{line}");
}

//! Real threads at once, then the same laws as ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use arc_swap::ArcSwap;
use fastrand::Rng;

use super::*;

const KEYS: usize = 150;

/// What the threads share.
struct Scene {
    pool: ArcSwap<Pool>,
    clock: AtomicU64,
    is_over: AtomicBool,
}

impl Scene {
    fn now(&self) -> Millis {
        Millis(self.clock.load(Relaxed))
    }

    fn run(&self, mut act: impl FnMut(&Arc<Pool>)) {
        while !self.is_over.load(Relaxed) {
            act(&self.pool.load());
        }
    }

    /// Requests with every kind of end.
    fn requests(&self, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let mut held = Vec::new();
        self.run(|pool| {
            let model = *rng.choice(&["m", "n", ""]).unwrap();
            let place = Place { model, ..HERE };
            let Ok(lease) = pool.checkout(model, self.now()) else { return };
            let (index, now) = (lease.index(), self.now());
            match rng.u32(0..20) {
                0 => drop(pool.mark(index, Scope::Key, quick(&mut rng), &place, now)),
                1 => drop(pool.mark(index, Scope::Model, quick(&mut rng), &place, now)),
                2 => drop(pool.mark(index, Scope::Account, quick(&mut rng), &place, now)),
                3 => drop(pool.mark(index, Scope::Key, DEAD, &place, now)),
                4 => {
                    pool.fault(index, &place, now);
                    if let Some(other) = pool.checkout_other(model.into(), &[index], now) {
                        pool.served(0, &place);
                        pool.succeed(other.index(), &place);
                        pool.blame(index, &place, lease.since(), now);
                    }
                }
                5 => drop(pool.strike(index, &place, now)),
                6 => {
                    let died = catch_unwind(AssertUnwindSafe(|| std::panic::resume_unwind(Box::new(lease))));
                    return drop(died);
                }
                7 => held.push((pool.clone(), lease)),
                _ => {
                    pool.served(0, &place);
                    pool.succeed(index, &place);
                }
            }
            if held.len() > 50 {
                let (pool, lease) = held.swap_remove(rng.usize(0..held.len()));
                pool.mark(lease.index(), Scope::Key, quick(&mut rng), &HERE, self.now());
            }
        });
    }

    /// What the background service does, and an operator.
    fn housekeeping(&self, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        self.run(|pool| {
            let now = Millis(self.clock.fetch_add(1, Relaxed));
            pool.advance(now, 256);
            match rng.u32(0..50) {
                0 => pool.tidy(now),
                1..20 => pool.reset(rng.u32(0..KEYS as u32), now),
                20 => {
                    let mut seeds: Vec<_> = (0..KEYS).map(member).collect();
                    rng.shuffle(&mut seeds);
                    let next = Arc::new(Pool::new(seeds, RULES, 0, Some(pool)));
                    next.open(Some(pool), now);
                    self.pool.store(next);
                }
                _ => {}
            }
        });
    }
}

fn member(number: usize) -> Seed {
    static IDS: std::sync::LazyLock<Vec<KeyId>> =
        std::sync::LazyLock::new(|| (0..KEYS).map(|number| seed(number).id).collect());
    let account = number.is_multiple_of(10).then(|| "a".into());
    Seed {
        id: IDS[number],
        name: number.to_string().into(),
        account,
        priority: number as u32 % 2,
        egress: None,
        limits: None,
        models: Vec::new(),
        is_off: false,
    }
}

fn quick(rng: &mut Rng) -> Mark {
    Mark::Cool { reason: Reason::RateLimited, stated: Some(Duration::from_millis(rng.u64(0..30))) }
}

#[test]
fn nothing_is_lost_among_threads() {
    let pool = pool_of((0..KEYS).map(member).collect(), RULES, 0);
    let scene = Scene { pool: ArcSwap::new(pool), clock: AtomicU64::new(T0.0), is_over: AtomicBool::new(false) };
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let scene = &scene;
            scope.spawn(move || scene.requests(seed));
        }
        scope.spawn(|| scene.housekeeping(4));
        let started = Instant::now();
        while started.elapsed() < secs(1) {
            std::thread::yield_now();
        }
        scene.is_over.store(true, Relaxed);
    });
    let (pool, now) = (scene.pool.load_full(), scene.now());
    assert!(pool.keys().iter().all(|key| key.state.in_flight() == 0), "a lease was lost");
    while pool.advance(now, 1000) > 0 {}
    for index in 0..KEYS as u32 {
        let is_ready = |model: &str| pool.explain(model, now)[index as usize].blocked.is_none();
        assert_eq!(pool.board.ready.contains(index as usize), is_ready(""), "key {index}");
        for model in pool.models.load().iter() {
            assert_eq!(model.board.ready.contains(index as usize), is_ready(model.model().unwrap()), "key {index}");
        }
    }
    let later = now.after(secs(3600));
    (0..KEYS as u32).for_each(|index| pool.reset(index, later));
    pool.advance(later, usize::MAX);
    (0..KEYS).for_each(|_| drop(pool.checkout("m", later).unwrap()));
    assert_eq!(ready(&pool, later), KEYS, "every key is back");
    (0..KEYS as u32).for_each(|index| pool.succeed(index, &HERE));
    pool.tidy(later.after(secs(3600)));
    assert!(pool.keys().iter().all(|key| key.state.runs.load(Relaxed) == 0), "a suspicion was left behind");
}

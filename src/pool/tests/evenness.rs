//! Keys take even turns. Where chance plays a part, the seeds are fixed and the bound is that of a χ² test.

use std::sync::Barrier;

use fastrand::Rng;

use super::*;

/// Upper bound of χ² that even turns exceed with a chance of 1 in 30,000 (Wilson and Hilferty's approximation).
fn bound(degrees: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees);
    degrees * (1.0 - spread + 4.0 * spread.sqrt()).powi(3)
}

fn chi_square(counts: &[u64]) -> f64 {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    counts.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum()
}

fn uses(pool: &Pool) -> Vec<u64> {
    pool.keys().iter().map(|key| key.state.uses()).collect()
}

#[test]
fn turns_are_exactly_even_without_churn() {
    for keys in [1, 2, 3, 63, 64, 65, 1000, 5000] {
        let pool = pool(keys);
        (0..keys * 7).for_each(|_| drop(pool.checkout("m", T0).unwrap()));
        assert!(uses(&pool).iter().all(|&count| count == 7), "{keys} keys");
    }
}

#[test]
fn turns_are_exactly_even_among_threads() {
    let pool = pool(100);
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                (0..5000).for_each(|_| drop(pool.checkout("m", T0).unwrap()));
            });
        }
    });
    assert!(uses(&pool).iter().all(|&count| count == 400), "{:?}", uses(&pool));
}

/// Each key is marked as often as any other, at random moments: none shall gain or lose by what happens to the others.
#[test]
fn turns_are_even_while_keys_leave_and_return() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let keys = rng.usize(5..100);
        let pool = pool(keys);
        let mut now = T0;
        for _ in 0..keys * 400 {
            now = now.after(Duration::from_millis(10));
            drop(pool.checkout("m", now));
            if rng.u32(0..4) == 0 {
                mark(&pool, rng.u32(0..keys as u32), Mark::Cool { reason: Reason::RateLimited, stated: Some(secs(1)) }, now);
            }
            pool.advance(now, 8);
        }
        let chi_square = chi_square(&uses(&pool));
        assert!(chi_square < bound((keys - 1) as f64), "seed {seed}: χ² = {chi_square:.1} for {keys} keys");
    }
}

#[test]
fn turns_stay_even_when_a_third_of_the_keys_is_away() {
    let pool = pool(99);
    (0..33).for_each(|number| {
        mark(&pool, number * 3, cool(3600), T0);
    });
    (0..66 * 50).for_each(|_| drop(pool.checkout("m", T0).unwrap()));
    assert!(uses(&pool).iter().enumerate().all(|(index, &count)| count == if index % 3 == 0 { 0 } else { 50 }));
}

#[test]
fn threads_share_the_turns_evenly_while_keys_leave_and_return() {
    let pool = pool(64);
    let moment = AtomicU64::new(T0.0);
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (pool, moment) = (&pool, &moment);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(seed);
                for _ in 0..8000 {
                    let now = Millis(moment.fetch_add(1, Relaxed));
                    drop(pool.checkout("m", now));
                    if rng.u32(0..16) == 0 {
                        let rest = Duration::from_millis(50);
                        let rest = Mark::Cool { reason: Reason::RateLimited, stated: Some(rest) };
                        mark(pool, rng.u32(0..64), rest, now);
                    }
                    pool.advance(now, 8);
                }
            });
        }
    });
    // How the threads interleave is not in our hands, so this is no test at a level; the bound is only plausible.
    let chi_square = chi_square(&uses(&pool));
    assert!(chi_square < 2.0 * bound(63.0), "χ² = {chi_square:.1}");
}

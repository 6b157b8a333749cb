//! Keys take even turns. Where chance plays a part, the seeds are fixed and the bound is that of a χ² test.

use std::sync::Barrier;

use fastrand::Rng;

use super::*;

/// Upper bound of χ² that even turns exceed with a chance of 1 in 30,000 (Wilson and Hilferty's approximation).
fn bound(degrees: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees);
    degrees * (1.0 - spread + 4.0 * spread.sqrt()).powi(3)
}

fn chi_square(counts: &[u64], expected: &[f64]) -> f64 {
    counts.iter().zip(expected).map(|(&count, expected)| (count as f64 - expected).powi(2) / expected).sum()
}

fn rest(milliseconds: u64) -> Mark {
    Mark::Cool { reason: Reason::RateLimited, stated: Some(Duration::from_millis(milliseconds)) }
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

/// Whoever is ready has the same share of each turn, however the others come and go.
#[test]
fn turns_are_even_while_keys_leave_and_return() {
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let keys = rng.usize(5..50);
        let pool = pool(keys);
        let mut shares = vec![0.0; keys];
        let mut now = T0;
        for _ in 0..keys * 100 {
            now = now.after(Duration::from_millis(10));
            pool.advance(now, keys);
            let is_ready = |index: &usize| pool.standing(*index as u32, now) == Standing::Ready;
            let ready: Vec<_> = (0..keys).filter(is_ready).collect();
            ready.iter().for_each(|&index| shares[index] += 1.0 / ready.len() as f64);
            assert_eq!(pool.checkout("m", now).is_ok(), !ready.is_empty());
            if rng.u32(0..4) == 0 {
                mark(&pool, rng.u32(0..keys as u32), rest(rng.u64(0..1000)), now);
            }
        }
        let chi_square = chi_square(&uses(&pool), &shares);
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
                        mark(pool, rng.u32(0..64), rest(50), now);
                    }
                    pool.advance(now, 8);
                }
            });
        }
    });
    let uses = uses(&pool);
    let chi_square = chi_square(&uses, &[uses.iter().sum::<u64>() as f64 / 64.0; 64]);
    // Who rests is up to chance too, which adds to the spread.
    assert!(chi_square < 2.0 * bound(63.0), "χ² = {chi_square:.1}");
}

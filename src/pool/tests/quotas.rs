//! Keys are asked for what they may give, and for no more.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::*;
use crate::config::KeyLimits;

const NONE: KeyLimits = KeyLimits { rpm: None, rpd: None, tpm: None, tpd: None, concurrency: None };

fn limited(number: usize, limits: KeyLimits) -> Seed {
    Seed { limits: Some(Box::new(limits)), ..seed(number) }
}

fn shared(number: usize, limits: KeyLimits) -> Seed {
    Seed { account: Some("a".into()), ..limited(number, limits) }
}

/// Uses a key: the index, or why there is none.
fn ask(pool: &Arc<Pool>, tokens: u64, now: Millis) -> Result<u32, Exhausted> {
    let mut lease = pool.checkout(Demand { model: "m", tokens }, now)?;
    lease.asked();
    Ok(lease.index())
}

#[test]
fn a_key_gives_what_it_may_within_any_minute_and_returns_on_time() {
    let rpm = |rpm| KeyLimits { rpm: Some(rpm), ..NONE };
    let pool = pool_of(vec![limited(0, rpm(2)), seed(1)], RULES, 0);
    let of_key = |now| {
        pool.advance(now, usize::MAX);
        (0..8).filter(|_| ask(&pool, 0, now) == Ok(0)).count()
    };
    assert_eq!(of_key(T0), 2, "the other one takes over");
    assert_eq!(pool.standing(0, T0), Standing::Cooling(secs(60), Some(Reason::Limit)));
    assert_eq!(of_key(Millis(T0.0 + 59_999)), 0);
    assert_eq!(of_key(Millis(T0.0 + 60_000)), 2);
    let rests = pool.transitions().by_reason().find(|(reason, ..)| *reason == Reason::Limit);
    assert_eq!(rests, Some((Reason::Limit, 2, 0)));

    let alone = pool_of(vec![limited(0, rpm(1))], RULES, 0);
    assert_eq!(ask(&alone, 0, T0), Ok(0));
    assert_eq!(ask(&alone, 0, Millis(T0.0 + 20_000)), Err(Exhausted::Cooling(secs(40))));
    assert_eq!(alone.checkout_key(0, "m", T0).err(), Some(Exhausted::Cooling(secs(60))));
    assert_eq!(ask(&alone, 0, Millis(T0.0 + 60_000)), Ok(0));
}

#[test]
fn no_more_requests_are_under_way_than_a_key_may_have() {
    let limits = KeyLimits { concurrency: Some(2), ..NONE };
    let pool = pool_of(vec![limited(0, limits)], RULES, 0);
    let leases = [(); 2].map(|()| pool.checkout("m", T0).unwrap());
    assert_eq!(pool.checkout("m", T0).err(), Some(Exhausted::Cooling(secs(1))));
    assert_eq!(pool.standing(0, T0), Standing::Cooling(secs(1), Some(Reason::Limit)));
    assert_eq!(pool.limits(0, T0), [LimitUse { limit: "concurrency", used: 2, most: 2 }]);
    let [first, _second] = leases;
    drop(first);
    assert!(pool.checkout("m", T0).is_ok(), "at once");
}

#[test]
fn keys_of_one_account_use_its_limits_up_together() {
    let limits = KeyLimits { rpm: Some(3), concurrency: Some(1), ..NONE };
    let pool = pool_of(vec![shared(0, limits), shared(1, limits), seed(2)], RULES, 0);
    let lease = pool.checkout_key(0, "m", T0).unwrap();
    assert!((0..4).all(|_| ask(&pool, 0, T0) == Ok(2)), "its place is taken");
    drop(lease);
    let of_account = (0..12).filter(|_| ask(&pool, 0, T0) != Ok(2)).count();
    assert_eq!(of_account, 3, "what was never asked was given back");
    assert_eq!(pool.limits(1, T0)[0], LimitUse { limit: "rpm", used: 3, most: 3 });
    assert!(pool.checkout_key(1, "m", T0).is_err());
}

#[test]
fn tokens_are_reserved_and_corrected_to_what_was_used() {
    let limits = KeyLimits { tpm: Some(1000), tpd: Some(5000), ..NONE };
    let pool = pool_of(vec![limited(0, limits)], RULES, 0);
    let demand = |tokens| Demand { model: "m", tokens };
    let used = |now| pool.limits(0, now).iter().map(|of| of.used).collect::<Vec<_>>();
    let mut lease = pool.checkout(demand(600), T0).unwrap();
    lease.asked();
    assert_eq!(ask(&pool, 600, T0), Err(Exhausted::Cooling(secs(60))), "no room for both");
    assert_eq!(ask(&pool, 300, T0), Ok(0), "a smaller one has room");
    lease.settle(100, T0);
    assert_eq!(used(T0), [400, 400]);
    assert_eq!(ask(&pool, 600, T0), Ok(0));
    assert_eq!(ask(&pool, 0, T0), Err(Exhausted::Cooling(secs(60))), "nothing is left");
    let mut lease = pool.checkout(demand(1500), Millis(T0.0 + 60_000)).expect("more than all fits an unused minute");
    lease.asked();
    lease.settle(4000, Millis(T0.0 + 60_000));
    drop(lease);
    assert_eq!(used(Millis(T0.0 + 60_000)), [4000, 5000]);
    assert!(matches!(ask(&pool, 0, Millis(T0.0 + 130_000)), Err(Exhausted::Cooling(rest)) if rest > secs(3600)), "tpd");
}

#[test]
fn a_day_ends_where_the_provider_is() {
    let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let calendar = Calendar { zone, epoch: noon.as_millisecond() as u64 - T0.0 };
    let limits = KeyLimits { rpd: Some(5), ..NONE };
    let pool = Arc::new(Pool::new(vec![limited(0, limits)], RULES, 0, None).by(calendar));
    pool.open(None, T0);
    let begin: Timestamp = "2026-02-28T16:00:00Z".parse().unwrap();
    assert_eq!(pool.calendar().day_begin(T0), begin.as_millisecond() as u64);
    pool.used_today(0, 3, 0, T0);
    let asked = (0..9).filter(|_| ask(&pool, 0, T0).is_ok()).count();
    assert_eq!(asked, 2, "three were used before this process");
    assert_eq!(ask(&pool, 0, T0), Err(Exhausted::Cooling(secs(4 * 3600))));
    let midnight = T0.after(secs(4 * 3600));
    assert_eq!((0..9).filter(|_| ask(&pool, 0, midnight).is_ok()).count(), 5);
}

#[test]
fn a_reload_gives_nothing_back_and_takes_new_limits() {
    let limits = |rpm| KeyLimits { rpm: Some(rpm), concurrency: Some(3), ..NONE };
    let pool = pool_of(vec![limited(0, limits(2)), seed(1)], RULES, 0);
    let lease = pool.checkout_key(0, "m", T0).unwrap();
    pool.checkout_key(0, "m", T0).unwrap().asked();
    let reload = |before: &Arc<Pool>, seed| {
        let pool = Arc::new(Pool::new(vec![seed], RULES, 0, Some(before)));
        pool.open(Some(before), T0);
        pool
    };
    let same = reload(&pool, limited(0, limits(2)));
    assert!(same.checkout("m", T0).is_err());
    let wider = reload(&same, limited(0, limits(3)));
    let third = wider.checkout("m", T0).expect("one more");
    assert!(wider.checkout("m", T0).is_err());
    drop(lease);
    assert!(wider.checkout("m", T0).is_ok(), "what began before the reload and was not asked is given back");
    drop(third);
    let free = reload(&wider, seed(0));
    assert!((0..50).all(|_| ask(&free, 0, T0) == Ok(0)), "its limits are gone");
}

#[test]
fn threads_hand_out_no_request_too_many() {
    const THREADS: usize = 16;
    let limits = KeyLimits { rpm: Some(500), concurrency: Some(3), ..NONE };
    let pool = pool_of((0..4).map(|number| limited(number, limits)).collect(), RULES, 0);
    let (under_way, asked) = ([(); 4].map(|()| AtomicU32::new(0)), [(); 4].map(|()| AtomicU32::new(0)));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..1000 {
                    let Ok(mut lease) = pool.checkout("m", T0) else { continue };
                    let key = lease.index() as usize;
                    assert!(under_way[key].fetch_add(1, SeqCst) < 3);
                    lease.asked();
                    asked[key].fetch_add(1, SeqCst);
                    under_way[key].fetch_sub(1, SeqCst);
                }
            });
        }
    });
    let asked = asked.map(AtomicU32::into_inner);
    assert!(asked.iter().all(|asked| *asked <= 500), "{asked:?}");
    assert!(pool.limits(0, T0).iter().all(|of| of.limit != "concurrency" || of.used == 0));
    let left: u32 = std::iter::from_fn(|| ask(&pool, 0, T0).ok()).map(|_| 1).sum();
    assert_eq!(asked.iter().sum::<u32>() + left, 4 * 500, "and none is lost");
}

#[test]
fn no_minute_of_any_history_holds_too_much() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let limits = KeyLimits { rpm: Some(rng.u64(1..6)), tpm: Some(rng.u64(50..500)), ..NONE };
        let pool = pool_of(vec![limited(0, limits)], RULES, 0);
        let (mut now, mut asked) = (T0, Vec::<(u64, u64)>::new());
        for _ in 0..300 {
            now = Millis(now.0 + rng.u64(0..20_000));
            let tokens = rng.u64(1..200);
            let begun = now;
            let mut lease = loop {
                match pool.checkout(Demand { model: "m", tokens }, now) {
                    Ok(lease) => break lease,
                    Err(Exhausted::Cooling(wait)) if !wait.is_zero() => now = now.after(wait),
                    Err(why) => panic!("seed {seed}: {why:?}"),
                }
                assert!(begun.until(now) <= secs(60), "seed {seed}: the window is no longer");
            };
            if rng.u8(0..4) > 0 {
                lease.asked();
                asked.push((now.0, tokens));
            }
            let within: Vec<_> = asked.iter().filter(|(at, _)| at + 60_000 > now.0).collect();
            let tokens: u64 = within.iter().map(|(_, tokens)| tokens).sum();
            assert!(within.len() as u64 <= limits.rpm.unwrap(), "seed {seed}");
            assert!(within.len() < 2 || tokens <= limits.tpm.unwrap(), "seed {seed}: {tokens} of {limits:?}");
        }
    }
}

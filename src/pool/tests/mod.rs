//! Behaviour of the pool with a clock that only moves when told to.

mod attribution;
mod balances;
mod egress;
mod evenness;
mod marks;
mod preferences;
mod properties;
mod quotas;
mod rechecks;
mod reloads;
mod restrictions;
mod saved;
mod simulation;
mod threads;
mod turns;
mod vouching;

use super::*;
use crate::config::KeyId;

const RULES: Rules =
    Rules { threshold: 1, cooldown: Duration::from_secs(60), max_cooldown: Duration::from_secs(600), permanent: true };
pub(crate) const T0: Millis = Millis(1_000_000);
pub(crate) const HERE: Place<'static> = Place { target: "api.example", model: "m" };

fn seed(number: usize) -> Seed {
    Seed {
        id: KeyId::of("test", &format!("key {number}")),
        name: format!("k{number}").into(),
        priority: 0,
        account: None,
        egress: None,
        limits: None,
        models: Vec::new(),
        is_off: false,
    }
}

fn pool_of(seeds: Vec<Seed>, rules: Rules, start: usize) -> Arc<Pool> {
    let pool = Arc::new(Pool::new(seeds, rules, start, None));
    pool.open(None, T0);
    pool
}

fn pool_with(rules: Rules, keys: usize) -> Arc<Pool> {
    pool_of((0..keys).map(seed).collect(), rules, 0)
}

pub(crate) fn pool(keys: usize) -> Arc<Pool> {
    pool_with(RULES, keys)
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn picks(pool: &Arc<Pool>, n: usize, now: Millis) -> Vec<u32> {
    (0..n).map(|_| pool.checkout("m", now).unwrap().index()).collect()
}

fn cool(seconds: u64) -> Mark {
    Mark::Cool { reason: Reason::RateLimited, stated: Some(secs(seconds)) }
}

const UNSTATED: Mark = Mark::Cool { reason: Reason::RateLimited, stated: None };
pub(crate) const DEAD: Mark = Mark::Disable(Reason::Unauthorized);

fn mark(pool: &Pool, index: u32, mark: Mark, now: Millis) -> Option<Event> {
    pool.mark(index, Scope::Key, mark, &HERE, now)
}

fn ready(pool: &Pool, now: Millis) -> usize {
    (0..).take(pool.keys().len()).filter(|&index| pool.standing(index, now) == Standing::Ready).count()
}

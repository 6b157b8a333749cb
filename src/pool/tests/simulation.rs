//! Random histories of a pool, each step held against a plain reference.
//!
//! `KEYWEIR_SEED=7` runs one history, `KEYWEIR_TEST_ALL=1` ten thousand.

mod circuits;
mod reference;
mod world;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use world::{Attempt, MODELS, World};

const STEPS: usize = 250;

#[test]
fn random_histories_go_as_the_reference_says() {
    let next = AtomicU64::new(seeds().start);
    let seeds = seeds();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if !seeds.contains(&seed) {
                break;
            }
            let run = catch_unwind(AssertUnwindSafe(|| simulate(seed)));
            assert!(run.is_ok(), "history {seed} went wrong: KEYWEIR_SEED={seed} runs it alone");
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

fn seeds() -> Range<u64> {
    let seed = std::env::var("KEYWEIR_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let is_long = std::env::var("KEYWEIR_TEST_ALL").is_ok();
    seed.map_or(0..if is_long { 10_000 } else { 200 }, |seed| seed..seed + 1)
}

fn simulate(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.pass_time();
        world.step();
        world.check();
    }
    world.attempts.clear();
    world.check();
    world.advance();
    world.check();
}

impl World {
    fn step(&mut self) {
        match self.rng.u32(0..100) {
            0..30 => self.request(),
            30..40 => self.begin(),
            40..58 => self.end_one(),
            58..63 => self.outage(),
            63..67 => self.reload(),
            67..74 => self.operate(),
            74..80 => self.advance(),
            80..85 => drop(self.newest().pool.advance(self.now, self.rng.usize(0..5))),
            85..90 => self.tidy(),
            90..95 => self.look(),
            _ => self.attempts.clear(),
        }
    }

    /// Mostly moments, now and then months.
    fn pass_time(&mut self) {
        let most = [0, 5, 100, 3000, 60_000, 3_600_000, 90 * 86_400_000];
        let likely = if self.rng.u32(0..10) > 0 { &most[..5] } else { &most[..] };
        let most = *self.rng.choice(likely).unwrap();
        self.now.0 += self.rng.u64(0..=most);
    }

    /// A request as the proxy makes it: one second opinion on a failure that may have any cause.
    fn request(&mut self) {
        let place = self.place();
        let Some(first) = self.first(place) else { return };
        if self.rng.u32(0..3) > 0 {
            return self.serve(&first);
        }
        self.fault(&first);
        let Some(second) = self.further(&[&first], false) else { return };
        if self.rng.u32(0..3) > 0 {
            self.serve(&second);
            self.blame(&first);
        } else {
            self.fault(&second);
        }
    }

    fn begin(&mut self) {
        let place = self.place();
        let attempt = match self.rng.bool() {
            true => self.first(place),
            false if self.attempts.is_empty() => None,
            false => {
                let before: Vec<_> =
                    (0..self.rng.usize(0..=self.attempts.len().min(10))).map(|_| self.pick()).collect();
                self.retry(before)
            }
        };
        self.attempts.extend(attempt);
    }

    /// Tries again, after attempts with one generation.
    fn retry(&mut self, mut before: Vec<Attempt>) -> Option<Attempt> {
        let may_repeat = self.rng.bool();
        let generation = before.first()?.generation.clone();
        let apart = before.extract_if(.., |attempt| !Arc::ptr_eq(&attempt.generation, &generation));
        self.attempts.extend(apart);
        let next = self.further(&before.iter().collect::<Vec<_>>(), may_repeat);
        self.attempts.extend(before);
        next
    }

    fn pick(&mut self) -> Attempt {
        self.attempts.swap_remove(self.rng.usize(0..self.attempts.len()))
    }

    /// What comes of an attempt, perhaps begun several reloads ago, however likely.
    fn end_one(&mut self) {
        if self.attempts.is_empty() {
            return self.begin();
        }
        let attempt = self.pick();
        match self.rng.u32(0..10) {
            0..4 => self.mark(&attempt),
            4 => self.defer(&attempt),
            5 => self.serve(&attempt),
            6 => self.fault(&attempt),
            7 => self.blame(&attempt),
            8 => self.strike(&attempt),
            _ => self.break_off(&attempt),
        }
        if self.rng.bool() {
            self.attempts.push(attempt);
        }
    }

    /// Nobody is served for a while: that costs no key anything.
    fn outage(&mut self) {
        let place = self.place();
        let ready: Vec<_> = self.reference.ready(place.model, self.now).collect();
        for _ in 0..self.rng.usize(1..50) {
            let Some(first) = self.first(place) else { return };
            self.fault(&first);
            if let Some(second) = self.further(&[&first], false) {
                self.fault(&second);
            }
        }
        self.check();
        assert!(ready.iter().all(|&number| self.reference.until(number, place.model) <= self.now.0));
        assert!(self.newest().pool.has_ready(place.model, self.now));
    }

    fn advance(&mut self) {
        let pool = &self.newest().pool;
        while pool.advance(self.now, 7) > 0 {}
        assert!(pool.next_return().is_none_or(|next| next > self.now), "something is still due");
        self.noticed = self.now;
        for model in MODELS {
            let is_one_ready = self.reference.ready(model, self.now).next().is_some();
            assert_eq!(pool.has_ready(model, self.now), is_one_ready, "for {model:?}");
        }
    }

    fn tidy(&mut self) {
        // Also the pools that were replaced may be asked: a background task may just be at them.
        for generation in self.generations.clone() {
            generation.pool.tidy(self.now);
        }
        let now = self.now;
        self.reference.tidy(now);
    }

    fn look(&mut self) {
        let model = self.place().model;
        self.check_explanations(model);
        let now = self.now;
        if self.reference.ready(model, now).next().is_none() {
            assert_eq!(self.newest().pool.exhausted(model, now), self.reference.exhausted(model, now));
        }
    }

    fn operate(&mut self) {
        // Also through a pool that was replaced just now.
        let generation = self.rng.choice(&self.generations).unwrap().clone();
        let index = self.rng.usize(0..generation.numbers.len());
        let number = generation.key_present(index, &self.reference);
        let (at, now, order) = (index as u32, self.now, self.rng.u32(0..4));
        match order {
            0 => generation.pool.enable(at, now),
            1 => generation.pool.disable(at, now),
            _ => generation.pool.reset(at, now),
        }
        let Some(number) = number else { return };
        self.change(|reference| match order {
            0 => reference.enable(number),
            1 => reference.disable(number),
            _ => reference.reset(number),
        });
    }
}

/// What the proxy tells the pool of an attempt; the reference is told the same.
impl World {
    fn mark(&mut self, attempt: &Attempt) {
        let stated = [0, 1, 999, 30_000, 3_600_000, 40 * 86_400_000, 300 * 86_400_000, u64::MAX];
        let stated = self.rng.choice(stated).map(Duration::from_millis).filter(|_| self.rng.bool());
        let reason = self.rng.choice(Reason::ALL).unwrap();
        let mark = match self.rng.u32(0..5) {
            0 => Mark::Disable(reason),
            1 => {
                let (first, most) = (self.rng.u64(1..600), self.rng.u64(600..100_000));
                let disable_on = self.rng.choice([None, Some(2), Some(3)]).unwrap();
                Mark::Escalate {
                    reason,
                    first: Duration::from_secs(first),
                    most: Duration::from_secs(most),
                    disable_on,
                }
            }
            _ => Mark::Cool { reason, stated },
        };
        let scopes = [Scope::Key, Scope::Key, Scope::Model, Scope::Account, Scope::AccountModel, Scope::Egress];
        let scope = self.rng.choice(scopes).unwrap();
        let (index, now) = (attempt.lease.index(), self.now);
        let event = attempt.generation.pool.mark(index, scope, mark, &attempt.place, now);
        let number = self.present(attempt);
        let expected = self.change(|r| number.and_then(|number| r.mark(number, scope, mark, &attempt.place, now)));
        assert_eq!(event, expected, "{scope:?} {mark:?}");
    }

    /// An answer tells that nothing is left of a limit.
    fn defer(&mut self, attempt: &Attempt) {
        let scope = self.rng.choice([Scope::Key, Scope::Model, Scope::Account, Scope::AccountModel]).unwrap();
        let time = Duration::from_millis(self.rng.choice([0, 1, 5000, 3_600_000, u64::MAX]).unwrap());
        let (index, now) = (attempt.lease.index(), self.now);
        attempt.generation.pool.defer(index, scope, time, &attempt.place, now);
        if let Some(number) = self.present(attempt) {
            self.reference.defer(number, scope, time, &attempt.place, now);
        }
    }

    fn serve(&mut self, attempt: &Attempt) {
        attempt.generation.pool.served(attempt.lease.index(), &attempt.place);
        attempt.generation.pool.succeed(attempt.lease.index(), &attempt.place);
        self.reference.served(&attempt.place);
        if let Some(egress) = self.egress(attempt) {
            self.reference.served_through(egress);
        }
        if let Some(number) = self.present(attempt) {
            self.reference.succeed(number, &attempt.place);
        }
    }

    fn break_off(&mut self, attempt: &Attempt) {
        attempt.generation.pool.broke(&attempt.place);
        self.reference.broke(&attempt.place);
    }

    fn fault(&mut self, attempt: &Attempt) {
        let (place, now) = (&attempt.place, self.now);
        let is_down = attempt.generation.pool.fault(attempt.lease.index(), place, now);
        let number = self.present(attempt);
        let expected = self.change(|reference| number.is_some_and(|number| reference.fault(number, place, now)));
        assert_eq!(is_down, expected);
    }

    fn blame(&mut self, attempt: &Attempt) {
        let (index, since, now) = (attempt.lease.index(), attempt.lease.since(), self.now);
        let event = attempt.generation.pool.blame(index, &attempt.place, since, now);
        let number = self.present(attempt);
        let expected = self.change(|r| number.and_then(|number| r.blame(number, &attempt.place, since, now)));
        assert_eq!(event, expected);
    }

    fn strike(&mut self, attempt: &Attempt) {
        let (index, now) = (attempt.lease.index(), self.now);
        let event = attempt.generation.pool.strike(index, &attempt.place, now);
        let number = self.present(attempt);
        let expected = self.change(|r| number.and_then(|number| r.strike(number, &attempt.place, now)));
        assert_eq!(event, expected);
    }
}

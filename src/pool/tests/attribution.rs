//! Whose fault a failure is.

use super::*;

/// One pool under requests that fail as `fails` says, with the retry rules of the proxy: one second opinion.
struct Drill {
    pool: Arc<Pool>,
    now: Millis,
}

impl Drill {
    fn new(keys: usize) -> Self {
        Self { pool: pool(keys), now: T0 }
    }

    /// One request; true if it was served.
    fn request(&mut self, fails: &dyn Fn(u32) -> bool) -> bool {
        self.now = self.now.after(Duration::from_millis(10));
        let Ok(first) = self.pool.checkout("m", self.now) else { return false };
        if !fails(first.index()) {
            self.serve(&first);
            return true;
        }
        self.pool.fault(first.index(), &HERE, self.now);
        let second = self.pool.checkout_other("m".into(), &[first.index()], self.now);
        let Some(second) = second.filter(|_| self.pool.spend_retry(false, self.now)) else { return false };
        if fails(second.index()) {
            self.pool.fault(second.index(), &HERE, self.now);
            return false;
        }
        self.serve(&second);
        self.pool.blame(first.index(), &HERE, first.since(), self.now);
        true
    }

    fn serve(&self, lease: &Lease) {
        self.pool.served(0, &HERE);
        self.pool.succeed(lease.index(), &HERE);
    }

    fn requests(&mut self, n: usize, fails: impl Fn(u32) -> bool) -> usize {
        (0..n).filter(|_| self.request(&fails)).count()
    }

    fn ready(&self) -> usize {
        ready(&self.pool, self.now)
    }
}

#[test]
fn an_outage_leaves_the_pool_as_it_was() {
    for keys in [1, 2, 3, 5, 50] {
        let mut drill = Drill::new(keys);
        drill.requests(200, |_| false);
        for _ in 0..20 {
            drill.requests(300, |_| true);
            assert_eq!(drill.ready(), keys, "{keys} keys, during the outage");
            drill.requests(1, |_| false);
        }
        assert_eq!(drill.requests(100, |_| false), 100);
        assert_eq!(drill.ready(), keys, "{keys} keys, after it");
    }
}

#[test]
fn a_bad_key_is_found_among_good_ones() {
    for keys in [2, 3, 5, 50] {
        let mut drill = Drill::new(keys);
        drill.requests(4 * keys, |index| index == 1);
        assert_eq!(drill.pool.standing(1, drill.now), Standing::Cooling(secs(60), Some(Reason::Failing)).cut(&drill));
        assert_eq!(drill.ready(), keys - 1, "{keys} keys");
    }
}

#[test]
fn a_bad_key_is_found_after_an_outage_that_hid_it() {
    let mut drill = Drill::new(50);
    drill.requests(5000, |_| true);
    assert_eq!(drill.ready(), 50);
    drill.requests(300, |index| index == 7);
    assert_eq!(drill.ready(), 49);
    assert!(matches!(drill.pool.standing(7, drill.now), Standing::Cooling(..)));
}

#[test]
fn two_bad_keys_of_three_are_found() {
    let mut drill = Drill::new(3);
    drill.requests(100, |index| index != 2);
    assert_eq!(drill.ready(), 1);
    assert!(matches!(drill.pool.standing(2, drill.now), Standing::Ready));
}

#[test]
fn a_prompt_that_always_fails_marks_nothing() {
    for keys in [2, 3, 5] {
        let mut drill = Drill::new(keys);
        for _ in 0..1000 {
            drill.requests(1, |_| true);
            drill.requests(1, |_| false);
        }
        assert_eq!(drill.ready(), keys);
    }
}

#[test]
fn a_provider_that_fails_now_and_then_costs_few_keys() {
    let mut drill = Drill::new(50);
    let mut state = 1_u64;
    let mut least = 50;
    for _ in 0..20_000 {
        // An xorshift: one attempt in twenty fails, whatever the key.
        let mut roll = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.is_multiple_of(20)
        };
        let (first, second) = (roll(), roll());
        let turn = std::cell::Cell::new(0);
        drill.request(&|_| {
            turn.set(turn.get() + 1);
            if turn.get() == 1 { first } else { second }
        });
        least = least.min(drill.ready());
    }
    assert!(least >= 47, "{least}");
}

#[test]
fn failures_of_overlapping_attempts_count_once() {
    let pool = pool(3);
    (0..50).for_each(|_| pool.served(0, &HERE));
    let began = T0;
    for _ in 0..20 {
        pool.fault(0, &HERE, T0.after(secs(1)));
    }
    for _ in 0..20 {
        pool.served(0, &HERE);
        assert_eq!(pool.blame(0, &HERE, began, T0.after(secs(1))), None);
    }
}

#[test]
fn a_wrong_suspicion_is_taken_back() {
    let pool = pool(4);
    let mut now = T0;
    while pool.standing(0, now) == Standing::Ready {
        now = now.after(Duration::from_millis(10));
        pool.fault(0, &HERE, now);
        (0..3).for_each(|_| pool.served(0, &HERE));
        pool.blame(0, &HERE, now, now.after(Duration::from_millis(1)));
        now = now.after(Duration::from_millis(2));
    }
    for index in 1..4 {
        pool.fault(index, &HERE, now);
    }
    assert_eq!(ready(&pool, now), 4, "the circuit proved to be down");
}

#[test]
fn a_suspicion_taken_back_takes_no_certain_mark_with_it() {
    for is_mark_first in [true, false] {
        let pool = pool(4);
        let now = T0.after(secs(1));
        if is_mark_first {
            mark(&pool, 0, cool(30), now);
        }
        for attempt in 1..20 {
            let at = T0.after(Duration::from_millis(attempt));
            pool.fault(0, &HERE, at);
            (0..3).for_each(|_| pool.served(0, &HERE));
            pool.blame(0, &HERE, at, at);
        }
        if !is_mark_first {
            mark(&pool, 0, cool(30), now);
        }
        assert!(pool.explain("m", now)[0].ready_in > Some(secs(58)), "it rests for its failures");
        for index in 1..4 {
            pool.fault(index, &HERE, now);
        }
        assert_eq!(pool.standing(0, now), Standing::Cooling(secs(30), Some(Reason::RateLimited)));
    }
}

#[test]
fn invented_models_leave_no_suspicion_behind() {
    let pool = pool(3);
    for number in 0..1000 {
        pool.fault(0, &Place { model: &format!("invented-{number}"), ..HERE }, T0);
    }
    pool.tidy(T0.after(secs(3600)));
    assert_eq!(pool.checkout("m", T0).unwrap().index(), 0);
    assert_eq!(pool.checkout_other("m".into(), &[1, 2], T0).unwrap().index(), 0);
    assert_eq!(pool.key(0).unwrap().state.runs.load(Relaxed), 0);
}

#[test]
fn models_are_told_apart() {
    let pool = pool(3);
    let other = Place { model: "works", ..HERE };
    let mut now = T0;
    for _ in 0..50 {
        now = now.after(Duration::from_millis(10));
        pool.fault(0, &HERE, now);
        pool.served(0, &other);
        pool.succeed(1, &other);
        pool.blame(0, &HERE, now, now);
    }
    assert_eq!(ready(&pool, now), 3, "that another model works says nothing of this one");
}

trait Cut {
    fn cut(self, drill: &Drill) -> Standing;
}

impl Cut for Standing {
    /// The rest as far as it is still ahead.
    fn cut(self, drill: &Drill) -> Standing {
        match (self, drill.pool.standing(1, drill.now)) {
            (Standing::Cooling(whole, reason), Standing::Cooling(left, _)) if left <= whole => {
                Standing::Cooling(left, reason)
            }
            _ => self,
        }
    }
}

//! One random history: a pool through its generations, the requests that use it, and the reference beside them.

use std::collections::{BTreeMap, HashMap};

use fastrand::Rng;

use super::super::*;
use super::reference::{NEVER, Number, Reference, Subject};

pub(super) const MODELS: [&str; 4] = ["", "m", "n", "o"];
const LISTS: [&[&str]; 5] = [&["m"], &["m", "n"], &["o"], &["*"], &["none of them"]];
const TARGETS: [&str; 2] = ["a.example", "b.example"];

/// One pool, and which key is where in it.
pub(super) struct Generation {
    pub(super) pool: Arc<Pool>,
    pub(super) numbers: Vec<Number>,
    incarnations: Vec<u64>,
}

impl Generation {
    /// The key at a place, unless it is gone.
    pub(super) fn key_present(&self, index: usize, reference: &Reference) -> Option<Number> {
        let key = reference.keys.get(&self.numbers[index])?;
        (key.incarnation == self.incarnations[index]).then(|| self.numbers[index])
    }
}

/// A request under way.
pub(super) struct Attempt {
    pub(super) lease: Lease,
    pub(super) generation: Arc<Generation>,
    pub(super) place: Place<'static>,
}

impl Attempt {
    fn number(&self) -> Number {
        self.generation.numbers[self.lease.index() as usize]
    }

    pub(super) fn incarnation(&self) -> u64 {
        self.generation.incarnations[self.lease.index() as usize]
    }
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: Millis,
    /// All deadlines until then were noticed by the pool.
    pub(super) noticed: Millis,
    pub(super) reference: Reference,
    pub(super) generations: Vec<Arc<Generation>>,
    pub(super) attempts: Vec<Attempt>,
    /// Times that a key went to rest, which bounds the returns.
    pub(super) departures: u64,
    /// How often each incarnation was handed out.
    pub(super) uses: HashMap<u64, u64>,
    incarnations: u64,
    /// Some keys are for some models only.
    has_reserved: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rules = Rules {
            threshold: rng.u32(1..4),
            cooldown: secs(rng.u64(1..100)),
            max_cooldown: secs(rng.u64(60..86_400)),
            permanent: rng.u32(0..4) > 0,
        };
        let mut world = Self {
            rng,
            now: T0,
            noticed: T0,
            reference: Reference::new(rules),
            generations: Vec::new(),
            attempts: Vec::new(),
            departures: 0,
            uses: HashMap::new(),
            incarnations: 0,
            has_reserved: false,
        };
        world.has_reserved = world.rng.u32(0..3) == 0;
        let most = *world.rng.choice([1, 2, 3, 5, 20, 66, 200].iter()).unwrap();
        let keys = world.rng.usize(1..=most);
        let subjects = (0..keys).map(|number| (number, world.subject())).collect();
        world.open(subjects);
        world
    }

    fn subject(&mut self) -> Subject {
        self.incarnations += 1;
        let rng = &mut self.rng;
        let is_reserved = self.has_reserved && rng.u32(0..3) == 0;
        Subject {
            incarnation: self.incarnations,
            priority: if rng.bool() { 0 } else { rng.u32(0..3) },
            is_off: rng.u32(0..20) == 0,
            account: rng.bool().then(|| rng.u8(0..5)),
            egress: rng.bool().then(|| rng.u8(0..3)),
            models: if is_reserved { rng.choice(LISTS).unwrap() } else { &[] },
            ..Subject::default()
        }
    }

    pub(super) fn newest(&self) -> Arc<Generation> {
        self.generations.last().unwrap().clone()
    }

    /// Keys come, go, move, are switched off and on, and change what they belong to.
    pub(super) fn reload(&mut self) {
        let mut subjects = self.reference.keys.clone();
        for _ in 0..self.rng.usize(0..6) {
            let number = self.rng.usize(0..210);
            let new = self.subject();
            let count = subjects.len();
            match (subjects.get_mut(&number), self.rng.u32(0..3)) {
                (None, _) if count < 200 && !self.reference.keys.contains_key(&number) => {
                    subjects.insert(number, new);
                }
                (Some(_), 0) if count > 1 => drop(subjects.remove(&number)),
                (Some(known), 1) => known.is_off = !known.is_off,
                (Some(known), _) => {
                    (known.priority, known.account, known.egress) = (new.priority, new.account, new.egress);
                    known.models = new.models;
                }
                _ => {}
            }
        }
        self.open(subjects);
        if self.generations.len() > 4 {
            self.generations.remove(0);
        }
    }

    fn open(&mut self, subjects: BTreeMap<Number, Subject>) {
        let mut numbers: Vec<_> = subjects.keys().copied().collect();
        self.rng.shuffle(&mut numbers);
        let seed_of = |&number: &Number| {
            let subject = &subjects[&number];
            Seed {
                id: id(number),
                name: number.to_string().into(),
                priority: subject.priority,
                account: subject.account.map(|name| format!("account {name}").into()),
                egress: subject.egress.map(|name| format!("egress {name}").into()),
                limits: None,
                models: subject.models.iter().map(ToString::to_string).collect(),
                is_off: subject.is_off,
            }
        };
        let seeds = numbers.iter().map(seed_of).collect();
        numbers.sort_by_key(|number| subjects[number].priority);
        let before = self.generations.last().map(|generation| generation.pool.clone());
        let pool = Arc::new(Pool::new(seeds, self.reference.rules, self.rng.usize(0..300), before.as_deref()));
        pool.open(before.as_deref(), self.now);
        let incarnations = numbers.iter().map(|number| subjects[number].incarnation).collect();
        self.generations.push(Arc::new(Generation { pool, numbers, incarnations }));
        self.change(|reference| reference.reload(subjects));
        self.noticed = self.now;
    }

    /// Changes the reference, and counts who rests now that did not before.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Reference) -> T) -> T {
        let before: Vec<_> = self.reference.resting(self.now).collect();
        let answer = change(&mut self.reference);
        self.departures += self.reference.resting(self.now).filter(|number| !before.contains(number)).count() as u64;
        answer
    }

    pub(super) fn place(&mut self) -> Place<'static> {
        Place { target: self.rng.choice(TARGETS).unwrap(), model: self.rng.choice(MODELS).unwrap() }
    }

    /// The egress that an attempt used, if it is still there.
    pub(super) fn egress(&self, attempt: &Attempt) -> Option<u8> {
        let pool = &attempt.generation.pool;
        let used = pool.group(pool.key(attempt.lease.index())?.egress)?;
        let newest = self.newest();
        let is_same = newest.pool.groups.iter().any(|group| Arc::ptr_eq(&group.is_served, &used.is_served));
        is_same.then(|| used.name.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// The key that an attempt was made with, unless it is gone.
    pub(super) fn present(&self, attempt: &Attempt) -> Option<Number> {
        attempt.generation.key_present(attempt.lease.index() as usize, &self.reference)
    }

    /// A first attempt: whatever the pool says must be what the reference says.
    pub(super) fn first(&mut self, place: Place<'static>) -> Option<Attempt> {
        let generation = self.newest();
        match generation.pool.checkout(place.model, self.now) {
            Ok(lease) => {
                let attempt = self.handed_out(lease, generation, place);
                let deferred = |number| self.reference.deferred(number, place.model);
                let rank = |number| (deferred(number) > self.now.0, self.reference.keys[&number].priority);
                let is_better = |number: &Number| rank(*number) < rank(attempt.number());
                let is_noticed = |number: &Number| {
                    let is_known = deferred(*number) <= self.noticed.0 || deferred(*number) > self.now.0;
                    is_known && self.reference.until(*number, place.model) <= self.noticed.0
                };
                let better = self.reference.keys.keys().copied().filter(is_better).find(is_noticed);
                assert_eq!(better, None, "a key of lower priority, or with nothing left of a limit, came first");
                Some(attempt)
            }
            Err(exhausted) => {
                assert_eq!(exhausted, self.reference.exhausted(place.model, self.now));
                assert_eq!(self.reference.ready(place.model, self.now).next(), None, "a ready key was not found");
                None
            }
        }
    }

    /// A further attempt with another key, or where `may_repeat` with the same.
    pub(super) fn further(&mut self, before: &[&Attempt], may_repeat: bool) -> Option<Attempt> {
        let (place, generation) = (before[0].place, before[0].generation.clone());
        let tried: Vec<u32> = before.iter().map(|attempt| attempt.lease.index()).collect();
        let lease = match may_repeat {
            true => generation.pool.checkout_again(place.model.into(), &tried, self.now),
            false => generation.pool.checkout_other(place.model.into(), &tried, self.now),
        };
        let is_repeated = lease.as_ref().is_some_and(|lease| tried.contains(&lease.index()));
        assert!(may_repeat || !is_repeated, "handed out again");
        if Arc::ptr_eq(&generation, &self.newest()) && (is_repeated || lease.is_none()) {
            let mut ready = self.reference.ready(place.model, self.now);
            let is_tried = |number: &Number| tried.iter().any(|&index| generation.numbers[index as usize] == *number);
            let left = ready.find(|number| !is_tried(number));
            assert_eq!(left, None, "a ready key was passed over");
        }
        lease.map(|lease| self.handed_out(lease, generation, place))
    }

    fn handed_out(&mut self, lease: Lease, generation: Arc<Generation>, place: Place<'static>) -> Attempt {
        let attempt = Attempt { lease, generation, place };
        *self.uses.entry(attempt.incarnation()).or_default() += 1;
        let Some(number) = self.present(&attempt) else { return attempt };
        let is_newest = Arc::ptr_eq(&attempt.generation, &self.newest());
        let key = &self.reference.keys[&number];
        if is_newest {
            assert!(self.reference.until(number, place.model) <= self.now.0, "key {number} is not ready");
        } else {
            // A request keeps to the keys it began with, but not to their standing.
            let until = key.certain.until.max(key.suspicion.until);
            assert!(until <= self.now.0 && !key.is_disabled, "key {number} is not ready, as an older pool should know");
        }
        attempt
    }

    /// The pool agrees with the reference in everything that can be asked.
    pub(super) fn check(&self) {
        let Generation { pool, numbers, incarnations } = &*self.newest();
        let mut in_flight = HashMap::<u64, u32>::new();
        for attempt in &self.attempts {
            *in_flight.entry(attempt.incarnation()).or_default() += 1;
        }
        for (index, (&number, incarnation)) in (0..).zip(numbers.iter().zip(incarnations)) {
            let key = pool.key(index).unwrap();
            assert_eq!(key.state.in_flight(), in_flight.get(incarnation).copied().unwrap_or(0));
            assert_eq!(key.state.uses(), self.uses.get(incarnation).copied().unwrap_or(0));
            self.check_board(&pool.board, "", index, number);
            for model in MODELS.iter().filter(|model| !model.is_empty()) {
                if let Some(board) = pool.view(model, self.now).board() {
                    self.check_board(&board.board, model, index, number);
                }
            }
        }
        for (reason, rests, disablements) in pool.transitions().by_reason() {
            assert_eq!(rests, self.reference.rests.get(reason.as_str()).copied().unwrap_or(0));
            assert_eq!(disablements, self.reference.disablements.get(reason.as_str()).copied().unwrap_or(0));
        }
        assert!(pool.transitions().returns() <= self.departures, "more keys came back than had left");
    }

    fn check_board(&self, board: &Board, model: &str, index: u32, number: Number) {
        let until = self.reference.until(number, model);
        let is_entered = board.ready.contains(index as usize);
        assert!(!is_entered || until <= self.now.0, "key {number} is entered as ready for {model:?}");
        assert!(is_entered || until > self.noticed.0, "key {number} is ready for {model:?} but not entered");
        let until = until.max(self.reference.deferred(number, model));
        let is_preferred = board.preferred.contains(index as usize);
        assert!(!is_preferred || until <= self.now.0, "key {number} is preferred for {model:?} with nothing left");
        assert!(is_preferred || until > self.noticed.0, "key {number} is not preferred for {model:?} again");
    }

    /// What the pool tells of each key.
    pub(super) fn check_explanations(&self, model: &str) {
        let Generation { pool, numbers, .. } = &*self.newest();
        for (number, explanation) in numbers.iter().zip(pool.explain(model, self.now)) {
            let until = self.reference.until(*number, model);
            let left = (until != NEVER).then(|| Duration::from_millis(until.saturating_sub(self.now.0)));
            assert_eq!(explanation.ready_in, left, "key {number}");
            assert_eq!(explanation.blocked.is_none(), until <= self.now.0, "key {number}");
            let deferred = self.reference.deferred(*number, model).saturating_sub(self.now.0);
            assert_eq!(explanation.deferred, Duration::from_millis(deferred), "key {number}");
        }
    }
}

/// Ids take a while to make.
fn id(number: Number) -> KeyId {
    static IDS: std::sync::LazyLock<Vec<KeyId>> =
        std::sync::LazyLock::new(|| (0..210).map(|number| seed(number).id).collect());
    IDS[number]
}

//! `kill -9` of the whole server at random moments, while operators edit and traffic marks keys: it starts again, no
//! acknowledged change is missing, and marks older than a second are back.
//!
//! `KEYWEIR_SEED=7` makes other choices, `KEYWEIR_TEST_ALL=1` two hundred kills of twenty.

mod editor;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Config, Connection, Keyweir, MockProvider, chat, eventually, try_admin};
use editor::{Editor, SETTINGS, Shown};

/// Marks older than this must be there.
const DURABLE: Duration = Duration::from_secs(1);
/// Longest time a server runs before it is killed, if it need not show anything.
const LIFE_MS: u64 = 1500;

/// The keys that rules have marked, by name.
#[derive(Default)]
struct Marks(BTreeMap<String, Seen>);

struct Seen {
    since: Instant,
    state: Value,
    reason: Value,
    /// When it rests no longer; never = disabled.
    until: Option<Instant>,
}

impl Marks {
    fn look(&mut self, keys: &Value) {
        let now = Instant::now();
        let marked = |key: &&Value| key["state"] != "ready" && key["reason"] != "operator";
        for key in keys["items"].as_array().unwrap().iter().filter(marked) {
            let until = key["back_in"].as_f64().map(|left| now + Duration::from_secs_f64(left));
            let (state, reason) = (key["state"].clone(), key["reason"].clone());
            let seen = self.0.entry(key["name"].as_str().unwrap().to_owned());
            seen.or_insert(Seen { since: now, state, reason, until });
        }
    }

    fn is_ripe(&self, is_long: bool) -> bool {
        !is_long || self.0.values().any(|seen| seen.since.elapsed() > DURABLE)
    }

    /// Those that must outlive a crash at this moment.
    fn durable_at(mut self, killed: Instant) -> Self {
        self.0.retain(|_, seen| seen.since + DURABLE < killed);
        self
    }

    fn expect(&self, keyweir: &Keyweir) {
        let before = Instant::now();
        let keys = keyweir.admin("GET", KEYS).json();
        let still = |seen: &Seen| seen.until.is_none_or(|until| until > before + DURABLE);
        for (name, seen) in self.0.iter().filter(|(_, seen)| still(seen)) {
            let key = keys["items"].as_array().unwrap().iter().find(|key| key["name"] == name.as_str()).unwrap();
            assert_eq!((&key["state"], &key["reason"]), (&seen.state, &seen.reason), "the mark of {name} is lost");
        }
    }
}

const KEYS: &str = "/api/v1/pools/p/keys?limit=1000";

fn server() -> (MockProvider, Keyweir) {
    let mock = MockProvider::start();
    let of = |kind: &str, count: u32| (0..count).map(|number| format!("sk-{kind}-{number}")).collect::<Vec<_>>();
    // Fewer refused than half of all, or the provider is blamed.
    // Each edit begins anew with the first key.
    let keys = [of("429", 20), of("401", 5), of("ok", 20)].concat();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let keyweir = Config::pool(&mock, &keys).top("default_pool: p").log("access: \"off\"").start();
    (mock, keyweir)
}

/// Clients ask until the server is gone.
fn ask_on(keyweir: &Keyweir) {
    while let Some(mut connection) = Connection::try_open(keyweir.proxy) {
        connection.send(chat(&json!({})));
        match connection.try_response() {
            Some(answer) if answer.is_complete => assert_eq!(answer.status, 200, "{}", answer.text()),
            _ => break,
        }
    }
}

/// Edits and asks for so long (a long life: until there are marks that must last, at least), then kills; what must be back.
fn live_and_die(keyweir: &Keyweir, editors: &mut [Editor], life: Duration, is_long: bool) -> Marks {
    let reset = keyweir.admin_json("POST", "/api/v1/pools/p/keys/bulk", &json!({"action": "reset", "filter": {}}));
    assert_eq!(reset.status, 200, "{}", reset.text());
    let (begun, mut marks) = (Instant::now(), Marks::default());
    let killed = thread::scope(|scope| {
        for editor in editors {
            scope.spawn(|| editor.edit_on(keyweir.admin));
        }
        (0..2).for_each(|_| drop(scope.spawn(|| ask_on(keyweir))));
        eventually("the moment", || {
            let keys = try_admin(keyweir.admin, "GET", KEYS, &Value::Null);
            marks.look(&keys.expect("nobody killed it yet").json());
            marks.is_ripe(is_long) && begun.elapsed() > life
        });
        let killed = Instant::now();
        keyweir.signal("KILL");
        killed
    });
    marks.durable_at(killed)
}

#[test]
fn what_was_acknowledged_survives_kill_9_of_the_server() {
    let rounds = if std::env::var_os("KEYWEIR_TEST_ALL").is_some() { 200 } else { 20 };
    let seed = std::env::var("KEYWEIR_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut rng = fastrand::Rng::with_seed(seed);
    let (_mock, mut keyweir) = server();
    let mut editors = [Editor::new("a", SETTINGS[0], rng.u64(..)), Editor::new("b", SETTINGS[1], rng.u64(..))];
    let mut proven = 0;
    for round in 0..rounds {
        let life = Duration::from_millis(rng.u64(50..LIFE_MS));
        let marks = live_and_die(&keyweir, &mut editors, life, round % 2 == 1);
        keyweir.wait();
        // Some die again before they are up.
        while rng.u32(0..4) == 0 {
            keyweir.start_and_kill(Duration::from_millis(rng.u64(0..400)));
        }
        keyweir.restart();
        eprintln!("round {round} of seed {seed}: lived {life:?}, {} marks must be back", marks.0.len());
        let shown = Shown::by(&keyweir);
        editors.iter_mut().for_each(|editor| editor.compare(&shown));
        marks.expect(&keyweir);
        assert!(keyweir.admin("GET", "/readyz?verbose").text().contains("[+]store ok"), "{}", keyweir.log());
        proven += marks.0.len();
    }
    assert!(proven > 0, "no round lasted long enough to tell anything of marks");
    assert!(editors.iter().all(|editor| editor.acknowledged > rounds), "hardly anything was edited");
}

//! An operator who edits at random and remembers what was acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::{Keyweir, try_admin};

/// Something an operator makes or sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    Key(String),
    Token(String),
    Pool(String),
    Setting(&'static str),
}

/// Everything the server shows that an editor may have made, each with its id; what is not there is not shown.
pub(super) struct Shown(BTreeMap<Thing, (Value, String)>);

/// Things with what the server must show of them; null = it is not there.
pub(super) struct Editor {
    /// All its things begin with this.
    name: &'static str,
    setting: &'static str,
    rng: fastrand::Rng,
    things: BTreeMap<Thing, Value>,
    ids: BTreeMap<Thing, String>,
    /// Removed keys, as they were: they can be brought back.
    removed: BTreeMap<Thing, Value>,
    /// The change nobody knows of whether it was made: its answer never came.
    doubt: Option<(Thing, Value)>,
    made: u32,
    pub(super) acknowledged: u32,
}

/// A change, and what it leaves.
struct Edit {
    method: &'static str,
    path: String,
    body: Value,
    thing: Thing,
    after: Value,
}

impl Shown {
    pub(super) fn by(keyweir: &Keyweir) -> Self {
        let get = |path: &str| {
            let answer = keyweir.admin("GET", path);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            answer.json()
        };
        let mut shown = BTreeMap::new();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for key in get("/api/v1/pools/p/keys?limit=1000")["items"].as_array().unwrap() {
            let is_off = key["state"] == "disabled" && key["reason"] == "operator";
            let seen = json!({"note": key["note"], "off": is_off});
            shown.insert(Thing::Key(text(&key["name"])), (seen, text(&key["id"])));
        }
        for token in get("/api/v1/tokens?limit=1000")["items"].as_array().unwrap() {
            shown.insert(Thing::Token(text(&token["name"])), (token["rpm"].clone(), text(&token["id"])));
        }
        for pool in get("/api/v1/pools?limit=1000")["items"].as_array().unwrap() {
            shown.insert(Thing::Pool(text(&pool["name"])), (true.into(), text(&pool["name"])));
        }
        let settings = get("/api/v1/pools/p/settings");
        for setting in SETTINGS {
            let field = &settings["settings"][setting];
            if field["origin"] == "console" {
                shown.insert(Thing::Setting(setting), (field["value"].clone(), String::new()));
            }
        }
        Self(shown)
    }
}

/// What the editors set: nothing that requests would notice.
pub(super) const SETTINGS: [&str; 2] = ["retry.key_attempts", "wait.queue"];

impl Editor {
    pub(super) fn new(name: &'static str, setting: &'static str, seed: u64) -> Self {
        Self {
            name,
            setting,
            rng: fastrand::Rng::with_seed(seed),
            things: BTreeMap::new(),
            ids: BTreeMap::new(),
            removed: BTreeMap::new(),
            doubt: None,
            made: 0,
            acknowledged: 0,
        }
    }

    /// Edits until the server is gone.
    pub(super) fn edit_on(&mut self, server: SocketAddr) {
        loop {
            let edit = self.next();
            let Some(answer) = try_admin(server, edit.method, &edit.path, &edit.body) else {
                self.doubt = Some((edit.thing, edit.after));
                return;
            };
            let (method, path) = (edit.method, &edit.path);
            assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
            let told = if answer.body.is_empty() { Value::Null } else { answer.json() };
            if let Some(id) = told["ids"][0].as_str().or(told["id"].as_str()) {
                self.ids.insert(edit.thing.clone(), id.to_owned());
            }
            self.things.insert(edit.thing, edit.after);
            self.acknowledged += 1;
        }
    }

    /// Holds what it knows against what the server shows; what was in doubt is known afterwards.
    pub(super) fn compare(&mut self, shown: &Shown) {
        let doubt = self.doubt.take();
        if let Some((thing, _)) = &doubt {
            self.things.entry(thing.clone()).or_insert(Value::Null);
        }
        for (thing, fact) in &mut self.things {
            let found = shown.0.get(thing);
            let value = found.map_or(&Value::Null, |(value, _)| value);
            match &doubt {
                Some((doubted, after)) if doubted == thing => {
                    assert!(value == fact || value == after, "{thing:?} is {value}, neither {fact} nor {after}");
                }
                _ => assert_eq!(value, fact, "{thing:?}; in doubt was {doubt:?}"),
            }
            *fact = value.clone();
            if let Some((_, id)) = found {
                self.ids.insert(thing.clone(), id.clone());
            }
        }
        for thing in shown.0.keys() {
            let (Thing::Key(name) | Thing::Token(name) | Thing::Pool(name)) = thing else { continue };
            assert!(!name.starts_with(self.name) || self.things.contains_key(thing), "nobody made {thing:?}");
        }
    }

    fn next(&mut self) -> Edit {
        loop {
            let edit = match self.rng.u32(0..12) {
                0..3 => Some(self.add_key()),
                3 => self.note(),
                4 => self.switch(),
                5 => self.remove(),
                6 => self.restore(),
                7 => Some(self.add_token()),
                8 => self.change_token(),
                9 => self.revoke(),
                10 => Some(self.set()),
                _ => Some(self.add_or_remove_pool()),
            };
            if let Some(edit) = edit {
                return edit;
            }
        }
    }

    fn new_name(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.name, self.made)
    }

    /// One of its things of that kind which is there.
    fn pick(&mut self, fits: fn(&Thing) -> bool) -> Option<(Thing, Value)> {
        let there: Vec<_> = self.things.iter().filter(|(thing, value)| fits(thing) && !value.is_null()).collect();
        self.rng.choice(there).map(|(thing, value)| (thing.clone(), value.clone()))
    }

    fn key(&mut self) -> Option<(Thing, Value)> {
        self.pick(|thing| matches!(thing, Thing::Key(_)))
    }

    fn path(&self, thing: &Thing, after: &str) -> String {
        let kind = if matches!(thing, Thing::Key(_)) { "keys" } else { "tokens" };
        format!("/api/v1/{kind}/{}{after}", self.ids[thing])
    }

    fn add_key(&mut self) -> Edit {
        let name = self.new_name();
        let note = self.rng.u32(..).to_string();
        Edit {
            method: "POST",
            path: "/api/v1/pools/p/keys".into(),
            body: json!({"key": format!("sk-ok-{name}"), "name": name, "note": note}),
            thing: Thing::Key(name),
            after: json!({"note": note, "off": false}),
        }
    }

    fn note(&mut self) -> Option<Edit> {
        let (thing, mut after) = self.key()?;
        after["note"] = self.rng.u32(..).to_string().into();
        Some(Edit { method: "PATCH", path: self.path(&thing, ""), body: json!({"note": after["note"]}), thing, after })
    }

    fn switch(&mut self) -> Option<Edit> {
        let (thing, mut after) = self.key()?;
        let is_off = after["off"] == true;
        after["off"] = (!is_off).into();
        let verb = if is_off { "/enable" } else { "/disable" };
        Some(Edit { method: "POST", path: self.path(&thing, verb), body: json!({}), thing, after })
    }

    fn remove(&mut self) -> Option<Edit> {
        let (thing, was) = self.key()?;
        self.removed.insert(thing.clone(), was);
        Some(Edit { method: "DELETE", path: self.path(&thing, ""), body: json!({}), thing, after: Value::Null })
    }

    fn restore(&mut self) -> Option<Edit> {
        let gone: Vec<_> = self.removed.iter().filter(|(thing, _)| self.things[*thing].is_null()).collect();
        let (thing, after) = self.rng.choice(gone).map(|(thing, was)| (thing.clone(), was.clone()))?;
        Some(Edit { method: "POST", path: self.path(&thing, "/restore"), body: json!({}), thing, after })
    }

    fn add_token(&mut self) -> Edit {
        let (name, rpm) = (self.new_name(), self.rng.u32(1..1000));
        Edit {
            method: "POST",
            path: "/api/v1/tokens".into(),
            body: json!({"name": name, "rpm": rpm}),
            thing: Thing::Token(name),
            after: rpm.into(),
        }
    }

    fn token(&mut self) -> Option<Thing> {
        Some(self.pick(|thing| matches!(thing, Thing::Token(_)))?.0)
    }

    fn change_token(&mut self) -> Option<Edit> {
        let (thing, rpm) = (self.token()?, self.rng.u32(1..1000));
        let path = self.path(&thing, "");
        Some(Edit { method: "PATCH", path, body: json!({"rpm": rpm}), thing, after: rpm.into() })
    }

    fn revoke(&mut self) -> Option<Edit> {
        let thing = self.token()?;
        Some(Edit { method: "DELETE", path: self.path(&thing, ""), body: json!({}), thing, after: Value::Null })
    }

    fn set(&mut self) -> Edit {
        let value = if self.rng.u32(0..4) == 0 { Value::Null } else { self.rng.u32(32..1000).into() };
        Edit {
            method: "PUT",
            path: "/api/v1/pools/p/settings".into(),
            body: json!({self.setting: value}),
            thing: Thing::Setting(self.setting),
            after: value,
        }
    }

    /// One pool at a time: each is another with everything a pool has.
    fn add_or_remove_pool(&mut self) -> Edit {
        if let Some((thing, _)) = self.pick(|thing| matches!(thing, Thing::Pool(_))) {
            let Thing::Pool(name) = &thing else { panic!("a pool was asked for") };
            let path = format!("/api/v1/pools/{name}");
            return Edit { method: "DELETE", path, body: json!({}), thing, after: Value::Null };
        }
        let name = self.new_name();
        Edit {
            method: "POST",
            path: "/api/v1/pools".into(),
            body: json!({"name": name, "targets": [{"url": "http://127.0.0.1:9/v1"}]}),
            thing: Thing::Pool(name),
            after: true.into(),
        }
    }
}

//! What is acknowledged is there, whole or not at all, with its line in the audit.

use super::*;

#[test]
fn keys_are_added_changed_removed_and_restored() {
    for home in Home::all() {
        let store = home.open();
        let named =
            NewKey { name: Some("alice-1".into()), details: r#"{"weight":2}"#.into(), ..new_key("pool", "sk-1") };
        let twice = vec![named, new_key("pool", "sk-2"), new_key("pool", "sk-1"), new_key("other", "sk-1")];
        let added = block_on(store.add_keys(twice, audit("keys.import"))).unwrap();
        assert_eq!(added, [id("sk-1"), id("sk-2"), KeyId::of("other", "sk-1")]);
        let again = vec![new_key("pool", "sk-2"), new_key("pool", "sk-3")];
        assert_eq!(block_on(store.add_keys(again, audit("keys.import"))).unwrap(), [id("sk-3")]);

        let change = KeyChange { id: id("sk-2"), name: Some("bob".into()), details: r#"{"weight":9}"#.into() };
        block_on(store.update_keys(vec![change.clone()], audit("keys.update"))).unwrap();
        let gone = vec![id("sk-1"), id("sk-3"), id("unknown")];
        let mut removed = block_on(store.remove_keys(gone, audit("keys.remove"))).unwrap();
        removed.sort();
        let mut expected = [id("sk-1"), id("sk-3")];
        expected.sort();
        assert_eq!(removed, expected);
        let lost = KeyChange { id: id("sk-3"), ..change };
        let refused = block_on(store.update_keys(vec![lost], audit("keys.update"))).unwrap_err();
        assert!(matches!(refused, StoreError::NotFound(_)), "{refused}");
        let back = block_on(store.restore_keys(vec![id("sk-1"), id("sk-2")], audit("keys.restore"))).unwrap();
        assert_eq!(back, [id("sk-1")], "only what was removed is restored");

        // As a restarted server finds it.
        store.close().unwrap();
        let store = home.open();
        let mut keys = store.load_blocking().unwrap().keys;
        keys.sort_by_key(|key| key.key.expose().to_owned() + &key.pool);
        let seen: Vec<_> = keys
            .iter()
            .map(|key| (&*key.pool, key.key.expose(), key.name.as_deref(), &*key.details, key.removed_at.is_some()))
            .collect();
        assert_eq!(
            seen,
            [
                ("other", "sk-1", None, "{}", false),
                ("pool", "sk-1", Some("alice-1"), r#"{"weight":2}"#, false),
                ("pool", "sk-2", Some("bob"), r#"{"weight":9}"#, false),
                ("pool", "sk-3", None, "{}", true),
            ]
        );
        // A removed key that is added anew is a key again.
        assert_eq!(block_on(store.add_keys(vec![new_key("pool", "sk-3")], audit("x"))).unwrap(), [id("sk-3")]);
        assert!(store.load_blocking().unwrap().keys.iter().all(|key| key.removed_at.is_none()));
    }
}

#[test]
fn a_write_that_fails_leaves_nothing_not_even_its_audit() {
    for home in Home::all() {
        let store = home.open();
        let long = "x".repeat(70_000);
        let bad = NewKey { details: long.clone(), ..new_key("pool", "sk-2") };
        let refused = block_on(store.add_keys(vec![new_key("pool", "sk-1"), bad], audit("keys.import"))).unwrap_err();
        assert!(matches!(refused, StoreError::Invalid(_)), "{refused}");
        let nul = NewKey { name: Some("a\0b".into()), ..new_key("pool", "sk-1") };
        assert!(matches!(block_on(store.add_keys(vec![nul], audit("x"))), Err(StoreError::Invalid(_))));
        let two_lines = new_key("pool", "sk-1\nsk-2");
        assert!(matches!(block_on(store.add_keys(vec![two_lines], audit("x"))), Err(StoreError::Invalid(_))));
        assert!(store.load_blocking().unwrap().keys.is_empty());
        assert!(block_on(store.audit(AuditFilter::default(), None, 10)).unwrap().rows.is_empty());
        assert!(store.status().down.is_none(), "a wrong request is no outage");
    }
}

#[test]
fn pools_and_their_settings_come_and_go() {
    for home in Home::all() {
        let store = home.open();
        block_on(store.add_pool("new".into(), r#"{"provider":"openai"}"#.into(), audit("pools.add"))).unwrap();
        let twice = block_on(store.add_pool("new".into(), "{}".into(), audit("pools.add"))).unwrap_err();
        assert_eq!(twice, StoreError::Conflict("pool new".into()));
        let none = block_on(store.update_pool("none".into(), "{}".into(), audit("pools.update"))).unwrap_err();
        assert_eq!(none, StoreError::NotFound("stored pool none".into()));
        block_on(store.update_pool("new".into(), r#"{"enabled":false}"#.into(), audit("pools.update"))).unwrap();
        let changes = vec![("retry.attempts".into(), Some("5".into())), ("wait.max".into(), Some("\"1s\"".into()))];
        block_on(store.set_settings("new".into(), changes, audit("settings"))).unwrap();
        let changes = vec![("log.level".into(), Some("\"debug\"".into()))];
        block_on(store.set_settings(String::new(), changes, audit("settings"))).unwrap();
        block_on(store.set_settings("new".into(), vec![("wait.max".into(), None)], audit("settings"))).unwrap();
        block_on(store.add_keys(vec![new_key("new", "sk-1"), new_key("pool", "sk-1")], audit("x"))).unwrap();
        let snapshot = store.load_blocking().unwrap();
        assert_eq!(snapshot.pools[0].settings, r#"{"enabled":false}"#);
        let mut settings: Vec<_> = snapshot.settings.iter().map(|set| (&*set.scope, &*set.path, &*set.value)).collect();
        settings.sort_unstable();
        assert_eq!(settings, [("", "log.level", "\"debug\""), ("new", "retry.attempts", "5")]);

        block_on(store.remove_pool("new".into(), audit("pools.remove"))).unwrap();
        let snapshot = store.load_blocking().unwrap();
        assert!(snapshot.pools.is_empty());
        assert_eq!(snapshot.settings.len(), 1);
        for key in snapshot.keys {
            assert_eq!(key.removed_at.is_some(), key.pool == "new");
        }
    }
}

#[test]
fn tokens_are_kept_as_digests_and_their_names_are_unique() {
    for home in Home::all() {
        let store = home.open();
        let digest = Secret::new("kw-secret".into()).digest();
        let new = |name: &str| StoredToken::new(name.into(), digest, r#"{"rpm":60}"#.into()).unwrap();
        let (token, other) = (new("ci"), new("CI"));
        block_on(store.add_token(token.clone(), audit("tokens.add"))).unwrap();
        assert!(matches!(block_on(store.add_token(new("ci"), audit("x"))), Err(StoreError::Conflict(_))));
        block_on(store.add_token(other.clone(), audit("tokens.add"))).unwrap();
        let taken = TokenChange { id: other.id.clone(), name: "ci".into(), details: "{}".into() };
        assert!(matches!(block_on(store.update_token(taken, audit("x"))), Err(StoreError::Conflict(_))));
        let change = TokenChange { id: token.id.clone(), name: "ci".into(), details: r#"{"rpm":9}"#.into() };
        block_on(store.update_token(change, audit("tokens.update"))).unwrap();
        block_on(store.remove_token(other.id.clone(), audit("tokens.remove"))).unwrap();
        assert!(matches!(block_on(store.remove_token(other.id, audit("x"))), Err(StoreError::NotFound(_))));
        block_on(store.set_admin_token(digest, audit("x"))).unwrap();
        let admin = Secret::new("kwa-other".into()).digest();
        block_on(store.set_admin_token(admin, audit("x"))).unwrap();

        let snapshot = store.load_blocking().unwrap();
        assert_eq!(snapshot.tokens.len(), 1);
        assert_eq!((snapshot.tokens[0].digest, &*snapshot.tokens[0].details), (digest, r#"{"rpm":9}"#));
        assert_eq!(snapshot.admin_token, Some(admin));
    }
}

#[test]
fn the_audit_tells_who_did_what_in_pages() {
    for home in Home::all() {
        let store = home.open();
        for number in 0..5 {
            let actor = if number == 3 { "bob" } else { "alice" };
            let entry = Audit {
                actor: actor.into(),
                address: Some([127, 0, 0, 1].into()),
                action: "keys.add".into(),
                subject: format!("key {number}"),
                details: "{}".into(),
            };
            block_on(store.add_keys(vec![new_key("pool", &format!("sk-{number}"))], entry)).unwrap();
        }
        block_on(store.note(audit("keys.export"))).unwrap();
        let page = |filter: AuditFilter, before| block_on(store.audit(filter, before, 2)).unwrap();
        let adds = || AuditFilter { action: Some("keys.add".into()), ..AuditFilter::default() };
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = page(adds(), before);
            seen.extend(page.rows.into_iter().map(|row| row.subject));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["key 4", "key 3", "key 2", "key 1", "key 0"]);
        let bobs = page(AuditFilter { actor: Some("bob".into()), ..adds() }, None).rows;
        assert_eq!((bobs.len(), &*bobs[0].address), (1, "127.0.0.1"));
        assert!(bobs[0].at > 1_600_000_000_000);
    }
}

#[test]
fn an_operators_mark_beats_the_journals_older_one() {
    for home in Home::all() {
        let store = home.open();
        store.journal().mark(id("a"), Subject::Own, rest(1000));
        let off = Mark { until: None, by: "operator".into(), reason: "operator".into(), ..rest(0) };
        block_on(store.set_marks(vec![(id("a"), Subject::Own, Some(off.clone()))], audit("keys.disable"))).unwrap();
        block_on(store.flush()).unwrap();
        assert_eq!(block_on(store.marks()).unwrap()[0].mark, off);
        store.journal().mark(id("a"), Subject::Own, rest(2000));
        block_on(store.set_marks(vec![(id("a"), Subject::Own, None)], audit("keys.reset"))).unwrap();
        block_on(store.flush()).unwrap();
        assert!(block_on(store.marks()).unwrap().is_empty());
    }
}

#[test]
fn methods_can_be_called_from_any_runtime_at_once() {
    for home in Home::all() {
        let store = home.open();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    for number in 0..10 {
                        let key = new_key("pool", &format!("sk-{thread}-{number}"));
                        assert_eq!(block_on(store.add_keys(vec![key], audit("x"))).unwrap().len(), 1);
                    }
                });
            }
        });
        assert_eq!(store.load_blocking().unwrap().keys.len(), 80);
    }
}

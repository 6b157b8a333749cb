//! What the data path hands over arrives, added up and in order, without anybody waiting.

use super::*;
use crate::store::text::{HOUR, now};

#[test]
fn a_mark_is_kept_within_a_second_and_the_newest_counts() {
    for home in Home::all() {
        let store = home.open();
        let journal = store.journal();
        for until in 0..1000 {
            journal.mark(id("a"), Subject::Own, rest(until));
        }
        journal.mark(id("a"), Subject::Model("qwen/Max".into()), rest(7));
        journal.mark(id("a"), Subject::Model("qwen/max".into()), rest(8));
        journal.mark(id("a"), Subject::Account("alice".into()), Mark { until: None, ..rest(0) });
        journal.mark(id("b"), Subject::Own, rest(9));
        // Without a flush, the writer comes by itself.
        eventually("the journal is written", || store.status().pending == Pending::default());
        let mut marks = block_on(store.marks()).unwrap();
        marks.retain(|mark| mark.key == id("a"));
        marks.sort_by_key(|mark| mark.mark.until);
        let seen: Vec<_> =
            marks.iter().map(|mark| (mark.subject.clone(), mark.mark.until.map(|until| until - LATER))).collect();
        assert_eq!(
            seen,
            [
                (Subject::Account("alice".into()), None),
                (Subject::Model("qwen/Max".into()), Some(7)),
                (Subject::Model("qwen/max".into()), Some(8)),
                (Subject::Own, Some(999)),
            ]
        );
        assert_eq!(marks[3].mark, rest(999));

        journal.unmark(id("a"), Subject::Own);
        journal.unmark(id("never"), Subject::Own);
        block_on(store.flush()).unwrap();
        assert_eq!(block_on(store.marks()).unwrap().len(), 4);
    }
}

#[test]
fn counts_add_up_over_flushes_and_restarts() {
    for home in Home::all() {
        let hour = now() / HOUR * HOUR - HOUR;
        for round in 0..3 {
            let store = home.open();
            let journal = store.journal();
            for _ in 0..10 {
                journal.count(hour, "pool", id("a"), "m1", one(1));
                journal.count(hour + HOUR - 1, "pool", id("a"), "m2", one(2));
                journal.count(hour + HOUR, "other", id("b"), "m1", one(3));
                journal.count_token(hour, "ci", one(1));
            }
            if round == 1 {
                block_on(store.flush()).unwrap();
                journal.count(hour, "pool", id("a"), "m1", one(5));
            }
            store.close().unwrap();
        }
        let store = home.open();
        let ask = |by, pool: Option<&str>| {
            let filter = CounterFilter {
                from: hour,
                to: hour + 2 * HOUR,
                pool: pool.map(Into::into),
                key: None,
                model: None,
                by,
            };
            let sums = block_on(store.counters(filter)).unwrap();
            sums.into_iter().map(|sum| (sum.hour - hour, sum.name, sum.key, sum.sum.requests)).collect::<Vec<_>>()
        };
        let none = String::new;
        assert_eq!(ask(By::Hour, None), [(0, none(), None, 95), (HOUR, none(), None, 90)]);
        assert_eq!(ask(By::Model, Some("pool")), [(0, "m1".into(), None, 35), (0, "m2".into(), None, 60)]);
        assert_eq!(ask(By::Pool, None), [(0, "pool".into(), None, 95), (HOUR, "other".into(), None, 90)]);
        assert_eq!(ask(By::Key, None), [(0, none(), Some(id("a")), 95), (HOUR, none(), Some(id("b")), 90)]);
        let of_keys = |from| {
            let found = block_on(store.key_use(vec![id("a"), id("b"), id("c")], from)).unwrap();
            let mut found: Vec<_> = found.into_iter().map(|(key, sum)| (key, sum.requests)).collect();
            found.sort_unstable_by_key(|(_, requests)| *requests);
            found
        };
        assert_eq!(of_keys(hour), [(id("b"), 90), (id("a"), 95)]);
        assert_eq!(of_keys(hour + HOUR), [(id("b"), 90)]);
        assert!(block_on(store.key_use(Vec::new(), hour)).unwrap().is_empty());
        let one_model = CounterFilter {
            from: 0,
            to: i64::MAX,
            pool: None,
            key: Some(id("a")),
            model: Some("m2".into()),
            by: By::Hour,
        };
        let sum = block_on(store.counters(one_model)).unwrap()[0].sum;
        let expected =
            Use { requests: 60, failures: 30, prompt_tokens: 300, completion_tokens: 600, duration_ms: 150, cost: 0 };
        assert_eq!(sum, expected);
        assert_eq!(block_on(store.token_use("ci".into(), hour)).unwrap()[0].sum.requests, 30);
        assert!(block_on(store.token_use("ci".into(), hour + HOUR)).unwrap().is_empty());
    }
}

fn request(number: i64) -> Request {
    Request {
        at: now() - 1_000_000 + number,
        request_id: format!("req-{number}"),
        pool: if number % 2 == 0 { "even" } else { "odd" }.into(),
        key: Some(id("a")),
        key_name: "alice".into(),
        token: "ci".into(),
        client: "127.0.0.1".into(),
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        model: "qwen".into(),
        status: if number % 10 == 0 { 502 } else { 200 },
        outcome: "ok".into(),
        attempts: 2,
        trail: r#"[{"key":"alice"}]"#.into(),
        duration_ms: 12,
        first_byte_ms: Some(3),
        bytes_in: 100,
        bytes_out: 200,
        prompt_tokens: None,
        completion_tokens: Some(7),
        body: (number == 5).then(|| b"{\"model\":\"qwen\"}\0\xff".to_vec()),
    }
}

#[test]
fn requests_are_listed_by_page_and_filter() {
    for home in Home::all() {
        let store = home.open();
        (0..50).for_each(|number| store.journal().log(request(number)));
        block_on(store.flush()).unwrap();
        let list = |filter: &RequestFilter, limit| {
            let (mut seen, mut before) = (Vec::new(), None);
            loop {
                let page = block_on(store.requests(filter.clone(), before, limit)).unwrap();
                seen.extend(page.rows.into_iter().map(|row| row.request.request_id));
                // Rows that come meanwhile don't move the pages.
                store.journal().log(Request { pool: "late".into(), at: now(), ..request(99) });
                block_on(store.flush()).unwrap();
                before = page.next;
                if before.is_none() {
                    return seen;
                }
            }
        };
        let even = RequestFilter { pool: Some("even".into()), ..RequestFilter::default() };
        let expected: Vec<String> = (0..50).rev().step_by(2).map(|number| format!("req-{}", number - 1)).collect();
        assert_eq!(list(&even, 7), expected);
        let failed = RequestFilter { status: Some((500, 599)), key: Some(id("a")), ..RequestFilter::default() };
        let failed: Vec<String> = list(&failed, 100).into_iter().filter(|id| id != "req-99").collect();
        assert_eq!(failed, ["req-40", "req-30", "req-20", "req-10", "req-0"]);
        let nobody = RequestFilter { token: Some("nobody".into()), ..RequestFilter::default() };
        assert!(list(&nobody, 10).is_empty());
        let text = |text: &str| RequestFilter { text: Some(text.into()), ..RequestFilter::default() };
        assert_eq!(list(&text("req-49"), 10), ["req-49"]);
        assert!(list(&text("req_49"), 10).is_empty() && list(&text("%"), 10).is_empty(), "no wildcards");
        assert_eq!(list(&text("REQ-49"), 10), ["req-49"], "the case of letters is nothing");
        let one = RequestFilter { request_id: Some("req-7".into()), ..RequestFilter::default() };
        assert_eq!(list(&one, 10), ["req-7"]);
        let tried = Request { trail: r#"[{"key":"b\"%","ms":1}]"#.into(), request_id: "tried".into(), ..request(1) };
        store.journal().log(Request { key_name: "else".into(), ..tried });
        block_on(store.flush()).unwrap();
        for (name, expected) in [("b\"%", vec!["tried"]), ("b\"", vec![]), ("else", vec!["tried"])] {
            let filter = RequestFilter { key_name: Some(name.into()), ..RequestFilter::default() };
            assert_eq!(list(&filter, 10), expected, "{name}");
        }
        let last = block_on(store.requests(RequestFilter::default(), None, 1)).unwrap().rows[0].request.at;
        let past = RequestFilter { until: Some(last - 500_000), since: Some(last - 1_100_000), ..even };
        assert_eq!(list(&past, 100).len(), 25);

        let found = block_on(store.request("req-5".into())).unwrap();
        let expected = request(5);
        let [LoggedRequest { request: seen, .. }] = &found[..] else { panic!("{found:?}") };
        assert_eq!(seen.body, expected.body);
        assert_eq!((seen.key, &seen.trail, seen.status), (expected.key, &expected.trail, expected.status));
        assert_eq!((seen.first_byte_ms, seen.prompt_tokens, seen.completion_tokens), (Some(3), None, Some(7)));
    }
}

#[test]
fn rows_beyond_the_bound_are_dropped_and_counted() {
    let home = Home::sqlite();
    // No writer takes anything away: the database can't be opened.
    std::fs::create_dir(home.file()).unwrap();
    let store = home.open();
    (0..20_010).for_each(|number| store.journal().log(request(number)));
    let status = store.status();
    assert_eq!(status.pending.requests as u64 + status.dropped, 20_010);
    assert!(status.dropped >= 10 && status.pending.requests <= 20_000, "{status:?}");
}

#[test]
fn strange_texts_hold_up_nothing() {
    for home in Home::all() {
        let store = home.open();
        let journal = store.journal();
        let long = "ä".repeat(10_000);
        journal.mark(id("a"), Subject::Model(long.as_str().into()), rest(1));
        journal.mark(id("a"), Subject::Model("nul\0".into()), rest(1));
        journal.mark(id("a"), Subject::Own, Mark { evidence: long.clone() + "\0", reason: long.clone(), ..rest(1) });
        journal.count(now(), &long, id("a"), &long, one(1));
        journal.count(now(), "po\0ol", id("a"), "'; DROP TABLE marks; --", one(1));
        journal.count_token(now(), &long, one(1));
        let strange =
            Request { path: long.clone(), model: "\0".into(), trail: "<script>\u{10ffff}".into(), ..request(1) };
        journal.log(Request { request_id: long.clone(), body: Some(vec![0; 1 << 20]), ..strange });
        block_on(store.flush()).unwrap();
        let status = store.status();
        assert_eq!((status.pending, status.dropped), (Pending::default(), 3), "names that can't be kept are counted");
        assert_eq!(block_on(store.marks()).unwrap().len(), 1);
        let page = block_on(store.requests(RequestFilter::default(), None, 10)).unwrap();
        assert_eq!(page.rows[0].request.path.chars().count(), 8192);
        let filter = CounterFilter { from: 0, to: i64::MAX, pool: None, key: None, model: None, by: By::Model };
        let models: Vec<String> = block_on(store.counters(filter)).unwrap().into_iter().map(|sum| sum.name).collect();
        assert_eq!(models, ["", "'; DROP TABLE marks; --"]);
    }
}

#[test]
fn a_rest_long_over_is_forgotten_and_an_operators_word_is_not() {
    for home in Home::all() {
        let store = home.open();
        let until = Some(now() - 40 * 24 * HOUR);
        let marks = ["rule", "operator"].map(|by| (id(by), Mark { until, by: by.into(), ..rest(1) }));
        marks.into_iter().for_each(|(key, mark)| store.journal().mark(key, Subject::Own, mark));
        block_on(store.flush()).unwrap();
        // Tidying comes every few seconds, and at the start.
        store.close().unwrap();
        let store = home.open();
        let left = || block_on(store.marks()).unwrap().iter().map(|mark| mark.key).collect::<Vec<_>>();
        eventually("the rest is forgotten", || !left().contains(&id("rule")));
        assert_eq!(left(), [id("operator")]);
    }
}

#[test]
fn what_is_too_old_or_too_much_is_forgotten() {
    for home in Home::all() {
        let day = 24 * HOUR;
        let mut settings = home.settings();
        let store = Store::open(&settings).unwrap();
        for number in 0..2500 {
            let at = if number < 1200 { now() - 8 * day } else { now() - day } + number;
            store.journal().log(Request { at, body: (number % 500 == 0).then(|| vec![1; 100]), ..request(number) });
        }
        store.journal().count(now() - 32 * day, "pool", id("a"), "m", one(1));
        store.journal().count(now(), "pool", id("a"), "m", one(1));
        let count = |store: &Store| {
            let (mut rows, mut before) = (0, None);
            loop {
                let page = block_on(store.requests(RequestFilter::default(), before, 1000)).unwrap();
                rows += page.rows.len();
                before = page.next;
                if before.is_none() {
                    return rows;
                }
            }
        };
        block_on(store.flush()).unwrap();
        // Tidying comes every few seconds, and at the start.
        store.close().unwrap();
        let store = Store::open(&settings).unwrap();
        eventually("old rows are forgotten", || count(&store) == 1300);
        let everything = || CounterFilter { from: 0, to: i64::MAX, pool: None, key: None, model: None, by: By::Hour };
        eventually("old counters are forgotten", || block_on(store.counters(everything())).unwrap().len() == 1);

        settings.max_size = 100_000;
        store.set_limits(&settings);
        eventually("the log is as small as it must be", || count(&store) < 400);
        let newest = block_on(store.requests(RequestFilter::default(), None, 1)).unwrap();
        assert_eq!(newest.rows[0].request.request_id, "req-2499", "the oldest go first");
    }
}

#[test]
fn counters_of_some_days_ago_are_coarser_and_add_up() {
    for home in Home::all() {
        let settings = home.settings();
        let store = Store::open(&settings).unwrap();
        let day = now().div_euclid(24 * HOUR) * 24 * HOUR - 5 * 24 * HOUR;
        // More than one step folds.
        let keys: Vec<KeyId> = (0..2500).map(|number| id(&number.to_string())).collect();
        for hour in [3, 7] {
            for key in &keys {
                store.journal().count(day + hour * HOUR, "pool", *key, "m", one(1));
            }
            store.journal().count(day + hour * HOUR, "pool", keys[0], "n", one(2));
            store.journal().count(day + hour * HOUR, "other", id("x"), "m", one(3));
        }
        store.journal().count(now(), "pool", keys[0], "m", one(1));
        block_on(store.flush()).unwrap();
        let ask = |store: &Store, key: Option<KeyId>, by| {
            let filter = CounterFilter { from: 0, to: i64::MAX, pool: None, key, model: None, by };
            let sums = block_on(store.counters(filter)).unwrap().into_iter();
            sums.map(|sum| (sum.hour, sum.name, sum.sum.requests)).collect::<Vec<_>>()
        };
        let (by_hour, by_pool, by_model) =
            (ask(&store, None, By::Hour), ask(&store, None, By::Pool), ask(&store, None, By::Model));
        assert_eq!(by_hour[..2], [3, 7].map(|hour| (day + hour * HOUR, String::new(), 2500 + 2 + 3)));
        store.close().unwrap();
        // Tidying comes at the start.
        let store = Store::open(&settings).unwrap();
        let today = now().div_euclid(HOUR) * HOUR;
        let of_a_key = [(day, String::new(), 2 + 4), (today, String::new(), 1)];
        eventually("a key's hours are a day", || ask(&store, Some(keys[0]), By::Hour) == of_a_key);
        let every_key = || ask(&store, None, By::Key).len();
        eventually("so are those of all keys", || every_key() == 2500 + 1 + 1);
        assert_eq!(ask(&store, None, By::Hour), by_hour, "all keys' hours are told as before");
        assert_eq!((ask(&store, None, By::Pool), ask(&store, None, By::Model)), (by_pool, by_model));

        // What comes late is added.
        store.journal().count(day + 3 * HOUR, "pool", keys[0], "m", one(1));
        block_on(store.flush()).unwrap();
        // Tidying may come before anybody asks.
        let of_that_day = ask(&store, Some(keys[0]), By::Model);
        let of_that_day = of_that_day.iter().filter(|(hour, name, _)| *hour < day + 24 * HOUR && name == "m");
        assert_eq!(of_that_day.map(|(.., requests)| requests).sum::<u64>(), 3);
        assert_eq!(ask(&store, None, By::Hour)[0].2, 2500 + 2 + 3 + 1);
    }
}

#[test]
fn daily_counters_are_forgotten_after_a_month() {
    for home in Home::all() {
        let store = home.open();
        let ago = |days: i64| now() - days * 24 * HOUR;
        (0..2100).for_each(|number| {
            store.journal().count(ago(40), "pool", id(&number.to_string()), "m", one(1));
        });
        store.journal().count(ago(29), "pool", id("a"), "m", one(1));
        block_on(store.flush()).unwrap();
        store.close().unwrap();
        let store = home.open();
        let count = |by| {
            let filter = CounterFilter { from: 0, to: i64::MAX, pool: None, key: None, model: None, by };
            block_on(store.counters(filter)).unwrap().iter().map(|sum| sum.sum.requests).sum::<u64>()
        };
        eventually("the older are gone", || count(By::Key) == 1 && count(By::Hour) == 1);
    }
}

#[test]
fn marks_of_some_keys_are_those_that_are_newest() {
    for home in Home::all() {
        let store = home.open();
        for name in ["a", "b", "c"] {
            store.journal().mark(id(name), Subject::Own, rest(1));
        }
        store.journal().mark(id("a"), Subject::Model("m".into()), rest(2));
        block_on(store.flush()).unwrap();
        store.journal().mark(id("a"), Subject::Own, rest(7));
        store.journal().unmark(id("b"), Subject::Own);
        store.journal().mark(id("d"), Subject::Own, rest(9));
        let wanted = [id("a"), id("b"), id("d"), id("nobody")].into();
        let mut found: Vec<_> = block_on(store.marks_of(wanted)).unwrap();
        found.sort_by_key(|mark| mark.mark.until);
        let seen: Vec<_> = found.into_iter().map(|mark| (mark.key, mark.subject, mark.mark)).collect();
        let expected = [
            (id("a"), Subject::Model("m".into()), rest(2)),
            (id("a"), Subject::Own, rest(7)),
            (id("d"), Subject::Own, rest(9)),
        ];
        assert_eq!(seen, expected);
    }
}

use std::path::Path;

use super::*;
use crate::config::Secret;

const T0: Millis = Millis(1000);

fn pool(settings: &str) -> config::Pool {
    let yaml = format!("pools: {{p: {{targets: [\"http://h/v1\"], {settings}}}}}");
    let loaded = config::parse(&yaml, Path::new("/nonexistent/keyweir.yaml"), &config::Process).unwrap();
    loaded.config.pools[0].clone()
}

fn specs(count: usize, own: Option<&str>) -> Vec<Arc<KeySpec>> {
    let spec = |index: usize| {
        let key = format!("sk-{index}");
        Arc::new(KeySpec {
            id: KeyId::of("p", &key),
            name: key.clone(),
            key: Secret::new(key),
            account: None,
            weight: 1,
            priority: 0,
            egress: own.map(|url| config::Egress::parse(url).unwrap().into()),
            models: Vec::new(),
            headers: Vec::new(),
            disabled: false,
            is_stored: false,
            limits: None,
        })
    };
    (0..count).map(spec).collect()
}

fn egresses(settings: &str, keys: usize) -> Egresses {
    Egresses::new(&pool(settings), &specs(keys, None), None)
}

fn homes(egresses: &Egresses) -> Vec<String> {
    (0..egresses.homes.len()).map(|key| egresses.home(key).unwrap().name().to_string()).collect()
}

fn put_out_of_use(egress: &Egress) {
    while !egress.is_down() {
        egress.failed(Certainty::Certain, "test", T0);
    }
}

#[test]
fn keys_spread_evenly_and_few_move_when_a_proxy_is_added() {
    let before = homes(&egresses("egress: [\"http://a\", \"http://b\", \"http://c\"]", 3000));
    for name in ["http://a:80", "http://b:80", "http://c:80"] {
        let share = before.iter().filter(|home| *home == name).count();
        assert!((900..1100).contains(&share), "{name}: {share}");
    }
    let after = homes(&egresses("egress: [\"http://a\", \"http://d\", \"http://b\", \"http://c\"]", 3000));
    let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!((650..850).contains(&moved.len()), "{}", moved.len());
    assert!(moved.iter().all(|(_, home)| *home == "http://d:80"), "only to the new one");
}

#[test]
fn a_key_of_its_own_proxy_is_at_home_there() {
    let own = Egresses::new(&pool("egress: [\"http://a\"]"), &specs(2, Some("socks5://own:1")), None);
    assert_eq!(homes(&own), ["socks5://own:1"; 2]);
    assert_eq!((own.list.len(), own.shared), (2, 1));
    let direct = egresses("enabled: true", 1);
    assert!(direct.of(0, T0).is_none());
}

#[test]
fn one_failure_lets_others_go_first_and_a_success_forgives_it() {
    let pair = egresses("egress: [\"http://a\", \"http://b\"]", 1);
    let home = pair.home(0).unwrap().clone();
    home.failed(Certainty::Certain, "test", T0);
    assert_ne!(pair.of(0, T0).unwrap().name(), home.name());
    assert_eq!(pair.of(0, T0.after(SHUN)).unwrap().name(), home.name(), "tried again soon");
    home.succeeded();
    assert_eq!(pair.of(0, T0).unwrap().name(), home.name());
    for _ in 0..10 {
        home.failed(Certainty::Doubtful, "test", T0);
    }
    assert!(!home.is_down(), "what may be another's fault puts nothing out of use");
}

#[test]
fn a_proxy_out_of_use_is_replaced_left_out_or_waited_for() {
    for (on_failure, of_one, rests) in
        [("rebind", Some("other"), false), ("direct", None, false), ("rest", Some("home"), true)]
    {
        let check = format!(
            "egress: [\"http://a\", \"http://b\"], egress_check: {{on_failure: {on_failure}, max_failures: 2}}"
        );
        let pair = egresses(&check, 1);
        let home = pair.home(0).unwrap().clone();
        put_out_of_use(&home);
        let now = pair.of(0, T0).map(|egress| if egress.name() == home.name() { "home" } else { "other" });
        assert_eq!((now, pair.must_rest(&home)), (of_one, rests), "{on_failure}");
        home.succeeded();
        assert!(home.is_down(), "only a check brings it back");
        home.proved(Duration::ZERO);
        assert_eq!(pair.of(0, T0).unwrap().name(), home.name(), "{on_failure}");
    }
}

#[test]
fn keys_rest_where_no_proxy_is_left() {
    let pair = egresses("egress: [\"http://a\", \"http://b\"], egress_check: {max_failures: 1}", 4);
    pair.list.iter().for_each(|egress| put_out_of_use(egress));
    assert!(pair.list.iter().all(|egress| pair.must_rest(egress)));
}

#[test]
fn what_is_known_of_a_proxy_survives_a_reload() {
    let before = egresses("egress: [\"http://a\"]", 1);
    put_out_of_use(&before.list[0]);
    let after = Egresses::new(&pool("egress: [\"http://b\", \"http://a\"]"), &specs(1, None), Some(&before));
    let down: Vec<_> = after.list.iter().map(|egress| egress.is_down()).collect();
    assert_eq!(down, [false, true]);
}

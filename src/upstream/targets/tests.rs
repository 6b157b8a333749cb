use std::path::Path;

use super::*;
use crate::config::Process;

const T0: Millis = Millis(1000);

fn targets(list: &str, before: Option<&Targets>) -> Targets {
    let yaml = format!("pools: {{p: {{targets: [{list}]}}}}");
    let loaded = config::parse(&yaml, Path::new("/nonexistent/keyweir.yaml"), &Process).unwrap();
    Targets::new(&loaded.config.pools[0], before).unwrap()
}

fn wanted<'a>(model: &'a str, avoided: &'a [Arc<Target>]) -> Wanted<'a> {
    Wanted { model, avoided, now: T0 }
}

/// How often each is chosen in so many turns.
fn shares(targets: &Targets, turns: usize, wanted: &Wanted<'_>) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    for _ in 0..turns {
        *shares.entry(targets.next(wanted).unwrap().name.to_string()).or_default() += 1;
    }
    shares
}

fn share(shares: &[(&str, usize)]) -> HashMap<String, usize> {
    shares.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect()
}

const THREE: &str = "{url: \"http://a\", weight: 2}, \"http://b\", \"http://c\"";

#[test]
fn targets_take_turns_by_weight() {
    let all = wanted("", &[]);
    assert_eq!(shares(&targets(THREE, None), 40, &all), share(&[("a", 20), ("b", 10), ("c", 10)]));
    assert_eq!(shares(&targets("\"http://a\"", None), 3, &all), share(&[("a", 3)]));
}

#[test]
fn targets_of_one_host_are_told_apart() {
    let two = targets("\"http://a/x\", \"http://a/y\"", None);
    assert_eq!(shares(&two, 4, &wanted("", &[])), share(&[("http://a/x", 2), ("http://a/y", 2)]));
}

#[test]
fn one_that_failed_its_last_check_is_checked_soon_again() {
    let three = targets(THREE, None);
    let places = |now| three.due(now).map(|(place, ..)| place).collect::<Vec<_>>();
    assert_eq!(places(T0), [0, 1, 2]);
    (0..3).for_each(|place| three.checking(place, T0));
    three.checked(1, Some("refused".into()));
    let after = |seconds| T0.after(Duration::from_secs(seconds));
    assert!(places(after(4)).is_empty());
    assert_eq!(places(after(5)), [1]);
    three.checked(1, None);
    assert!(places(after(29)).is_empty());
    assert_eq!(places(after(30)), [0, 1, 2]);
}

#[test]
fn one_that_fails_its_checks_is_left_out_until_it_passes_them() {
    let three = targets(THREE, None);
    let all = wanted("", &[]);
    three.checked(0, Some("refused".into()));
    assert!(shares(&three, 40, &all).contains_key("a"), "once is not enough");
    three.checked(0, Some("refused".into()));
    assert!(!shares(&three, 40, &all).contains_key("a"));
    assert_eq!(three.snapshot().iter().map(|target| target.is_up).collect::<Vec<_>>(), [false, true, true]);
    let reloaded = targets(THREE, Some(&three));
    assert!(!shares(&reloaded, 40, &all).contains_key("a"), "a reload forgets nothing");
    reloaded.checked(0, None);
    assert!(shares(&reloaded, 40, &all).contains_key("a"));
}

#[test]
fn one_that_fails_requests_is_left_out() {
    let three = targets(THREE, None);
    for _ in 0..3 {
        three.failed(&three.list[1], T0, T0);
    }
    assert!(!shares(&three, 40, &wanted("", &[])).contains_key("b"));
    three.answered(&three.list[1], T0);
    assert!(shares(&three, 40, &wanted("", &[])).contains_key("b"));
}

#[test]
fn a_request_avoids_what_failed_it_and_what_lacks_its_model() {
    let three = targets(THREE, None);
    let avoided = [three.list[0].clone()];
    assert_eq!(shares(&three, 40, &wanted("", &avoided)).len(), 2);
    three.lacks(&three.list[1], "m", T0);
    assert_eq!(shares(&three, 10, &wanted("m", &avoided)), share(&[("c", 10)]));
    assert_eq!(shares(&three, 40, &wanted("other", &avoided)).len(), 2);
    assert!(three.has_other(&avoided));
    assert!(!three.has_other(&three.list));
}

#[test]
fn where_all_are_down_all_are_asked() {
    let three = targets(THREE, None);
    for index in 0..3 {
        three.checked(index, Some("refused".into()));
        three.checked(index, Some("refused".into()));
        (0..3).for_each(|_| three.failed(&three.list[index], T0, T0));
    }
    assert_eq!(shares(&three, 40, &wanted("", &[])).len(), 3);
    assert!(three.next(&wanted("", &three.list)).is_some());
}

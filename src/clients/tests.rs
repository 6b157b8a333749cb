use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;

use super::*;
use crate::config::{ClientLimits, TokenDigest};
use crate::pool::Millis;

const NOON: u64 = 20_000 * 86_400 + 43_200;

fn token(limits: ClientLimits) -> ClientToken {
    ClientToken { limits, ..ClientToken::unlimited("ci", TokenDigest::of(b"kw-secret")) }
}

fn clients(token: &ClientToken) -> Clients {
    Clients::new([token], None)
}

fn client(limits: ClientLimits) -> Arc<Client> {
    clients(&token(limits)).find(b"kw-secret").unwrap().clone()
}

/// Asks at this moment (ms); noon of a day is 0.
fn admit(client: &Client, tokens: u64, now: u64) -> Result<Admitted, Refusal> {
    client.admit(tokens, Millis(now + 1), || UNIX_EPOCH + Duration::from_secs(NOON) + Duration::from_millis(now))
}

fn at(now: u64) -> (Millis, std::time::SystemTime) {
    (Millis(now), UNIX_EPOCH + Duration::from_secs(NOON) + Duration::from_millis(now))
}

fn refusal(client: &Client, tokens: u64, now: u64) -> (Limit, u64) {
    let refusal = admit(client, tokens, now).err().unwrap();
    (refusal.limit, refusal.wait.as_millis() as u64)
}

/// A request that a provider answered at once.
fn serve(client: &Client, now: u64) {
    let mut admitted = admit(client, 1, now).ok().unwrap();
    admitted.asked();
}

#[test]
fn every_limit_refuses_beyond_itself_and_tells_the_wait() {
    let rpm = client(ClientLimits { rpm: Some(2), ..Default::default() });
    serve(&rpm, 0);
    serve(&rpm, 1000);
    assert_eq!(refusal(&rpm, 0, 2000), (Limit::Rpm, 58_000));
    serve(&rpm, 60_000);

    let rpd = client(ClientLimits { rpd: Some(1), ..Default::default() });
    serve(&rpd, 0);
    assert_eq!(refusal(&rpd, 0, 0), (Limit::Rpd, 43_200_000), "midnight is half a day after noon");
    serve(&rpd, 43_200_000);

    let concurrency = client(ClientLimits { concurrency: Some(1), ..Default::default() });
    let first = admit(&concurrency, 0, 0).ok().unwrap();
    assert_eq!(refusal(&concurrency, 0, 0).0, Limit::Concurrency);
    drop(first);
    assert!(admit(&concurrency, 0, 0).is_ok());

    let tpm = client(ClientLimits { tpm: Some(100), ..Default::default() });
    let mut admitted = admit(&tpm, 10, 0).ok().unwrap();
    admitted.asked();
    admitted.settle(Some(Used { prompt: 20, completion: 200 }), 0, None, || at(5001));
    assert_eq!(refusal(&tpm, 1, 6000), (Limit::Tpm, 59_000), "the truth counts from when it was known");
}

#[test]
fn the_longest_wait_is_told_where_several_limits_are_reached() {
    let client = client(ClientLimits { rpm: Some(1), rpd: Some(1), concurrency: Some(1), tpm: None, budget: None });
    let mut first = admit(&client, 0, 0).ok().unwrap();
    first.asked();
    assert_eq!(refusal(&client, 0, 0).0, Limit::Rpd);
}

#[test]
fn a_refused_request_costs_nothing() {
    let client =
        client(ClientLimits { rpm: Some(1), rpd: Some(3), tpm: Some(1000), concurrency: Some(5), budget: None });
    serve(&client, 0);
    for _ in 0..50 {
        assert_eq!(refusal(&client, 5, 0).0, Limit::Rpm);
    }
    serve(&client, 60_000);
    serve(&client, 120_000);
    assert_eq!(refusal(&client, 5, 180_000).0, Limit::Rpd);
}

#[test]
fn what_reached_no_provider_is_given_back() {
    let client = client(ClientLimits { rpm: Some(1), rpd: Some(1), tpm: Some(4), concurrency: Some(1), budget: None });
    for now in 0..10 {
        drop(admit(&client, 1, now).ok().unwrap());
        admit(&client, 1, now).ok().unwrap().settle(None, 99, None, || at(now));
    }
    serve(&client, 10);
    assert_eq!(refusal(&client, 1, 10).0, Limit::Rpd);
}

#[test]
fn tokens_are_reserved_by_estimate_and_corrected_by_the_truth() {
    let client = client(ClientLimits { tpm: Some(100), ..Default::default() });
    let mut running: Vec<_> = (0..4).map(|_| admit(&client, 25, 0).ok().unwrap()).collect();
    assert_eq!(refusal(&client, 1, 0).0, Limit::Tpm, "what is under way is reserved");
    for mut admitted in running.drain(..) {
        admitted.asked();
        admitted.settle(Some(Used { prompt: 3, completion: 2 }), 0, None, || at(1));
    }
    let picture = admit(&client, 1_000_000, 1);
    assert!(picture.is_ok(), "one request never reserves more than a quarter");
    let mut silent = admit(&client, 25, 1).ok().unwrap();
    silent.asked();
    silent.settle(None, 500, None, || at(1));
    assert_eq!(refusal(&client, 1, 2).0, Limit::Tpm, "an answer that tells nothing counts by its estimate");
}

#[test]
fn a_budget_is_spent_by_price_and_outlives_the_token() {
    use crate::config::prices::{Budget, Money, Period, Price};
    let budget = Some(Budget { amount: Money::of(1.0), per: Period::Day });
    let token = token(ClientLimits { budget, ..Default::default() });
    let first = clients(&token);
    let client = first.find(b"kw-secret").unwrap();
    let price = Some(Price { input: 1.0, output: 4.0 });
    let spend = |told, estimated| {
        let mut admitted = admit(client, 100_000, 0).ok().unwrap();
        admitted.asked();
        admitted.settle(told, estimated, price, || at(0))
    };
    assert_eq!(spend(Some(Used { prompt: 200_000, completion: 50_000 }), 0), Money::of(0.4));
    assert_eq!(spend(None, 50_000), Money::of(0.3), "what tells nothing costs its estimate");
    let unasked = admit(client, 100_000, 0).ok().unwrap();
    assert_eq!(unasked.settle(None, 5, price, || at(0)), Money::default());
    assert_eq!(spend(Some(Used { prompt: 0, completion: 100_000 }), 0), Money::of(0.4), "the last may pass it");
    assert_eq!(refusal(client, 1, 0), (Limit::Budget, 43_200_000), "midnight is half a day after noon");
    let without = Clients::new([], Some(&first));
    let again = Clients::new([&token], Some(&without));
    assert_eq!(refusal(again.find(b"kw-secret").unwrap(), 1, 0).0, Limit::Budget);
    assert!(admit(again.find(b"kw-secret").unwrap(), 1, 43_200_000).is_ok(), "a new day");
}

#[test]
fn counts_survive_a_reload_by_name_and_limits_are_the_new_ones() {
    let before = clients(&token(ClientLimits { rpm: Some(1), ..Default::default() }));
    serve(before.find(b"kw-secret").unwrap(), 0);
    let changed = ClientToken {
        digest: TokenDigest::of(b"kw-other"),
        ..token(ClientLimits { rpm: Some(2), ..Default::default() })
    };
    let after = Clients::new([&changed], Some(&before));
    assert!(after.find(b"kw-secret").is_none());
    let client = after.find(b"kw-other").unwrap();
    serve(client, 0);
    assert_eq!(refusal(client, 0, 0).0, Limit::Rpm);
    assert_eq!(after.snapshots(UNIX_EPOCH)[0].requests, 2);
}

#[test]
fn scopes_are_lists_of_pools_and_globs_of_models() {
    let open = client(ClientLimits::default());
    assert!(open.may_use_pool("any") && open.may_use_model("any") && !open.has_model_scope());
    let token = ClientToken {
        pools: vec!["a".into()],
        models: vec!["Qwen/*".into(), "gpt-4o".into()],
        expires: Some(UNIX_EPOCH + Duration::from_secs(NOON)),
        ..token(ClientLimits::default())
    };
    let clients = clients(&token);
    let client = clients.find(b"kw-secret").unwrap();
    assert!(client.may_use_pool("a") && !client.may_use_pool("b"));
    assert!(client.may_use_model("Qwen/Qwen3/x") && client.may_use_model("gpt-4o"));
    assert!(!client.may_use_model("gpt-4o-mini") && !client.may_use_model("") && !client.may_use_model("x/Qwen/y"));
    assert!(!client.is_expired(|| UNIX_EPOCH + Duration::from_secs(NOON - 1)));
    assert!(client.is_expired(|| UNIX_EPOCH + Duration::from_secs(NOON)));
}

/// Many threads at every moment of a clock of their own: whatever they do at once, no limit is passed.
#[test]
fn no_limit_is_passed_under_many_threads() {
    const THREADS: usize = 8;
    let client =
        client(ClientLimits { rpm: Some(40), rpd: Some(300), tpm: Some(2000), concurrency: Some(5), budget: None });
    let (clock, at_once, round) = (AtomicU64::new(0), AtomicU64::new(0), Barrier::new(THREADS));
    let served = Mutex::new(Vec::new());
    let work = &|seed: u64| {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for _ in 0..300 {
            let now = clock.load(SeqCst);
            for _ in 0..20 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let Ok(mut admitted) = admit(&client, random % 30, now) else { continue };
                assert!(at_once.fetch_add(1, SeqCst) < 5, "too many at once");
                if random.is_multiple_of(3) {
                    admitted.asked();
                    served.lock().push(now);
                }
                thread::yield_now();
                at_once.fetch_sub(1, SeqCst);
                admitted.settle(Some(Used { prompt: random % 40, completion: 1 }), 0, None, || at(now + 1));
            }
            if round.wait().is_leader() {
                let long = if random.is_multiple_of(4) { 60 } else { 1 };
                clock.fetch_add(random % 30_000 * long, SeqCst);
            }
            round.wait();
        }
    };
    thread::scope(|scope| (1..=THREADS as u64).for_each(|seed| drop(scope.spawn(move || work(seed)))));
    let mut served = served.into_inner();
    served.sort_unstable();
    assert!(served.len() > 300, "only {} were served", served.len());
    for (index, begin) in served.iter().enumerate() {
        let within = served[index..].iter().take_while(|at| **at < begin + 60_000).count();
        assert!(within <= 40, "{within} within a minute from {begin}");
    }
    let mut days = HashMap::<u64, usize>::new();
    served.iter().for_each(|at| *days.entry((at + 43_200_000) / 86_400_000).or_default() += 1);
    assert!(days.values().all(|count| *count <= 300), "{days:?}");
    assert_eq!(client.account.usage.in_flight(), 0);
    assert_eq!(client.account.usage.requests(), served.len() as u64);
}

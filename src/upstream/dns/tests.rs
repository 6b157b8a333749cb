use std::collections::VecDeque;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::*;

/// Gives one prepared answer after the other, the last one for ever; `None` never comes.
struct Fake {
    answers: Mutex<VecDeque<Option<Result<Found, String>>>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Lookup for Arc<Fake> {
    async fn lookup(&self, _: &str) -> Result<Found, String> {
        self.asked.fetch_add(1, SeqCst);
        let answer = {
            let mut answers = self.answers.lock();
            if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
        };
        match answer {
            Some(answer) => answer,
            None => pending().await,
        }
    }
}

fn dns(answers: impl IntoIterator<Item = Option<Result<Found, String>>>) -> (Dns, Arc<Fake>) {
    let fake = Arc::new(Fake { answers: Mutex::new(answers.into_iter().collect()), asked: AtomicUsize::new(0) });
    (Dns::new(Arc::new(fake.clone())), fake)
}

fn found(addresses: &[&str]) -> Option<Result<Found, String>> {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Some(Ok(Found { addresses, ttl: Duration::ZERO }))
}

fn failed() -> Option<Result<Found, String>> {
    Some(Err("the name server burns".to_owned()))
}

fn make_due(host: &Host) {
    host.known.send_modify(|known| known.due = Some(Instant::now()));
}

/// Waits until no lookup is under way.
async fn settle(host: &Host) {
    while host.is_asked.load(SeqCst) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_address_is_its_own_answer() {
    let (dns, fake) = dns([failed()]);
    for literal in ["192.0.2.7", "2001:db8::7"] {
        let host = dns.host(literal);
        assert_eq!(*dns.addresses(&host).await.unwrap(), [literal.parse::<IpAddr>().unwrap()]);
    }
    assert_eq!(fake.asked.load(SeqCst), 0);
}

#[tokio::test]
async fn a_name_does_not_lead_to_metadata_services() {
    let (dns, _) = dns([found(&["169.254.169.254", "192.0.2.1", "::ffff:169.254.0.1"])]);
    let host = dns.host("rebound.example");
    assert_eq!(*dns.addresses(&host).await.unwrap(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    host.learn(found(&["169.254.169.254"]).unwrap());
    let error = dns.addresses(&host).await.unwrap_err();
    assert!(error.to_string().contains("allow_link_local"), "{error}");
    dns.allow_link_local.store(true, Relaxed);
    assert_eq!(dns.addresses(&host).await.unwrap().len(), 1, "unless that is meant");
}

#[tokio::test]
async fn the_first_request_waits_and_the_next_ones_do_not_ask() {
    let (dns, fake) = dns([found(&["192.0.2.1"])]);
    let host = dns.host("api.example");
    for _ in 0..3 {
        assert_eq!(dns.addresses(&host).await.unwrap().len(), 1);
    }
    assert_eq!(fake.asked.load(SeqCst), 1, "a TTL of zero is not believed");
}

#[tokio::test]
async fn a_stale_answer_is_used_while_a_fresh_one_is_fetched() {
    let (dns, _) = dns([found(&["192.0.2.1"]), found(&["192.0.2.2"])]);
    let host = dns.host("api.example");
    dns.addresses(&host).await.unwrap();
    make_due(&host);
    assert_eq!(dns.addresses(&host).await.unwrap()[0].to_string(), "192.0.2.1");
    settle(&host).await;
    assert_eq!(dns.addresses(&host).await.unwrap()[0].to_string(), "192.0.2.2");
}

#[tokio::test]
async fn the_last_good_answer_outlives_the_name_server() {
    let (dns, fake) = dns([found(&["192.0.2.1"]), failed()]);
    let host = dns.host("api.example");
    for _ in 0..3 {
        assert_eq!(dns.addresses(&host).await.unwrap()[0].to_string(), "192.0.2.1");
        settle(&host).await;
        make_due(&host);
    }
    assert!(fake.asked.load(SeqCst) >= 2);
}

#[tokio::test]
async fn a_failure_is_an_answer_for_a_moment() {
    let (dns, fake) = dns([failed(), found(&["192.0.2.1"])]);
    let host = dns.host("api.example");
    for _ in 0..3 {
        let error = dns.addresses(&host).await.unwrap_err();
        assert_eq!(error.to_string(), "api.example does not resolve: the name server burns");
    }
    assert_eq!(fake.asked.load(SeqCst), 1);
    make_due(&host);
    assert!(dns.addresses(&host).await.is_ok(), "asked again in time");
}

#[tokio::test]
async fn a_host_without_addresses_does_not_resolve() {
    let (dns, _) = dns([found(&[])]);
    let error = dns.addresses(&dns.host("api.example")).await.unwrap_err();
    assert_eq!(error.to_string(), "api.example does not resolve: it has no address");
}

#[tokio::test]
async fn whoever_gives_up_leaves_the_lookup_running() {
    let (dns, fake) = dns([None]);
    let host = dns.host("api.example");
    for _ in 0..2 {
        let waiting = tokio::time::timeout(Duration::from_millis(10), dns.addresses(&host));
        assert!(waiting.await.is_err());
    }
    assert_eq!(fake.asked.load(SeqCst), 1, "one lookup for all who wait");
}

#[tokio::test]
async fn hosts_that_nobody_holds_are_forgotten() {
    let (dns, fake) = dns([found(&["192.0.2.1"])]);
    let held = dns.host("held.example");
    drop(dns.host("gone.example"));
    dns.keep_fresh();
    settle(&held).await;
    assert_eq!(fake.asked.load(SeqCst), 1, "only the one that is held is looked up ahead");
    assert_eq!(dns.hosts.lock().len(), 1);
}

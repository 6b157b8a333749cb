//! Hosts are resolved behind the requests; one that does not resolve costs an error and nothing else.

use serde_json::json;

use crate::harness::{Config, MockProvider, Program, eventually};

const QUICK: &str = "timeouts: {connect: 2s}";

/// A configuration whose name server is `dns`.
fn asking(dns: &Program, target: &str, keys: &[&str]) -> Config {
    Config::pool_with(target, QUICK, keys).server(&format!("dns: [\"{}\"]", dns.address))
}

#[test]
fn a_host_is_looked_up_at_the_configured_name_server() {
    let mock = MockProvider::start();
    let dns = Program::dnsmasq(&[("provider.test", "127.0.0.1")]);
    let target = format!("provider.test:{}", mock.address.port());
    let keyweir = asking(&dns, &target, &["sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    let headers = mock.last().last().unwrap()["headers"].to_string();
    assert!(headers.contains(&format!("\"{target}\"")), "the name goes upstream, not the address: {headers}");
}

#[test]
fn a_name_that_does_not_exist_is_unreachable_and_marks_no_key() {
    let dns = Program::dnsmasq(&[]);
    let keyweir = asking(&dns, "nowhere.test:80", &["sk-ok-1", "sk-ok-2", "sk-ok-3"]).start();
    for _ in 0..3 {
        assert_eq!(keyweir.chat(&json!({})).code(), "upstream_unreachable");
    }
    assert_eq!(keyweir.marked(), [""; 0]);
    assert!(keyweir.log().contains("there is no such name"), "{}", keyweir.log());
}

#[test]
fn the_last_good_answer_holds_while_the_name_server_is_gone() {
    let mock = MockProvider::start();
    let dns = Program::dnsmasq(&[("provider.test", "127.0.0.1")]);
    let keyweir = asking(&dns, &format!("provider.test:{}", mock.address.port()), &["sk-close-1", "sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    drop(dns);
    eventually("a lookup that failed", || keyweir.log().contains("does not resolve"));
    for _ in 0..4 {
        // Every other key closes its connection, so that a new one is dialled.
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
}

#[test]
fn a_host_that_gets_an_address_is_reached_without_a_restart() {
    let mock = MockProvider::start();
    let dns = Program::dnsmasq(&[]);
    let keyweir = asking(&dns, &format!("late.test:{}", mock.address.port()), &["sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 502);
    let address = dns.stop();
    let _dns = Program::dnsmasq_at(address, &[("late.test", "127.0.0.1")]);
    eventually("the new address", || keyweir.chat(&json!({})).status == 200);
}

#[test]
fn a_dead_address_is_passed_over() {
    let mock = MockProvider::start();
    // Nobody listens at ::1, nothing answers at 192.0.2.1 (TEST-NET-1).
    let records = [("provider.test", "::1"), ("provider.test", "192.0.2.1"), ("provider.test", "127.0.0.1")];
    let dns = Program::dnsmasq(&records);
    let keyweir = asking(&dns, &format!("provider.test:{}", mock.address.port()), &["sk-ok-1"]).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.attempts()), (200, 1));
}

#[test]
fn the_hosts_file_counts_too() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(format!("localhost:{}", mock.address.port()), QUICK, &["sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
}

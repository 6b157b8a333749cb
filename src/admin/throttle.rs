//! Slows down whoever guesses tokens.
//!
//! Only failures count: for an address (of IPv6 its /64, which one customer has to himself) and for all addresses
//! together. Whoever has failed too often is refused without being judged, right token or wrong, until some failures are
//! forgotten. The limit of all together spares addresses from which somebody came in lately, so that a crowd of
//! strangers locks no operator out.
//!
//! The table has a fixed size. Addresses share its slots by a hash that nobody outside can predict; to fill many slots
//! takes more failures than the limit of all together lets happen.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Addresses told apart.
const SLOTS: usize = 1024;
/// How long an address counts as one of ours after somebody came in from it.
const WELCOME: Duration = Duration::from_secs(24 * 3600);

/// How a token is shown. They have limits of their own: a program with an old token does not lock people out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By people, at the console's door.
    Login,
    /// By programs, with every request.
    Bearer,
}

impl Way {
    /// The limits for one address and for all.
    fn limits(self) -> (Limit, Limit) {
        let limit = |burst, millis| Limit { burst, forgotten: Duration::from_millis(millis) };
        match self {
            Way::Login => (limit(10, 6000), limit(100, 600)),
            Way::Bearer => (limit(300, 1000), limit(3000, 100)),
        }
    }
}

/// How many failures are let happen, and how soon one is forgotten.
#[derive(Debug, Clone, Copy)]
struct Limit {
    burst: u32,
    forgotten: Duration,
}

/// Failures, kept as the time when all are forgotten.
#[derive(Debug, Clone, Copy)]
struct Failures(Instant);

impl Failures {
    /// How long until another is let happen.
    fn wait(self, limit: Limit, now: Instant) -> Duration {
        self.0.saturating_duration_since(now).saturating_sub(limit.forgotten * (limit.burst - 1))
    }

    fn add(&mut self, limit: Limit, now: Instant) {
        self.0 = self.0.max(now) + limit.forgotten;
    }
}

/// What is known of an address, and of those that share its slot.
#[derive(Debug, Clone, Copy)]
struct Slot {
    failures: [Failures; 2],
    welcome_until: Instant,
}

/// Failures of late.
#[derive(Debug)]
pub struct Throttle {
    hash: RandomState,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    slots: Vec<Slot>,
    all: [Failures; 2],
}

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// Nobody has this token.
    Wrong,
    /// Not judged: too many failures. Another try is allowed after this time.
    Throttled(Duration),
}

impl Default for Throttle {
    fn default() -> Self {
        let (none, now) = (Failures(Instant::now()), Instant::now());
        let slot = Slot { failures: [none; 2], welcome_until: now };
        Self { hash: RandomState::new(), table: Mutex::new(Table { slots: vec![slot; SLOTS], all: [none; 2] }) }
    }
}

impl Throttle {
    /// Judges what somebody showed, unless there were too many failures.
    pub(super) fn judge<T>(
        &self,
        from: Option<IpAddr>,
        way: Way,
        now: Instant,
        judge: impl FnOnce() -> Option<T>,
    ) -> Result<T, Denied> {
        let index = self.index(from);
        let (one, all) = way.limits();
        let mut table = self.table.lock();
        let Table { slots, all: strangers } = &mut *table;
        let Some(slot) = slots.get_mut(index) else { return Err(Denied::Wrong) };
        let is_welcome = slot.welcome_until > now;
        let (own, strangers) = (&mut slot.failures[way as usize], &mut strangers[way as usize]);
        let others = if is_welcome { Duration::ZERO } else { strangers.wait(all, now) };
        let wait = own.wait(one, now).max(others);
        if !wait.is_zero() {
            return Err(Denied::Throttled(wait));
        }
        match judge() {
            Some(found) => {
                slot.welcome_until = now + WELCOME;
                Ok(found)
            }
            None => {
                own.add(one, now);
                strangers.add(all, now);
                Err(Denied::Wrong)
            }
        }
    }

    fn index(&self, from: Option<IpAddr>) -> usize {
        let network = from.map(|ip| match ip.to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64),
        });
        (self.hash.hash_one(network) % SLOTS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn fail(throttle: &Throttle, from: Option<IpAddr>, way: Way, now: Instant) -> Denied {
        throttle.judge(from, way, now, || None::<()>).unwrap_err()
    }

    /// Failures let happen until one is refused, and how long that one has to wait.
    fn exhaust(throttle: &Throttle, from: Option<IpAddr>, way: Way, now: Instant) -> (usize, Duration) {
        let mut count = 0;
        loop {
            match fail(throttle, from, way, now) {
                Denied::Wrong => count += 1,
                Denied::Throttled(wait) => return (count, wait),
            }
        }
    }

    #[test]
    fn an_address_that_fails_too_often_waits_even_with_the_right_token() {
        let (throttle, now, from) = (Throttle::default(), Instant::now(), ip("192.0.2.7"));
        let (count, wait) = exhaust(&throttle, from, Way::Login, now);
        assert_eq!((count, wait), (10, Duration::from_secs(6)));
        let right = |now| throttle.judge(from, Way::Login, now, || Some("in"));
        assert_eq!(right(now), Err(Denied::Throttled(wait)), "right or wrong, it is not judged");
        assert_eq!(fail(&throttle, from, Way::Bearer, now), Denied::Wrong, "programs have a limit of their own");
        assert_eq!(right(now + wait), Ok("in"));
        assert_eq!(exhaust(&throttle, from, Way::Login, now + wait).0, 1, "a success takes no failure back");
        assert_eq!(exhaust(&throttle, from, Way::Login, now + 100 * wait).0, 10, "time does");
    }

    #[test]
    fn an_address_of_ipv6_is_its_network() {
        let throttle = Throttle::default();
        assert_eq!(throttle.index(ip("2001:db8::1")), throttle.index(ip("2001:db8::ffff:ffff:ffff:ffff")));
        assert_eq!(throttle.index(ip("192.0.2.7")), throttle.index(ip("::ffff:192.0.2.7")));
        let slots: std::collections::HashSet<_> =
            (0..64).map(|n| throttle.index(ip(&format!("2001:db8:0:{n:x}::1")))).collect();
        assert!(slots.len() > 32, "networks are told apart");
    }

    #[test]
    fn a_crowd_is_slowed_down_and_locks_no_operator_out() {
        let (throttle, now, home) = (Throttle::default(), Instant::now(), ip("198.51.100.1"));
        throttle.judge(home, Way::Login, now, || Some(())).unwrap();
        let strangers = (0..100_000_u32).map(|n| Some(IpAddr::from((0x0a00_0000 + n).to_be_bytes())));
        let slot = throttle.index(home);
        let judged = strangers.filter(|from| throttle.index(*from) != slot);
        let judged = judged.filter(|from| fail(&throttle, *from, Way::Login, now) == Denied::Wrong).count();
        assert_eq!(judged, 100, "of a hundred thousand addresses");
        let newcomer = throttle.judge(ip("203.0.113.5"), Way::Login, now, || Some(()));
        assert!(newcomer.is_err(), "while it lasts");
        assert_eq!(throttle.judge(home, Way::Login, now, || Some(())), Ok(()));
    }
}

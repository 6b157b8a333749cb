//! Whether this process should be given requests.
//!
//! Readiness never depends on a provider: a provider's outage must not take every instance out of rotation at once. It
//! is false while starting and while draining; both listeners that answer `/readyz` share this one report.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use arc_swap::ArcSwapOption;

/// How far a shutdown has come. What holds in a phase holds in the later ones too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// There is none.
    Serving,
    /// `/readyz` says 503, and clients are told not to use their connections again.
    Leaving,
    /// Requests are answered 503.
    Refusing,
}

/// The flags the server sets as it comes up and goes down.
#[derive(Debug, Default)]
pub struct Readiness {
    listeners: AtomicBool,
    keys: AtomicBool,
    phase: AtomicU8,
    /// Why the store is not written.
    store: ArcSwapOption<String>,
}

/// The answer to `/readyz`.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// 200 or 503.
    pub status: u16,
    /// Text for people and probes.
    pub body: String,
}

impl Readiness {
    /// Every listener is bound.
    pub fn set_listeners_bound(&self) {
        self.listeners.store(true, Ordering::Release);
    }

    /// The keys files were read.
    pub fn set_keys_loaded(&self) {
        self.keys.store(true, Ordering::Release);
    }

    /// The store is written, or why it is not.
    pub fn set_store(&self, trouble: Option<String>) {
        if self.store.load().as_deref() != trouble.as_ref() {
            self.store.store(trouble.map(Arc::new));
        }
    }

    /// The shutdown goes on to this phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// How far the shutdown has come.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Leaving,
            _ => Phase::Refusing,
        }
    }

    fn is_draining(&self) -> bool {
        self.phase() > Phase::Serving
    }

    /// Whether requests should come here.
    pub fn is_ready(&self) -> bool {
        self.listeners.load(Ordering::Acquire) && self.keys.load(Ordering::Acquire) && !self.is_draining()
    }

    /// Answers `/readyz`. `usable_keys` is given where the asker requires keys; `verbose` lists every check.
    /// A store that is down keeps no request from being served.
    pub fn report(&self, usable_keys: Option<usize>, verbose: bool) -> Report {
        let mut checks = vec![
            ("listeners", self.listeners.load(Ordering::Acquire)),
            ("keys-loaded", self.keys.load(Ordering::Acquire)),
            ("not-draining", !self.is_draining()),
        ];
        checks.extend(usable_keys.map(|count| ("usable-keys", count > 0)));
        let ready = checks.iter().all(|(_, passed)| *passed);
        let mut body = String::new();
        for (name, passed) in checks {
            if verbose || !passed {
                body.push_str(if passed { "[+]" } else { "[-]" });
                body.push_str(name);
                body.push_str(if passed { " ok\n" } else { " failed\n" });
            }
        }
        if verbose {
            body.push_str(&match self.store.load().as_deref() {
                None => "[+]store ok\n".to_owned(),
                Some(why) => format!("[-]store failed, requests are served on: {why}\n"),
            });
        }
        body.push_str(if ready { "ready\n" } else { "not ready\n" });
        Report { status: if ready { 200 } else { 503 }, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_only_between_start_and_drain() {
        let readiness = Readiness::default();
        assert_eq!(readiness.report(None, false).status, 503);
        readiness.set_listeners_bound();
        assert!(!readiness.is_ready(), "keys are still missing");
        readiness.set_keys_loaded();
        assert!(readiness.is_ready());
        assert_eq!(readiness.report(None, false), Report { status: 200, body: "ready\n".into() });
        readiness.enter(Phase::Leaving);
        let report = readiness.report(None, false);
        assert_eq!(report, Report { status: 503, body: "[-]not-draining failed\nnot ready\n".into() });
    }

    #[test]
    fn usable_keys_count_only_where_required() {
        let readiness = Readiness::default();
        readiness.set_listeners_bound();
        readiness.set_keys_loaded();
        assert_eq!(readiness.report(Some(0), false).status, 503);
        assert_eq!(readiness.report(Some(1), false).status, 200);
        let verbose = readiness.report(Some(1), true).body;
        assert_eq!(
            verbose,
            "[+]listeners ok\n[+]keys-loaded ok\n[+]not-draining ok\n[+]usable-keys ok\n[+]store ok\nready\n"
        );
    }
}

//! Checks of targets: a connection, or a page where one is configured.
//!
//! A check leaves by the first of the pool's proxies that works; one that does not get past it says nothing of the target.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::ask::leaves_by;
use super::{every, said};
use crate::keypool::{self, Entry};
use crate::proxy::Edge;
use crate::upstream::dial::is_egress_fault;
use crate::upstream::{Connector, Inquiry, Target, Targets};

/// How often is looked for what is due.
const TICK: Duration = Duration::from_millis(250);
/// An answer that is no failure of the server's: it may well refuse whoever has no key.
const ALIVE: std::ops::Range<u16> = 100..500;

/// Checks the targets of all pools, as a Pingora background service.
pub struct TargetChecks {
    connector: Connector,
    edge: Arc<ArcSwap<Edge>>,
}

impl TargetChecks {
    /// Checks of whatever targets `edge` holds at the time.
    pub fn new(connector: Connector, edge: Arc<ArcSwap<Edge>>) -> Self {
        Self { connector, edge }
    }

    fn start_due(&self) {
        let now = keypool::now();
        for (entry, targets) in self.edge.load().targets() {
            for (index, target, path) in targets.due(now) {
                targets.checking(index, now);
                let (target, path) = (target.clone(), path.map(str::to_owned));
                tokio::spawn(check(self.connector.clone(), entry.clone(), targets.clone(), (index, target), path));
            }
        }
    }
}

async fn check(
    connector: Connector,
    entry: Arc<Entry>,
    targets: Arc<Targets>,
    (index, target): (usize, Arc<Target>),
    path: Option<String>,
) {
    let timeouts = &entry.config.timeouts;
    let egress = leaves_by(&entry, None);
    let egress = egress.as_ref();
    let limit = timeouts.connect + timeouts.connect;
    let answer = match &path {
        None => connector.reach(&target, egress, limit).await.map(|()| None),
        Some(path) => connector.ask(&target, egress, &Inquiry::page(path, limit)).await.map(|reply| Some(reply.status)),
    };
    let error = match answer {
        Ok(Some(status)) if !ALIVE.contains(&status) => Some(format!("the check is answered with {status}")),
        Ok(_) => None,
        Err(error) if is_egress_fault(&error) => return,
        Err(error) => Some(said(&error)),
    };
    targets.checked(index, error);
}

#[async_trait]
impl BackgroundService for TargetChecks {
    async fn start(&self, shutdown: ShutdownWatch) {
        every(TICK, shutdown, || self.start_due()).await;
    }
}

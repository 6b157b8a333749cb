//! A provider asked about one key after the other, patiently and at a pace it can bear.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::results::Finding;
use crate::config::{self, KeySpec};
use crate::health::{Examined, Outcome, Way};
use crate::keypool::Entry;
use crate::telemetry::AttemptResult;
use crate::upstream::{Connector, Target};
use crate::verdict::Fault;

/// How often a key is asked for whose answer says nothing of it.
const ATTEMPTS: u32 = 3;
/// Before the second attempt; doubled before the third.
const PAUSE: Duration = Duration::from_millis(500);

/// A provider ready to be asked.
pub(super) struct Provider {
    connector: Connector,
    pool: Entry,
    target: Arc<Target>,
    way: Way,
}

impl Provider {
    /// Finds out what to ask.
    ///
    /// # Errors
    /// A chat is the only proof, and no model is known to chat with; or the provider is not there.
    pub(super) async fn prepare(pool: config::Pool, keys: Vec<Arc<KeySpec>>) -> anyhow::Result<Self> {
        let first = pool.targets.first().ok_or(crate::upstream::target::TargetError::None)?;
        let target = Arc::new(Target::new(first, pool.timeouts.connect)?);
        let (connector, pool) = (Connector::new(), Entry::alone(pool, keys));
        let way = Way::find(&connector, &pool, &target).await?;
        Ok(Self { connector, pool, target, way })
    }

    /// Finds out about a key, with the patience a passing failure deserves.
    pub(super) async fn ask(&self, key: u32, pace: &Pace) -> Finding {
        let mut pause = PAUSE;
        for attempt in 1.. {
            pace.wait().await;
            let Examined { blame, outcome, reason, .. } =
                self.way.examine(&self.connector, &self.pool, &self.target, key).await;
            let may_pass = matches!(blame.fault, Fault::Unknown | Fault::Target);
            // Whoever did not answer in time would make everybody wait again.
            if !may_pass || blame.result == AttemptResult::Timeout || attempt >= ATTEMPTS {
                return Finding::new(outcome, reason);
            }
            sleep(pause).await;
            pause *= 2;
        }
        Finding::new(Outcome::Unknown, "not asked")
    }
}

/// Keeps requests apart, so that no provider is stormed.
pub(super) struct Pace {
    next: Mutex<Instant>,
    gap: Duration,
}

impl Pace {
    /// At most so many requests per second.
    pub(super) fn new(rate: f64) -> Self {
        let gap = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::from_secs(1));
        Self { next: Mutex::new(Instant::now()), gap }
    }

    /// Waits for the next turn.
    async fn wait(&self) {
        let turn = {
            let mut next = self.next.lock();
            let turn = (*next).max(Instant::now());
            *next = turn + self.gap;
            turn
        };
        sleep_until(turn).await;
    }
}

//! The writer: brings what the journal holds to the database, and the database back when it was away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::batch::Batch;
use crate::store::error::StoreError;
use crate::store::retention;
use crate::store::shared::Shared;

/// How long rows gather before they are written: few transactions, and a mark is durable long before a second is over.
const GATHER: Duration = Duration::from_millis(150);
/// Longest time a flush may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between attempts to reach a database that is away: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Between looks for what is too old to be kept.
const TIDY: Duration = Duration::from_secs(30);

/// Who asked for a flush.
type Ask = oneshot::Sender<Result<(), StoreError>>;

/// Runs until the store is dropped.
pub(in crate::store) async fn run(shared: Arc<Shared>, mut asked: mpsc::Receiver<Ask>) {
    let mut retry = RETRY.0;
    let mut tidy_at = Instant::now();
    loop {
        let is_down = shared.health.outage().is_some();
        let idle = if is_down { retry } else { tidy_at.saturating_duration_since(Instant::now()) };
        let ask = tokio::select! {
            ask = asked.recv() => match ask {
                Some(ask) => Some(ask),
                None => return,
            },
            () = gathered(&shared), if !is_down => None,
            () = sleep(idle) => None,
        };
        // A migration may take its time; connecting has limits of its own.
        let result = match shared.connect().await {
            Ok(()) => {
                let late = |_| Err(StoreError::Unavailable("the database does not answer".into()));
                timeout(PATIENCE, work(&shared)).await.unwrap_or_else(late)
            }
            Err(error) => Err(error),
        };
        match &result {
            Ok(()) => {
                shared.health.is_up();
                retry = RETRY.0;
            }
            Err(error) => {
                shared.health.is_down(error);
                retry = (retry * 2).min(RETRY.1);
            }
        }
        if result.is_ok() && Instant::now() >= tidy_at {
            tidy_at = Instant::now() + if tidy(&shared).await { Duration::ZERO } else { TIDY };
        }
        if let Some(ask) = ask
            && ask.send(result).is_err()
        {
            log::debug!("Nobody waited for the flush.");
        }
    }
}

async fn gathered(shared: &Shared) {
    shared.journal.0.work.notified().await;
    sleep(GATHER).await;
}

/// One flush. After an outage a row is written in any case: an empty flush would prove nothing.
async fn work(shared: &Shared) -> Result<(), StoreError> {
    // Declared before the batch: what is not written is back in the journal before the next in turn.
    let _turn = shared.turn.lock().await;
    let database = shared.database()?;
    if shared.health.outage().is_some() {
        retention::touch(&database.journal).await?;
    }
    let mut batch = Batch::take(&shared.journal);
    let written = batch.write(&database.journal).await;
    match &written {
        Ok(bytes) if shared.log_bytes.load(Ordering::Relaxed) >= 0 => {
            shared.log_bytes.fetch_add(*bytes, Ordering::Relaxed);
        }
        // Summed up anew at the next tidying.
        _ => shared.log_bytes.store(-1, Ordering::Relaxed),
    }
    written.map(|_| ())
}

/// Whether there is more to tidy.
async fn tidy(shared: &Shared) -> bool {
    let step = async {
        let _turn = shared.turn.lock().await;
        retention::step(shared).await
    };
    match timeout(PATIENCE, step).await {
        Ok(Ok(more)) => more,
        Ok(Err(error)) if error.is_outage() => {
            shared.health.is_down(&error);
            false
        }
        Ok(Err(error)) => {
            log::warn!(error:%; "The store can't forget what is too old.");
            false
        }
        Err(_) => false,
    }
}

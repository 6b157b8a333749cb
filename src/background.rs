//! Work behind the requests' backs, which gets the time they leave.
//!
//! Reading a hundred thousand keys takes a core for a while, and a core that is taken lets requests wait for milliseconds.
//! So threads that import, reload, export, answer operators or write to the store stand behind those that serve requests.
//! Linux alone knows priorities of threads.

use tokio::task::{JoinError, spawn_blocking};

/// How far a thread stands behind those that serve requests, in steps of `nice`.
#[derive(Debug, Clone, Copy)]
pub enum Rank {
    /// Gets a third of what one of those gets, where there is not enough for both: what was learnt is to be kept within a
    /// second on a busy machine, too.
    Store = 5,
    /// The last there is.
    Work = 19,
}

/// Runs what takes long or waits for the store, in a thread of the last [rank](Rank).
///
/// # Errors
/// If it panicked.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    let quietly = || {
        give_way(Rank::Work);
        work()
    };
    spawn_blocking(quietly).await
}

/// Lets threads that serve requests go before this one, and before those it starts from now on.
#[cfg(target_os = "linux")]
pub fn give_way(rank: Rank) {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), rank as i32) {
        log::debug!(error:%; "A thread keeps its priority.");
    }
}

/// There are no priorities of threads here.
#[cfg(not(target_os = "linux"))]
pub fn give_way(_: Rank) {}

//! Work behind the requests' backs, which gets the time they leave.
//!
//! Reading a hundred thousand keys takes a core for a while, and a core that is taken lets requests wait for milliseconds.
//! So threads that serve requests go first, and those that import, reload, export, answer operators or write to the store
//! give way to them. Linux alone knows priorities of threads.

#[cfg(target_os = "linux")]
mod scheduler;

use tokio::task::{JoinError, spawn_blocking};

/// How far a thread stands behind those that serve requests, in steps of `nice`.
#[derive(Debug, Clone, Copy)]
pub enum Rank {
    /// Gets a tenth of what one of those gets, where there is not enough for both: what was learnt is to be kept within a
    /// second on a busy machine, too.
    Store = 10,
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

/// Lets this thread run as soon as there is something to do. Costs nothing after the first time.
pub fn go_first() {
    #[cfg(target_os = "linux")]
    scheduler::go_first();
}

/// Lets threads that serve requests go before this one, and before those it starts from now on.
pub fn give_way(rank: Rank) {
    #[cfg(target_os = "linux")]
    scheduler::give_way(rank as i32);
    #[cfg(not(target_os = "linux"))]
    let _ = rank;
}

//! Work behind the requests' backs, which gets the time they leave.
//!
//! Reading a hundred thousand keys takes a core for a while, and a core that is taken lets requests wait for milliseconds.
//! So the threads that import, reload, export and answer operators run at the lowest priority: a thread that serves
//! requests goes first. Not so the store's: what was learnt is to be kept within a second on a busy machine, too. Linux
//! alone knows priorities of threads.

use tokio::task::{JoinError, spawn_blocking};

/// Runs what takes long or waits for the store, in a thread that [gives way](give_way).
///
/// # Errors
/// If it panicked.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    let quietly = || {
        give_way();
        work()
    };
    spawn_blocking(quietly).await
}

/// Lets threads that serve requests go before this one, and before those it starts from now on.
#[cfg(target_os = "linux")]
pub fn give_way() {
    /// The lowest there is.
    const NICE: i32 = 19;
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        log::debug!(error:%; "A thread keeps its priority.");
    }
}

/// There are no priorities of threads here.
#[cfg(not(target_os = "linux"))]
pub fn give_way() {}

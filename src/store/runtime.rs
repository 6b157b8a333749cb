//! The store's own thread: connections belong to the runtime they were opened on, and none of Pingora's lives as long as
//! the store does.

use std::future::Future;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::error::StoreError;
use crate::background::{self, Rank};

/// How long blocking work may hold up the end.
const END: Duration = Duration::from_secs(1);

/// A thread that runs a Tokio runtime until this is dropped.
pub(super) struct Runtime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Runtime {
    pub(super) fn start() -> Result<Self, StoreError> {
        let failed = |e: std::io::Error| StoreError::Unavailable(format!("its thread can't be started: {e}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let work = move || {
            // So do the threads of its connections, which are started from here.
            background::give_way(Rank::Store);
            // Sent or dropped: both mean the end.
            let _end = runtime.block_on(stopped);
            runtime.shutdown_timeout(END);
        };
        let thread = thread::Builder::new().name("store".into()).spawn(work).map_err(failed)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Runs it there to its end, even if the caller stops waiting: a write is not left half done.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.handle.spawn(work).await.map_err(|_| StoreError::Unavailable("it is closed".into()))?
    }

    /// [`run`](Self::run) for a thread that may block.
    pub(super) fn run_blocking<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (tell, told) = std::sync::mpsc::channel();
        self.handle.spawn(async move {
            if tell.send(work.await).is_err() {
                log::debug!("Nobody waited for the store.");
            }
        });
        told.recv().map_err(|_| StoreError::Unavailable("it is closed".into()))?
    }

    /// Lets it run beside everything else.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            log::error!("The store's thread panicked.");
        }
    }
}

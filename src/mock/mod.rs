//! The mock provider: an OpenAI-compatible server whose behaviour is written in the key it is called with.
//!
//! A keys file is thereby a whole scenario (`sk-ok-1`, `sk-429-1`, `sk-cut-1`, …), for the demo, the tests and the
//! benchmarks alike. It speaks HTTP/1.1 on the raw socket, not through a server library, because half of what it is
//! for (cut streams, half heads, silence, unasked upgrades) is what a server library exists to prevent. It never
//! speaks TLS and never asks anyone else: one process, no state on disk.
//!
//! What reached it can be read back at `GET /mock/stats`, so that a test can assert what a proxy really sent.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

mod answers;
mod balances;
mod behaviour;
mod control;
mod http;
mod misbehave;
mod request;
mod resources;
mod session;
mod stats;
mod stream;

#[cfg(test)]
mod tests;

use session::Session;
use stats::Stats;

/// Connections the kernel may hold for us while we are busy.
const BACKLOG: u32 = 4096;

/// A bound mock provider that does not answer yet.
#[derive(Debug)]
pub struct Mock {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all connections of one mock have in common.
#[derive(Debug, Default)]
struct Shared {
    stats: Stats,
    settings: parking_lot::Mutex<control::Settings>,
    resources: resources::Resources,
    balances: balances::Balances,
}

impl Mock {
    /// Binds `address` (port 0 = any free one). Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Whatever the operating system says of the address.
    pub fn bind(address: SocketAddr) -> io::Result<Mock> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Mock { listener, address, shared: Arc::default() })
    }

    /// The address really bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` resolves; then every open connection is closed at once.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        // Dropping the set ends the connections with it.
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.open(stream, &mut sessions),
                    // Out of descriptors or a peer already gone: let others finish first.
                    Err(error) => {
                        log::warn!("mock: cannot accept a connection: {error}");
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    }
                },
                Some(_) = sessions.join_next() => {}
            }
        }
    }

    fn open(&self, stream: TcpStream, sessions: &mut JoinSet<()>) {
        // Without it a stream's small events wait for the peer's acknowledgement. A peer gone by now needs none.
        if stream.set_nodelay(true).is_ok() {
            sessions.spawn(Session::new(stream, Arc::clone(&self.shared)).run());
        }
    }
}

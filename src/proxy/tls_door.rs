//! The door of a TLS listener: counts connections before their handshake.
//!
//! HTTP/2 that was negotiated by ALPN never comes by `front`, which counts the others, and a handshake costs more than
//! most requests. So here a connection is counted as soon as it is accepted, whatever it turns out to speak, and one too
//! many is closed without a word.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::listeners::PreTlsProcess;
use pingora::prelude::*;
use pingora::protocols::l4::stream::Stream;
use pingora::upstreams::peer::{Tracer, Tracing};

use super::admit::{Admission, Slot};
use super::edge::Edge;
use crate::background;

/// Lets connections in while fewer than the limit are open, plain ones included.
pub struct TlsDoor {
    admission: Arc<Admission>,
    edge: Arc<ArcSwap<Edge>>,
}

impl TlsDoor {
    /// A door for as many connections as `edge` allows at the time.
    pub fn new(admission: Arc<Admission>, edge: Arc<ArcSwap<Edge>>) -> Self {
        Self { admission, edge }
    }
}

#[async_trait]
impl PreTlsProcess for TlsDoor {
    async fn process(&self, stream: &mut Stream) -> Result<()> {
        background::go_first();
        let Ok(slot) = self.admission.connect(self.edge.load().limits.connections) else {
            return Error::e_explain(AcceptError, "server.limits.connections are open");
        };
        stream.tracer = Some(Tracer(Box::new(Open(Arc::new(slot)))));
        Ok(())
    }
}

/// Counted as long as the connection holds it; Pingora has no other place for something that goes with a connection.
struct Open(Arc<Slot>);

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Open")
    }
}

impl Tracing for Open {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {}

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(Self(self.0.clone()))
    }
}

//! What stands behind keyweir: the mock, or a peer that does what a test says, byte by byte.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use keyweir::mock::Mock;
use serde_json::Value;
use tokio::sync::oneshot;

use super::client::Connection;
use super::server::PATIENCE;
use super::{RUNTIME, eventually};

/// The mock provider, in this process.
pub(crate) struct MockProvider {
    pub(crate) address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl MockProvider {
    pub(crate) fn start() -> Self {
        let _entered = RUNTIME.enter();
        let mock = Mock::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = mock.local_addr();
        let (stop, stopped) = oneshot::channel();
        RUNTIME.spawn(mock.serve(async { drop(stopped.await) }));
        Self { address, _stop: stop }
    }

    /// What `GET /mock/stats` says.
    pub(crate) fn stats(&self) -> Value {
        let mut connection = Connection::open(self.address);
        connection.send("GET /mock/stats HTTP/1.1\r\nHost: mock\r\n\r\n");
        connection.response().json()
    }

    /// One counter of the statistics.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.stats()[name].as_u64().unwrap()
    }

    /// Waits until a counter reaches `value`.
    pub(crate) fn expect(&self, name: &str, value: u64) {
        eventually(&format!("{name} = {value}"), || self.count(name) == value);
    }

    /// Requests that came with this key.
    pub(crate) fn asked(&self, key: &str) -> u64 {
        self.stats()["keys"][key]["requests"].as_u64().unwrap_or(0)
    }

    /// The last requests in full.
    pub(crate) fn last(&self) -> Vec<Value> {
        self.stats()["last"].as_array().unwrap().clone()
    }

    /// A `POST /mock/…`.
    pub(crate) fn control(&self, what: &str, body: &Value) {
        let mut connection = Connection::open(self.address);
        let body = body.to_string();
        connection.send(format!("POST /mock/{what} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(connection.response().status, 200);
    }
}

impl fmt::Display for MockProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// A provider that plays a script on each connection.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Scripted {
    /// Plays `script` on each connection, on a thread of its own.
    pub(crate) fn start(script: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let script = Arc::new(script);
        // Ends with the process: a listener nobody connects to costs nothing.
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, SeqCst);
                let script = script.clone();
                thread::spawn(move || script(Peer::new(stream.unwrap())));
            }
        });
        Self { address, connections }
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

impl fmt::Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// keyweir's end of a scripted connection.
pub(crate) struct Peer {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    fn fill(&mut self) -> bool {
        let mut piece = vec![0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(n) if n > 0 => {
                self.read.extend_from_slice(&piece[..n]);
                true
            }
            _ => false,
        }
    }

    /// The next request's head, or `None` if the connection ends.
    pub(crate) fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                return Some(String::from_utf8_lossy(&self.read.drain(..end + 4).collect::<Vec<_>>()).into_owned());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// The next request whole: its head, and the body its `Content-Length` announces.
    pub(crate) fn request(&mut self) -> Option<(String, Vec<u8>)> {
        let head = self.head()?;
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let length: usize = length.unwrap_or(0);
        while self.read.len() < length {
            if !self.fill() {
                return None;
            }
        }
        Some((head, self.read.drain(..length).collect()))
    }

    /// Reads over so many bytes.
    pub(crate) fn skip(&mut self, length: usize) {
        let mut left = length;
        while left > self.read.len() {
            left -= self.read.len();
            self.read.clear();
            if !self.fill() {
                return;
            }
        }
        self.read.drain(..left);
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // keyweir may be gone by now; what the client then sees is what counts.
        let _gone = self.stream.write_all(bytes.as_ref());
    }

    /// The head of a chunked event stream.
    pub(crate) fn begin_stream(&mut self) {
        self.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    }

    /// A whole answer with a JSON body.
    pub(crate) fn answer(&mut self, status: u16, body: &str) {
        let length = body.len();
        self.send(format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }
}

impl Peer {
    /// Waits for keyweir to close.
    pub(crate) fn closed(&mut self) {
        while self.fill() {}
    }
}

/// An address at which connecting never ends: nobody accepts, and the queue is full.
pub(crate) struct Deaf {
    address: SocketAddr,
    _listener: tokio::net::TcpListener,
    _queue: Vec<TcpStream>,
}

impl Deaf {
    pub(crate) fn start() -> Self {
        let _entered = RUNTIME.enter();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let queue = std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok());
        Self { address, _queue: queue.take(100).collect(), _listener: listener }
    }
}

impl fmt::Display for Deaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// One chunk of a chunked body.
pub(crate) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// A content event, as OpenAI streams it.
pub(crate) fn event(content: &str) -> String {
    let delta = serde_json::json!({"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}]});
    format!("data: {delta}\n\n")
}

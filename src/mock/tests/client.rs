//! A client on a plain socket, which sees what a polite one would hide.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mock::Mock;

/// Nothing here takes longer unless it hangs.
pub(super) const HANG: std::time::Duration = std::time::Duration::from_secs(20);

/// A running mock and a connection to it.
pub(super) struct Client {
    pub(super) address: SocketAddr,
    pub(super) stream: TcpStream,
    pub(super) buffer: Vec<u8>,
}

/// An answer, its body decoded.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// The framing came to its end.
    pub(super) complete: bool,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The events' JSON, `[DONE]` as a string.
    pub(super) fn events(&self) -> Vec<Value> {
        let events = self.text().split("\n\n").filter_map(|event| event.strip_prefix("data: "));
        events.map(|data| serde_json::from_str(data).unwrap_or_else(|_| data.into())).collect()
    }
}

impl Client {
    pub(super) async fn new() -> Client {
        let mock = Mock::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = mock.local_addr();
        tokio::spawn(mock.serve(std::future::pending()));
        Client::to(address).await
    }

    pub(super) async fn to(address: SocketAddr) -> Client {
        Client { address, stream: TcpStream::connect(address).await.unwrap(), buffer: Vec::new() }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    pub(super) async fn post(&mut self, path: &str, key: &str, body: &Value) {
        let body = body.to_string();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: mock\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    }

    pub(super) async fn chat(&mut self, key: &str, body: Value) -> Reply {
        self.post("/v1/chat/completions", key, &body).await;
        self.reply().await
    }

    pub(super) async fn stats(&self) -> Value {
        let mut client = Client::to(self.address).await;
        client.send("GET /mock/stats HTTP/1.1\r\nHost: mock\r\n\r\n").await;
        client.reply().await.json()
    }

    /// Waits until the statistics' `field` is `value`.
    pub(super) async fn until(&self, field: &str, value: u64) {
        timeout(HANG, async {
            while self.stats().await[field] != value {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{field} never became {value}"));
    }

    /// `false` at the connection's end.
    pub(super) async fn fill(&mut self) -> bool {
        matches!(timeout(HANG, self.stream.read_buf(&mut self.buffer)).await.expect("mock hangs"), Ok(1..))
    }

    pub(super) async fn reply(&mut self) -> Reply {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill().await, "closed inside a head: {:?}", String::from_utf8_lossy(&self.buffer));
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new(), complete: false };
        if let Some(length) = reply.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length && self.fill().await {}
            reply.complete = self.buffer.len() >= length;
            reply.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        } else if reply.header("transfer-encoding").is_some() {
            reply.complete = self.chunks(&mut reply.body).await;
        } else if status != 101 {
            while self.fill().await {}
            reply.body = std::mem::take(&mut self.buffer);
            reply.complete = true;
        }
        reply
    }

    pub(super) async fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let Ok(httparse::Status::Complete((at, size))) = httparse::parse_chunk_size(&self.buffer) else {
                if self.fill().await { continue } else { return false }
            };
            let end = at + size as usize;
            while self.buffer.len() < end + 2 {
                if !self.fill().await {
                    return false;
                }
            }
            body.extend_from_slice(&self.buffer[at..end]);
            self.buffer.drain(..end + 2);
            if size == 0 {
                return true;
            }
        }
    }
}

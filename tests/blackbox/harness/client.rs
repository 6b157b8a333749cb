//! A client on a raw socket: it sends what it is told, right or wrong, and sees every byte that comes back.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::server::{PATIENCE, TOKEN};

/// Whatever bytes travel on.
pub(crate) trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// One connection.
pub(crate) struct Connection {
    stream: Box<dyn Wire>,
    read: Vec<u8>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The body ended as its framing says. One that only the connection's end delimits always did.
    pub(crate) is_complete: bool,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the server accepts")
    }

    /// A connection, unless nobody listens.
    pub(crate) fn try_open(address: SocketAddr) -> Option<Self> {
        try_dial(address).map(Self::over)
    }

    /// A connection that is already there.
    pub(crate) fn over(stream: impl Wire + 'static) -> Self {
        Self { stream: Box::new(stream), read: Vec::new() }
    }

    /// Sends bytes; a server that closed already is no error here, its answer tells.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _closed = self.stream.write_all(bytes.as_ref());
    }

    /// Reads more; false at the connection's end.
    fn fill(&mut self) -> bool {
        let mut piece = vec![0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(n) => {
                self.read.extend_from_slice(&piece[..n]);
                true
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("the server neither answered nor closed; so far: {:?}", String::from_utf8_lossy(&self.read))
            }
            Err(_) => false,
        }
    }

    /// The next answer's head; interim answers are skipped, except where `100` is asked for by [`Self::interim`].
    pub(crate) fn head(&mut self) -> Response {
        loop {
            let head = self.any_head();
            if head.status >= 200 || head.status == 101 {
                return head;
            }
        }
    }

    /// The next head, interim or final.
    pub(crate) fn any_head(&mut self) -> Response {
        let head = self.try_head();
        head.unwrap_or_else(|| panic!("closed without an answer; so far: {:?}", String::from_utf8_lossy(&self.read)))
    }

    fn try_head(&mut self) -> Option<Response> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&self.read[..end]).into_owned();
                self.read.drain(..end + 4);
                return Some(parse_head(&text));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// The next answer, unless the connection ends first.
    pub(crate) fn try_response(&mut self) -> Option<Response> {
        let mut response = self.try_head()?;
        self.body(&mut response);
        Some(response)
    }

    /// The next answer, for a request of this method.
    pub(crate) fn response_to(&mut self, method: &str) -> Response {
        let mut response = self.head();
        let is_empty = method == "HEAD" || matches!(response.status, 101 | 204 | 304);
        if !is_empty {
            self.body(&mut response);
        }
        response
    }

    /// The next answer.
    pub(crate) fn response(&mut self) -> Response {
        self.response_to("POST")
    }

    fn body(&mut self, response: &mut Response) {
        if let Some(length) = response.header("content-length") {
            let length: usize = length.parse().unwrap();
            response.is_complete = self.fill_to(length);
            response.body = self.take(length);
        } else if response.header("transfer-encoding") == Some("chunked") {
            response.is_complete = false;
            while let Some(piece) = self.chunk() {
                if piece.is_empty() {
                    response.is_complete = true;
                    break;
                }
                response.body.extend_from_slice(&piece);
            }
        } else {
            while self.fill() {}
            response.body = std::mem::take(&mut self.read);
        }
    }

    fn fill_to(&mut self, length: usize) -> bool {
        while self.read.len() < length {
            if !self.fill() {
                return false;
            }
        }
        true
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.read.drain(..length.min(self.read.len())).collect()
    }

    /// The next chunk of a chunked body; the last one is empty; `None` if the connection ends before.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            match find(&self.read, b"\r\n") {
                Some(end) => break end,
                None if self.fill() => {}
                None => return None,
            }
        };
        let line = String::from_utf8_lossy(&self.read[..end]).into_owned();
        let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
        if !self.fill_to(end + 2 + size + 2) {
            return None;
        }
        let chunk = self.read[end + 2..end + 2 + size].to_vec();
        self.read.drain(..end + 2 + size + 2);
        Some(chunk)
    }

    /// Reads a chunked stream until `text` came; gives what came so far.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let piece = self.chunk().filter(|piece| !piece.is_empty());
            let piece = piece.unwrap_or_else(|| panic!("the stream ended before {text:?}: {seen:?}"));
            seen += &String::from_utf8_lossy(&piece);
        }
        seen
    }

    /// Reads a head and its stream until `text` came.
    pub(crate) fn until_head_and(&mut self, text: &str) {
        assert_eq!(self.head().status, 200);
        self.until(text);
    }

    /// The rest of the stream, and whether it ended cleanly.
    pub(crate) fn rest(&mut self) -> (String, bool) {
        let mut seen = String::new();
        while let Some(piece) = self.chunk() {
            if piece.is_empty() {
                return (seen, true);
            }
            seen += &String::from_utf8_lossy(&piece);
        }
        (seen, false)
    }

    /// Whatever comes until the connection's end, as it came.
    pub(crate) fn raw_rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.read)
    }

    /// So many bytes, as they came.
    pub(crate) fn raw(&mut self, length: usize) -> Vec<u8> {
        assert!(self.fill_to(length), "closed early");
        self.take(length)
    }

    /// Waits for the server to close, without another byte.
    pub(crate) fn expect_closed(&mut self) {
        assert!(!self.fill() && self.read.is_empty(), "more came: {:?}", String::from_utf8_lossy(&self.read));
    }
}

impl Response {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.text()))
    }

    /// The error object's `code`.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The attempts keyweir says it made.
    pub(crate) fn attempts(&self) -> u32 {
        self.header("keyweir-attempts").and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}

/// A TCP connection that gives up on a peer that hangs.
pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    try_dial(address).expect("the server accepts")
}

/// The same, unless nobody listens.
pub(crate) fn try_dial(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    Some(stream)
}

fn parse_head(text: &str) -> Response {
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status line: {status_line:?}"));
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    Response { status, headers: headers.collect(), body: Vec::new(), is_complete: true }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// A request's bytes, with the test's client token. `headers` are whole lines.
pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: keyweir.test\r\nAuthorization: Bearer {TOKEN}\r\n");
    for line in headers {
        text += line;
        text += "\r\n";
    }
    let has_framing = headers.iter().any(|line| line.to_ascii_lowercase().starts_with("transfer-encoding"));
    if !has_framing && (!body.is_empty() || method == "POST") {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    [text.as_bytes(), body].concat()
}

/// A POST of JSON.
pub(crate) fn post(path: &str, body: &Value) -> Vec<u8> {
    request("POST", path, &["Content-Type: application/json"], body.to_string().as_bytes())
}

/// A chat completion with these members beside the usual ones.
pub(crate) fn chat(members: &Value) -> Vec<u8> {
    let mut body = serde_json::json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]});
    for (name, value) in members.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    post("/v1/chat/completions", &body)
}

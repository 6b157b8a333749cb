//! An HTTP/2 client, as low as the `h2` crate goes: frames are sent when a test says so.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::RUNTIME;
use super::client::Response;
use super::server::{PATIENCE, TOKEN};
use super::tls::Authority;

/// One connection.
pub(crate) struct Http2 {
    send: SendRequest<Bytes>,
    task: tokio::task::JoinHandle<()>,
}

/// A request under way.
pub(crate) struct Exchange {
    pub(crate) body: SendStream<Bytes>,
    answer: ResponseFuture,
}

/// An answer that is being read.
pub(crate) struct Answer {
    pub(crate) head: Response,
    body: RecvStream,
}

impl Http2 {
    /// In clear text, with prior knowledge.
    pub(crate) fn open(address: SocketAddr) -> Self {
        in_time(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            Self::over(stream).await.unwrap()
        })
    }

    /// The same over TLS, negotiated; an error if the server closes the connection.
    pub(crate) fn open_tls(address: SocketAddr, authority: &Authority) -> io::Result<Self> {
        let connector = TlsConnector::from(Arc::new(authority.client_config(&["h2"])));
        in_time(async move {
            let stream = TcpStream::connect(address).await?;
            let stream = connector.connect("localhost".try_into().unwrap(), stream).await?;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            Self::over(stream).await.map_err(io::Error::other)
        })
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, h2::Error> {
        let mut builder = h2::client::Builder::new();
        // So that no answer waits for another one to be read.
        builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 26);
        let (send, connection) = builder.handshake(stream).await?;
        // How the connection ends shows in its streams.
        let task = tokio::spawn(async { drop(connection.await) });
        Ok(Self { send, task })
    }

    /// Sends a head; `is_end` = no body follows.
    pub(crate) fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], is_end: bool) -> Exchange {
        let mut request = Request::builder().method(method).uri(format!("http://keyweir.test{path}"));
        request = request.header("authorization", format!("Bearer {TOKEN}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let send = self.send.clone();
        in_time(async move {
            let mut send = send.ready().await.unwrap();
            let (answer, body) = send.send_request(request.body(()).unwrap(), is_end).unwrap();
            Exchange { body, answer }
        })
    }

    /// A POST of JSON, its end on the last DATA frame; the answer's head.
    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        let mut exchange = self.begin("POST", path, &[("content-type", "application/json")], false);
        exchange.send(body.to_string().into_bytes(), true);
        exchange.answer()
    }

    /// A GET, unless the server takes no more requests on this connection.
    pub(crate) fn try_get(&self, path: &str) -> Option<Response> {
        self.try_send("GET", path, Bytes::new()).map(Answer::finish)
    }

    /// A POST of JSON, with the same reservation.
    pub(crate) fn try_post(&self, path: &str, body: &serde_json::Value) -> Option<Answer> {
        self.try_send("POST", path, body.to_string().into())
    }

    fn try_send(&self, method: &str, path: &str, data: Bytes) -> Option<Answer> {
        let request = Request::builder().method(method).uri(format!("http://keyweir.test{path}"));
        let request = request.header("authorization", format!("Bearer {TOKEN}")).body(()).unwrap();
        let send = self.send.clone();
        in_time(async move {
            let mut send = send.ready().await.ok()?;
            let (answer, mut body) = send.send_request(request, data.is_empty()).ok()?;
            if !data.is_empty() {
                body.send_data(data, true).ok()?;
            }
            let (head, body) = answer.await.ok()?.into_parts();
            Some(read_head(&head, body))
        })
    }

    /// Closes the connection as a client that dies does.
    pub(crate) fn abort(self) {
        self.task.abort();
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Exchange {
    /// Sends DATA, as the flow control allows.
    pub(crate) fn send(&mut self, data: impl Into<Bytes>, is_end: bool) {
        let mut data = data.into();
        let body = &mut self.body;
        in_time(async move {
            while !data.is_empty() {
                body.reserve_capacity(data.len().min(1 << 16));
                let Some(Ok(room)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else { return };
                let piece = data.split_to(room.min(data.len()));
                if body.send_data(piece, false).is_err() {
                    return;
                }
            }
            // The server may have answered and reset the stream before: the answer tells.
            let _reset = if is_end { body.send_data(Bytes::new(), true) } else { Ok(()) };
        });
    }

    /// The answer's head.
    pub(crate) fn answer(self) -> Answer {
        in_time(async move {
            let (head, body) = self.answer.await.expect("an answer").into_parts();
            read_head(&head, body)
        })
    }

    /// Takes the request back (RST_STREAM, CANCEL).
    pub(crate) fn reset(mut self) {
        self.body.send_reset(h2::Reason::CANCEL);
    }
}

impl Answer {
    /// The next DATA; `None` at the end, an error if the stream is reset.
    pub(crate) fn data(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let body = &mut self.body;
        in_time(async move {
            let data = body.data().await?;
            if let Ok(data) = &data {
                body.flow_control().release_capacity(data.len()).unwrap();
            }
            Some(data)
        })
    }

    /// Reads until `text` came.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let data = self.data().and_then(Result::ok);
            let data = data.unwrap_or_else(|| panic!("the stream ended before {text:?}: {seen:?}"));
            seen += &String::from_utf8_lossy(&data);
        }
        seen
    }

    /// The whole answer; `is_complete` = it ended with END_STREAM, not a reset.
    pub(crate) fn finish(mut self) -> Response {
        let is_complete = loop {
            match self.data() {
                Some(Ok(data)) => self.head.body.extend_from_slice(&data),
                Some(Err(_)) => break false,
                None => break true,
            }
        };
        Response { is_complete, ..self.head }
    }

    /// Gives the stream up (RST_STREAM, CANCEL, which h2 sends for a dropped handle).
    pub(crate) fn cancel(self) {}
}

fn read_head(head: &http::response::Parts, body: RecvStream) -> Answer {
    let headers = head.headers.iter();
    let headers = headers.map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()));
    let status = head.status.as_u16();
    Answer { head: Response { status, headers: headers.collect(), body: Vec::new(), is_complete: false }, body }
}

fn in_time<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(async { timeout(PATIENCE, future).await.expect("HTTP/2 goes on") })
}

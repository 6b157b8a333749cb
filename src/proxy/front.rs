//! The front: what a client connection meets before Pingora's parser.
//!
//! It reads each HTTP/1 head whole, under a deadline and a size limit, judges it strictly (`head`), answers what it
//! refuses, and hands what it accepts on as a prefix. Cleartext HTTP/2 is told by its preface. Pingora's own reader has
//! no deadline for a head and answers only 400.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::BytesMut;
use memchr::memmem;
use once_cell::sync::Lazy;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::server::ShutdownWatch;
use pingora::time::timeout;
use pingora_proxy::HttpProxy;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::admit::Admission;
use super::answer::Answer;
use super::context::new_request_id;
use super::edge::Edge;
use super::gateway::Gateway;
use super::head;
use crate::background;
use crate::config::Limits;
use crate::telemetry::PoolMetrics;
use crate::upstream::Connector;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
static HEAD_END: Lazy<memmem::Finder<'static>> = Lazy::new(|| memmem::Finder::new(b"\r\n\r\n"));
/// Room for most heads and short bodies; grows up to the limit.
const FIRST_READ: usize = 4096;

/// The proxy as Pingora runs it.
pub type Proxy = HttpProxy<Gateway, Connector>;

/// Streams of one HTTP/2 client connection.
const HTTP2_STREAMS: u32 = 256;
/// Once the server leaves, a connection without a request is closed after this time. Until then a request that was on
/// its way is read, and not met by a reset.
const LAST_CALL: Duration = Duration::from_secs(5);

/// Bounds of one head, as they are when it is waited for.
#[derive(Debug, Clone, Copy)]
struct HeadLimits {
    /// Bytes.
    size: usize,
    /// For the whole head, from its first byte.
    time: Duration,
    /// Between two requests of a connection.
    keepalive: Duration,
}

impl From<&Limits> for HeadLimits {
    fn from(limits: &Limits) -> Self {
        Self { size: limits.headers, time: limits.header_timeout, keepalive: limits.keepalive }
    }
}

enum Head {
    Closed,
    Http1(BytesMut),
    Http2(BytesMut),
    Refused(Answer),
}

/// Serves one connection until it closes, is refused or the server shuts down.
pub async fn serve(
    proxy: Arc<Proxy>,
    mut stream: Stream,
    mut shutdown: ShutdownWatch,
    admission: Arc<Admission>,
    edge: Arc<ArcSwap<Edge>>,
) -> Option<Stream> {
    background::go_first();
    // Those with TLS were counted before their handshake.
    let is_counted = stream.get_ssl_digest().is_some();
    let open = (!is_counted).then(|| admission.connect(edge.load().limits.connections)).transpose();
    let _open = match open {
        Ok(open) => open,
        Err(answer) => {
            refuse(&mut stream, &answer).await;
            return None;
        }
    };
    let mut persistent: Option<HttpPersistentSettings> = None;
    let mut is_first = true;
    loop {
        let limits = HeadLimits::from(&edge.load().limits);
        let head = next_head(&mut stream, limits, is_first, &mut shutdown).await;
        is_first = false;
        match head {
            Head::Closed => return None,
            Head::Refused(answer) => {
                refuse(&mut stream, &answer).await;
                return None;
            }
            Head::Http2(read) => {
                let mut l4 = stream.into_any().downcast::<L4Stream>().ok()?;
                l4.rewind(&read);
                return Arc::new(Cleartext2::new(proxy, &edge.load().limits)).process_new(l4, &shutdown).await;
            }
            Head::Http1(read) => {
                let mut session = ServerSession::new_http1(stream);
                match persistent.take() {
                    Some(settings) => settings.apply_to_session(&mut session),
                    None => session.set_keepalive(Some(limits.keepalive.as_secs().max(1))),
                }
                session.set_pipelined_prefix(read);
                (stream, persistent) = proxy.process_new_http(session, &shutdown).await?.consume();
            }
        }
    }
}

/// The next head, or the end of the connection.
async fn next_head(stream: &mut Stream, limits: HeadLimits, is_first: bool, shutdown: &mut ShutdownWatch) -> Head {
    let mut head = pin!(read_head(stream, limits, is_first));
    let leaves = async { drop(shutdown.wait_for(|stop| *stop).await) };
    tokio::select! {
        biased;
        head = &mut head => head,
        () = leaves => timeout(LAST_CALL, head).await.unwrap_or(Head::Closed),
    }
}

async fn read_head(stream: &mut Stream, limits: HeadLimits, is_first: bool) -> Head {
    let mut read = match timeout(limits.keepalive, first_read(stream)).await {
        Ok(Ok(read)) if !read.is_empty() => read,
        _ => return Head::Closed,
    };
    let mut until = None;
    let mut searched = 0;
    loop {
        if is_first && read.starts_with(b"PRI ") {
            if read.starts_with(PREFACE) {
                return Head::Http2(read);
            }
            if !PREFACE.starts_with(&read) {
                return Head::Refused(Answer::BadRequest("The HTTP/2 preface is malformed."));
            }
        } else if let Some(decided) = judge(&mut read, &mut searched, limits.size) {
            return decided;
        }
        // Most heads come in one piece and never look at a clock.
        let now = Instant::now();
        let left = until.get_or_insert(now + limits.time).saturating_duration_since(now);
        match timeout(left, stream.read_buf(&mut read)).await {
            Err(_) => return Head::Refused(Answer::RequestTimeout),
            Ok(Ok(n)) if n > 0 => {}
            Ok(_) => return Head::Closed,
        }
    }
}

/// The first bytes of a request, read through the stack: an idle connection holds no buffer.
async fn first_read(stream: &mut Stream) -> std::io::Result<BytesMut> {
    poll_fn(|cx| {
        let mut space = [const { MaybeUninit::uninit() }; FIRST_READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(BytesMut::from(buffer.filled())))
    })
    .await
}

/// Decides as soon as the head is complete, too large or hopeless.
fn judge(read: &mut BytesMut, searched: &mut usize, limit: usize) -> Option<Head> {
    let from = searched.saturating_sub(3);
    let end = HEAD_END.find(read.get(from..)?).map(|at| from + at + 4);
    *searched = read.len();
    match end {
        Some(end) if end > limit => Some(Head::Refused(Answer::HeadersTooLarge)),
        Some(end) => Some(match head::check(read.get(..end)?) {
            Ok(()) => Head::Http1(std::mem::take(read)),
            Err(answer) => Head::Refused(answer),
        }),
        None if read.len() > limit => Some(Head::Refused(Answer::HeadersTooLarge)),
        // A head of bare line feeds never completes: no need to wait for the deadline.
        None if memmem::find(read.get(from..)?, b"\n\n").is_some() => {
            Some(Head::Refused(Answer::BadRequest("Lines must end with CRLF.")))
        }
        None => None,
    }
}

/// Answers without a session, then closes.
async fn refuse(stream: &mut Stream, answer: &Answer) {
    let request_id = new_request_id();
    let body = answer.body(&request_id, None);
    let text = format!(
        "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n{body}",
        http::StatusCode::from_u16(answer.status()).unwrap_or_default(),
        body.len(),
    );
    let metrics = PoolMetrics::for_pool("");
    metrics.request_finished(answer.status(), answer.outcome(), Duration::ZERO, None, None);
    let farewell = async {
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await?;
        AsyncWriteExt::shutdown(stream).await?;
        // Reading on for a moment keeps the kernel from resetting the connection under the answer.
        // On the heap: a buffer in here would be part of every open connection.
        let mut rest = vec![0_u8; 4096];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // The client may be gone or stubborn; either way the connection ends here.
    let _elapsed = timeout(Duration::from_millis(200), farewell).await;
}

/// The proxy behind a connection that opened with the HTTP/2 preface.
struct Cleartext2 {
    proxy: Arc<Proxy>,
    options: HttpServerOptions,
    http2: H2Options,
}

impl Cleartext2 {
    fn new(proxy: Arc<Proxy>, limits: &Limits) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(limits.keepalive);
        Self { proxy, options, http2: http2(limits) }
    }
}

/// Bounds of an HTTP/2 connection.
pub fn http2(limits: &Limits) -> H2Options {
    let mut options = H2Options::new();
    options
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(u32::try_from(limits.headers).unwrap_or(u32::MAX));
    options
}

#[async_trait]
impl HttpServerApp for Cleartext2 {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.proxy.process_new_http(session, shutdown).await
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(self.http2.clone())
    }
}

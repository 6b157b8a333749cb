//! Exchanges over a pipe in memory, with the test as the provider.

use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

/// An exchange whose request is queued, and the provider's end.
fn exchange(method: &str, body: &'static [u8]) -> (Exchange, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1024);
    let mut exchange = Exchange::new(Box::new(ours));
    let head = RequestHeader::build(method, b"/v1/models", None).unwrap();
    exchange.queue(&head, Bytes::from_static(body).into()).unwrap();
    (exchange, theirs)
}

/// What is read of an answer: its body, and whether the connection may serve again.
async fn outcome(method: &str, answer: &str) -> Result<(String, bool)> {
    let (mut exchange, mut provider) = exchange(method, b"");
    provider.write_all(answer.as_bytes()).await.unwrap();
    provider.shutdown().await.unwrap();
    while exchange.read_head().await?.status.is_informational() {}
    let mut body = Vec::new();
    while let Some(piece) = exchange.read_piece().await? {
        body.extend_from_slice(&piece);
    }
    Ok((String::from_utf8_lossy(&body).into_owned(), exchange.into_stream().is_some()))
}

#[tokio::test]
async fn a_connection_serves_again_only_after_a_complete_answer_that_lets_it() {
    for (answer, body, is_reusable) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "hi", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "hi", true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", "", true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", true),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi", "hi", true),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi", false),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nhi", "hi", false),
        ("HTTP/1.1 200 OK\r\n\r\nhi", "hi", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n", "hi", false),
    ] {
        assert_eq!(outcome("POST", answer).await.unwrap(), (body.to_owned(), is_reusable), "{answer:?}");
    }
    let to_head = outcome("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    assert_eq!(to_head, (String::new(), true), "an answer to HEAD has no body");
}

#[tokio::test]
async fn broken_answers_are_errors() {
    for (answer, expected) in [
        ("", ConnectionClosed),
        ("HTTP/1.1 200 OK\r\n", ConnectionClosed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", ConnectionClosed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", ConnectionClosed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhixx", H1Error),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", InvalidHTTPHeader),
        ("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", InvalidHTTPHeader),
        ("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", InvalidHTTPHeader),
        ("HTTP/1.1 99 No\r\n\r\n", InvalidHTTPHeader),
        ("SSH-2.0-OpenSSH_9.2\r\n", InvalidHTTPHeader),
    ] {
        assert_eq!(outcome("POST", answer).await.unwrap_err().etype(), &expected, "{answer:?}");
    }
}

#[tokio::test]
async fn an_early_answer_is_read_while_the_body_is_still_going_out() {
    let (mut exchange, mut provider) = exchange("POST", &[b'x'; 4096]);
    provider.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!(exchange.read_head().await.unwrap().status, 413);
    assert!(exchange.is_body_done());
    assert!(!exchange.outbox().is_complete());
    assert!(exchange.into_stream().is_none(), "the rest of the body would lie in front of the next request");
}

#[tokio::test]
async fn the_request_leaves_while_the_answer_is_awaited() {
    let (mut exchange, mut provider) = exchange("POST", b"body");
    assert!(exchange.read_head().now_or_never().is_none());
    assert!(exchange.outbox().is_complete());
    let mut request = vec![0; 1024];
    let length = provider.read(&mut request).await.unwrap();
    assert_eq!(&request[..length], b"POST /v1/models HTTP/1.1\r\n\r\nbody");
}

#[tokio::test]
async fn a_wait_that_was_given_up_is_taken_up_again() {
    let (mut exchange, mut provider) = exchange("POST", b"");
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let mut status = None;
    let mut body = Vec::new();
    for byte in answer.bytes() {
        provider.write_u8(byte).await.unwrap();
        if status.is_none() {
            status = exchange.read_head().now_or_never().map(|head| head.unwrap().status.as_u16());
        } else if let Some(Some(piece)) = exchange.read_piece().now_or_never().map(Result::unwrap) {
            body.extend_from_slice(&piece);
        }
    }
    assert_eq!((status, body), (Some(200), b"hello".to_vec()));
    assert!(exchange.is_body_done());
}

use axum::Extension;
use axum::routing::get;
use pingora::protocols::l4::stream::Stream as L4Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;

/// Longer than anything here takes.
const HANG: Duration = Duration::from_secs(20);

const REQUEST: &[u8] = b"GET /peer HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn routes() -> Router {
    Router::new().route("/peer", get(async |Extension(peer): Extension<Peer>| format!("<{:?}>", peer.address)))
}

/// Reads up to the end of the answer's body, which the handler above marks.
async fn read_answer(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = String::new();
    while !text.ends_with('>') {
        let mut buffer = [0; 1024];
        let count = timeout(HANG, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    text
}

async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut rest = Vec::new();
    timeout(HANG, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_connection_is_kept_until_shutdown_and_knows_its_peer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let local = client.local_addr().unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let (stop, shutdown) = watch::channel(false);
    let app = Arc::new(AdminApp { router: routes(), connections: Semaphore::new(1) });
    let serving = tokio::spawn(async move {
        let mut stream: L4Stream = accepted.into();
        let digest = pingora::protocols::SocketDigest::from_raw_fd(std::os::fd::AsRawFd::as_raw_fd(&stream));
        pingora::protocols::GetSocketDigest::set_socket_digest(&mut stream, digest);
        app.process_new(Box::new(stream), &shutdown).await.is_none()
    });
    for _ in 0..2 {
        client.write_all(REQUEST).await.unwrap();
        let answer = read_answer(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(&format!("<Some({local})>")), "{answer}");
    }
    stop.send(true).unwrap();
    read_to_end(&mut client).await;
    assert!(timeout(HANG, serving).await.unwrap().unwrap());
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let (_stop, shutdown) = watch::channel(false);
    let app = Arc::new(AdminApp { router: routes(), connections: Semaphore::new(0) });
    let stream: L4Stream = accepted.into();
    let serving = tokio::spawn(async move { app.process_new(Box::new(stream), &shutdown).await.is_none() });
    let mut answer = String::new();
    timeout(HANG, client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
    drop(client);
    assert!(timeout(HANG, serving).await.unwrap().unwrap());
}

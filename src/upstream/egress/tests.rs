use std::future::Future;

use tokio::net::TcpListener;

use super::*;

/// What becomes of a dial to api.example:443 through a proxy that does this with its first connection.
async fn through<F: Future<Output = ()> + Send>(
    scheme: &str,
    proxy: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> Result<Stream, Blocked> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { proxy(listener.accept().await.unwrap().0).await });
    let egress = Egress::parse(&format!("{scheme}://canary:CANARY@127.0.0.1:{port}")).unwrap();
    let proxy = HostDialer::new("127.0.0.1", port);
    connect(&egress, &proxy, &HostDialer::new("api.example", 443)).await
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap() as char);
    }
    head
}

/// The same with a `CONNECT` that is answered so, and then closed.
async fn answered(answer: impl Into<Vec<u8>>) -> Result<Stream, Blocked> {
    let answer = answer.into();
    through("http", async move |mut stream| {
        let _head = head(&mut stream).await;
        // A proxy whose answer is too long is left before its end.
        let _gone = stream.write_all(&answer).await;
        drop(stream.shutdown().await);
    })
    .await
}

fn why(result: Result<Stream, Blocked>) -> (String, Option<Certainty>) {
    let blocked = result.expect_err("no way through");
    let text = blocked.to_string();
    assert!(!text.to_lowercase().contains("canary"), "{text}");
    (text, blocked.certainty())
}

#[tokio::test]
async fn a_tunnel_is_asked_for_with_user_and_password_and_carries_bytes() {
    let mut tunnel = through("http", async |mut stream| {
        let head = head(&mut stream).await;
        assert!(head.starts_with("CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n"), "{head}");
        assert!(head.contains("Proxy-Authorization: Basic Y2FuYXJ5OkNBTkFSWQ==\r\n"), "{head}");
        stream.write_all(b"HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n").await.unwrap();
        let said = stream.read_u8().await.unwrap();
        stream.write_u8(said + 1).await.unwrap();
    })
    .await
    .unwrap();
    tunnel.write_u8(41).await.unwrap();
    tunnel.flush().await.unwrap();
    assert_eq!(tunnel.read_u8().await.unwrap(), 42);
}

#[tokio::test]
async fn refusals_are_the_proxys_and_bad_gateways_may_be_anybodys() {
    for (answer, text, certainty) in [
        ("HTTP/1.1 407 X\r\n\r\n", "the proxy wants another user or password (407)", Certainty::Certain),
        ("HTTP/1.1 403 CANARY\r\n\r\nCANARY", "the proxy refuses to connect (403)", Certainty::Certain),
        ("HTTP/1.1 302 X\r\nLocation: /\r\n\r\n", "the proxy refuses to connect (302)", Certainty::Certain),
        ("HTTP/1.1 502 X\r\n\r\n", "the proxy does not get through (502)", Certainty::Doubtful),
        ("HTTP/1.1 500 X\r\n\r\n", "the proxy does not get through (500)", Certainty::Doubtful),
    ] {
        assert_eq!(why(answered(answer).await), (text.to_owned(), Some(certainty)));
    }
}

#[tokio::test]
async fn broken_answers_are_refused_within_bounds() {
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(100 * 1024));
    for (answer, text) in [
        ("", "the proxy's answer is cut off"),
        ("HTTP/1.1 200 OK\r\nX", "the proxy's answer is cut off"),
        ("SSH-2.0-CANARY\r\n\r\n", "the proxy's answer is no HTTP"),
        ("HTTP/1.1 200 OK\r\n\r\nCANARY", "the proxy's answer goes on behind its end"),
        (endless.as_str(), "the proxy's answer is too long"),
    ] {
        assert_eq!(why(answered(answer).await), (text.to_owned(), Some(Certainty::Certain)));
    }
}

/// What becomes of a SOCKS request that is answered so after its user and password were accepted.
async fn socks(reply: &'static [u8]) -> Result<Stream, Blocked> {
    through("socks5h", async move |mut stream| {
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(&[5, 2]).await.unwrap();
        let mut login = [0; 15];
        stream.read_exact(&mut login).await.unwrap();
        assert_eq!(&login, b"\x01\x06canary\x06CANARY");
        stream.write_all(&[1, 0]).await.unwrap();
        let mut request = [0; 18];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"\x05\x01\x00\x03\x0bapi.example\x01\xbb", "the proxy resolves the name");
        stream.write_all(reply).await.unwrap();
    })
    .await
}

#[tokio::test]
async fn socks_replies_are_understood() {
    assert!(socks(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x01").await.is_ok());
    for (reply, certainty) in [
        (&b"\x05\x01\x00\x01\0\0\0\0\0\0"[..], Certainty::Doubtful),
        (b"\x05\x04\x00\x01\0\0\0\0\0\0", Certainty::Doubtful),
        (b"\x05\x05\x00\x01\0\0\0\0\0\0", Certainty::Doubtful),
        (b"\x05\x02\x00\x01\0\0\0\0\0\0", Certainty::Certain),
        (b"\x05\x99\x00\x01\0\0\0\0\0\0", Certainty::Certain),
        (b"\x04\x00\x00\x01\0\0\0\0\0\0", Certainty::Certain),
        (b"\x05\x00\x00", Certainty::Certain),
        (b"\x05\x00\x00\x09\0\0\0\0\0\0", Certainty::Certain),
    ] {
        assert_eq!(why(socks(reply).await).1, Some(certainty), "{reply:?}");
    }
}

#[tokio::test]
async fn a_refused_login_is_the_proxys() {
    let refused = through("socks5h", async |mut stream| {
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(&[5, 0xff]).await.unwrap();
    });
    assert_eq!(why(refused.await).1, Some(Certainty::Certain));
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for scheme in ["http", "socks5h", "https"] {
        let egress = Egress::parse(&format!("{scheme}://127.0.0.1:{port}")).unwrap();
        let proxy = HostDialer::new("127.0.0.1", port);
        let (text, certainty) = why(connect(&egress, &proxy, &HostDialer::new("api.example", 443)).await);
        assert!(text.starts_with("the proxy can't be reached"), "{text}");
        assert_eq!(certainty, Some(Certainty::Certain));
    }
}

//! Certificates of a private authority, and TLS in front of the mock.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::{fs, io};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, StreamOwned};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::RUNTIME;
use super::client::{Connection, dial, try_dial};
use super::server::new_directory;

/// When a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dates {
    Valid,
    Expired,
}

/// A certificate authority of this test's own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let dir = new_directory();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "the tests' authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(dir.join("ca.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), dir }
    }

    /// The authority's certificate, to be trusted.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Issues a certificate for `localhost`: its file and its key's. Another one takes the place of the last.
    pub(crate) fn issue(&self, dates: Dates) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "localhost");
        if dates == Dates::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (cert_file, key_file) = (self.dir.join("cert.pem"), self.dir.join("key.pem"));
        fs::write(&cert_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }
}

impl Authority {
    /// The certificate shown at an address, if it is one of this authority's.
    pub(crate) fn shown_at(&self, address: SocketAddr) -> Option<CertificateDer<'static>> {
        let mut stream = StreamOwned::new(self.session(), dial(address));
        stream.conn.complete_io(&mut stream.sock).ok()?;
        stream.conn.peer_certificates()?.first().cloned().map(CertificateDer::into_owned)
    }

    /// A TLS connection to `localhost` that trusts this authority and offers no protocol.
    pub(crate) fn connect(&self, address: SocketAddr) -> Connection {
        Connection::over(StreamOwned::new(self.session(), dial(address)))
    }

    /// The same, unless nobody listens.
    pub(crate) fn try_connect(&self, address: SocketAddr) -> Option<Connection> {
        Some(Connection::over(StreamOwned::new(self.session(), try_dial(address)?)))
    }

    fn session(&self) -> ClientConnection {
        let config = Arc::new(self.client_config(&[]));
        ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap()
    }

    /// A client that trusts this authority and offers these protocols.
    pub(crate) fn client_config(&self, protocols: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.certificate()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // Left behind, a directory is only untidy.
        let _removed = fs::remove_dir_all(&self.dir);
    }
}

/// TLS in front of a provider that speaks plain HTTP.
pub(crate) struct TlsProvider {
    address: SocketAddr,
    handshakes: Arc<AtomicUsize>,
    resumed: Arc<AtomicUsize>,
}

impl TlsProvider {
    pub(crate) fn start(authority: &Authority, dates: Dates, behind: SocketAddr) -> Self {
        let (cert, key) = authority.issue(dates);
        let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = RUNTIME.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let started = Self { address, handshakes: Arc::default(), resumed: Arc::default() };
        let (handshakes, resumed) = (started.handshakes.clone(), started.resumed.clone());
        RUNTIME.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, handshakes, resumed) = (acceptor.clone(), handshakes.clone(), resumed.clone());
                tokio::spawn(async move {
                    let mut front = acceptor.accept(stream).await?;
                    handshakes.fetch_add(1, SeqCst);
                    let is_resumed = front.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
                    resumed.fetch_add(is_resumed.into(), SeqCst);
                    let mut back = TcpStream::connect(behind).await?;
                    tokio::io::copy_bidirectional(&mut front, &mut back).await?;
                    io::Result::Ok(())
                });
            }
        });
        started
    }

    /// Handshakes that succeeded.
    pub(crate) fn handshakes(&self) -> usize {
        self.handshakes.load(SeqCst)
    }

    /// Those of them that resumed a session.
    pub(crate) fn resumed(&self) -> usize {
        self.resumed.load(SeqCst)
    }
}

impl fmt::Display for TlsProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://localhost:{}", self.address.port())
    }
}

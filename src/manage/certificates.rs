//! Certificates of the listeners, replaceable while the server runs.
//!
//! A handshake shows what the last successful reload read. Connections that are open keep the certificate they began
//! with. Files are read and judged where the configuration is; nothing here can fail.

use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::listeners::tls::TlsSettings;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::{Address, Config};

/// What one listener shows.
#[derive(Debug)]
struct Certificate(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// The certificates of all listeners that were started with one.
#[derive(Debug)]
pub struct Certificates(Vec<(Address, Arc<Certificate>)>);

impl Certificates {
    pub(super) fn of(config: &Config) -> Self {
        Self(pairs(config).map(|(address, pair)| (address, Arc::new(Certificate(ArcSwap::new(pair))))).collect())
    }

    /// Pingora's settings for the listener at `address`; `None` = without TLS.
    pub(crate) fn settings(&self, address: &Address) -> pingora::Result<Option<TlsSettings>> {
        let Some((_, certificate)) = self.0.iter().find(|(known, _)| known == address) else { return Ok(None) };
        // A resolver takes the place of the files.
        let mut settings = TlsSettings::intermediate("", "")?;
        settings.set_cert_resolver(certificate.clone());
        Ok(Some(settings))
    }

    /// Shows the certificates of `config` from now on.
    pub(super) fn replace(&self, config: &Config) {
        for (address, pair) in pairs(config) {
            for (_, certificate) in self.0.iter().filter(|(known, _)| *known == address) {
                certificate.0.store(pair.clone());
            }
        }
    }
}

fn pairs(config: &Config) -> impl Iterator<Item = (Address, Arc<CertifiedKey>)> {
    config.listeners().filter_map(|(_, listen)| Some((listen.address.clone(), listen.tls.as_ref()?.pair.clone())))
}

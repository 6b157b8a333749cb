//! The certificate of a listener: read, found to belong to its key, and looked at for its dates.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::Context;
use crate::config::model::Tls;
use crate::config::problem::At;
use crate::config::raw::server as raw;

/// A certificate that ends within this time (seconds) is warned of.
const SOON: i64 = 14 * 86_400;

/// `None` = complained about.
pub(super) fn tls(raw: &raw::Tls, at: &At<'_>, context: &Context<'_>) -> Option<Tls> {
    let (cert_at, key_at) = (at.field("cert"), at.field("key"));
    let (cert, key) = (context.path(&raw.cert), context.path(&raw.key));
    let chain = CertificateDer::pem_file_iter(&cert)
        .and_then(Iterator::collect)
        .and_then(|chain: Vec<_>| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
    let chain = chain.map_err(|error| cert_at.error(unreadable(&cert, "certificate", &error))).ok();
    let private = PrivateKeyDer::from_pem_file(&key);
    let private = private.map_err(|error| key_at.error(unreadable(&key, "private key", &error))).ok();
    let (chain, private) = (chain?, private?);
    if let Some(first) = chain.first() {
        judge_dates(first, &cert_at);
    }
    match CertifiedKey::from_der(chain, private, &ring::default_provider()) {
        Ok(pair) => Some(Tls { cert, key, pair: Arc::new(pair) }),
        Err(error) => {
            at.error(format!("{} and {} do not go together: {error}", cert.display(), key.display()));
            None
        }
    }
}

/// Says nothing of what the file holds: it may be a key in the wrong place.
fn unreadable(path: &Path, what: &str, error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot read {}: {error}", path.display()),
        _ => format!("{} holds no {what} in PEM form", path.display()),
    }
}

fn judge_dates(certificate: &CertificateDer<'_>, at: &At<'_>) {
    // What cannot be parsed here is refused with its key.
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    let (begins, ends) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    if ends <= now {
        at.warn(format!("the certificate expired on {}; clients refuse it", day(ends)));
    } else if begins > now {
        at.warn(format!("the certificate is not valid before {}; clients refuse it", day(begins)));
    } else if ends - now < SOON {
        at.warn(format!("the certificate expires on {}", day(ends)));
    }
}

fn day(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| "a far day".into(), |time| time.strftime("%F").to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use crate::config::{Process, parse};

    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("keyweir-tls-{test}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        /// Writes a certificate that is valid from and for so many days, and its key.
        fn issue(&self, name: &str, from: i64, days: i64) {
            let day = |day: i64| {
                let time = std::time::SystemTime::now();
                let shift = Duration::from_secs(day.unsigned_abs() * 86_400 + 60);
                if day < 0 { time - shift } else { time + shift }.into()
            };
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            (params.not_before, params.not_after) = (day(from), day(from + days));
            let key = KeyPair::generate().unwrap();
            fs::write(self.0.join(format!("{name}.crt")), params.self_signed(&key).unwrap().pem()).unwrap();
            fs::write(self.0.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }

        /// What is said of a listener with these files; errors and warnings.
        fn judge(&self, cert: &str, key: &str) -> Result<Vec<String>, Vec<String>> {
            let listen = format!("{{address: \"127.0.0.1:1\", tls: {{cert: {cert}, key: {key}}}}}");
            let text = format!("server: {{metrics: {{listen: {listen}}}}}\nkeys_file: /dev/null\n");
            let strings = |problems: Vec<crate::config::Problem>| problems.iter().map(ToString::to_string).collect();
            parse(&text, &self.0.join("k.yaml"), &Process)
                .map(|loaded| strings(loaded.warnings))
                .map_err(|problems| strings(problems.0))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn pairs_are_read_and_judged_by_their_dates() {
        let folder = Folder::new("dates");
        for (name, from, days, said) in [
            ("good", -1, 90, None),
            ("old", -90, 30, Some("expired on 20")),
            ("soon", -80, 85, Some("expires on 20")),
            ("early", 3, 90, Some("is not valid before 20")),
        ] {
            folder.issue(name, from, days);
            let warnings = folder.judge(&format!("{name}.crt"), &format!("{name}.key")).unwrap();
            match said {
                None => assert_eq!(warnings, [""; 0]),
                Some(said) => {
                    assert!(warnings.len() == 1 && warnings[0].contains(said), "{warnings:?}");
                    assert!(warnings[0].contains("server.metrics.listen.tls.cert: warning: "), "{warnings:?}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_without_showing_it() {
        let folder = Folder::new("wrong");
        folder.issue("a", -1, 90);
        folder.issue("b", -1, 90);
        fs::write(folder.0.join("text"), "-----BEGIN CANARY-----\nCANARY").unwrap();
        fs::write(folder.0.join("empty"), "").unwrap();
        for (cert, key, path, said) in [
            ("a.crt", "b.key", "tls", "do not go together"),
            ("a.key", "a.key", "tls.cert", "a.key holds no certificate in PEM form"),
            ("a.crt", "a.crt", "tls.key", "a.crt holds no private key in PEM form"),
            ("text", "a.key", "tls.cert", "text holds no certificate"),
            ("a.crt", "text", "tls.key", "text holds no private key"),
            ("empty", "a.key", "tls.cert", "empty holds no certificate"),
            ("missing", "a.key", "tls.cert", "cannot read"),
        ] {
            let errors = folder.judge(cert, key).unwrap_err();
            assert!(errors.len() == 1 && errors[0].contains(said), "{cert} {key}: {errors:?}");
            assert!(errors[0].contains(&format!(" server.metrics.listen.{path}: ")), "{errors:?}");
            assert!(!errors[0].contains("CANARY"), "{errors:?}");
        }
    }
}

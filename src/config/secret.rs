//! A text that must not be seen: keys and tokens.
//!
//! Invariant: no `Debug`, `Display` or serde output of a [`Secret`] contains a character of it, and its memory is wiped
//! when the last copy goes. Whoever needs the text says so with [`Secret::expose`], which is easy to search for.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text, cheap to clone.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// A random token: 192 bits in a text that double-clicks as one word.
    ///
    /// # Errors
    /// If the system gives no random bytes; a guessable token is worse than none.
    pub fn generate(prefix: &str) -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes)?;
        Ok(Self::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The text itself. Never log, format or return what this gives.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the text: what tokens are looked up and compared by.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(self.expose().as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The SHA-256 of a token. Equality takes the same time wherever two digests differ.
#[derive(Clone, Copy, Eq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Digests what a client sent.
    pub fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// A digest that was kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest to keep.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for TokenDigest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[digest]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_text() {
        let secret = Secret::new("sk-CANARY".into());
        assert_eq!(format!("{secret:?} {:?}", secret.digest()), "[redacted] [digest]");
    }

    #[test]
    fn digests_compare_by_content() {
        assert_eq!(Secret::new("a".into()).digest(), TokenDigest::of(b"a"));
        assert_ne!(Secret::new("a".into()).digest(), TokenDigest::of(b"b"));
    }
}

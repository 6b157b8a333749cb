//! Sealing of what is secret: authenticated encryption, bound to the place where it is kept.
//!
//! Invariant: what is sealed for one row opens in no other, and not after a byte of it was changed. Each piece starts
//! with the version of the master key it was sealed under, so that old and new can be read while the key is rotated.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::StoreError;
use crate::config::Secret;

/// Keeps the sealing key from being any other digest of the same master key.
const PURPOSE: &[u8] = b"keyweir store seal 1";

/// The row and column something is sealed for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label<'a>(pub(super) &'a [&'a [u8]]);

impl Label<'_> {
    /// The parts with their lengths, so that no two labels read the same.
    fn bytes(&self, version: u8) -> Vec<u8> {
        let mut bytes = vec![version];
        for part in self.0 {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

/// One version of the master key.
#[derive(Clone)]
struct Version {
    number: u8,
    key: Arc<LessSafeKey>,
}

/// Seals under the present master key, opens under it and the one before.
#[derive(Clone)]
pub(super) struct Sealer {
    present: Version,
    previous: Option<Version>,
}

impl Version {
    fn new(number: u8, master: &Secret) -> Result<Self, StoreError> {
        let unusable = || StoreError::MasterKey("can't be used".into());
        let mut mac = Hmac::<Sha256>::new_from_slice(master.expose().as_bytes()).map_err(|_| unusable())?;
        mac.update(PURPOSE);
        let derived: Zeroizing<[u8; 32]> = Zeroizing::new(mac.finalize().into_bytes().into());
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*derived).map_err(|_| unusable())?;
        Ok(Self { number, key: Arc::new(LessSafeKey::new(key)) })
    }
}

impl Sealer {
    /// Seals under this key as `version`.
    pub(super) fn new(version: u8, master: &Secret) -> Result<Self, StoreError> {
        Ok(Self { present: Version::new(version, master)?, previous: None })
    }

    /// Seals under a new key, and opens what this one sealed.
    pub(super) fn rotated(&self, master: &Secret) -> Result<Self, StoreError> {
        let present = Version::new(self.present.number.wrapping_add(1), master)?;
        Ok(Self { present, previous: Some(self.present.clone()) })
    }

    /// Forgets the key before.
    pub(super) fn settled(self) -> Self {
        Self { previous: None, ..self }
    }

    /// Version byte, nonce, ciphertext, tag.
    pub(super) fn seal(&self, label: Label<'_>, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_LEN];
        let failed = || StoreError::Unavailable("the system gives no random bytes to seal with".into());
        getrandom::fill(&mut nonce).map_err(|_| failed())?;
        let version = &self.present;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + CHACHA20_POLY1305.tag_len());
        sealed.push(version.number);
        sealed.extend_from_slice(&nonce);
        let mut body = plain.to_vec();
        let aad = Aad::from(label.bytes(version.number));
        // In place: the copy of the plain text becomes the ciphertext.
        version
            .key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body)
            .map_err(|_| StoreError::Invalid("too long to be sealed".into()))?;
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// The plain text; an error if the key, the label or a byte is another.
    pub(super) fn open(&self, label: Label<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let wrong = || StoreError::MasterKey("does not open what is sealed, or it was tampered with".into());
        let (&number, rest) = sealed.split_first().ok_or_else(wrong)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or_else(wrong)?;
        let version = [Some(&self.present), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|version| version.number == number)
            .ok_or_else(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let mut plain = Zeroizing::new(body.to_vec());
        let aad = Aad::from(label.bytes(number));
        let length = version.key.open_in_place(nonce, aad, &mut plain).map_err(|_| wrong())?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// The version something was sealed under.
pub(super) fn version_of(sealed: &[u8]) -> u8 {
    sealed.first().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Label<'_> = Label(&[b"keys", b"pool", b"1"]);

    fn sealer(text: &str) -> Sealer {
        Sealer::new(1, &Secret::new(text.into())).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_only_as_it_was_sealed() {
        let sealer = sealer("first");
        let sealed = sealer.seal(HERE, b"sk-CANARY").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"CANARY"));
        assert_eq!(&**sealer.open(HERE, &sealed).unwrap(), b"sk-CANARY");
        assert!(sealer.open(Label(&[b"keys", b"poo", b"l1"]), &sealed).is_err(), "another row");
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(sealer.open(HERE, &changed).is_err(), "byte {place} changed");
            assert!(sealer.open(HERE, &sealed[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn the_same_text_is_never_sealed_the_same() {
        let sealer = sealer("first");
        assert_ne!(sealer.seal(HERE, b"text").unwrap(), sealer.seal(HERE, b"text").unwrap());
    }

    #[test]
    fn another_master_key_opens_nothing() {
        let sealed = sealer("first").seal(HERE, b"text").unwrap();
        assert!(sealer("second").open(HERE, &sealed).is_err());
    }

    #[test]
    fn a_rotated_sealer_reads_both_until_it_is_settled() {
        let old = sealer("first");
        let before = old.seal(HERE, b"text").unwrap();
        let new = old.rotated(&Secret::new("second".into())).unwrap();
        let after = new.seal(HERE, b"text").unwrap();
        assert_eq!(new.open(HERE, &before).unwrap(), new.open(HERE, &after).unwrap());
        assert!(old.open(HERE, &after).is_err());
        let settled = new.settled();
        assert!(settled.open(HERE, &before).is_err());
        assert!(settled.open(HERE, &after).is_ok());
    }
}

//! What a key is known by, wherever its text must not be.
//!
//! Invariant: the same pool and key give the same id in every version, for stores, exports and logs refer to it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Domain of key ids. Not a secret: it only keeps ids from being comparable with other programs' digests of keys.
const ID_DOMAIN: &[u8] = b"keyweir key id 1";

/// What a key is known by: an HMAC of (pool, key), which stays the same over restarts, renames and files.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// The id of a key in a pool.
    pub fn of(pool: &str, key: &str) -> Self {
        let mut id = [0; 16];
        // An HMAC takes a key of any length, so this never fails.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(ID_DOMAIN) {
            mac.update(pool.as_bytes());
            mac.update(&[0]);
            mac.update(key.as_bytes());
            for (byte, digest) in id.iter_mut().zip(mac.finalize().into_bytes()) {
                *byte = digest;
            }
        }
        Self(id)
    }

    /// An id that was kept.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id as bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text is no key id: 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key id is 32 hexadecimal digits")]
pub struct BadKeyId;

impl std::str::FromStr for KeyId {
    type Err = BadKeyId;

    fn from_str(text: &str) -> Result<Self, BadKeyId> {
        let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(BadKeyId) };
        let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
        let bytes: Vec<u8> = bytes.collect::<Option<_>>().ok_or(BadKeyId)?;
        bytes.try_into().map(Self).map_err(|_| BadKeyId)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a key without a name may be called: the first of these that nobody has.
pub(super) fn fingerprints(id: KeyId) -> impl Iterator<Item = String> {
    // Eight digits are pleasant to read but collide among 100,000 keys; a longer piece then tells them apart.
    let id = id.to_string();
    [8, 16, 32].into_iter().map(move |length| format!("key-{}", id.get(..length).unwrap_or(&id)))
}

/// What a key without a name is called, unless two have the same.
pub fn fingerprint(id: KeyId) -> String {
    fingerprints(id).next().unwrap_or_default()
}

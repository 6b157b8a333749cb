//! The files a configuration is made of, and what they hold.
//!
//! Content decides whether a file has changed, not its time: a `touch`, a copy of the same or the swap of a directory
//! behind a symbolic link changes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::Config;

/// Digests by file; `None` = missing or unreadable.
pub(super) type Contents = BTreeMap<PathBuf, Option<[u8; 32]>>;

/// The configuration, the keys files, the packs and the certificates.
pub(super) fn of(path: &Path, config: &Config) -> Vec<PathBuf> {
    let tls = config.listeners().filter_map(|(_, listen)| listen.tls.as_ref());
    let certificates = tls.flat_map(|tls| [tls.cert.clone(), tls.key.clone()]);
    let keys = config.keys_files.iter().map(|file| file.path.clone());
    let packs = config.pools.iter().filter_map(|pool| pool.provider.file.clone());
    std::iter::once(path.to_owned()).chain(keys).chain(packs).chain(certificates).collect()
}

pub(super) fn read(files: impl IntoIterator<Item = PathBuf>) -> Contents {
    files.into_iter().map(|path| (path.clone(), digest(&path).ok())).collect()
}

/// What is known of `files`: as it was before they were parsed or, for new ones, as it is now.
pub(super) fn extend(known: &Contents, files: Vec<PathBuf>) -> Contents {
    let entry = |path: PathBuf| {
        let content = known.get(&path).copied().unwrap_or_else(|| digest(&path).ok());
        (path, content)
    };
    files.into_iter().map(entry).collect()
}

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(length) => hasher.update(piece.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

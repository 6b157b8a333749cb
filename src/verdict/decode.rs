//! Error bodies as text: decompressed where somebody compressed them in spite of `identity`, whatever their charset says.
//!
//! Invariant: never more than [`LIMIT`] bytes come out, however much a few compressed ones would become.

use std::borrow::Cow;
use std::io::Read;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// As much of a body is looked at.
pub(super) const LIMIT: usize = 8 * 1024;
const BROTLI_BUFFER: usize = 4 * 1024;

/// The beginning of a body, decompressed and decoded; what is no text is replaced.
pub(super) fn text<'a>(headers: &HeaderMap, body: &'a [u8]) -> Cow<'a, str> {
    let plain = match decompressed(headers, body) {
        Some(plain) => Cow::Owned(plain),
        None => Cow::Borrowed(body.get(..LIMIT).unwrap_or(body)),
    };
    match plain {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(without_mark(bytes)),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(without_mark(&bytes)).into_owned()),
    }
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// `None` = it is not compressed, or not as it says.
fn decompressed(headers: &HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
    let coding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let coding = coding.trim().to_ascii_lowercase();
    match coding.as_str() {
        "gzip" | "x-gzip" => read(flate2::read::MultiGzDecoder::new(body)),
        "deflate" => {
            read(flate2::read::ZlibDecoder::new(body)).or_else(|| read(flate2::read::DeflateDecoder::new(body)))
        }
        "br" => read(brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER)),
        _ if body.starts_with(b"\x1f\x8b") => read(flate2::read::MultiGzDecoder::new(body)),
        _ => None,
    }
}

/// What comes out before the limit, the end, or a defect; `None` if nothing does.
fn read(from: impl Read) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    // Half a body is still worth reading: its beginning says what is wrong.
    let _cut_short = from.take(LIMIT as u64).read_to_end(&mut plain);
    (!plain.is_empty()).then_some(plain)
}

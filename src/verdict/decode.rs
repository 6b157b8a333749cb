//! Error bodies as text: decompressed where somebody compressed them in spite of `identity`, and in the charset they are
//! in, which need not be the one they say.
//!
//! Invariant: never more than [`LIMIT`] bytes are decompressed, however much a few compressed ones would become, and no
//! charset makes more than three times as many of them.

use std::borrow::Cow;
use std::io::Read;

use encoding_rs::{Encoding, GB18030, UTF_8};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value;

/// As much of a body is looked at.
pub(super) const LIMIT: usize = 8 * 1024;
const BROTLI_BUFFER: usize = 4 * 1024;
/// 8 MiB, the largest window that may be used on the web (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// The beginning of a body, decompressed and decoded; what is no text is replaced.
pub(super) fn text<'a>(headers: &HeaderMap, body: &'a [u8]) -> Cow<'a, str> {
    let plain = match decompressed(headers, body) {
        Some(plain) => Cow::Owned(plain),
        None => Cow::Borrowed(body.get(..LIMIT).unwrap_or(body)),
    };
    let charset = charset(headers, &plain);
    match plain {
        Cow::Borrowed(bytes) => charset.decode(bytes).0,
        Cow::Owned(bytes) => Cow::Owned(charset.decode(&bytes).0.into_owned()),
    }
}

/// JSON in whatever charset it is.
pub(crate) fn json(bytes: &[u8]) -> Option<Value> {
    if is_utf8(bytes) {
        return serde_json::from_slice(bytes).ok();
    }
    serde_json::from_str(&text(&HeaderMap::new(), bytes)).ok()
}

/// The charset of a text. A byte order mark says it, whatever stands here.
fn charset(headers: &HeaderMap, bytes: &[u8]) -> &'static Encoding {
    let stated = stated_charset(headers).filter(|charset| *charset != UTF_8);
    match stated {
        // Some servers put another charset's name over everything; bytes that are UTF-8 are so by no accident.
        Some(charset) if charset.is_ascii_compatible() && is_utf8(bytes) => UTF_8,
        // UTF-16 of a Latin text is half zeros.
        Some(charset) if charset.is_ascii_compatible() || bytes.contains(&0) => charset,
        Some(_) => UTF_8,
        None if is_utf8(bytes) => UTF_8,
        // What Chinese gateways write that don't say so.
        None => {
            if is_gb18030(bytes) {
                GB18030
            } else {
                UTF_8
            }
        }
    }
}

fn stated_charset(headers: &HeaderMap) -> Option<&'static Encoding> {
    let kind = headers.get(CONTENT_TYPE)?.as_bytes();
    let parameter = kind.split(|&b| b == b';').skip(1).find_map(|parameter| {
        let parameter = parameter.trim_ascii();
        let (name, value) = parameter.split_at_checked("charset=".len())?;
        name.eq_ignore_ascii_case(b"charset=").then_some(value)
    })?;
    Encoding::for_label(
        parameter
            .trim_ascii_start()
            .strip_prefix(b"\"")
            .map_or(parameter, |quoted| quoted.strip_suffix(b"\"").unwrap_or(quoted)),
    )
}

/// UTF-8, but for a last character that was cut.
fn is_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).err().is_none_or(|error| error.error_len().is_none())
}

/// Text without a mistake, but for a last character that was cut.
fn is_gb18030(bytes: &[u8]) -> bool {
    let is_text = |bytes| GB18030.decode_without_bom_handling_and_without_replacement(bytes).is_some();
    (0..4).any(|cut| bytes.len().checked_sub(cut).and_then(|end| bytes.get(..end)).is_some_and(is_text))
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
        "zstd" => unpack_zstd(body),
        _ if body.starts_with(b"\x1f\x8b") => read(flate2::read::MultiGzDecoder::new(body)),
        _ if body.starts_with(b"\x28\xb5\x2f\xfd") => unpack_zstd(body),
        _ => None,
    }
}

fn unpack_zstd(body: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = zstd::Decoder::with_buffer(body).ok()?;
    decoder.window_log_max(ZSTD_WINDOW_LOG).ok()?;
    read(decoder)
}

/// What comes out before the limit, the end, or a defect; `None` if nothing does.
fn read(from: impl Read) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    // Half a body is still worth reading: its beginning says what is wrong.
    let _cut_short = from.take(LIMIT as u64).read_to_end(&mut plain);
    (!plain.is_empty()).then_some(plain)
}

//! Where an answer's body ends (RFC 9112 §6.3), without I/O.
//!
//! Invariant: a body counts as complete only if its own framing says so, or if nothing but the connection's end can.
//! Whatever is ambiguous is an error, for what follows on the connection would be read as the next answer.

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use httparse::Status::{Complete, Partial};
use memchr::memmem;
use thiserror::Error;

/// The longest line of a chunked body's framing, and the longest trailer (bytes).
const LINE_MAX: usize = 16 * 1024;

/// Why a body can't be told from what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum FramingError {
    /// Several lengths, or none that is a number.
    #[error("the answer's Content-Length is not one number")]
    Length,
    /// A chunk's size or end is malformed.
    #[error("the answer's chunks are malformed")]
    Chunk,
    /// The trailer does not end.
    #[error("the answer's trailer is too long")]
    Trailer,
}

/// What is still to come of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; none: it is complete.
    Length(u64),
    /// Chunks, the next thing being this.
    Chunked(Chunk),
    /// All until the connection ends.
    Close,
}

/// A part of a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// The line that states a size.
    Size,
    /// So many bytes of data.
    Data(u64),
    /// The line end behind the data.
    End,
    /// The trailer, of which so many bytes came.
    Trailer(usize),
}

/// What was found in the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A piece of the body, not empty.
    Piece(Bytes),
    /// The body's end.
    Done,
    /// Nothing yet: more bytes are needed.
    More,
}

impl Framing {
    pub(super) const DONE: Self = Self::Length(0);

    /// How the body of a final answer is framed.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, answers_head: bool) -> Result<Self, FramingError> {
        if answers_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(Self::DONE);
        }
        if let Some(last) = headers.get_all(TRANSFER_ENCODING).into_iter().next_back() {
            return Ok(if ends_in_chunked(last) { Self::Chunked(Chunk::Size) } else { Self::Close });
        }
        Ok(content_length(headers)?.map_or(Self::Close, Self::Length))
    }

    /// Takes the next piece out of what was read.
    pub(super) fn next(&mut self, read: &mut Bytes) -> Result<Step, FramingError> {
        loop {
            match self {
                _ if read.is_empty() && *self != Self::DONE => return Ok(Step::More),
                Self::Length(0) => return Ok(Step::Done),
                Self::Chunked(Chunk::Data(0)) => *self = Self::Chunked(Chunk::End),
                Self::Length(left) | Self::Chunked(Chunk::Data(left)) => {
                    let count = read.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= count as u64;
                    return Ok(Step::Piece(read.split_to(count)));
                }
                Self::Close => return Ok(Step::Piece(std::mem::take(read))),
                Self::Chunked(chunk) => match chunk.pass(read)? {
                    None => return Ok(Step::More),
                    Some(next) => *self = next,
                },
            }
        }
    }
}

impl Chunk {
    /// Steps over framing between the data; `None` if it is not all there.
    fn pass(&mut self, read: &mut Bytes) -> Result<Option<Framing>, FramingError> {
        match *self {
            Self::Size => match httparse::parse_chunk_size(read) {
                // Without a digit httparse sees a zero.
                Ok(Complete((end, size))) if read.first().is_some_and(u8::is_ascii_hexdigit) => {
                    read.advance(end);
                    Ok(Some(Framing::Chunked(if size == 0 { Self::Trailer(0) } else { Self::Data(size) })))
                }
                Ok(Partial) if read.len() <= LINE_MAX => Ok(None),
                _ => Err(FramingError::Chunk),
            },
            Self::Data(_) => Ok(None),
            Self::End => match read.get(..2) {
                None => Ok(None),
                Some(b"\r\n") => {
                    read.advance(2);
                    Ok(Some(Framing::Chunked(Self::Size)))
                }
                Some(_) => Err(FramingError::Chunk),
            },
            Self::Trailer(passed) => {
                let line = memmem::find(read, b"\r\n").map(|end| end + 2);
                let passed = passed + line.unwrap_or(read.len());
                if passed > LINE_MAX {
                    return Err(FramingError::Trailer);
                }
                let Some(line) = line else { return Ok(None) };
                read.advance(line);
                Ok(Some(if line == 2 { Framing::DONE } else { Framing::Chunked(Self::Trailer(passed)) }))
            }
        }
    }
}

fn ends_in_chunked(encodings: &HeaderValue) -> bool {
    let last = encodings.as_bytes().rsplit(|&b| b == b',').next().unwrap_or_default();
    last.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// The length stated; the same one several times counts as one (RFC 9110 §8.6).
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, FramingError> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for number in value.as_bytes().split(|&b| b == b',') {
            let number = decimal(number.trim_ascii()).ok_or(FramingError::Length)?;
            if *length.get_or_insert(number) != number {
                return Err(FramingError::Length);
            }
        }
    }
    Ok(length)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    // A sign would parse.
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(headers: &[(&'static str, &'static str)]) -> Result<Framing, FramingError> {
        let headers =
            headers.iter().map(|&(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
        Framing::of(
            StatusCode::OK,
            &headers.fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            }),
            false,
        )
    }

    /// The body found, whether it is complete, and what is left over; the same however the bytes are cut.
    fn read(framing: Framing, text: &str) -> Result<(String, bool, String), FramingError> {
        let cut_into = |size: usize| {
            let (mut framing, mut read, mut body) = (framing, Bytes::new(), Vec::new());
            let mut is_done = false;
            for part in text.as_bytes().chunks(size) {
                read = [&read, part].concat().into();
                loop {
                    match framing.next(&mut read)? {
                        Step::Piece(piece) => body.extend_from_slice(&piece),
                        Step::Done => break is_done = true,
                        Step::More => break,
                    }
                }
            }
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Ok((text(&body), is_done, text(&read)))
        };
        let whole = cut_into(text.len().max(1));
        assert_eq!(cut_into(1), whole, "cut into bytes: {text:?}");
        whole
    }

    fn found(body: &str, is_done: bool, left: &str) -> Result<(String, bool, String), FramingError> {
        Ok((body.to_owned(), is_done, left.to_owned()))
    }

    #[test]
    fn the_framing_follows_the_headers() {
        for (headers, expected) in [
            (&[][..], Ok(Framing::Close)),
            (&[("content-length", "5")], Ok(Framing::Length(5))),
            (&[("content-length", "5, 5"), ("content-length", "5")], Ok(Framing::Length(5))),
            (&[("content-length", "5"), ("content-length", "6")], Err(FramingError::Length)),
            (&[("content-length", "+5")], Err(FramingError::Length)),
            (&[("content-length", "")], Err(FramingError::Length)),
            (&[("content-length", "99999999999999999999")], Err(FramingError::Length)),
            (&[("transfer-encoding", "Chunked"), ("content-length", "5")], Ok(Framing::Chunked(Chunk::Size))),
            (&[("transfer-encoding", "gzip, chunked")], Ok(Framing::Chunked(Chunk::Size))),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "gzip")], Ok(Framing::Close)),
        ] {
            assert_eq!(framing(headers), expected, "{headers:?}");
        }
        let length = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("5"))]);
        assert_eq!(Framing::of(StatusCode::OK, &length, true), Ok(Framing::DONE), "an answer to HEAD");
        assert_eq!(Framing::of(StatusCode::NO_CONTENT, &length, false), Ok(Framing::DONE));
        assert_eq!(Framing::of(StatusCode::NOT_MODIFIED, &length, false), Ok(Framing::DONE));
    }

    #[test]
    fn a_length_is_counted() {
        assert_eq!(read(Framing::Length(5), "helloHTTP"), found("hello", true, "HTTP"));
        assert_eq!(read(Framing::Length(6), "hello"), found("hello", false, ""));
        assert_eq!(read(Framing::Close, "hello"), found("hello", false, ""));
    }

    #[test]
    fn chunks_are_taken_apart() {
        let chunked = Framing::Chunked(Chunk::Size);
        assert_eq!(read(chunked, "5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n"), found("hello!", true, ""));
        assert_eq!(read(chunked, "2\r\nhi\r\n0\r\nA: b\r\nC: d\r\n\r\nHTTP"), found("hi", true, "HTTP"));
        assert_eq!(read(chunked, "5\r\nhel"), found("hel", false, ""));
        assert_eq!(read(chunked, "2\r\nhi\r\n0\r\n"), found("hi", false, ""));
        for text in ["\r\n", ";x\r\n", "x\r\n", "2\r\nhixx", "-2\r\nhi\r\n", "fffffffffffffffff\r\n"] {
            assert_eq!(read(chunked, text), Err(FramingError::Chunk), "{text:?}");
        }
        assert_eq!(read(chunked, &format!("0;{}", "x".repeat(LINE_MAX))), Err(FramingError::Chunk));
        assert_eq!(read(chunked, &format!("0\r\n{}", "A: b\r\n".repeat(LINE_MAX))), Err(FramingError::Trailer));
    }
}

//! A request body in memory, in the pieces it came in.
//!
//! The pieces are never joined: every attempt sends the same ones by vectored writes, so a body is copied neither when it
//! is kept nor when it is sent again.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// A piece at least so large is kept as it came; smaller ones are gathered, else a body sent byte by byte would cost a
/// hundred times its size.
const WORTH_KEEPING: usize = 8 * 1024;
/// Gathered pieces are closed at this size.
const GATHERED: usize = 64 * 1024;

/// A complete body; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    pieces: Arc<[Bytes]>,
    len: usize,
}

impl Payload {
    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No byte at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, none of them empty.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// With other bytes in one place. The rest is shared, not copied.
    #[must_use]
    pub fn spliced(&self, place: Range<usize>, with: Bytes) -> Self {
        let before = self.part(0..place.start);
        let after = self.part(place.end..self.len);
        let pieces: Vec<_> = before.chain([with]).chain(after).filter(|piece| !piece.is_empty()).collect();
        Self { len: pieces.iter().map(Bytes::len).sum(), pieces: pieces.into() }
    }

    /// The pieces of a part.
    fn part(&self, part: Range<usize>) -> impl Iterator<Item = Bytes> + '_ {
        let mut at = 0;
        self.pieces.iter().map(move |piece| {
            let (start, end) = (part.start.saturating_sub(at), part.end.saturating_sub(at).min(piece.len()));
            at += piece.len();
            if start < end { piece.slice(start..end) } else { Bytes::new() }
        })
    }

    /// The body in one piece: a copy only if it is not one already.
    pub fn joined(&self) -> Bytes {
        match &*self.pieces {
            [whole] => whole.clone(),
            pieces => pieces.concat().into(),
        }
    }
}

impl From<Bytes> for Payload {
    fn from(whole: Bytes) -> Self {
        if whole.is_empty() {
            return Self::default();
        }
        Self { len: whole.len(), pieces: Arc::from([whole]) }
    }
}

/// Collects a body piece by piece.
#[derive(Debug, Default)]
pub struct Builder {
    pieces: Vec<Bytes>,
    gathered: BytesMut,
    len: usize,
}

impl Builder {
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing so far.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a piece.
    pub fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() >= WORTH_KEEPING {
            self.close_gathered();
            self.pieces.push(piece);
            return;
        }
        self.gathered.extend_from_slice(&piece);
        if self.gathered.len() >= GATHERED {
            self.close_gathered();
        }
    }

    fn close_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.pieces.push(self.gathered.split().freeze());
        }
    }

    /// The body as collected.
    pub fn finish(mut self) -> Payload {
        self.close_gathered();
        Payload { pieces: self.pieces.into(), len: self.len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(sizes: &[usize]) -> Payload {
        let mut builder = Builder::default();
        let mut next = 0_u8;
        for &size in sizes {
            let piece: Vec<u8> = (0..size)
                .map(|_| {
                    next = next.wrapping_add(1);
                    next
                })
                .collect();
            builder.push(piece.into());
        }
        builder.finish()
    }

    #[test]
    fn no_byte_is_lost_or_moved() {
        for sizes in [&[][..], &[1], &[0, 5, 0], &[3, 100_000, 7, 8192, 1], &[1; 200_000]] {
            let payload = build(sizes);
            let total: usize = sizes.iter().sum();
            let expected: Vec<u8> = (0..total).map(|i| ((i + 1) % 256) as u8).collect();
            assert_eq!(payload.joined(), expected);
            assert_eq!(payload.len(), total);
            assert!(payload.pieces().iter().all(|piece| !piece.is_empty()));
        }
    }

    #[test]
    fn a_splice_changes_its_place_only() {
        for sizes in [&[10][..], &[9000, 9000], &[8192, 8192, 8192, 5]] {
            let payload = build(sizes);
            let whole = payload.joined();
            for start in [0, 1, 5, 10, 8191, 8192, 9000, 16384, whole.len()] {
                for length in [0, 1, 5, 8192, 10_000] {
                    let place = start.min(whole.len())..(start + length).min(whole.len());
                    let spliced = payload.spliced(place.clone(), Bytes::from_static(b"new"));
                    let expected = [&whole[..place.start], b"new", &whole[place.end..]].concat();
                    assert_eq!(spliced.joined(), expected, "{place:?}");
                    assert_eq!(spliced.len(), expected.len());
                    assert!(spliced.pieces().iter().all(|piece| !piece.is_empty()));
                }
            }
        }
    }

    #[test]
    fn tiny_pieces_are_gathered_and_large_ones_shared() {
        assert!(build(&[1; 200_000]).pieces().len() <= 4);
        let large = Bytes::from(vec![1; WORTH_KEEPING]);
        let mut builder = Builder::default();
        builder.push(large.clone());
        assert_eq!(builder.finish().pieces()[0].as_ptr(), large.as_ptr());
    }
}

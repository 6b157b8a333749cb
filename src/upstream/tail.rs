//! The end of a stream that only the connection's end delimits.
//!
//! Such a stream looks the same whether the provider finished or died. It finished only if its last bytes hold the
//! terminator or a finish reason; whatever else is a broken stream.

use memchr::memmem;

const KEPT: usize = 2048;

/// Marks a finished stream ends with: OpenAI's terminator, Anthropic's and the Responses API's last events, or a finish
/// reason where a provider sends no terminator.
const ENDINGS: &[&[u8]] = &[
    b"data: [DONE]",
    b"data:[DONE]",
    b"\"message_stop\"",
    b"\"response.completed\"",
    b"\"response.incomplete\"",
    b"\"finish_reason\":\"",
    b"\"finish_reason\": \"",
    b"\"finishReason\":\"",
    b"\"finishReason\": \"",
];

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    pub(super) fn push(&mut self, piece: &[u8]) {
        let piece = piece.get(piece.len().saturating_sub(KEPT)..).unwrap_or_default();
        let overflow = (self.0.len() + piece.len()).saturating_sub(KEPT);
        self.0.drain(..overflow);
        self.0.extend_from_slice(piece);
    }

    pub(super) fn is_finished(&self) -> bool {
        ENDINGS.iter().any(|ending| memmem::find(&self.0, ending).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_found_however_it_is_cut() {
        let text = b"data: {\"choices\":[]}\n\ndata: [DONE]\n\n";
        let mut tail = Tail::default();
        text.chunks(1).for_each(|byte| tail.push(byte));
        assert!(tail.is_finished());
    }

    #[test]
    fn a_stream_cut_in_content_is_not_finished() {
        let mut tail = Tail::default();
        tail.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":null}]}\n\n");
        assert!(!tail.is_finished());
    }

    #[test]
    fn only_the_end_counts() {
        let mut tail = Tail::default();
        tail.push(b"data: [DONE]");
        tail.push(&[b'x'; KEPT]);
        assert!(!tail.is_finished());
    }
}

//! What keyweir itself says inside a provider's stream: comments while it is silent, an error event when it breaks.
//!
//! Whatever stands between keyweir and the client gives up on a connection on which nothing comes, hence the comments.
//! One may only stand between two events; inside one it would tear the client's data apart. It is no sign of life of
//! the provider, whose silence is measured from its own last byte, however many comments were sent since.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// Fills a silence.
pub(super) const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// Where one stream stands.
#[derive(Debug)]
pub(super) struct Keepalive {
    every: Duration,
    silent_since: Option<Instant>,
    /// The last bytes passed on. At first, what stands in front of a stream's first event.
    last: [u8; 3],
}

impl Keepalive {
    /// Comments after each such time of silence; none if it is zero.
    pub(super) fn new(every: Duration) -> Option<Self> {
        (!every.is_zero()).then_some(Self { every, silent_since: None, last: *b"\n\n\n" })
    }

    /// Notes a piece that goes to the client.
    pub(super) fn passed(&mut self, piece: &[u8]) {
        self.silent_since = None;
        let kept = piece.len().min(self.last.len());
        self.last.rotate_left(kept);
        let (start, end) = (self.last.len() - kept, piece.len() - kept);
        self.last[start..].copy_from_slice(piece.get(end..).unwrap_or_default());
    }

    /// Since when nothing came: since `now`, if something just did.
    pub(super) fn silent_since(&mut self, now: Instant) -> Instant {
        *self.silent_since.get_or_insert(now)
    }

    /// How long to wait for the next piece before a comment is due; `None` inside an event.
    pub(super) fn patience(&self) -> Option<Duration> {
        let is_between_events = self.last.ends_with(b"\n\n") || self.last == *b"\n\r\n" || self.last.ends_with(b"\r\r");
        is_between_events.then_some(self.every)
    }
}

/// What the client is told in a stream that can't go on.
pub(super) fn last_event(request_id: &str, is_late: bool) -> Bytes {
    let (message, code) = match is_late {
        true => ("The provider stopped sending in the middle of the stream.", "upstream_timeout"),
        false => ("The provider broke the stream off.", "upstream_unreachable"),
    };
    let body = serde_json::json!({"error": {
        "message": message,
        "type": "keyweir_error",
        "code": code,
        "param": null,
        "request_id": request_id,
    }});
    // The empty line first: the provider may have stopped in the middle of an event.
    Bytes::from(format!("\n\ndata: {body}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_comment_after(pieces: &[&str]) -> bool {
        let mut keepalive = Keepalive::new(Duration::from_secs(1)).unwrap();
        pieces.iter().for_each(|piece| keepalive.passed(piece.as_bytes()));
        keepalive.patience().is_some()
    }

    #[test]
    fn comments_stand_between_events_only() {
        assert!(may_comment_after(&[]), "before the first event");
        for end in ["\n\n", "\r\n\r\n", "\r\r"] {
            let (line_end, _) = end.split_at(end.len() / 2);
            let text = format!("event: x{line_end}data: {{}}{end}");
            assert!(may_comment_after(&[&text]), "{text:?}");
            for cut in 1..text.len() {
                let (before, after) = text.split_at(cut);
                assert!(!may_comment_after(&[before]), "{before:?}");
                assert!(may_comment_after(&[before, "", after]), "{before:?}, {after:?}");
                assert!(!may_comment_after(&[&text, before]), "{text:?}, {before:?}");
            }
        }
    }

    #[test]
    fn silence_begins_with_the_last_piece() {
        let mut keepalive = Keepalive::new(Duration::from_secs(1)).unwrap();
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        assert_eq!((keepalive.silent_since(start), keepalive.silent_since(later)), (start, start));
        keepalive.passed(b"x");
        assert_eq!(keepalive.silent_since(later), later);
        assert!(Keepalive::new(Duration::ZERO).is_none());
    }

    #[test]
    fn the_last_event_is_the_documented_one() {
        let docs = include_str!("../../docs/errors.md");
        let (_, section) = docs.split_once("## Inside a stream").unwrap();
        for (is_late, code) in [(true, "upstream_timeout"), (false, "upstream_unreachable")] {
            let event = String::from_utf8(last_event("req-1", is_late).to_vec()).unwrap();
            let data = event.strip_prefix("\n\ndata: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
            let mut value: serde_json::Value = serde_json::from_str(data).unwrap();
            assert_eq!((&value["error"]["code"], &value["error"]["request_id"]), (&code.into(), &"req-1".into()));
            assert!(section.contains(&format!("`{code}`")), "{code} is not in docs/errors.md");
            value["error"]["message"] = "…".into();
            value["error"]["request_id"] = "…".into();
            value["error"]["code"] = "upstream_timeout".into();
            let (_, example) = section.split_once("data: ").unwrap();
            let example: serde_json::Value = serde_json::from_str(example.lines().next().unwrap()).unwrap();
            assert_eq!(value, example, "the shape that docs/errors.md shows");
        }
    }
}

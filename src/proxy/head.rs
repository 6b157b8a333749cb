//! Strict reading of a request head, before any parser repairs it.
//!
//! What two parsers may understand differently is refused here, so that no ambiguity reaches a provider (RFC 9112 §11.2):
//! bare LF or CR, obs-fold, NUL, conflicting or listed lengths, `Transfer-Encoding` other than `chunked`, a missing or
//! second `Host`, spaces in the target, HTTP/0.9, an absolute target that contradicts `Host`.

use memchr::{memchr, memchr2};

use super::answer::Answer;

/// More header fields than any honest client sends.
const MAX_FIELDS: usize = 100;
/// Content-Length digits; more would overflow long after every limit.
const MAX_LENGTH_DIGITS: usize = 18;

/// What was counted while reading the fields.
#[derive(Default)]
struct Fields<'a> {
    lengths: usize,
    encodings: usize,
    hosts: usize,
    host: &'a [u8],
    count: usize,
}

/// Accepts or refuses one complete head, its final empty line included.
///
/// # Errors
/// The answer the client gets.
pub(super) fn check(head: &[u8]) -> Result<(), Answer> {
    let (request_line, mut rest) = next_line(head)?;
    let (target, is_http11) = check_request_line(request_line)?;
    let mut fields = Fields::default();
    loop {
        let (line, next) = next_line(rest)?;
        if line.is_empty() {
            break;
        }
        check_field(line, &mut fields)?;
        rest = next;
    }
    let framings = fields.lengths + fields.encodings;
    if framings > 1 {
        return Err(Answer::BadRequest("The request states its body's length more than once."));
    }
    if fields.encodings > 0 && !is_http11 {
        return Err(Answer::BadRequest("HTTP/1.0 has no Transfer-Encoding."));
    }
    if fields.hosts > 1 || (is_http11 && fields.hosts == 0) {
        return Err(Answer::BadRequest("Exactly one Host header is required."));
    }
    match absolute_authority(target) {
        Some(authority) if !authority.eq_ignore_ascii_case(fields.host) => {
            Err(Answer::BadRequest("The target and the Host header name different hosts."))
        }
        _ => Ok(()),
    }
}

/// One line without its CRLF, and what follows. A CR or LF of its own is refused.
fn next_line(text: &[u8]) -> Result<(&[u8], &[u8]), Answer> {
    let bad = Answer::BadRequest("Lines must end with CRLF.");
    let Some(end) = memchr2(b'\r', b'\n', text) else { return Err(bad) };
    let (line, rest) = text.split_at(end);
    match rest.strip_prefix(b"\r\n") {
        Some(next) => Ok((line, next)),
        None => Err(bad),
    }
}

fn check_request_line(line: &[u8]) -> Result<(&[u8], bool), Answer> {
    let bad = || Answer::BadRequest("The request line is malformed.");
    let mut parts = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad());
    };
    let is_http11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(bad()),
    };
    if method.is_empty() || !method.iter().all(|&b| is_token_byte(b)) {
        return Err(bad());
    }
    if matches!(method, b"CONNECT" | b"TRACE") {
        return Err(Answer::MethodNotAllowed);
    }
    let is_hidden = |b: u8| !(0x21..0x7f).contains(&b) | (b == b'#');
    if target.is_empty() || target.iter().fold(false, |found, &b| found | is_hidden(b)) {
        return Err(bad());
    }
    let is_form_known = target.starts_with(b"/") || absolute_authority(target).is_some() || target == b"*";
    if is_form_known { Ok((target, is_http11)) } else { Err(bad()) }
}

/// The authority of an absolute-form target.
fn absolute_authority(target: &[u8]) -> Option<&[u8]> {
    let rest = target.strip_prefix(b"http://").or_else(|| target.strip_prefix(b"https://"))?;
    rest.split(|b| matches!(b, b'/' | b'?')).next()
}

fn check_field<'a>(line: &'a [u8], fields: &mut Fields<'a>) -> Result<(), Answer> {
    fields.count += 1;
    if fields.count > MAX_FIELDS {
        return Err(Answer::HeadersTooLarge);
    }
    // A line that starts with a space continues the one before (obs-fold): no field name, refused.
    let Some(colon) = memchr(b':', line) else {
        return Err(Answer::BadRequest("A header line has no colon."));
    };
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().all(|&b| is_token_byte(b)) {
        return Err(Answer::BadRequest("A header name is malformed."));
    }
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    // Folded, not searched: without an early exit the compiler compares many bytes at a time.
    if value.iter().fold(false, |found, &b| found | (b == 0x7f) | ((b < 0x20) & (b != b'\t'))) {
        return Err(Answer::BadRequest("A header value holds control characters."));
    }
    match name.len() {
        14 if name.eq_ignore_ascii_case(b"content-length") => {
            fields.lengths += 1;
            if value.is_empty() || value.len() > MAX_LENGTH_DIGITS || !value.iter().all(u8::is_ascii_digit) {
                return Err(Answer::BadRequest("Content-Length is not a number."));
            }
        }
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
            fields.encodings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Answer::BadRequest("The only Transfer-Encoding is chunked."));
            }
        }
        4 if name.eq_ignore_ascii_case(b"host") => {
            fields.hosts += 1;
            fields.host = value;
        }
        _ => {}
    }
    Ok(())
}

/// A character of a method or field name (RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut i = 0;
        while i < 256 {
            #[expect(clippy::cast_possible_truncation, reason = "i is below 256")]
            let b = i as u8;
            table[i] = b.is_ascii_alphanumeric()
                || matches!(
                    b,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                );
            i += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> u16 {
        check(head.as_bytes()).map_or_else(|answer| answer.status(), |()| 200)
    }

    #[test]
    fn honest_heads_pass() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: a:8080\r\nContent-Length: 12\r\nX-Empty:\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX-Name: \u{fc}\r\n\r\n",
        ] {
            assert_eq!(status(head), 200, "{head:?}");
        }
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        for head in [
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(status(head), 400, "{head:?}");
        }
        assert_eq!(status("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(2000));
        assert_eq!(status(&many), 431);
    }
}

//! The `model` fields of a multipart form (RFC 7578).

use std::ops::Range;

use memchr::memmem;

use super::super::answer::Answer;
use super::{Named, Part};

/// Reads a form, which must be written the way all parsers read alike.
pub(super) fn in_multipart(kind: &str, body: &[u8]) -> Result<Vec<Named>, Answer> {
    let malformed = Answer::BadRequest("The multipart form is malformed.");
    let delimiter = boundary(kind).map(|boundary| format!("--{boundary}")).ok_or(malformed.clone())?;
    // Some parsers want a line break before a delimiter and others don't: every one counts here.
    let starts: Vec<usize> = memmem::find_iter(body, &delimiter).map(|at| at + delimiter.len()).collect();
    if !starts.last().and_then(|last| body.get(*last..)).is_some_and(|rest| rest.starts_with(b"--")) {
        return Err(malformed);
    }
    let mut models = Vec::new();
    let ends = starts.iter().skip(1).map(|next| next - delimiter.len());
    for part in starts.iter().zip(ends).map(|(start, end)| *start..end) {
        let text = body.get(part.clone()).unwrap_or_default();
        if !text.starts_with(b"--") {
            models.extend(model(text, part).ok_or(malformed.clone())?);
        }
    }
    Ok(models)
}

/// What a part names, if it is the field `model`; the outer `None` = malformed.
fn model(text: &[u8], part: Range<usize>) -> Option<Option<Named>> {
    const END: &[u8] = b"\r\n\r\n";
    let end = memmem::find(text, END)?;
    let (head, content) = text.split_at(end);
    if !names_model(head)? {
        return Some(None);
    }
    let content = content.strip_prefix(END)?.strip_suffix(b"\r\n")?;
    let name = std::str::from_utf8(content).ok()?.to_owned();
    let start = part.start + end + END.len();
    Some(Some(Named { place: start..start + name.len(), name, part: Part::Multipart }))
}

/// The only `boundary` of a content type.
fn boundary(kind: &str) -> Option<&str> {
    let mut found = kind.split(';').filter_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.trim_end().eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"'))
    });
    let (boundary, None) = (found.next()?, found.next()) else { return None };
    (!boundary.is_empty()).then_some(boundary)
}

/// Whether a part is the field `model`; `None` where its name is not written the way all parsers read alike.
fn names_model(head: &[u8]) -> Option<bool> {
    let head = std::str::from_utf8(head).ok()?;
    let is_disposition =
        |line: &&str| line.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case("content-disposition"));
    if head.split("\r\n").any(|line| line.contains(['\r', '\n'])) {
        return None;
    }
    let mut lines = head.split("\r\n").filter(is_disposition);
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let mut names = line.split(';').map(str::trim).filter(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default().trim_end();
        name.eq_ignore_ascii_case("name") || name.eq_ignore_ascii_case("name*")
    });
    let (name, None) = (names.next()?, names.next()) else { return None };
    let name = name.strip_prefix("name=\"")?.strip_suffix('"')?;
    (!name.contains(['\\', '"', '%'])).then_some(name == "model")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, body: &str) -> Result<Vec<String>, u16> {
        let named = in_multipart(kind, body.as_bytes()).map_err(|answer| answer.status())?;
        assert!(named.iter().all(|named| &body.as_bytes()[named.place.clone()] == named.name.as_bytes()));
        Ok(named.into_iter().map(|named| named.name).collect())
    }

    #[test]
    fn a_forms_model_is_read() {
        let kind = "multipart/form-data; boundary=\"XX\"";
        let form = |part: &str| {
            let body = format!(
                "--XX\r\n{part}\r\n--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\n\r\nRIFF\r\n--XX--\r\n"
            );
            read(kind, &body)
        };
        let named = form("Content-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1");
        assert_eq!(named, Ok(vec!["whisper-1".to_owned()]));
        assert_eq!(
            form("Content-Type: x\r\ncontent-disposition: form-data; name=\"language\"\r\n\r\nmodel"),
            Ok(vec![])
        );
        for odd in [
            "Content-Disposition: form-data; name=model\r\n\r\na",
            "Content-Disposition: form-data; name=\"mod%65l\"\r\n\r\na",
            "Content-Disposition: form-data; name*=UTF-8''model\r\n\r\na",
            "Content-Disposition: form-data; name=\"x\"; name=\"model\"\r\n\r\na",
            "Content-Disposition: form-data\r\n\r\na",
            "Content-Disposition: form-data; name=\"x\"\r\nX: y\nContent-Disposition: form-data; name=\"model\"\r\n\r\na",
            "Content-Disposition: form-data; name=\"model\"\r\n\r\na--XX",
            "no head at all",
        ] {
            assert_eq!(form(odd), Err(400), "{odd}");
        }
        let open = "--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nunfinished";
        assert_eq!(read(kind, open), Err(400));
        for kind in
            ["multipart/form-data", "multipart/form-data; boundary=XX; boundary=YY", "multipart/form-data; boundary="]
        {
            assert_eq!(read(kind, "--XX--"), Err(400), "{kind}");
        }
    }
}

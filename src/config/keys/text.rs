//! Plain keys files: one key per line.

use super::Lot;
use crate::config::problem::{At, Report};
use crate::config::raw::keys::FileFormat;
use crate::config::tree::Position;

/// Tells the format by the first line that says something.
pub(super) fn format(content: &str) -> FileFormat {
    let Some(line) = content.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')) else {
        return FileFormat::Yaml;
    };
    let is_yaml = line.starts_with(['-', '{', '[', '%']) || line.ends_with(':') || line.contains(": ");
    let is_assignment = line.split_once('=').is_some_and(|(name, value)| {
        let upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        !name.is_empty() && !value.is_empty() && name.trim_start_matches("export ").bytes().all(upper)
    });
    match (is_yaml, is_assignment) {
        (true, _) => FileFormat::Yaml,
        (false, true) => FileFormat::Env,
        (false, false) => FileFormat::Text,
    }
}

/// Adds every line's key: blank lines, `#` comments and CRLF are fine.
pub(super) fn read(content: &str, report: &Report, lot: &mut Lot) {
    let pool = lot.pool.clone();
    for (index, line) in content.lines().enumerate() {
        let key = without_comment(line).trim();
        if key.is_empty() {
            continue;
        }
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        let position = Position { line: index + 1, column: indent + 1 };
        let top = At::top(report, position);
        let at = top.named(&pool, position);
        lot.add(key.to_owned(), None, &at, &at);
    }
}

/// A `#` begins a comment at the start of a line or after a space, as in YAML.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    let comment =
        line.match_indices('#').find(|(at, _)| line.get(..*at).is_some_and(|before| before.ends_with([' ', '\t'])));
    comment.and_then(|(at, _)| line.get(..at)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        for (content, expected) in [
            ("# mine\n\nmodelscope:\n  - k\n", FileFormat::Yaml),
            ("{modelscope: [k]}", FileFormat::Yaml),
            ("- k", FileFormat::Yaml),
            ("", FileFormat::Yaml),
            ("sk-1\nsk-2", FileFormat::Text),
            ("# x\nabcd==\n", FileFormat::Text),
            ("SILICONFLOW_API_KEY_1=sk-1", FileFormat::Env),
            ("export API_KEYS=[\"a\"]", FileFormat::Env),
        ] {
            assert_eq!(format(content), expected, "{content}");
        }
    }

    #[test]
    fn comments_need_a_space_before_them() {
        assert_eq!(without_comment("sk-1 # alice"), "sk-1 ");
        assert_eq!(without_comment("  # all of it"), "");
        assert_eq!(without_comment("sk#1"), "sk#1");
    }
}

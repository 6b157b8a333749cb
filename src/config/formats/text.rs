//! Plain text: one key per line, or many separated by whatever people paste between them.

use super::collect::Collector;
use super::fields::Hints;

/// What separates keys on a line; the wide ones come from Chinese keyboards.
const SEPARATORS: [char; 5] = [',', ';', '，', '；', '、'];

/// Reads keys separated by line breaks, commas, semicolons and spaces; `#` comments and blank lines are fine.
pub(super) fn read(text: &str, out: &mut Collector) {
    for (index, line) in text.lines().enumerate() {
        for part in without_comment(line).split(SEPARATORS) {
            words(part.trim(), index + 1, out);
        }
    }
}

/// The keys between two separators.
fn words(part: &str, line: usize, out: &mut Collector) {
    let clean = |word: &str| word.trim_matches(['"', '\'', '`']).to_owned();
    let words: Vec<String> = part.split_whitespace().map(clean).filter(|word| !word.is_empty()).collect();
    // Spaces separate keys, but prose is not keys, nor is a key with a space in it two of them.
    if words.len() > 1 && !words.iter().all(|word| looks_like_key(word)) {
        return out.bad(line, "contains a space; a key is visible ASCII characters without spaces");
    }
    for word in words {
        out.push(Hints::default().entry(line, &word));
    }
}

fn looks_like_key(word: &str) -> bool {
    word.len() >= 20 || (word.len() > 1 && word.bytes().any(|b| b.is_ascii_digit()))
}

/// A `#` begins a comment at the start of a line or after a space, as in YAML.
pub(super) fn without_comment(line: &str) -> &str {
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
    fn comments_need_a_space_before_them() {
        assert_eq!(without_comment("sk-1 # alice"), "sk-1 ");
        assert_eq!(without_comment("  # all of it"), "");
        assert_eq!(without_comment("sk#1"), "sk#1");
    }
}

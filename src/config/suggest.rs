//! "Did you mean": the names nearest to a misspelt one.

/// Says what could have been meant: the nearest names, or all of them when none is near.
pub(crate) fn among<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let near = nearest(written, &known);
    match (near.as_slice(), known.as_slice()) {
        ([], []) => "there is none".into(),
        ([], all) => format!("write {}", list(all)),
        (near, _) => format!("did you mean {}?", list(near)),
    }
}

/// `a, b or c`
pub(crate) fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The known names nearest to the written one, at most three.
pub(crate) fn nearest<'a>(written: &str, known: &[&'a str]) -> Vec<&'a str> {
    // An edit in three characters is still the same word; a long text is no misspelt name.
    if written.len() > 64 {
        return Vec::new();
    }
    let allowed = (written.chars().count() / 3).clamp(1, 3);
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), *name))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    near.sort();
    near.truncate(3);
    near.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_come_first_and_far_ones_list_all() {
        assert_eq!(among("retrys", ["retry", "rules", "routes"]), "did you mean retry?");
        assert_eq!(among("zzz", ["a", "b", "c"]), "write a, b or c");
        assert_eq!(among("x", []), "there is none");
    }
}

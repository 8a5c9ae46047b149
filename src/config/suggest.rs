//! "Did you mean …?"

/// The candidate closest to `written`, if a slip of the finger or a forgotten letter can explain it.
pub(crate) fn closest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long garbage is not a slip, and the comparison is quadratic.
    if written.len() > 64 {
        return None;
    }
    let folded = fold(written);
    let allowed = (folded.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case, `-` and `_` are the same slip.
fn fold(text: &str) -> Vec<char> {
    text.chars().map(|char| if char == '-' { '_' } else { char.to_ascii_lowercase() }).collect()
}

/// Edits between two words, a swap of neighbours being one (optimal string alignment).
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for row in 1..=left.len() {
        let mut current = vec![row];
        for column in 1..=right.len() {
            let same = left[row - 1] == right[column - 1];
            let mut best = (above[column - 1] + usize::from(!same)).min(above[column] + 1).min(current[column - 1] + 1);
            let swapped =
                row > 1 && column > 1 && left[row - 1] == right[column - 2] && left[row - 2] == right[column - 1];
            if swapped {
                best = best.min(before[column - 2] + 1);
            }
            current.push(best);
        }
        before = above;
        above = current;
    }
    above[right.len()]
}

/// `` `a`, `b` and `c` ``; `nothing` without any.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{closest, list};

    #[test]
    fn finds_slips_only() {
        let keys = ["listen", "public_url", "tls", "workers", "allowed_hosts", "allowed_origins"];
        for (written, expected) in [
            ("lisen", Some("listen")),
            ("public-url", Some("public_url")),
            ("publicUrl", Some("public_url")),
            ("pubilc_ulr", Some("public_url")),
            ("TLS", Some("tls")),
            ("tsl", Some("tls")),
            ("allowed_host", Some("allowed_hosts")),
            ("database", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(closest(written, keys), expected, "{written}");
        }
        assert_eq!(closest(&"listen".repeat(20), keys), None);
    }

    #[test]
    fn lists_with_and() {
        assert_eq!(list([]), "nothing");
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}

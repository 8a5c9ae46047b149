//! Whether two regular expressions have no match in common, as far as their literal ends tell.

use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};
use regex_syntax::hir::{Hir, Look};

/// The deepest nesting of a pattern, which may be the upstream's.
const NEST: u32 = 50;
/// The longest pattern, in bytes.
const LONGEST: usize = 4096;

/// The largest character class that is expanded.
const CLASS: usize = 64;

/// Whether no text matches both: both are anchored at the same end, and their literals there differ. Also false if that does
/// not decide it.
pub(super) fn are_disjoint(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (read(one), read(other)) else { return false };
    let begins = |hir: &Hir| hir.properties().look_set_prefix().contains(Look::Start);
    let ends = |hir: &Hir| hir.properties().look_set_suffix().contains(Look::End);
    let literals = |hir: &Hir, kind: ExtractKind| Extractor::new().kind(kind).limit_class(CLASS).extract(hir);
    let starts = || {
        let kind = || ExtractKind::Prefix;
        apart(&literals(&one, kind()), &literals(&other, kind()), <[u8]>::starts_with)
    };
    let stops = || {
        let kind = || ExtractKind::Suffix;
        apart(&literals(&one, kind()), &literals(&other, kind()), <[u8]>::ends_with)
    };
    begins(&one) && begins(&other) && starts() || ends(&one) && ends(&other) && stops()
}

fn read(pattern: &str) -> Option<Hir> {
    if pattern.len() > LONGEST {
        return None;
    }
    regex_syntax::ParserBuilder::new().nest_limit(NEST).build().parse(pattern).ok()
}

/// Whether no literal of one is compatible with a literal of the other at the same end of a text.
fn apart(one: &Seq, other: &Seq, agrees: fn(&[u8], &[u8]) -> bool) -> bool {
    let (Some(one), Some(other)) = (one.literals(), other.literals()) else { return false };
    let compatible = |left: &[u8], right: &[u8]| agrees(left, right) || agrees(right, left);
    !one.iter().any(|left| other.iter().any(|right| compatible(left.as_bytes(), right.as_bytes())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::are_disjoint;

    #[test]
    fn tells_by_what_stands_at_the_ends() {
        for (one, other, expected) in [
            ("^emea", "^us-", true),
            ("^emea", "^em", false),
            ("^(emea|apac)$", "^(us|eu)-[a-z]+$", true),
            ("^(emea|apac)$", "^e", false),
            ("emea", "^us-", false),
            ("^[a-z]+$", "^[0-9]+$", true),
            ("^[a-z]+", "[0-9]+$", false),
            ("@example\\.com$", "@other\\.org$", true),
            ("@example\\.com$", "\\.com$", false),
            ("^a|b", "^c", false),
            ("(?m)^a", "^b", false),
            ("^", "^a", false),
            ("(", "^a", false),
        ] {
            assert_eq!(are_disjoint(one, other), expected, "{one} {other}");
            assert_eq!(are_disjoint(other, one), expected, "{other} {one}");
        }
    }

    proptest! {
        #[test]
        fn what_is_disjoint_has_nothing_in_common(
            one in "\\^?(\\(a\\|b\\)|[ab]|[ab]\\*|\\[ab\\])(\\[bc\\]|c|c\\+)\\$?",
            other in "\\^?(\\(a\\|c\\)|[bc]|[ab]\\?|\\[bc\\])(\\[ab\\]|a|b\\*)\\$?",
            texts in prop::collection::vec("[abc]{0,4}", 20),
        ) {
            let (left, right) = (Regex::new(&one).unwrap(), Regex::new(&other).unwrap());
            if are_disjoint(&one, &other) {
                for text in texts {
                    prop_assert!(!(left.is_match(&text) && right.is_match(&text)), "{one} {other} {text}");
                }
            }
        }
    }
}

//! Disguised keys: another spelling of a key to a parser that reads less strictly (CVE-2026-27896).

use std::collections::HashSet;

use crate::json::{self, Member, Value};

/// Keys somebody gives a meaning to.
pub(super) struct Reserved {
    keys: &'static [&'static str],
    /// A bit for each length one of them has: most other keys have another.
    lengths: u64,
}

impl Reserved {
    /// Each shorter than 64 bytes.
    pub(super) const fn of(keys: &'static [&'static str]) -> Self {
        let (mut lengths, mut at) = (0, 0);
        while at < keys.len() {
            lengths |= 1 << keys[at].len();
            at += 1;
        }
        Self { keys, lengths }
    }

    /// Whether a member of `object` is a disguised spelling of one of them: escaped, of other case, or equal after folding.
    ///
    /// An escaped solidus is no disguise: some encoders write every one so, and no parser reads it differently.
    pub(super) fn is_disguised_in(&self, object: Value<'_>) -> bool {
        object.members().any(|member| match member.plain_name() {
            Some(name) if member.is_among_plain() || is_plain(name) => self.has_other_case_of(name),
            _ => self.is_disguised_as(object, member),
        })
    }

    /// Nearly every key: as it is written it equals one of them, or differs from it in more than case.
    fn has_other_case_of(&self, name: &[u8]) -> bool {
        if name.len() >= 64 || self.lengths >> name.len() & 1 == 0 {
            return false;
        }
        let is_one = self.keys.iter().any(|own| own.as_bytes() == name);
        !is_one && self.keys.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    fn is_disguised_as(&self, object: Value<'_>, member: Member<'_>) -> bool {
        let name = member.name();
        if self.keys.contains(&name.as_ref()) {
            return member.is_escaped() && !has_only_escaped_solidi(object, member, &name);
        }
        // Folded once, however many names it could stand for.
        let folded = if is_plain(name.as_bytes()) { name } else { json::fold(&name).into() };
        self.keys.iter().any(|own| own.eq_ignore_ascii_case(&folded))
    }
}

/// Whether folding changes nothing but case.
fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

fn has_only_escaped_solidi(object: Value<'_>, member: Member<'_>, name: &str) -> bool {
    let (at, from) = (member.key_span(), object.span().start);
    let key = object.raw().get(at.start - from + 1..at.end - from - 1).unwrap_or_default();
    std::str::from_utf8(key).is_ok_and(|key| key.replace("\\/", "/") == name)
}

/// Whether two sibling keys anywhere in `value` are one key to a parser that folds.
pub(super) fn has_folded_siblings(value: Value<'_>) -> bool {
    value.objects().any(folds_together)
}

fn folds_together(object: Value<'_>) -> bool {
    /// Most members of which each is compared with every other.
    const PAIRWISE: usize = 12;
    for (count, member) in object.members().enumerate() {
        let is_plain = |name: &&[u8]| member.is_among_plain() || is_plain(name);
        let Some(name) = member.plain_name().filter(is_plain).filter(|_| count < PAIRWISE) else {
            return folds_together_at_length(object);
        };
        let mut earlier = object.members().take(count).filter_map(|member| member.plain_name());
        if earlier.any(|other| other.eq_ignore_ascii_case(name)) {
            return true;
        }
    }
    false
}

fn folds_together_at_length(object: Value<'_>) -> bool {
    let mut seen = HashSet::new();
    object.members().any(|member| !seen.insert(json::fold(&member.name())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Document, Limits};

    #[test]
    fn a_reserved_key_has_one_spelling() {
        const OWN: Reserved = Reserved::of(&["name", "taskId", "a/b"]);
        let cases = [
            ("name", false),
            ("taskId", false),
            ("a/b", false),
            ("a\\/b", false),
            ("nam", false),
            ("eman", false),
            ("names", false),
            ("Name", true),
            ("taskid", true),
            ("n\\u0061me", true),
            ("a\\u002fb", true),
            ("na\u{7f}me", true),
            ("na\u{200b}me", true),
            ("ｎａｍｅ", true),
            ("na\\u200bme", true),
            ("é", false),
            ("", false),
        ];
        let long = "n".repeat(64);
        for (key, is_disguised) in cases.into_iter().chain([(&*long, false)]) {
            // Beside other keys, and in a text that is not all of ASCII.
            for text in [format!(r#"{{"x":1,"{key}":1}}"#), format!(r#"{{"{key}":1,"x":"é"}}"#)] {
                let document = Document::parse(text.clone().into(), &Limits::ANSWER).unwrap();
                assert_eq!(OWN.is_disguised_in(document.root()), is_disguised, "{text}");
            }
        }
    }

    #[test]
    fn siblings_that_fold_together_are_found_at_any_depth() {
        let many: Vec<String> = (0..20).map(|number| format!(r#""k{number}":1,"#)).collect();
        let many = many.concat();
        let cases = [
            (r#"{"name":1,"other":2}"#.to_owned(), false),
            (r#"{"name":1,"Name":2}"#.to_owned(), true),
            (r#"{"a":[{"x":1,"y":{"name":1,"nAme":2}}]}"#.to_owned(), true),
            ("{\"name\":1,\"na\u{7f}me\":2}".to_owned(), true),
            (r#"{"name":1,"n\u0061Me":2}"#.to_owned(), true),
            (r#"{"name":1,"ｎａｍｅ":2}"#.to_owned(), true),
            (format!(r#"{{{many}"name":1}}"#), false),
            (format!(r#"{{{many}"K3":1}}"#), true),
        ];
        for (text, is_found) in cases {
            let document = Document::parse(text.clone().into(), &Limits::ANSWER).unwrap();
            assert_eq!(has_folded_siblings(document.root()), is_found, "{text}");
        }
    }
}

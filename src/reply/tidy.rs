//! Filters `_meta` and icons of the items in an answer, each by an allow list.

use crate::json::{Kind, Member, Splice, Value};
use crate::mask::drop_foreign_meta;

/// Removes `_meta` keys that `meta` does not allow from the items below `value`, and icons other than `data:` images (RFC
/// 2397) and https URLs at the upstream's own `origin`.
///
/// `structuredContent` and arguments are a tool's own data, not the protocol's: they are only masked.
pub(super) fn items(value: Value<'_>, meta: &[Box<str>], origin: &str, splice: &mut Splice) {
    for member in value.members() {
        match Part::of(&member) {
            Part::Holder => {
                let holder = member.value;
                let one = (holder.kind() == Kind::Object).then_some(holder);
                for item in holder.items().chain(one) {
                    drop_foreign_meta(item, meta, splice);
                    items(item, meta, origin, splice);
                }
            }
            Part::Icons => icons(member.value, origin, splice),
            Part::Other => {}
        }
    }
}

/// The role of a member, by its name.
enum Part {
    /// An item, or an array of items, with `_meta` and icons of their own (2025-11-25 and later, schema).
    Holder,
    Icons,
    Other,
}

impl Part {
    fn of(member: &Member<'_>) -> Self {
        member.plain_name().map_or_else(|| Self::named(member.name().as_bytes()), Self::named)
    }

    fn named(name: &[u8]) -> Self {
        match name {
            b"content" | b"contents" | b"messages" | b"prompts" | b"resource" | b"resourceTemplates" | b"resources"
            | b"serverInfo" | b"tools" => Self::Holder,
            b"icons" => Self::Icons,
            _ => Self::Other,
        }
    }
}

fn icons(icons: Value<'_>, origin: &str, splice: &mut Splice) {
    if icons.kind() != Kind::Array {
        return splice.replace(icons.span(), "[]");
    }
    let may_load = |icon: Value<'_>| {
        let source = icon.get("src").and_then(|src| src.as_str());
        source.is_some_and(|source| source.starts_with("data:image/") || is_own(&source, origin))
    };
    let kept: Vec<_> = icons.items().map(|icon| (icon, may_load(icon))).collect();
    splice.remove_items(&kept);
}

/// Whether `source` is a URL at exactly that origin, and the origin is https.
fn is_own(source: &str, origin: &str) -> bool {
    let rest = source.strip_prefix(origin);
    origin.starts_with("https://") && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn an_icon_is_the_upstream_s_own_or_in_the_message() {
        let cases = [
            ("https://a.test", "https://a.test/i.png", true),
            ("https://a.test", "https://a.test.evil/i.png", false),
            ("https://a.test", "https://a.test:444/i.png", false),
            ("https://a.test", "https://a.test@evil/", false),
            ("http://a.test", "http://a.test/i.png", false),
        ];
        for (origin, source, own) in cases {
            assert_eq!(is_own(source, origin), own, "{source}");
        }
    }
}

//! What stands in an answer beside its words: `_meta` of items, and icons, each let through by a list.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::json::{Kind, Member, Splice, Value};
use crate::mask::drop_foreign_meta;

/// Members whose items, or that themselves, may have `_meta` and icons of their own (MCP 2025-11-25 and later, schema).
const HOLDERS: [&str; 9] =
    ["content", "contents", "messages", "prompts", "resource", "resourceTemplates", "resources", "serverInfo", "tools"];

/// What none of it can be without: the names, as written or escaped.
static SIGNS: LazyLock<[Finder<'static>; 3]> = LazyLock::new(|| ["_meta\"", "icons\"", "\\u00"].map(Finder::new));

/// Takes out of what is below `value` the `_meta` keys no list allows, and the icons a client should not load: from elsewhere
/// than the upstream's own `origin` over https, or not in the message itself (RFC 2397).
///
/// What a tool made of its own data, `structuredContent` and arguments, is none of the protocol's and is only masked.
pub(super) fn items(value: Value<'_>, meta: &[Box<str>], origin: &str, splice: &mut Splice) {
    if !SIGNS.iter().any(|sign| sign.find(value.raw()).is_some()) {
        return;
    }
    icons(value, origin, splice);
    below(value, meta, origin, splice);
}

fn below(value: Value<'_>, meta: &[Box<str>], origin: &str, splice: &mut Splice) {
    for member in value.members().filter(is_holder) {
        let holder = member.value;
        let one = (holder.kind() == Kind::Object).then_some(holder);
        for item in holder.items().chain(one) {
            drop_foreign_meta(item, meta, splice);
            icons(item, origin, splice);
            below(item, meta, origin, splice);
        }
    }
}

fn is_holder(member: &Member<'_>) -> bool {
    HOLDERS.iter().any(|name| member.name_is(name))
}

fn icons(item: Value<'_>, origin: &str, splice: &mut Splice) {
    let Some(icons) = item.get("icons") else { return };
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

/// Whether `source` is an https URL at exactly that origin.
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

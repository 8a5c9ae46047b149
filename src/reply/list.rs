//! Lists show what a caller may use: the same code decides here and at the call (decisions: "One evaluation").

use crate::json::{Kind, Splice, Value};
use crate::mcp::SubjectKind;
use crate::mcp::methods::List;
use crate::policy::Asker;
use crate::policy::tools::Tools;

/// Takes out of a list result what the policy hides from the caller; says how many items went.
///
/// Cursors stay: a page may be empty and still have a next one. An item without a name is no item a rule could allow.
pub(super) fn filter(asker: &Asker<'_>, tools: &Tools, list: &List, result: Value<'_>, splice: &mut Splice) -> usize {
    let Some(items) = result.get(list.items) else { return 0 };
    if items.kind() != Kind::Array {
        // No list, and whatever it is, nobody decided about it.
        splice.replace(items.span(), "[]");
        return 0;
    }
    let kept: Vec<_> = items
        .items()
        .map(|item| {
            let name = item.get(list.key).and_then(|name| name.as_str());
            let shown = name.is_some_and(|name| asker.policy.lists(asker.caller, list.kind, &name, asker.context));
            let usable = || list.kind != SubjectKind::Tool || tools.tool(item).is_some_and(|tool| tools.shows(&tool));
            (item, shown && usable())
        })
        .collect();
    splice.remove_items(&kept);
    kept.iter().filter(|(_, keep)| !keep).count()
}

#[cfg(test)]
mod tests {
    use super::{Tools, filter};
    use crate::clock::Timestamp;
    use crate::json::{Document, Limits, Splice};
    use crate::mcp::find;
    use crate::policy::tests::{caller, policy};
    use crate::policy::{Asker, Context};

    #[test]
    fn shows_what_a_rule_allows_and_nothing_that_is_no_list() {
        let policy = policy("[[rule]]\nid = \"read\"\ntools = [\"get_*\"]");
        let list = find("tools/list").unwrap().list.unwrap();
        let cases = [
            (r#"{"tools":[{"name":"get_a"},{"name":"put_a"},{},7,"get_a"]}"#, r#"{"tools":[{"name":"get_a"}]}"#),
            (r#"{"tools":{"0":{"name":"put_a"},"length":1}}"#, r#"{"tools":[]}"#),
            (r#"{"tools":"put_a"}"#, r#"{"tools":[]}"#),
            (r#"{"nextCursor":"1"}"#, r#"{"nextCursor":"1"}"#),
        ];
        for (before, after) in cases {
            let document = Document::parse(before.into(), &Limits::ANSWER).unwrap();
            let mut splice = Splice::new();
            let (caller, context) = (caller(""), Context::at(Timestamp::now()));
            let asker = Asker { policy: &policy, caller: &caller, context: &context, enforced: false };
            filter(&asker, &Tools::default(), &list, document.root(), &mut splice);
            assert_eq!(splice.apply(document.bytes()), after, "{before}");
        }
    }
}

//! Lists show what a caller may use: the same code decides here and at the call (decisions: "One evaluation").

use std::sync::Arc;

use bytes::Bytes;

use super::ReplyError;
use crate::json::{Document, Kind, Limits, Splice, Value};
use crate::mask::{Direction, Findings, View};
use crate::mcp::SubjectKind;
use crate::mcp::methods::{self, List, Method};
use crate::policy::tools::{Tool, Tools};
use crate::policy::{Asker, Context, Definition};
use crate::reject::Reject;
use crate::trial::Rules;

/// Takes out of a list result what the policy and the items' own definitions hide from the caller, and puts in what is
/// shown in place of others; says how many items went.
///
/// Cursors stay: a page may be empty and still have a next one. An item without a name is no item a rule could allow.
pub(super) fn filter(
    asker: &Asker<'_>,
    rules: &Rules<'_>,
    view: &View<'_>,
    method: &Method,
    list: &List,
    result: Value<'_>,
    splice: &mut Splice,
) -> Result<usize, Reject> {
    let Some(items) = result.get(list.items) else { return Ok(0) };
    if items.kind() != Kind::Array {
        // No list, and whatever it is, nobody decided about it.
        splice.replace(items.span(), "[]");
        return Ok(0);
    }
    let mut kept = Vec::new();
    for item in items.items() {
        let name = item.get(list.key).and_then(|name| name.as_str());
        let tool = if list.kind == SubjectKind::Tool { rules.tools.tool(item) } else { None };
        // What a call will be decided with is known of it here too.
        let context = Context { definition: Definition::of(tool.as_deref()), ..*asker.context };
        let asker = &Asker { context: &context, ..*asker };
        if !name.is_some_and(|name| asker.policy.lists(asker.caller, list.kind, &name, &context)) {
            kept.push((item, false));
            continue;
        }
        let shown = match list.kind {
            SubjectKind::Tool => tool.as_ref().and_then(|tool| shown(asker, rules.tools, tool)),
            SubjectKind::Prompt | SubjectKind::Resource | SubjectKind::ResourceTemplate => {
                rules.tools.text(item.raw_bytes()).map(Shown::of(item))
            }
        };
        if let Some(Shown::Instead(text)) = &shown {
            let text = masked(rules, view, method, &format!("\"{}\":[", list.items), text, "]")?;
            splice.replace(item.span(), text);
        }
        kept.push((item, shown.is_some()));
    }
    splice.remove_items(&kept);
    Ok(kept.iter().filter(|(_, keep)| !keep).count())
}

/// How an item is shown.
enum Shown {
    AsItIs,
    Instead(Bytes),
}

impl Shown {
    fn of(item: Value<'_>) -> impl Fn(Bytes) -> Self {
        move |text| if *text == *item.raw() { Self::AsItIs } else { Self::Instead(text) }
    }
}

fn shown(asker: &Asker<'_>, tools: &Tools, tool: &Arc<Tool>) -> Option<Shown> {
    tools.listed(tool);
    if !tools.shows(tool) {
        return None;
    }
    let narrowing =
        if tools.narrows() { asker.policy.narrowing(asker.caller, &tool.name, asker.context) } else { Vec::new() };
    Some(tools.shown(tool, &narrowing, &asker.caller.claims).map_or(Shown::AsItIs, Shown::Instead))
}

/// What the server tells the model of itself (2025-11-25 and 2026-07-28, `instructions`), as far as it may be shown.
pub(super) fn instructions(
    rules: &Rules<'_>,
    view: &View<'_>,
    method: &Method,
    result: Value<'_>,
    splice: &mut Splice,
) -> Result<(), Reject> {
    let Some(text) = result.get("instructions").filter(|_| methods::has_instructions(method)) else { return Ok(()) };
    // Under the name of prose: there is no program that reads it.
    let wrapped = [b"{\"description\":", text.raw(), b"}"].concat();
    let shown = rules.tools.text(wrapped.clone().into()).unwrap_or_else(|| b"{\"description\":\"\"}"[..].into());
    if *shown != *wrapped {
        let inner = shown.slice(15..shown.len() - 1);
        splice.replace(text.span(), masked(rules, view, method, "\"instructions\":", &inner, "")?);
    }
    Ok(())
}

/// A text of the proxy's own making behind the masks, as if it had stood in the result under `member`.
fn masked(
    rules: &Rules<'_>,
    view: &View<'_>,
    method: &Method,
    member: &str,
    text: &Bytes,
    end: &str,
) -> Result<Bytes, Reject> {
    let wrapped = [b"{", member.as_bytes(), text, end.as_bytes(), b"}"].concat();
    let Ok(document) = Document::parse(wrapped.into(), &Limits::ANSWER) else { return Err(ReplyError::Missing.into()) };
    let (mut splice, mut findings) = (Splice::new(), Findings::default());
    rules
        .masks
        .rewrite(view, Direction::Result, document.root(), method.opaque_result, &mut splice, &mut findings)
        .map_err(|blocked| Reject::Blocked { blocked, direction: Direction::Result })?;
    let whole = splice.apply(document.bytes());
    Ok(whole.slice(1 + member.len()..whole.len() - 1 - end.len()))
}

#[cfg(test)]
mod tests {
    use super::{Rules, Tools, filter};
    use crate::clock::Timestamp;
    use crate::json::{Document, Limits, Splice};
    use crate::mask::{Masks, View};
    use crate::mcp::find;
    use crate::policy::tests::{caller, policy};
    use crate::policy::{Asker, Context};

    #[test]
    fn shows_what_a_rule_allows_and_nothing_that_is_no_list() {
        let policy = policy("[[rule]]\nid = \"read\"\ntools = [\"get_*\"]");
        let method = find("tools/list").unwrap();
        let (tools, masks) = (Tools::default(), Masks::compile(Vec::new()).unwrap());
        let rules = Rules { policy: &policy, tools: &tools, masks: &masks, meta: &[] };
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
            let list = method.list.as_ref().unwrap();
            filter(&asker, &rules, &View::default(), method, list, document.root(), &mut splice).unwrap();
            assert_eq!(splice.apply(document.bytes()), after, "{before}");
        }
    }
}

//! Filters lists to what the caller may use: the same code decides here and at the call.

use std::sync::Arc;

use bytes::Bytes;

use super::{ReplyError, tidy};
use crate::json::{Document, Kind, Limits, Span, Splice, Value};
use crate::mask::{Direction, Findings, View};
use crate::mcp::SubjectKind;
use crate::mcp::methods::{self, List, Method};
use crate::policy::tools::{Looked, Tool};
use crate::policy::{Asker, Context, Definition};
use crate::reject::Reject;
use crate::trial::Rules;

/// Removes the items of a list result that the policy, or their own definitions, hide from the caller, and replaces texts
/// that are shown differently. Returns the items if they have been masked, so that only [the rest](beside) is left. Errs if
/// a mask blocks.
///
/// Cursors stay: a page may be empty and still have a next one. Items without a name are removed, as no rule could allow
/// them.
pub(super) fn filter<'v>(
    asker: &Asker<'_>,
    rules: &Rules<'_>,
    view: &View<'_>,
    method: &Method,
    result: Value<'v>,
    splice: &mut Splice,
    findings: &mut Findings,
) -> Result<Option<Value<'v>>, Reject> {
    let Some((list, items)) = method.list.as_ref().and_then(|list| Some((list, result.get(list.items)?))) else {
        return Ok(None);
    };
    if items.kind() != Kind::Array {
        // Not a list: its content could not be decided on.
        splice.replace(items.span(), "[]");
        return Ok(None);
    }
    let wording = Wording { rules, view, method, list };
    let mut kept = Vec::new();
    for item in items.items() {
        let name = item.get(list.key).and_then(|name| name.as_str());
        let tool = if list.kind == SubjectKind::Tool { rules.tools.tool(item) } else { None };
        // The definition is known here as it is at the call.
        let context = Context { definition: Definition::of(tool.as_deref()), ..*asker.context };
        let asker = &Asker { context: &context, ..*asker };
        let shown = match (list.kind, &tool) {
            _ if !name.is_some_and(|name| asker.policy.lists(asker.caller, list.kind, &name, &context)) => None,
            (SubjectKind::Tool, Some(tool)) => wording.of_tool(asker, tool, findings)?,
            // A tool whose definition does not parse.
            (SubjectKind::Tool, None) => None,
            (SubjectKind::Prompt | SubjectKind::Resource | SubjectKind::ResourceTemplate, _) => {
                wording.of_text(item)?
            }
        };
        if let Some(Shown::Instead(text)) = &shown {
            splice.replace(item.span(), text.clone());
        }
        kept.push((item, shown.is_some()));
    }
    splice.remove_items(&kept);
    Ok((list.kind == SubjectKind::Tool).then_some(items))
}

/// How an item is shown.
enum Shown {
    AsItIs,
    Instead(Bytes),
}

impl From<Option<Bytes>> for Shown {
    fn from(text: Option<Bytes>) -> Self {
        text.map_or(Self::AsItIs, Self::Instead)
    }
}

/// Rewrites the texts of items.
struct Wording<'a> {
    rules: &'a Rules<'a>,
    view: &'a View<'a>,
    method: &'a Method,
    list: &'a List,
}

impl Wording<'_> {
    /// The tool as shown to the caller, masked; `None` if it is hidden. Errs if a mask blocks.
    fn of_tool(&self, asker: &Asker<'_>, tool: &Arc<Tool>, findings: &mut Findings) -> Result<Option<Shown>, Reject> {
        let tools = self.rules.tools;
        tools.listed(tool);
        if !tools.shows(tool) {
            return Ok(None);
        }
        let narrowing =
            if tools.narrows() { asker.policy.narrowing(asker.caller, &tool.name, asker.context) } else { Vec::new() };
        let form = tools.shown(tool, &narrowing, &asker.caller.claims);
        let text = form.text().map_or(tool.raw(), |text| text);
        let instead = |shown: Bytes| Some(shown).filter(|shown| **shown != *tool.raw());
        // Cached for all callers: masks that find nothing without a caller find nothing for any caller.
        let look = || match self.masked(&View::default(), text) {
            Ok((shown, 0, found)) if found.is_empty() => Looked::Clean(instead(shown)),
            _ => Looked::Found,
        };
        if !self.view.brings_back()
            && let Looked::Clean(shown) = form.looked(self.rules.masks.identity(), look)
        {
            return Ok(Some(shown.into()));
        }
        let (shown, _, found) = self.masked(self.view, text)?;
        findings.merge(found);
        Ok(Some(instead(shown).into()))
    }

    /// The prompt, resource or template as shown, masked only if its text is replaced; `None` if it is hidden. Errs if a
    /// mask blocks.
    fn of_text(&self, item: Value<'_>) -> Result<Option<Shown>, Reject> {
        match self.rules.tools.text(item.raw_bytes()) {
            None => Ok(None),
            Some(text) if *text == *item.raw() => Ok(Some(Shown::AsItIs)),
            // Findings are counted with the rest of the result.
            Some(text) => Ok(Some(Shown::Instead(self.masked(self.view, &text)?.0))),
        }
    }

    /// An item's text, tidied and masked as if it were in the list.
    fn masked(&self, view: &View<'_>, text: &[u8]) -> Result<Masked, Reject> {
        let Self { rules, method, list, .. } = self;
        masked(rules, view, method, (&format!("\"{}\":[", list.items), text, "]"))
    }
}

/// Masks the rest of a list result, whose `items` have been masked one by one: `rest` gets the result with an empty list.
/// Errs if a mask blocks.
pub(super) fn beside(
    result: Value<'_>,
    items: Value<'_>,
    splice: &mut Splice,
    rest: impl FnOnce(Value<'_>, &mut Splice) -> Result<(), Reject>,
) -> Result<(), Reject> {
    let (whole, Span { start, end }) = (result.span(), items.span());
    let (before, behind) = result.raw().split_at(start + 1 - whole.start);
    let text = [before, &behind[end - start - 2..]].concat();
    let Ok(document) = Document::parse(text.into(), &Limits::ANSWER) else { return Err(ReplyError::Missing.into()) };
    let mut edits = Splice::new();
    rest(document.root(), &mut edits)?;
    splice.extend(edits, |edit| {
        let at = whole.start + if edit.start < before.len() { 0 } else { end - start - 2 };
        Span { start: at + edit.start, end: at + edit.end }
    });
    Ok(())
}

/// Rewrites the server's `instructions` for the model (2025-11-25 and 2026-07-28) as they may be shown. Errs if a mask
/// blocks.
pub(super) fn instructions(
    rules: &Rules<'_>,
    view: &View<'_>,
    method: &Method,
    result: Value<'_>,
    splice: &mut Splice,
) -> Result<(), Reject> {
    if !methods::has_instructions(method) {
        return Ok(());
    }
    let Some(text) = result.get("instructions") else { return Ok(()) };
    // As a description: it is prose, which no program parses.
    let wrapped = [b"{\"description\":", text.raw(), b"}"].concat();
    let shown = rules.tools.text(wrapped.clone().into()).unwrap_or_else(|| b"{\"description\":\"\"}"[..].into());
    if *shown != *wrapped {
        let inner = shown.slice(15..shown.len() - 1);
        let parts = ("\"instructions\":", &inner[..], "");
        // Findings are counted with the rest of the result.
        let (masked, ..) = masked(rules, view, method, parts)?;
        splice.replace(text.span(), masked);
    }
    Ok(())
}

/// A masked text, the number of edits by masks, and the findings.
type Masked = (Bytes, usize, Findings);

/// A text that replaces the upstream's, tidied and masked as if it were in the result between `start` and `end`. Errs if a
/// mask blocks.
fn masked(
    rules: &Rules<'_>,
    view: &View<'_>,
    method: &Method,
    (start, text, end): (&str, &[u8], &str),
) -> Result<Masked, Reject> {
    let wrapped = [b"{", start.as_bytes(), text, end.as_bytes(), b"}"].concat();
    let Ok(document) = Document::parse(wrapped.into(), &Limits::ANSWER) else { return Err(ReplyError::Missing.into()) };
    let (mut splice, mut findings) = (Splice::new(), Findings::new());
    tidy::items(document.root(), rules.meta, rules.origin, &mut splice);
    let tidied = splice.len();
    rules
        .masks
        .rewrite(view, Direction::Result, document.root(), method.opaque_result, &mut splice, &mut findings)
        .map_err(|blocked| Reject::Blocked { blocked, direction: Direction::Result })?;
    let written = splice.len() - tidied;
    let whole = splice.apply(document.bytes());
    Ok((whole.slice(1 + start.len()..whole.len() - 1 - end.len()), written, findings))
}

#[cfg(test)]
mod tests {
    use super::{Rules, filter};
    use crate::clock::Timestamp;
    use crate::config::Elicitation;
    use crate::json::{Document, Limits, Splice};
    use crate::mask::{Findings, Masks, View};
    use crate::mcp::find;
    use crate::policy::tests::{caller, policy};
    use crate::policy::tools::Tools;
    use crate::policy::{Asker, Context};

    #[test]
    fn shows_what_a_rule_allows_and_nothing_that_is_no_list() {
        let policy = policy("[[rule]]\nid = \"read\"\ntools = [\"get_*\"]");
        let method = find("tools/list").unwrap();
        let (tools, masks) = (Tools::default(), Masks::compile(Vec::new()).unwrap());
        let elicitation = &Elicitation::default();
        let rules =
            Rules { policy: &policy, tools: &tools, masks: &masks, meta: &[], elicitation, origin: "", offered: None };
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
            let mut findings = Findings::new();
            filter(&asker, &rules, &View::default(), method, document.root(), &mut splice, &mut findings).unwrap();
            assert_eq!(splice.apply(document.bytes()), after, "{before}");
        }
    }
}

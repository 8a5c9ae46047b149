//! The result of `explain`: the decision, every rule, and the answer.

use std::sync::Arc;

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::{Exit, Streams};
use super::asked::Question;
use crate::body::Body;
use crate::config::Source;
use crate::policy::cases::Verdict;
use crate::policy::{ConditionTrace, Context, Denial, Effect, Explanation, Holds, Phase, RuleTrace};
use crate::reject::Reject;
use crate::trial::{self, Call, Passed, Rules};

/// More rules than this that do not list what is asked for are only counted.
const OTHERS: usize = 30;

/// The result of `explain`.
pub(super) struct Report {
    outcome: Result<Passed, Reject>,
    /// Every rule, where there was a caller to ask about.
    rules: Vec<RuleTrace>,
    answer: Option<Answer>,
}

/// The answer as it leaves the proxy.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Report {
    /// Decides.
    pub(super) fn of(question: &Question) -> Self {
        let route = &question.route;
        let rules = Rules { offered: question.offered.as_ref(), ..route.rules() };
        let untrusted = Some(&question.untrusted);
        let context = Context { ip: question.ip, server: &route.name, untrusted, ..Context::at(question.now) };
        let (outcome, explanation) = match &question.caller {
            // Anonymous callers are admitted only while a rule may serve them.
            Ok(caller) if caller.anonymous && !route.policy.serves_anonymous(question.now) => {
                (Err(Reject::NoCredentials), None)
            }
            Ok(caller) => (
                trial::decide(rules, caller, &question.call, question.revision, &context),
                Some(trial::explain(rules, caller, &question.call, &context)),
            ),
            Err(error) => (Err(Reject::Token(error.clone())), None),
        };
        // The body of a caller that is not admitted is not read.
        let unread = explanation.is_none();
        let answer = outcome.as_ref().err().map(|reject| Answer::of(reject, question, unread));
        Self { outcome, rules: explanation.map_or_else(Vec::new, |Explanation { rules, .. }| rules), answer }
    }

    pub(super) const fn exit(&self) -> Exit {
        if self.outcome.is_ok() { Exit::Done } else { Exit::No }
    }

    fn decision(&self) -> (&'static str, Option<&Arc<str>>, &'static str) {
        match &self.outcome {
            Ok(passed) if passed.rule.is_none() => (Verdict::Allow.as_str(), None, "every caller with a token may"),
            Ok(passed) => (Verdict::Allow.as_str(), passed.rule.as_ref(), ""),
            Err(reject) => {
                let rule = reject.rule();
                match reject {
                    Reject::Denied(Denial::StepUp { .. }) => {
                        (Verdict::StepUp.as_str(), rule, "a token with more scopes would be allowed")
                    }
                    Reject::Denied(Denial::Hidden { .. }) => {
                        (Verdict::Deny.as_str(), rule, "hidden: to this caller it does not exist")
                    }
                    Reject::Denied(_) => (Verdict::Deny.as_str(), rule, "a wider scope would not help, so no 403"),
                    Reject::Blocked { .. } => (Verdict::Deny.as_str(), rule, "a mask blocks what is sent"),
                    _ => ("refused", rule, "before any rule is asked"),
                }
            }
        }
    }

    /// For people.
    pub(super) fn text(&self, question: &Question, streams: &mut Streams<'_>) {
        let (decision, rule, why) = self.decision();
        let rule = rule.map(|rule| format!("   rule {rule}")).unwrap_or_default();
        let why = if why.is_empty() { String::new() } else { format!("   ({why})") };
        streams.print(format_args!("decision     {decision}{rule}{why}"));
        if let Err(reject @ (Reject::Token(_) | Reject::Admit(_))) = &self.outcome {
            streams.print(format_args!("             {reject}"));
        }
        let listing = matches!(question.call, Call::List(_));
        let width = self.rules.iter().map(|rule| rule.id.len()).max().unwrap_or_default();
        let (near, far): (Vec<&RuleTrace>, Vec<&RuleTrace>) =
            self.rules.iter().partition(|rule| listing || names_it(rule));
        for rule in &near {
            if listing { listed(rule, width, streams) } else { near_rule(rule, width, streams) }
        }
        for rule in far.iter().take(OTHERS) {
            let what = rule.first_unmet().map_or("", |unmet| &unmet.detail);
            streams.print(format_args!(
                "  no match   {:width$}   {what}   {}",
                rule.id,
                place(&rule.source, rule.span.start)
            ));
        }
        if far.len() > OTHERS {
            streams.print(format_args!("  and {} more rules that are about something else", far.len() - OTHERS));
        }
        self.seen(streams);
    }

    /// What reaches the other side.
    fn seen(&self, streams: &mut Streams<'_>) {
        match (&self.answer, &self.outcome) {
            (Some(answer), _) => {
                streams.print(format_args!("client sees  {}", answer.status));
                for (name, value) in &answer.headers {
                    streams.print(format_args!("             {name}: {}", value.to_str().unwrap_or("…")));
                }
                if !answer.body.is_empty() {
                    streams.print(format_args!("             {}", answer.body));
                }
            }
            (None, Ok(passed)) => {
                if let Some(arguments) = &passed.arguments {
                    streams.print(format_args!("upstream     gets the arguments {arguments}"));
                }
                for finding in &passed.findings {
                    streams.print(format_args!(
                        "             mask {} found {} × {} in the arguments: {}",
                        finding.mask, finding.entity, finding.count, finding.action
                    ));
                }
                streams.print("client sees  the upstream's answer, behind the masks");
            }
            (None, Err(_)) => {}
        }
    }

    /// For programs.
    pub(super) fn json(&self, question: &Question) -> Value {
        let (decision, rule, why) = self.decision();
        let scopes = match &self.outcome {
            Err(Reject::Denied(Denial::StepUp { scopes, .. })) => Some(&**scopes),
            _ => None,
        };
        let answer = self.answer.as_ref().map(|answer| {
            let headers: Map<String, Value> = answer
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().into()))
                .collect();
            json!({ "status": answer.status, "headers": headers, "body": answer.body })
        });
        let arguments = self.outcome.as_ref().ok().and_then(|passed| passed.arguments.clone());
        let listing = matches!(question.call, Call::List(_));
        json!({
            "schema_version": 1,
            "server": question.route.name,
            "allowed": self.outcome.is_ok(),
            "decision": decision,
            "why": why,
            "rule": rule,
            "scopes": scopes,
            "rules": self.rules.iter().map(|rule| rule_json(rule, listing)).collect::<Vec<_>>(),
            "answer": answer,
            "upstream_arguments": arguments,
        })
    }
}

impl Answer {
    /// The answer of the one place that makes them, with the placeholder of a request id.
    fn of(reject: &Reject, question: &Question, unread: bool) -> Self {
        let (caller, challenges) = (question.caller.as_deref().ok(), &question.route.challenges);
        let call = (!unread).then_some(&question.call);
        let response = trial::refusal(reject, caller, call, question.revision, challenges, Uuid::nil());
        let (head, body) = response.into_parts();
        let body = match body {
            Body::Full(Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
            _ => String::new(),
        };
        let mut headers = head.headers;
        // The challenge first: it is what clients act on.
        if let Some(challenge) = headers.remove(WWW_AUTHENTICATE) {
            let mut sorted = HeaderMap::new();
            sorted.insert(WWW_AUTHENTICATE, challenge);
            sorted.extend(headers);
            headers = sorted;
        }
        Self { status: head.status.as_u16(), headers, body }
    }
}

/// Whether the rule lists what is asked for, so that its other conditions are of interest.
fn names_it(rule: &RuleTrace) -> bool {
    rule.conditions.first().is_some_and(|condition| condition.holds == Holds::Yes)
}

fn near_rule(rule: &RuleTrace, width: usize, streams: &mut Streams<'_>) {
    let verb = match (rule.matches, rule.effect) {
        (true, Effect::Allow) => "allows  ",
        (true, Effect::Deny) => "denies  ",
        (false, _) => "no match",
    };
    let shadow = if rule.shadow { "   in shadow, so without effect" } else { "" };
    streams.print(format_args!("  {verb}   {:width$}   {}{shadow}", rule.id, place(&rule.source, rule.span.start)));
    for condition in &rule.conditions {
        let at = match condition.holds {
            Holds::Yes => String::new(),
            Holds::No | Holds::Unknown => format!("   {}", place(&rule.source, condition.span.start)),
        };
        streams.print(format_args!("      {:10} {:8} {}{at}", condition.key, word(condition.holds), condition.detail));
    }
}

/// A rule before a list: what it names, and whether this caller sees it.
struct Listed<'a> {
    names: String,
    unmet: Option<&'a ConditionTrace>,
}

impl<'a> Listed<'a> {
    /// None of a rule that is about other kinds.
    fn of(rule: &'a RuleTrace) -> Option<Self> {
        let (names, rest) = rule.conditions.split_first()?;
        // Before no name in particular, what the rule lists is what its file says.
        let text = rule.source.text.get(names.span.clone())?;
        if !text.starts_with(names.key) || names.detail.starts_with("lists no ") {
            return None;
        }
        let unmet = rest.iter().find(|condition| !condition.holds.satisfies(rule.effect, Phase::List));
        Some(Self { names: text.split_whitespace().collect::<Vec<_>>().join(" "), unmet })
    }
}

fn listed(rule: &RuleTrace, width: usize, streams: &mut Streams<'_>) {
    let Some(Listed { names, unmet }) = Listed::of(rule) else { return };
    let verb = match (unmet, rule.effect) {
        (None, Effect::Allow) => "shows   ",
        (None, Effect::Deny) => "hides   ",
        (Some(_), _) => "no match",
    };
    let why = unmet.map(|unmet| format!("   {}: {}", unmet.key, unmet.detail)).unwrap_or_default();
    streams.print(format_args!(
        "  {verb}   {:width$}   {names}{why}   {}",
        rule.id,
        place(&rule.source, rule.span.start)
    ));
}

const fn word(holds: Holds) -> &'static str {
    match holds {
        Holds::No => "no",
        Holds::Unknown => "unknown",
        Holds::Yes => "ok",
    }
}

fn rule_json(rule: &RuleTrace, listing: bool) -> Value {
    let condition = |condition: &ConditionTrace| {
        let (line, column) = rule.source.position(condition.span.start);
        json!({
            "key": condition.key, "holds": word(condition.holds), "detail": condition.detail,
            "line": line, "column": column,
        })
    };
    let mut conditions: Vec<Value> = rule.conditions.iter().map(condition).collect();
    let listed = listing.then(|| Listed::of(rule)).flatten();
    if let (Some(Listed { names, .. }), Some(first)) = (&listed, conditions.first_mut()) {
        (first["holds"], first["detail"]) = (word(Holds::Yes).into(), (&**names).into());
    }
    let (line, column) = rule.source.position(rule.span.start);
    json!({
        "id": rule.id,
        "effect": match rule.effect { Effect::Allow => "allow", Effect::Deny => "deny" },
        "file": rule.source.path.to_string_lossy(),
        "line": line, "column": column,
        "matches": listed.map_or(rule.matches, |listed| listed.unmet.is_none()),
        "shadow": rule.shadow,
        "conditions": conditions,
    })
}

fn place(source: &Source, byte: usize) -> String {
    let (line, column) = source.position(byte);
    format!("{}:{line}:{column}", source.path.display())
}

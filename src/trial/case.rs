//! Runs a test case: what was decided, and how it differs from what was expected.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::{Call, Passed, Place, Rules, Suite, again, answer, caller, decide, enforced};
use crate::auth::Caller;
use crate::mask::{Direction, Findings, View};
use crate::mcp::{SubjectKind, compose};
use crate::policy::cases::{Case, Verdict};
use crate::policy::{Context, Denial, Foreseen};
use crate::reject::Reject;

/// How a case came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// The rule that decided, or the mask that blocked.
    pub(crate) rule: Option<Arc<str>>,
    /// The rule that would decide if rules in shadow were enforced, where a case asks.
    pub(crate) would: Option<Arc<str>>,
    /// Every scope a step-up names.
    pub(crate) scopes: Arc<[Box<str>]>,
    /// Masks that found something.
    pub(crate) masks: BTreeSet<Arc<str>>,
    /// None means it passed.
    pub(crate) mismatches: Vec<Mismatch>,
}

/// One thing that differs.
#[derive(Debug)]
pub(crate) struct Mismatch {
    /// The key of `expect`.
    pub(crate) what: &'static str,
    pub(crate) expected: String,
    pub(crate) got: String,
    /// Where the expectation stands.
    pub(crate) span: Range<usize>,
    /// What may be to blame.
    pub(crate) blame: Option<(String, Place)>,
}

/// What was decided and seen.
struct Seen {
    verdict: Verdict,
    rule: Option<Arc<str>>,
    scopes: Arc<[Box<str>]>,
    arguments: Option<Value>,
    result: Option<Value>,
    masks: BTreeSet<Arc<str>>,
}

impl Suite {
    /// Runs one case.
    pub(crate) fn run(&self, case: &Case) -> Outcome {
        let made = if case.anonymous {
            Ok(Caller::anonymous(again::UNSPECIFIED))
        } else {
            caller(case.claims.clone(), self.issuer(case.issuer.as_deref()))
        };
        // Whatever claims this issuer's tokens say it in.
        let made = made.map(|made| match &case.scopes {
            Some(scopes) => Caller { scopes: scopes.iter().map(|scope| &**scope).collect(), ..made },
            None => made,
        });
        let caller = match made {
            Ok(caller) => Arc::new(caller),
            Err(message) => return unusable(case, message),
        };
        let tools = case.approved.clone().map(|lock| self.tools.approving(lock));
        let rules = Rules { tools: tools.as_ref().unwrap_or(&self.tools), ..self.decides() };
        let seen = self.look(rules, case, &caller);
        let mut mismatches = Vec::new();
        compare(&mut mismatches, case, &seen);
        let would = self.would(rules, &mut mismatches, case, &caller);
        for mismatch in &mut mismatches {
            mismatch.blame = self.blame(case, mismatch);
        }
        let Seen { verdict, rule, scopes, masks, .. } = seen;
        Outcome { verdict, rule, would, scopes, masks, mismatches }
    }

    /// Compares with what enforced shadow rules would decide; their rule.
    fn would(
        &self,
        rules: Rules<'_>,
        mismatches: &mut Vec<Mismatch>,
        case: &Case,
        caller: &Arc<Caller>,
    ) -> Option<Arc<str>> {
        let would = case.expect.would.as_ref()?;
        let context = self.context(rules, case);
        let Foreseen { verdict, rule } = enforced(rules, caller, &case.call, case.client.revision, &context);
        let got = rule.as_deref().unwrap_or("no rule");
        let expected = would.rule.as_ref().map_or(got, |rule| &*rule.value);
        for (expected, got, span) in [
            (would.decision.value.as_str(), verdict.as_str(), &would.decision.span),
            (expected, got, would.rule.as_ref().map_or(&would.decision.span, |rule| &rule.span)),
        ] {
            if expected != got {
                let (expected, got) = (expected.to_owned(), got.to_owned());
                mismatches.push(Mismatch { what: "would", expected, got, span: span.clone(), blame: None });
            }
        }
        rule
    }

    fn context<'a>(&'a self, rules: Rules<'a>, case: &'a Case) -> Context<'a> {
        Context {
            server: self.server.as_deref().unwrap_or_default(),
            approved: rules.tools.lock(),
            ip: case.client.ip,
            untrusted: Some(&case.client.untrusted),
            ..Context::at(case.now)
        }
    }

    /// What the upstream answers, with tools a case only names as they were approved.
    fn as_approved<'c>(rules: Rules<'_>, case: &Case, result: &'c Value) -> Cow<'c, Value> {
        let (Some(lock), Call::List(SubjectKind::Tool)) = (rules.tools.lock(), &case.call) else {
            return Cow::Borrowed(result);
        };
        let mut result = result.clone();
        for item in result.get_mut("tools").and_then(Value::as_array_mut).into_iter().flatten() {
            let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
            let named = lock.definition(name).filter(|_| *item == compose::named(name));
            if let Some(approved) = named.and_then(|canonical| serde_json::from_str(canonical).ok()) {
                *item = approved;
            }
        }
        Cow::Owned(result)
    }

    fn look(&self, rules: Rules<'_>, case: &Case, caller: &Arc<Caller>) -> Seen {
        let context = self.context(rules, case);
        let passed = match decide(rules, caller, &case.call, case.client.revision, &context) {
            Ok(passed) => passed,
            Err(reject) => return refused(&reject, &Findings::default()),
        };
        let Passed { rule, arguments, mut findings } = passed;
        let result = match &case.result {
            None => None,
            Some(result) => match answer(
                rules,
                &rules.asked_by(caller, &context),
                &case.call,
                &Self::as_approved(rules, case, result),
                &mut findings,
            ) {
                Ok(result) => Some(result),
                Err(reject) => return refused(&reject, &findings),
            },
        };
        Seen { verdict: Verdict::Allow, rule, scopes: Arc::default(), arguments, result, masks: found(&findings) }
    }

    /// What in the file explains a mismatch.
    fn blame(&self, case: &Case, mismatch: &Mismatch) -> Option<(String, Place)> {
        match mismatch.what {
            "result" => self.mask_of_the_other_way(case, &mismatch.expected, Direction::Result),
            "arguments" => self.mask_of_the_other_way(case, &mismatch.expected, Direction::Arguments),
            "rule" => {
                let place = self.rules.iter().chain(&self.mask_places).find(|place| *place.id == *mismatch.expected);
                place.map(|place| (format!("rule `{}` did not decide", place.id), place.clone()))
            }
            _ => None,
        }
    }

    /// A mask that would have made the expected text, but looks only the other way.
    fn mask_of_the_other_way(&self, case: &Case, expected: &str, way: Direction) -> Option<(String, Place)> {
        let Call::Use { kind, .. } = &case.call else { return None };
        let (other, on) = match way {
            Direction::Arguments => (Direction::Result, "result"),
            Direction::Result => (Direction::Arguments, "arguments"),
        };
        let text = match way {
            Direction::Result => compose::text_of(*kind, case.result.as_ref()?)?.to_owned(),
            Direction::Arguments => {
                let Call::Use { args, .. } = &case.call else { return None };
                Value::Object(args.clone()?).to_string()
            }
        };
        let mut findings = Findings::default();
        let masked = self.masks.text(&View::default(), other, &text, &mut findings).ok()?;
        if *masked != *expected {
            return None;
        }
        let mask = &findings.iter().next()?.mask;
        let place = self.mask_places.iter().find(|place| place.id == *mask)?;
        Some((format!("mask \"{mask}\" has on = [\"{on}\"]"), place.clone()))
    }
}

/// Claims that became unusable with the issuer's own scope claims.
fn unusable(case: &Case, message: String) -> Outcome {
    let expected = case.expect.decision.value.as_str().to_owned();
    let span = case.expect.decision.span.clone();
    let mismatch = Mismatch { what: "decision", expected, got: message, span, blame: None };
    Outcome {
        verdict: Verdict::Deny,
        rule: None,
        would: None,
        scopes: Arc::default(),
        masks: BTreeSet::new(),
        mismatches: vec![mismatch],
    }
}

fn found(findings: &Findings) -> BTreeSet<Arc<str>> {
    findings.iter().map(|finding| Arc::clone(&finding.mask)).collect()
}

fn refused(reject: &Reject, findings: &Findings) -> Seen {
    let (verdict, scopes) = match reject {
        Reject::Denied(Denial::StepUp { scopes, .. }) => (Verdict::StepUp, Arc::clone(scopes)),
        _ => (Verdict::Deny, Arc::default()),
    };
    let mut masks = found(findings);
    if let Reject::Blocked { blocked, .. } = reject {
        masks.insert(Arc::clone(&blocked.mask));
    }
    Seen { verdict, rule: reject.rule().cloned(), scopes, arguments: None, result: None, masks }
}

fn compare(mismatches: &mut Vec<Mismatch>, case: &Case, seen: &Seen) {
    let expect = &case.expect;
    let mut differ = |what, expected: String, got: String, span: &Range<usize>| {
        if expected != got {
            mismatches.push(Mismatch { what, expected, got, span: span.clone(), blame: None });
        }
    };
    let decision = &expect.decision;
    differ("decision", decision.value.as_str().to_owned(), seen.verdict.as_str().to_owned(), &decision.span);
    if let Some(rule) = &expect.rule {
        let got = seen.rule.as_deref().unwrap_or("no rule");
        differ("rule", rule.value.to_string(), got.to_owned(), &rule.span);
    }
    if let Some(scopes) = &expect.scopes {
        differ("scopes", sorted(&scopes.value), sorted(&seen.scopes), &scopes.span);
    }
    if let Some(arguments) = &expect.arguments {
        let got = seen.arguments.as_ref().map_or_else(|| "none".to_owned(), Value::to_string);
        differ("arguments", arguments.value.to_string(), got, &arguments.span);
    }
    if let Some(result) = &expect.result {
        differ("result", shown(&result.value), result_of(case, &result.value, seen), &result.span);
    }
    if let Some(listed) = &expect.listed {
        differ("listed", joined(&listed.value, ", "), joined(&listed_in(case, seen), ", "), &listed.span);
    }
}

fn sorted(scopes: &[Box<str>]) -> String {
    let mut scopes: Vec<&str> = scopes.iter().map(|scope| &**scope).collect();
    scopes.sort_unstable();
    joined(&scopes, " ")
}

fn joined<T: AsRef<str>>(names: &[T], between: &str) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(between) }
}

/// A text as it is, anything else as JSON.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// The result in the form the case expects it in.
fn result_of(case: &Case, expected: &Value, seen: &Seen) -> String {
    let Some(result) = &seen.result else { return "none".to_owned() };
    let text = match (&case.call, expected) {
        (Call::Use { kind, .. }, Value::String(_)) => compose::text_of(*kind, result),
        _ => None,
    };
    text.map_or_else(|| result.to_string(), ToOwned::to_owned)
}

fn listed_in(case: &Case, seen: &Seen) -> Vec<String> {
    let list = case.call.method().and_then(|method| method.list);
    let Some((list, result)) = list.zip(seen.result.as_ref()) else { return Vec::new() };
    let items = result.get(list.items).and_then(Value::as_array);
    let name = |item: &Value| item.get(list.key).and_then(Value::as_str).map(ToOwned::to_owned);
    items.into_iter().flatten().filter_map(name).collect()
}

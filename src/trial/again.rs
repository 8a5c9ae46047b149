//! A decision of the past, made once more from what the audit kept of it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Suite;
use crate::audit::history::{Decided, Who};
use crate::auth::Caller;
use crate::mcp::{Access, methods, names};
use crate::policy::cases::Verdict;
use crate::policy::{Context, Decision, Operation, Phase};

/// Where callers of whom nothing is known call from.
pub(super) const UNSPECIFIED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What the rules say now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The same whatever the arguments and the other claims were.
    Decided { verdict: Verdict, rule: Option<Arc<str>> },
    /// That depends on arguments or claims the audit does not have.
    Open,
}

/// Decides again. What the audit does not have is unknown: it is asked once as if unknown conditions of allow rules failed
/// and those of deny rules held, and once the other way round; the truth lies between the two.
///
/// With `enforced` rules in shadow count as if they were not.
pub(crate) fn again(suite: &Suite, decided: &Decided, issuer_name: &str, enforced: bool) -> Told {
    let caller = if decided.caller.anonymous {
        Caller::anonymous(UNSPECIFIED)
    } else {
        Caller::unverified(issuer_name, claims(&decided.caller))
    };
    let policy = &suite.policy;
    let listed = methods::find(&decided.method);
    let operation = match (listed.map(|method| method.access), &decided.subject) {
        (Some(_), _) if caller.anonymous && !policy.serves_anonymous(decided.time) => {
            return Told::Decided { verdict: Verdict::Deny, rule: None };
        }
        (Some(Access::Free | Access::Subscriptions), _) => return free(),
        // A task is decided as the tool it is of, which its line may not name.
        (Some(Access::Task), None) => return Told::Open,
        // What was allowed without a rule, such as a stream of the older era, needs none.
        (None, None) if decided.verdict == Verdict::Allow && decided.rule.is_none() => return free(),
        (_, Some((kind, name))) if names::is_odd(*kind, name) => {
            return Told::Decided { verdict: Verdict::Deny, rule: None };
        }
        (_, Some((kind, name))) => Operation { method: &decided.method, kind: Some(*kind), name },
        (_, None) => Operation { method: &decided.method, kind: None, name: "" },
    };
    let server = suite.server.as_deref().unwrap_or(&decided.server);
    let strict = Context { server, approved: suite.tools.lock(), ..Context::at(decided.time) };
    let lenient = Context { phase: Phase::Past, ..strict };
    let [strict, lenient] = [strict, lenient].map(|context| {
        verdict(if enforced {
            policy.decide_enforced(&caller, &operation, &context)
        } else {
            policy.decide(&caller, &operation, &context)
        })
    });
    if strict.0 == lenient.0 { Told::Decided { verdict: strict.0, rule: strict.1 } } else { Told::Open }
}

const fn free() -> Told {
    Told::Decided { verdict: Verdict::Allow, rule: None }
}

/// The decision in the words of the audit, and its rule.
pub(super) fn verdict(decision: Decision) -> (Verdict, Option<Arc<str>>) {
    match decision {
        Decision::Allow { rule } => (Verdict::Allow, Some(rule)),
        Decision::Deny { rule, .. } => (Verdict::Deny, rule),
        Decision::StepUp { rule, .. } => (Verdict::StepUp, Some(rule)),
    }
}

/// The claims of which the audit tells.
fn claims(who: &Who) -> Map<String, Value> {
    let scopes: Vec<&str> = who.scopes.iter().map(|scope| &**scope).collect();
    let mut claims = Map::new();
    claims.insert("iss".to_owned(), who.issuer.as_ref().into());
    claims.insert("sub".to_owned(), who.sub.as_ref().into());
    claims.insert("scope".to_owned(), scopes.join(" ").into());
    if let Some(client_id) = &who.client_id {
        claims.insert("client_id".to_owned(), client_id.as_ref().into());
    }
    claims
}

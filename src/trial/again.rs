//! A past decision, made again from what the audit kept of it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::Map;

use super::Suite;
use crate::audit::history::{Decided, Who};
use crate::auth::Caller;
use crate::config;
use crate::mcp::{Access, methods, names};
use crate::policy::cases::Verdict;
use crate::policy::{Asker, Claims, Context, Foreseen, Phase};

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
        recorded(&decided.caller, issuer_name, suite)
    };
    let policy = &suite.policy;
    let listed = methods::find(&decided.method);
    match (listed.map(|method| method.access), &decided.subject) {
        (Some(_), _) if caller.anonymous && !policy.serves_anonymous(decided.time) => {
            return Told::Decided { verdict: Verdict::Deny, rule: None };
        }
        // What it was about, its line may not name.
        (Some(Access::Completion | Access::Task), None) => return Told::Open,
        // What was allowed without a rule, such as a stream of the older era, needs none.
        (None, None) if decided.verdict == Verdict::Allow && decided.rule.is_none() => return free(),
        (_, Some((kind, name))) if names::is_odd(*kind, name) => {
            return Told::Decided { verdict: Verdict::Deny, rule: None };
        }
        _ => {}
    }
    let subject = decided.subject.as_ref().map(|(kind, name)| (*kind, &**name));
    let server = suite.server.as_deref().unwrap_or(&decided.server);
    let claims = if decided.caller.is_keyed() { Claims::Nameless } else { Claims::Recorded };
    let strict = Context { claims, server, approved: suite.tools.lock(), ..Context::at(decided.time) };
    let lenient = Context { phase: Phase::Past, ..strict };
    let [strict, lenient] = [strict, lenient].map(|context| {
        let asker = Asker { policy, caller: &caller, context: &context, enforced };
        Foreseen::of(asker.past(&decided.method, subject))
    });
    let Foreseen { verdict, rule } = strict;
    if verdict == lenient.verdict { Told::Decided { verdict, rule } } else { Told::Open }
}

const fn free() -> Told {
    Told::Decided { verdict: Verdict::Allow, rule: None }
}

/// The caller of whom the audit tells, with the claims its issuer writes that in.
fn recorded(who: &Who, issuer_name: &str, suite: &Suite) -> Caller {
    let tokens = suite.issuers.iter().find(|issuer| *issuer.issuer == *who.issuer).map(|issuer| &issuer.tokens);
    let first = |of: fn(&config::Tokens) -> &[String], usual: &'static str| {
        tokens.and_then(|tokens| of(tokens).first()).map_or(usual, String::as_str).to_owned()
    };
    let scopes: Vec<&str> = who.scopes.iter().map(|scope| &**scope).collect();
    let mut claims = Map::new();
    claims.insert("iss".to_owned(), who.issuer.as_ref().into());
    let client_id = who.client_id.as_deref().filter(|_| !who.is_keyed());
    if !who.is_keyed() {
        claims.insert(first(|tokens| &tokens.subject_claims, "sub"), who.sub.as_ref().into());
    }
    // Whether another one holds text or a list nobody wrote down.
    if first(|tokens| &tokens.scope_claims, "scope") == "scope" {
        claims.insert("scope".to_owned(), scopes.join(" ").into());
    }
    if let Some(client_id) = client_id {
        claims.insert(first(|tokens| &tokens.client_claims, "client_id"), client_id.into());
    }
    Caller {
        subject: who.sub.clone(),
        client_id: client_id.map(Into::into),
        scopes: scopes.into_iter().collect(),
        ..Caller::unverified(issuer_name, claims)
    }
}

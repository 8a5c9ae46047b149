//! What only the network can tell: whether issuers hand out keys and upstreams can be reached.

use std::time::Instant;

use futures_util::future::{join, join_all};

use super::report::{Step, counted};
use super::{Config, Findings, Issuers, Problem, Severity, Snapshot};
use crate::auth::Issuer;
use crate::cli::chain;
use crate::clock;
use crate::upstream::Upstream;

/// Asks all at once. Who does not answer is a warning: `serve` would start, and go on asking.
pub(super) async fn ask(config: &Config, issuers: &Issuers, snapshot: &Snapshot, findings: &mut Findings) {
    let started = clock::monotonic();
    let issuers = issuers.all();
    let keys = join_all(issuers.iter().map(|issuer| keys(issuer, started)));
    let routes: Vec<_> = config.servers.values().filter_map(|server| snapshot.route(&server.path)).collect();
    let reached = join_all(routes.iter().map(|route| reach(&route.name, &route.upstream, started)));
    let (keys, reached) = join(keys, reached).await;
    for route in &routes {
        for issuer in &route.acceptance.issuers {
            if let Some(known) = issuer.scopes_supported() {
                let known: Vec<&str> = known.iter().map(|scope| &**scope).collect();
                findings.problems.append(route.policy.unknown_scopes(issuer.name(), &known));
            }
        }
    }
    for (subject, outcome) in keys.into_iter().chain(reached) {
        let step = match outcome {
            Ok(text) => Step::new(subject, text),
            Err(Missed { text, message, help }) => {
                let problem = Problem::warning(&config.source(), 0..0, message, "").help(help);
                findings.problems.push(problem);
                Step { worst: Some(Severity::Warning), ..Step::new(subject, text) }
            }
        };
        findings.steps.push(step);
    }
}

/// Something that does not answer as it should.
struct Missed {
    text: &'static str,
    message: String,
    help: &'static str,
}

async fn keys(issuer: &Issuer, started: Instant) -> (String, Result<String, Missed>) {
    issuer.settled().await;
    let took = milliseconds(started);
    let status = issuer.status();
    let missed = |reason: &str| Missed {
        text: "no keys",
        message: format!("no keys from the issuer `{}`: {reason}", issuer.name()),
        help: "until it hands out keys every call is answered with 503",
    };
    let outcome = match (status.keys, status.last_error) {
        (_, Some(reason)) => Err(missed(&reason)),
        (0, None) => Err(missed("none of those it publishes can be used")),
        (keys, None) => Ok(format!("{} fetched in {took} ms", counted(keys, "key"))),
    };
    (format!("issuer {}", issuer.name()), outcome)
}

async fn reach(server: &str, upstream: &Upstream, started: Instant) -> (String, Result<String, Missed>) {
    let outcome = match upstream.reach().await {
        Ok(()) => Ok(format!("reached in {} ms", milliseconds(started))),
        Err(error) => Err(Missed {
            text: "not reached",
            message: format!("the upstream of `{server}`, {}, is not reached: {}", upstream.origin(), chain(&error)),
            help: "until it answers every call is answered with 502",
        }),
    };
    (format!("upstream {server}"), outcome)
}

fn milliseconds(since: Instant) -> u128 {
    clock::monotonic().saturating_duration_since(since).as_millis()
}

//! Checks that need the network: whether issuers publish keys and upstreams can be reached.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};

use super::report::{Step, counted, worst};
use super::{Config, Findings, Issuers, Problem, Severity, Snapshot, policies};
use crate::auth::Issuer;
use crate::cli::chain;
use crate::clock::{self, Timestamp};
use crate::config::Backend;
use crate::json::{Document, Limits};
use crate::policy::Offered;
use crate::policy::lock::{canonical, visible};
use crate::route::Route;
use crate::state::Standing;
use crate::tls_fault::TlsFault;
use crate::upstream::survey;

/// How long an upstream may take to list its tools.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most names of tools that are told.
const TOLD: usize = 4;

/// Asks all at once. Who does not answer is a warning: `serve` would start, and go on asking.
pub(super) async fn ask(config: &Config, issuers: &Issuers, snapshot: &Snapshot, findings: &mut Findings) {
    let started = clock::monotonic();
    store(config, snapshot, findings).await;
    let issuers = issuers.all();
    let keys = join_all(issuers.iter().map(|issuer| keys(issuer, started)));
    let routes: Vec<_> =
        config.servers.values().filter_map(|server| Some((server, snapshot.route(&server.path)?))).collect();
    let reached = join_all(routes.iter().map(|(_, route)| reach(route, started)));
    let (keys, reached) = join(keys, reached).await;
    for (_, route) in &routes {
        for issuer in &route.acceptance.issuers {
            if let Some(known) = issuer.scopes_supported() {
                let known: Vec<&str> = known.iter().map(|scope| &**scope).collect();
                findings.problems.append(route.policy.unknown_scopes(issuer.name(), &known));
            }
        }
    }
    for (name, outcome) in keys {
        let (subject, key) = (format!("issuer {name}"), format!("issuers.{name}.issuer"));
        tell(config, (subject, &key), outcome.map(|text| (text, None)), findings);
    }
    for ((server, route), outcome) in routes.iter().zip(reached) {
        let compared = outcome.map(|reached| {
            let Reached::Tools { tools, unlike } = reached else {
                return ("reached, and asked for callers only".to_owned(), None);
            };
            let whose = format!("the upstream of `{}`", server.name);
            let mut found = policies::compare(config, server, &route.policy, &tools, &whose, findings);
            if let Some(drifted) = drifted(config, &server.name, &unlike) {
                findings.problems.push(drifted.clone());
                found.push(drifted);
            }
            (covered(&tools, &route.policy.uncovered(&tools)), worst(&found))
        });
        let key = if matches!(server.backend, Backend::Command(_)) { "command" } else { "upstream" };
        let key = format!("servers.{}.{key}", server.name);
        tell(config, (format!("upstream {}", server.name), &key), compared, findings);
    }
}

/// Whether the shared store can be used.
async fn store(config: &Config, snapshot: &Snapshot, findings: &mut Findings) {
    let Some(store) = &snapshot.shared else { return };
    store.settled().await;
    let place = store.place();
    let outcome = match store.standing() {
        Standing::Up => Ok((
            format!("redis at {place}, connected: rate limits, used proofs and states, revocations are shared"),
            None,
        )),
        Standing::New | Standing::Down(..) => {
            let why = match store.standing() {
                Standing::Down(_, why) => why,
                _ => "no answer".into(),
            };
            Err(Missed {
                text: "not connected",
                message: format!("the shared store at {place} cannot be used: {why}"),
                help: "until it can, rate limits are counted as `on_error` says, and tokens are refused".into(),
            })
        }
    };
    tell(config, ("state".to_owned(), "state.redis.url"), outcome, findings);
}

/// One line, and a warning where something is missed, at the key that names it.
fn tell(
    config: &Config,
    (subject, key): (String, &str),
    outcome: Result<(String, Option<Severity>), Missed>,
    findings: &mut Findings,
) {
    let step = match outcome {
        Ok((text, worst)) => Step { worst, ..Step::new(subject, text) },
        Err(Missed { text, message, help }) => {
            findings.problems.push(Problem::warning(&config.source(), config.place(key), message, "").help(help));
            Step { worst: Some(Severity::Warning), ..Step::new(subject, text) }
        }
    };
    findings.steps.push(step);
}

/// `14 tools, all listed by an allow rule`.
fn covered(tools: &[Offered], uncovered: &[&str]) -> String {
    let count = counted(tools.len(), "tool");
    match uncovered.len() {
        _ if tools.is_empty() => count,
        0 => format!("{count}, all listed by an allow rule"),
        most if most > TOLD => format!("{count}, {most} of them listed by no allow rule"),
        _ => {
            format!("{count}, no allow rule lists {}", named(uncovered.iter().copied()))
        }
    }
}

/// Tool names in words for people.
fn named<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| visible(name).replace('"', "`")).collect::<Vec<_>>().join(", ")
}

/// What is said of tools whose definitions are not the locked ones.
fn drifted(config: &Config, server: &str, unlike: &[String]) -> Option<Problem> {
    let which = match unlike.len() {
        0 => return None,
        most if most > TOLD => format!("{most} tools"),
        _ => named(unlike.iter().map(String::as_str)),
    };
    let message = format!("not as the lock has it: {which}");
    let help = format!("`portcullis tools {server} --verify` shows what differs, `--approve TOOL` accepts it");
    Some(Problem::warning(&config.source(), config.place(&format!("servers.{server}.lock")), message, "").help(help))
}

/// Something that does not answer as it should.
struct Missed {
    text: &'static str,
    message: String,
    help: Cow<'static, str>,
}

async fn keys(issuer: &Issuer, started: Instant) -> (Arc<str>, Result<String, Missed>) {
    issuer.settled().await;
    let took = milliseconds(started);
    let status = issuer.status();
    let missed = |reason: &str| Missed {
        text: "no keys",
        message: format!("no keys from the issuer `{}`: {reason}", issuer.name()),
        help: "until it hands out keys every call is answered with 503".into(),
    };
    let outcome = match (status.keys, status.last_error) {
        (_, Some(reason)) => Err(missed(&reason)),
        (0, None) => Err(missed("none of those it publishes can be used")),
        (keys, None) => Ok(format!("{} fetched in {took} ms", counted(keys, "key"))),
    };
    (Arc::clone(issuer.name()), outcome)
}

/// What an upstream that can be reached tells the proxy itself.
enum Reached {
    /// Nothing: it is only asked with what its callers bring.
    Silent,
    Tools {
        tools: Vec<Offered>,
        /// Those whose definition is not the locked one.
        unlike: Vec<String>,
    },
}

/// The tools of an upstream that answers.
async fn reach(route: &Route, started: Instant) -> Result<Reached, Missed> {
    let (server, upstream) = (&route.name, &*route.backend);
    upstream.reach().await.map_err(|error| Missed {
        text: "not reached",
        message: format!("the upstream of `{server}`, {}, is not reached: {}", upstream.origin(), chain(&error)),
        help: match TlsFault::of(&error) {
            Some(fault) => {
                format!("{}; until then every call is answered with 502", fault.remedy("upstream_ca_file")).into()
            }
            None => "until it answers every call is answered with 502".into(),
        },
    })?;
    let missed = |why: String| Missed {
        text: "its tools are not known",
        message: format!(
            "the upstream of `{server}` was reached in {} ms and does not list its tools: {}",
            milliseconds(started),
            visible(&why).trim_matches('"')
        ),
        help: "names and arguments in its policy could not be compared with its tools".into(),
    };
    let Some(credential) = route.credentials.own(Timestamp::now()).await else { return Ok(Reached::Silent) };
    let credential = credential.map_err(|error| missed(chain(&error)))?;
    let listed = tokio::time::timeout(PATIENCE, survey(upstream, &credential)).await;
    let survey = listed.map_err(|_| missed("no answer in time".into()))?.map_err(|error| missed(chain(&error)))?;
    let (mut tools, mut unlike) = (Vec::new(), Vec::new());
    for document in survey.tools.into_iter().filter_map(|item| Document::parse(item, &Limits::ANSWER).ok()) {
        let Some(tool) = offered(&document) else { continue };
        if route.tools.lock().is_some_and(|lock| lock.drift(&tool.name, &canonical(document.root())).is_some()) {
            unlike.push(tool.name.clone());
        }
        tools.push(tool);
    }
    Ok(Reached::Tools { tools, unlike })
}

fn offered(document: &Document) -> Option<Offered> {
    let schema = document.root().get("inputSchema").and_then(|schema| serde_json::from_slice(schema.raw()).ok());
    Some(Offered { name: document.root().get("name")?.as_str()?.into_owned(), schema })
}

fn milliseconds(since: Instant) -> u128 {
    clock::monotonic().saturating_duration_since(since).as_millis()
}

//! The question put to `explain`, built from its arguments and the files of `proxy.toml`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde_json::{Map, Value};
use tokio::runtime::Builder;

use super::super::token::Presented;
use super::super::token::verify::{accepted, server_of};
use super::super::{Exit, Global, Streams, chain};
use super::{Explain, List};
use crate::auth::{Caller, Issuers, Verifier, VerifyError};
use crate::clock::Timestamp;
use crate::config::suggest::list;
use crate::config::{self, Config, Problems, Server, text};
use crate::json::{Document, Limits};
use crate::mcp::{Revision, SubjectKind};
use crate::policy::Untrusted;
use crate::policy::tools::Tool;
use crate::route::Route;
use crate::seal::Seals;
use crate::server::tls;
use crate::snapshot::{Kept, Snapshot};
use crate::state::Stores;
use crate::telemetry::metrics::Metrics;
use crate::trial::{Call, IssuedBy, caller};
use crate::upstream::Grants;

/// One call of one caller on one server.
pub(super) struct Question {
    pub(super) route: Arc<Route>,
    /// Who calls, or why its token is refused.
    pub(super) caller: Result<Arc<Caller>, VerifyError>,
    pub(super) call: Call,
    pub(super) revision: Revision,
    pub(super) now: Timestamp,
    pub(super) ip: Option<IpAddr>,
    /// What the client says of itself.
    pub(super) untrusted: Untrusted,
    /// The tool as its upstream lists it, if that was said.
    pub(super) offered: Option<Arc<Tool>>,
}

impl Question {
    /// Reads everything; what is wrong is said.
    pub(super) fn read(explain: &Explain, global: &Global, streams: &mut Streams<'_>) -> Result<Self, Exit> {
        let usage = |message: String, streams: &mut Streams<'_>| {
            streams.message(format_args!("error: {message}"));
            Exit::Usage
        };
        let (config, _) = config::load(&global.config).map_err(|problems| refused(&problems, streams))?;
        let server = server_of(&config, explain.server.as_deref()).map_err(|message| usage(message, streams))?;
        let call = call(explain).map_err(|message| usage(message, streams))?;
        let revision = revision(explain.protocol.as_deref()).map_err(|message| usage(message, streams))?;
        let untrusted = untrusted(explain.untrusted.as_deref(), revision).map_err(|message| usage(message, streams))?;
        let now = moment(explain.now.as_deref()).map_err(|message| usage(message, streams))?;
        let route = route(&config, server, streams)?;
        let offered = offered(explain, &route).map_err(|message| usage(message, streams))?;
        let caller = match (&explain.caller.token, &explain.caller.claims) {
            _ if explain.caller.anonymous => {
                Ok(Arc::new(Caller::anonymous(explain.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))))
            }
            (Some(file), _) => {
                let token = Presented::new(file.clone()).read(streams)?;
                let runtime = Builder::new_current_thread().enable_all().build().map_err(|_| Exit::Internal)?;
                runtime.block_on(accepted(&config, server, &token, runtime.handle())).map_err(|error| {
                    streams.message(format_args!("error: {}", chain(&error)));
                    Exit::Config
                })?
            }
            (None, claims) => {
                let claims =
                    object("claims", claims.as_deref().unwrap_or("{}")).map_err(|message| usage(message, streams))?;
                Ok(Arc::new(stated(&config, server, claims).map_err(|message| usage(message, streams))?))
            }
        };
        if let Err(error) = &caller
            && error.is_unavailable()
        {
            streams.message(format_args!("error: {error}"));
            return Err(Exit::Unavailable);
        }
        Ok(Self { route, caller, call, revision, now, ip: explain.ip, untrusted, offered })
    }
}

fn refused(problems: &Problems, streams: &mut Streams<'_>) -> Exit {
    streams.problems(problems);
    Exit::Config
}

/// The server as `serve` would run it; its issuers are not asked for anything.
fn route(config: &Config, server: &Server, streams: &mut Streams<'_>) -> Result<Arc<Route>, Exit> {
    tls::install_default();
    let runtime = Builder::new_current_thread().build().map_err(|_| Exit::Internal)?;
    let issuers = Arc::new(Issuers::new(runtime.handle().clone(), Verifier::new().shared_epoch().clone()));
    let random_seals = Arc::new(Seals::random().map_err(|_| Exit::Internal)?);
    let grants =
        Arc::new(Grants::new(runtime.handle().clone(), Arc::new(Metrics::new("", "")), crate::auth::Epoch::default()));
    let stores =
        Arc::new(Stores::new(runtime.handle().clone(), Arc::new(Metrics::new("", "")), crate::auth::Epoch::default()));
    let kept = Kept {
        issuers,
        backends: Arc::default(),
        grants,
        random_seals,
        pace: Arc::default(),
        limits: Arc::default(),
        stores,
        bridges: Arc::default(),
    };
    let (snapshot, _) = Snapshot::build(config, &kept, 1).map_err(|problems| refused(&problems, streams))?;
    snapshot.route(&server.path).ok_or(Exit::Internal)
}

/// A caller of these claims: of the issuer their `iss` names, else of the only one.
fn stated(config: &Config, server: &Server, claims: Map<String, Value>) -> Result<Caller, String> {
    let iss = claims.get("iss").and_then(Value::as_str);
    let mut issuers = server.issuers.iter().filter_map(|name| config.issuers.get(name));
    let issuer = match iss {
        Some(iss) => issuers.find(|issuer| *issuer.issuer == *iss),
        None if server.issuers.len() == 1 => issuers.next(),
        None => return Err("the server has several issuers: add `iss` to the claims".to_owned()),
    };
    let issuer = issuer.ok_or_else(|| "the server takes no callers of the issuer in the claims".to_owned())?;
    caller(claims, IssuedBy::Configured(issuer))
}

fn call(explain: &Explain) -> Result<Call, String> {
    let args = explain.args.as_deref().map(|args| object("args", args)).transpose()?;
    let about = &explain.about;
    let uses = [
        (SubjectKind::Tool, &about.tool),
        (SubjectKind::Prompt, &about.prompt),
        (SubjectKind::Resource, &about.resource),
    ];
    let named = uses.into_iter().find_map(|(kind, name)| Some((kind, name.as_deref()?)));
    if args.is_some() && !matches!(named, Some((SubjectKind::Tool | SubjectKind::Prompt, _))) {
        return Err("only tools and prompts have arguments".to_owned());
    }
    Ok(match (named, &about.method, about.list) {
        (Some((kind, name)), ..) => Call::Use { kind, name: name.into(), args },
        (None, Some(method), _) => Call::Method(method.as_str().into()),
        (None, None, list) => Call::List(match list.unwrap_or(List::Tools) {
            List::Tools => SubjectKind::Tool,
            List::Resources => SubjectKind::Resource,
            List::ResourceTemplates => SubjectKind::ResourceTemplate,
            List::Prompts => SubjectKind::Prompt,
        }),
    })
}

/// What the client says of itself, always its revision.
fn untrusted(text: Option<&str>, revision: Revision) -> Result<Untrusted, String> {
    let mut untrusted = Untrusted { protocol_version: Some(revision.as_str().into()), ..Untrusted::default() };
    let Some(text) = text else { return Ok(untrusted) };
    let words = |key: &str, value: &Value| {
        value.as_str().map(Box::<str>::from).ok_or_else(|| format!("--untrusted: `{key}` must be a string"))
    };
    for (key, value) in object("untrusted", text)? {
        match (key.as_str(), &value) {
            ("name", _) => untrusted.name = Some(words(&key, &value)?),
            ("version", _) => untrusted.version = Some(words(&key, &value)?),
            ("headers", Value::Object(headers)) => {
                for (name, value) in headers {
                    if !Untrusted::HEADERS.contains(&name.as_str()) {
                        let known = list(Untrusted::HEADERS);
                        return Err(format!("--untrusted: rules do not see the header `{name}`: they see {known}"));
                    }
                    untrusted.headers.push((name.as_str().into(), words(name, value)?));
                }
            }
            ("headers", _) => return Err("--untrusted: `headers` must be an object".to_owned()),
            _ => return Err(format!("--untrusted has `{key}`: it may have `name`, `version` and `headers`")),
        }
    }
    if untrusted.name.is_some() != untrusted.version.is_some() {
        return Err("--untrusted: `name` and `version` of a client come together".to_owned());
    }
    Ok(untrusted)
}

/// The tool that is asked about, as its upstream lists it.
fn offered(explain: &Explain, route: &Route) -> Result<Option<Arc<Tool>>, String> {
    let (Some(text), Some(name)) = (&explain.definition, &explain.about.tool) else { return Ok(None) };
    let definition = object("definition", text)?;
    if definition.get("name").and_then(Value::as_str) != Some(name) {
        return Err(format!("--definition is not one of the tool `{name}`"));
    }
    let text = Value::Object(definition).to_string();
    let document = Document::parse(text.into(), &Limits::ANSWER).map_err(|error| format!("--definition: {error}"))?;
    Ok(route.tools.tool(document.root()))
}

/// A JSON object, written out or in a file.
fn object(what: &str, text: &str) -> Result<Map<String, Value>, String> {
    let text = match text.strip_prefix('@') {
        None => text.to_owned(),
        Some(path) => text::read(Path::new(path)).map_err(|error| format!("--{what}: cannot read {path}: {error}"))?,
    };
    let document = Document::parse(text.into(), &Limits::REQUEST)
        .map_err(|error| format!("--{what} is not JSON as the proxy takes it: {error}"))?;
    match document.root().to_value() {
        Value::Object(members) => Ok(members),
        _ => Err(format!("--{what} is not a JSON object")),
    }
}

fn revision(text: Option<&str>) -> Result<Revision, String> {
    let Some(text) = text else { return Ok(Revision::V2026_07_28) };
    Revision::SERVED.into_iter().find(|revision| revision.as_str() == text).ok_or_else(|| {
        let served = Revision::SERVED.map(Revision::as_str).join(", ");
        format!("`{text}` is no revision that is served: {served}")
    })
}

fn moment(text: Option<&str>) -> Result<Timestamp, String> {
    let Some(text) = text else { return Ok(Timestamp::now()) };
    let time = humantime::parse_rfc3339(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    time.map(|time| Timestamp::from_unix_seconds(0).plus(time))
        .ok_or_else(|| format!("`{text}` is not a date and time in UTC, such as 2026-01-05T19:30:00Z"))
}

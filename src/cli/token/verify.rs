//! `portcullis token verify`: the checks a request's token goes through, one line each.

use std::sync::Arc;

use clap::Args;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle};

use super::decode::moment;
use super::{Exit, Format, Global, Presented, Streams};
use crate::auth::{
    Acceptance, Bearer, Caller, Check, Issuers, ListError, Listed, Memo, Outcome, StartError, Verifier, VerifyError,
    examine,
};
use crate::clock::Timestamp;
use crate::config::{self, Config, Server};
use crate::secret::Secret;
use crate::server::tls;

/// Arguments of `token verify`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis token verify token.txt
  portcullis token mint --user ana | portcullis token verify - -c .portcullis/proxy.toml
  portcullis token verify token.txt --server crm --format json | jq '.checks[] | select(.status != \"ok\")'",
    after_help = "The issuer's keys are fetched; the token itself is sent nowhere and never printed.\n\
                  Exit codes: 0 accepted, 1 refused, 69 the issuer's keys cannot be fetched, 78 proxy.toml is refused"
)]
pub(super) struct Verify {
    #[command(flatten)]
    presented: Presented,
    /// The server of proxy.toml that is to accept it; needed if there are several.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// How to print the checks.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// Why no token can be checked: a mistake in the configuration.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(in crate::cli) enum CannotCheck {
    Issuer(#[from] StartError),
    List(#[from] ListError),
}

/// What came out.
struct Report {
    server: Arc<str>,
    checks: Vec<Check>,
    verdict: Result<Arc<Caller>, VerifyError>,
    /// Why there are no keys, where there are none.
    trouble: Vec<String>,
}

impl Verify {
    pub(super) fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        match self.report(global, streams) {
            Ok(report) => {
                match self.format {
                    Format::Text => report.text(streams),
                    Format::Json => streams.print(report.json()),
                }
                report.exit()
            }
            Err(exit) => exit,
        }
    }

    fn report(&self, global: &Global, streams: &mut Streams<'_>) -> Result<Report, Exit> {
        let (config, _) = config::load(&global.config).map_err(|problems| {
            streams.problems(&problems);
            Exit::Config
        })?;
        let server = server_of(&config, self.server.as_deref()).map_err(|message| {
            streams.message(format_args!("error: {message}"));
            Exit::Usage
        })?;
        let token = self.presented.read(streams)?;
        tls::install_default();
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|_| Exit::Internal)?;
        runtime.block_on(check(&config, server, &token, runtime.handle())).map_err(|error| {
            streams.message(format_args!("error: {}", crate::cli::chain(&error)));
            Exit::Config
        })
    }
}

/// The server of that name, or the only one.
pub(in crate::cli) fn server_of<'c>(config: &'c Config, name: Option<&str>) -> Result<&'c Server, String> {
    let names = || config.servers.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let mut servers = config.servers.values();
    match (name, servers.next(), servers.next()) {
        (Some(name), ..) => config.servers.get(name).ok_or_else(|| {
            format!("there is no server `{name}` in {}; configured: {}", config.path.display(), names())
        }),
        (None, Some(only), None) => Ok(only),
        (None, ..) => Err(format!("which server is it for? choose one with --server: {}", names())),
    }
}

/// The caller a token makes on `server`, or why it is refused.
pub(in crate::cli) async fn accepted(
    config: &Config,
    server: &Server,
    token: &Secret<String>,
    runtime: &Handle,
) -> Result<Result<Arc<Caller>, VerifyError>, CannotCheck> {
    Ok(check(config, server, token, runtime).await?.verdict)
}

async fn check(
    config: &Config,
    server: &Server,
    token: &Secret<String>,
    runtime: &Handle,
) -> Result<Report, CannotCheck> {
    let verifier = Verifier::new();
    let issuers = Issuers::new(runtime.clone(), verifier.shared_epoch().clone());
    let configured = server.issuers.iter().filter_map(|name| config.issuers.get(name));
    let started = configured.map(|issuer| issuers.get_or_start(issuer)).collect::<Result<Vec<_>, _>>()?;
    join_all(started.iter().map(|issuer| issuer.settled())).await;
    let revoked = config.issuers.values().filter_map(|issuer| Some((issuer, issuer.revocation_file.as_ref()?)));
    let revoked = revoked.map(|(issuer, file)| Ok((Arc::clone(&issuer.name), Arc::new(Listed::read(file)?))));
    let revoked = revoked.collect::<Result<Vec<_>, ListError>>()?;
    let acceptance = Acceptance::new(server, started.clone()).denying(revoked);
    let now = Timestamp::now();
    let token = token.expose().as_bytes();
    let mut checks = examine(token, &acceptance, now);
    let verdict = verifier.verify(&Memo::default(), &acceptance, Bearer::new(token), now).await;
    checks.extend(revocation(&verdict));
    let trouble = started.iter().filter_map(|issuer| {
        let reason = issuer.status().last_error?;
        Some(format!("no keys from the issuer `{}`: {reason}", issuer.name()))
    });
    Ok(Report { server: Arc::clone(&server.name), checks, verdict, trouble: trouble.collect() })
}

/// The last check, of a token that holds: whether the operator has revoked it. What issuers have told a running proxy since
/// it started is known to that alone.
fn revocation(verdict: &Result<Arc<Caller>, VerifyError>) -> Option<Check> {
    let (outcome, found) = match verdict {
        Ok(_) => (Outcome::Passed, "not on it"),
        Err(VerifyError::Revoked) => (Outcome::Failed(VerifyError::Revoked), "on it"),
        Err(_) => return None,
    };
    Some(Check {
        name: "revocation",
        outcome,
        expected: "not on the list of `revocation_file`".into(),
        found: found.into(),
    })
}

impl Report {
    fn exit(&self) -> Exit {
        // What is wrong with the token itself is wrong whatever the keys would say.
        let refused = self.checks.iter().any(|check| match &check.outcome {
            Outcome::Failed(error) => !error.is_unavailable(),
            Outcome::Passed => false,
        });
        match &self.verdict {
            Ok(_) => Exit::Done,
            Err(error) if error.is_unavailable() && !refused => Exit::Unavailable,
            Err(_) => Exit::No,
        }
    }

    fn text(&self, streams: &mut Streams<'_>) {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
        for check in &self.checks {
            let (mark, colour) = match check.outcome {
                Outcome::Failed(_) => ("✗", "\x1b[31m"),
                Outcome::Passed => ("✓", "\x1b[32m"),
            };
            let (start, end) = if streams.out_color { (colour, "\x1b[0m") } else { ("", "") };
            streams.print(format_args!("{start}{mark}{end} {:width$}  {}", check.name, check.found));
            if let Outcome::Failed(error) = &check.outcome {
                let error = error.to_string();
                if error != check.found {
                    streams.print(format_args!("  {:width$}  {error}", ""));
                }
                streams.print(format_args!("  {:width$}  expected: {}", "", check.expected));
            }
        }
        for trouble in &self.trouble {
            streams.message(format_args!("warning: {trouble}"));
        }
        streams.print(self.conclusion());
    }

    fn conclusion(&self) -> String {
        match &self.verdict {
            Ok(caller) => {
                let scopes: Vec<&str> = caller.scopes.iter().collect();
                format!(
                    "accepted by `{}`: {} of issuer `{}`, scopes: {}; expires {}",
                    self.server,
                    caller.subject.escape_debug(),
                    caller.issuer_name,
                    if scopes.is_empty() { "none".to_owned() } else { scopes.join(" ").escape_debug().to_string() },
                    moment(caller.expires.unix_seconds(), Timestamp::now()),
                )
            }
            Err(error) => {
                let status = if error.is_unavailable() { 503 } else { 401 };
                format!("refused by `{}` with {status}: \"{}\"", self.server, error.description())
            }
        }
    }

    fn json(&self) -> Value {
        let check = |check: &Check| {
            let error = match &check.outcome {
                Outcome::Failed(error) => Some(error.to_string()),
                Outcome::Passed => None,
            };
            json!({
                "name": check.name,
                "status": if error.is_some() { "failed" } else { "ok" },
                "error": error,
                "expected": check.expected,
                "found": check.found,
            })
        };
        let caller = self.verdict.as_ref().ok().map(|caller| {
            json!({
                "issuer": caller.issuer_name,
                "subject": caller.subject,
                "client_id": caller.client_id.as_deref(),
                "scopes": caller.scopes.iter().collect::<Vec<_>>(),
                "expires": caller.expires.unix_seconds(),
            })
        });
        json!({
            "schema_version": 1,
            "server": self.server,
            "accepted": self.verdict.is_ok(),
            "result": self.verdict.as_ref().err().map_or("ok", VerifyError::result),
            "caller": caller,
            "checks": self.checks.iter().map(check).collect::<Vec<_>>(),
            "warnings": self.trouble,
        })
    }
}

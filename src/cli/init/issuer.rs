//! What of an issuer decides whether the proxy can use it, and what its clients will miss.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Builder;
use url::Url;

use crate::auth::explorer::Explorer;
use crate::cli::doctor::issuer::{self, Issuer};
use crate::cli::doctor::report::{Outcome, Report, Step, foreign};
use crate::cli::doctor::vendor;
use crate::cli::{Exit, Streams, chain};
use crate::server::tls;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most scopes that are told.
const TOLD: usize = 8;

/// Asks the issuer and shows what somebody should know of it. Returns [`Exit::Done`] if the proxy can use it.
pub(super) fn look(name: &str, scope: &str, ca_file: Option<&Path>, streams: &mut Streams<'_>) -> Exit {
    tls::install_default();
    let failed = |error: &dyn std::fmt::Display, fix: &'static str, streams: &mut Streams<'_>| {
        Step::failed("issuer", error.to_string(), fix).print(streams);
        Exit::Usage
    };
    let ca = match ca_file.map(std::fs::read).transpose() {
        Ok(ca) => ca,
        Err(error) => return failed(&error, "correct --ca-file", streams),
    };
    let explorer = match Explorer::new(Url::parse(name).into_iter().collect(), ca.as_deref()) {
        Ok(explorer) => explorer,
        Err(error) => return failed(&chain(&error), "correct --ca-file", streams),
    };
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return Exit::Internal };
    let mut report = Report::default();
    let looking = async { tokio::time::timeout(PATIENCE, issuer::alone(&explorer, name, &mut report)).await };
    let Ok(found) = runtime.block_on(looking) else {
        let text = format!("no answer within {} s", PATIENCE.as_secs());
        Step::failed("issuer", text, "see whether it can be reached from here").print(streams);
        return Exit::Unavailable;
    };
    let usable = tell(&found, &report, streams);
    if let Some(step) = unknown_scope(&found, scope) {
        step.print(streams);
    }
    match usable {
        true => Exit::Done,
        false if report.is_away => Exit::Unavailable,
        false => Exit::No,
    }
}

/// Shows the steps that matter here; whether the proxy can verify tokens.
fn tell(found: &Issuer, report: &Report, streams: &mut Streams<'_>) -> bool {
    let mut usable = found.document.is_some();
    let mut told = Vec::new();
    for step in report.sections.iter().flat_map(|section| &section.steps) {
        let decides = found.document.is_none() || step.name == "keys";
        match step.outcome {
            Outcome::Good
                if matches!(step.name, "metadata" | "keys" | "registration") && !told.contains(&step.name) =>
            {
                step.print(streams);
                // Metadata may lie in several places.
                told.push(step.name);
            }
            Outcome::Good | Outcome::Unseen => {}
            Outcome::Failed if decides => {
                step.print(streams);
                usable = false;
            }
            // What stops some clients does not stop the proxy.
            Outcome::Failed | Outcome::Doubtful => Step { outcome: Outcome::Doubtful, ..step.clone() }.print(streams),
        }
    }
    if let Some(vendor) = found.vendor.filter(|vendor| vendor.profile.is_none()) {
        let text = format!("this is {}, and its {}", vendor.title, vendor.audience);
        Step::failed("tokens", text, vendor.fix).print(streams);
        usable = false;
    }
    usable
}

/// A remark on a scope that the issuer does not say it has.
fn unknown_scope(found: &Issuer, scope: &str) -> Option<Step> {
    let known = found.document.as_ref()?.get("scopes_supported")?.as_array()?;
    let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
    if known.is_empty() || known.contains(&scope) {
        return None;
    }
    let more = if known.len() > TOLD { ", …" } else { "" };
    let shown: Vec<String> = known.iter().take(TOLD).map(|scope| foreign(scope)).collect();
    let text = format!("`{scope}` is not among the issuer's: {}{more}", shown.join(", "));
    Some(Step::doubtful("scope", text, "create it at the issuer, or take one it has with --scope"))
}

/// The `profile` of an issuer that is known by its URL.
pub(super) fn profile(name: &str) -> Option<&'static str> {
    vendor::of(name).and_then(|vendor| vendor.profile)
}

//! `portcullis doctor`: takes the steps clients take before their first call, and shows which clients fail, where and why.

mod challenge;
mod clients;
mod clock;
pub(super) mod issuer;
mod metadata;
pub(super) mod report;
mod server;
mod token;
pub(super) mod vendor;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum as _};
use tokio::runtime::Builder;
use url::Url;

use self::clients::Client;
use self::report::{Report, Step};
use super::token::Presented;
use super::{Exit, Format, Streams, chain};
use crate::auth::explorer::Explorer;
use crate::secret::Secret;
use crate::server::tls;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(45);
/// The most issuers that are looked at.
const LIMIT_ISSUERS: usize = 3;

/// Arguments of `doctor`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis doctor https://mcp.example.com/crm/mcp
  portcullis doctor https://mcp.example.com/crm/mcp --client claude,vscode,codex
  portcullis doctor http://127.0.0.1:8080/crm/mcp --token token.txt
  portcullis doctor --issuer https://login.example.com/realms/acme
  portcullis doctor https://mcp.example.com/crm/mcp --format json | jq '.sections[].steps[] | select(.status == \"failed\")'",
    after_help = "Nothing is registered and nobody is signed in. Redirects are not followed; URLs named in documents are fetched\n\
                  only on a host you typed or at a public address, and without the token.\n\
                  Exit codes: 0 nothing fails, 1 a step fails, 69 nobody answers there"
)]
pub struct Doctor {
    /// The URL of an MCP endpoint, exactly as clients use it.
    #[arg(value_name = "URL", required_unless_present = "issuer", value_parser = endpoint)]
    url: Option<Url>,
    /// The clients to check for, separated by commas; all of them by default.
    #[arg(long = "client", value_name = "NAME", value_delimiter = ',')]
    clients: Vec<Client>,
    /// An issuer to examine, in place of those the server names.
    #[arg(long, value_name = "URL", value_parser = identifier)]
    issuer: Option<String>,
    /// A file with an access token for URL, or `-`; it is sent there and nowhere else.
    #[arg(long, value_name = "FILE", requires = "url")]
    token: Option<PathBuf>,
    /// PEM file of certificate authorities to trust, besides the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How to print what was found.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; write an http or https URL"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("write an http or https URL".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() || url.query().is_some() {
        return Err("write it without user information, query and fragment".to_owned());
    }
    Ok(url)
}

/// An issuer is what its metadata calls it, to the byte: it is not normalised.
pub(super) fn identifier(text: &str) -> Result<String, String> {
    endpoint(text).map(|_| text.to_owned())
}

impl Doctor {
    /// Looks and prints.
    pub fn run(&self, streams: &mut Streams<'_>) -> Exit {
        match self.looked(streams) {
            Ok(report) => {
                match self.format {
                    Format::Text => report.text(streams),
                    Format::Json => streams.print(report.json()),
                }
                match report.failures() {
                    0 => Exit::Done,
                    _ if report.is_away => Exit::Unavailable,
                    _ => Exit::No,
                }
            }
            Err(exit) => exit,
        }
    }

    fn looked(&self, streams: &mut Streams<'_>) -> Result<Report, Exit> {
        let token = self.token.clone().map(|file| Presented::new(file).read(streams)).transpose()?;
        if token.is_some() && self.url.as_ref().is_some_and(|url| url.scheme() == "http" && !is_loopback(url)) {
            streams.message("error: a token is not sent by plain http beyond this machine");
            return Err(Exit::Usage);
        }
        let ca = self.ca_file.as_ref().map(std::fs::read).transpose().map_err(|error| {
            streams.message(format_args!("error: the file of --ca-file cannot be read: {error}"));
            Exit::Usage
        })?;
        tls::install_default();
        let typed = self.url.iter().cloned().chain(self.issuer.iter().filter_map(|issuer| Url::parse(issuer).ok()));
        let explorer = Explorer::new(typed.collect(), ca.as_deref()).map_err(|error| {
            streams.message(format_args!("error: {}", chain(&error)));
            Exit::Usage
        })?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|_| Exit::Internal)?;
        let mut report = Report::default();
        let walked = runtime.block_on(async {
            tokio::time::timeout(PATIENCE, self.walk(&explorer, token.as_ref(), &mut report)).await
        });
        if walked.is_err() {
            let text = format!("{} s are over; what comes after was not looked at", PATIENCE.as_secs());
            report.add(Step::failed("time", text, "see which of the above is slow"));
        }
        Ok(report)
    }

    async fn walk(&self, explorer: &Explorer, token: Option<&Secret<String>>, report: &mut Report) {
        let server = match &self.url {
            Some(url) => server::look(explorer, url, report).await,
            None => None,
        };
        let named = || server.as_ref()?.metadata.as_ref().map(|metadata| metadata.authorization_servers.clone());
        let issuers = self.issuer.clone().map(|issuer| vec![issuer]).or_else(named).unwrap_or_default();
        let mut first = None;
        for name in issuers.iter().take(LIMIT_ISSUERS) {
            let issuer = issuer::look(explorer, name, server.as_ref(), report).await;
            first.get_or_insert(issuer);
        }
        if let (Some(server), Some(token)) = (&server, token) {
            token::present(explorer, server, token, report).await;
        }
        if self.url.is_some() && server.is_none() {
            return;
        }
        report.section("clients");
        let clients = if self.clients.is_empty() { Client::value_variants() } else { &self.clients };
        for client in clients {
            client.walk(server.as_ref(), first.as_ref(), report);
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

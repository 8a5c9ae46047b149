//! `portcullis init`: asks a server and its issuer, and writes what `serve` needs to stand in front of it.

mod draft;
mod files;
mod issuer;

use std::path::PathBuf;

use clap::Args;
use url::Url;

use self::draft::{Draft, Names, name_of};
use self::files::Files;
use super::check::Check;
use super::doctor::identifier;
use super::doctor::report::Step;
use super::tools::listed::{self, Listed, Offer};
use super::tools::scaffold;
use super::{Exit, Global, Streams};
use crate::config::{self, Config, Server};
use crate::policy::lock::{Lock, visible};

/// The most names of tools that are told.
const TOLD: usize = 8;

/// Arguments of `init`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis init --upstream http://127.0.0.1:3001/mcp --issuer https://login.example.com/realms/acme \\
                  --public-url https://mcp.example.com --cert tls.crt --key tls.key --name crm
  portcullis init --issuer http://127.0.0.1:9000 --public-url http://127.0.0.1:8080 --name files \\
                  -- npx -y @modelcontextprotocol/server-filesystem /srv/files",
    after_help = "It writes proxy.toml (or the file of --config), and policies/NAME.toml and policies/NAME.lock beside it: every tool for\n\
                  callers with one scope, every definition approved as it is now. Nothing that is there is overwritten unless you\n\
                  say so. Exit codes: 0 written, 1 the issuer cannot be used, 2 wrong arguments, or something is there already,\n\
                  69 the server or the issuer cannot be reached"
)]
pub struct Init {
    /// The server's MCP endpoint.
    #[arg(long, value_name = "URL", required_unless_present = "command", conflicts_with = "command")]
    upstream: Option<String>,
    /// The issuer of access tokens, exactly as its metadata names it.
    #[arg(long, value_name = "URL", value_parser = identifier)]
    issuer: String,
    /// What clients will type, without a path.
    #[arg(long, value_name = "URL", value_parser = origin)]
    public_url: Url,
    /// What to call the server: in its path, its policy and its scope.
    #[arg(long, value_name = "NAME", value_parser = name, help = "What to call the server [default: from the URL or program]")]
    name: Option<String>,
    /// The scope callers need.
    #[arg(long, value_name = "SCOPE", value_parser = scope, help = "The scope callers need [default: NAME:use]")]
    scope: Option<String>,
    /// PEM file of the certificate to serve; without one, something in front must terminate TLS.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// A file with the bearer token that the server wants.
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    token: Option<PathBuf>,
    /// PEM file of certificate authorities to trust for server and issuer, besides the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Overwrite what is there.
    #[arg(long)]
    yes: bool,
    /// A server that is a program, after `--`.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// An origin; paths are those of servers.
fn origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(&identifier(text)?).map_err(|error| error.to_string())?;
    if url.path() == "/" {
        Ok(url)
    } else {
        Err(format!("write `{}`; the server's path is made from --name", url.origin().ascii_serialization()))
    }
}

/// What `proxy.toml` takes for a name.
fn name(text: &str) -> Result<String, String> {
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if (1..=64).contains(&text.len()) && fits {
        Ok(text.to_owned())
    } else {
        Err("names are 1 to 64 ASCII letters, digits, `-` and `_`".to_owned())
    }
}

/// A scope token (RFC 6749 section 3.3).
fn scope(text: &str) -> Result<String, String> {
    let fits = text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    if fits && !text.is_empty() {
        Ok(text.to_owned())
    } else {
        Err("one word of printable ASCII, as `crm:use`".to_owned())
    }
}

impl Init {
    /// Asks, and writes if all that is needed was answered.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        match self.done(global, streams) {
            Ok(exit) | Err(exit) => exit,
        }
    }

    fn done(&self, global: &Global, streams: &mut Streams<'_>) -> Result<Exit, Exit> {
        let name = self.name.clone().unwrap_or_else(|| name_of(self.upstream.as_deref(), &self.command));
        let scope = self.scope.clone().unwrap_or_else(|| scaffold::scope_of(&name));
        let files = Files::at(&global.config, &name);
        files.permitted(self.yes, streams)?;
        let draft = Draft::new(self, Names { name: &name, files: &files });
        let (config, server) = meant(&draft, &files, streams)?;
        let (offer, exit) = match listed::ask(&server) {
            Ok(offer) => (Some(offer), Exit::Done),
            Err(unasked) => {
                let fix = unasked.help.unwrap_or("start it, or correct --upstream");
                let fix = if self.command.is_empty() { fix } else { "correct the program after `--`" };
                Step::failed("upstream", unasked.why, fix).print(streams);
                // What cannot be used as configured was configured by the arguments.
                (None, if unasked.exit == Exit::Config { Exit::Usage } else { unasked.exit })
            }
        };
        let approved = offer.as_ref().map(|offer| approved(offer, &server, streams));
        let asked = issuer::look(&self.issuer, &scope, self.ca_file.as_deref(), streams);
        if let Some(step) = draft.unencrypted() {
            step.print(streams);
        }
        let (Some(tools), Exit::Done, Exit::Done) = (approved, exit, asked) else {
            streams.message("nothing was written");
            return Err(if exit == Exit::Done { asked } else { exit });
        };
        write(&files, &draft, (&config, &name, &scope), &tools, streams)?;
        finished(&files, streams)
    }
}

/// The configuration that will be written. Errs with what is wrong with it, which the arguments have made.
fn meant(draft: &Draft, files: &Files, streams: &mut Streams<'_>) -> Result<(Config, Server), Exit> {
    match config::check_before_writing(&draft.text, &files.config) {
        Ok((config, warnings)) => {
            streams.problems(&warnings);
            let server = config.servers.values().next().cloned().ok_or(Exit::Internal)?;
            Ok((config, server))
        }
        Err(problems) => {
            streams.problems(&problems);
            streams.message(format_args!(
                "error: {} would be refused as these arguments make it; nothing was written",
                files.config.display()
            ));
            Err(Exit::Usage)
        }
    }
}

/// The tools that nobody need look at before they are approved.
fn approved<'o>(offer: &'o Offer, server: &Server, streams: &mut Streams<'_>) -> Vec<&'o Listed> {
    let session = if offer.in_session { "in a session, " } else { "" };
    let answers =
        format!("{}, {}, {session}{}", offer.transport, offer.revision.as_str(), counted(offer.tools.len(), "tool"));
    if offer.tools.is_empty() {
        Step::doubtful("upstream", answers, "write the rules for its prompts and resources yourself").print(streams);
    } else {
        Step::good("upstream", answers).print(streams);
    }
    let host = server.backend.host();
    let (doubtful, fine): (Vec<&Listed>, Vec<&Listed>) =
        offer.tools.iter().partition(|tool| tool.findings(&offer.tools, host).is_suspicious());
    if !doubtful.is_empty() {
        let text = format!("suspicious and left out: {}", names(doubtful.iter().map(|tool| tool.name.as_str())));
        let fix = format!("`portcullis tools {}` says what it is; `--approve TOOL` takes one in", server.name);
        Step::doubtful("definitions", text, fix).print(streams);
    }
    fine
}

/// Writes all three, the one that names the others last.
fn write(
    files: &Files,
    draft: &Draft,
    (config, name, scope): (&Config, &str, &str),
    tools: &[&Listed],
    streams: &mut Streams<'_>,
) -> Result<(), Exit> {
    let (policy, odd) = scaffold::policy(name, scope, tools.iter().map(|tool| tool.name.as_str()));
    let mut lock = Lock::default();
    for tool in tools {
        lock.approve(&tool.name, tool.canonical());
    }
    if !odd.is_empty() {
        let text =
            format!("left out of the policy, as they could be misread: {}", names(odd.iter().map(String::as_str)));
        Step::doubtful("names", text, "write rules for them by hand, if you must have them").print(streams);
    }
    files::write(&files.policy, &policy, streams)?;
    files::write(&files.lock, &lock.write(name), streams)?;
    files::write(&files.config, &draft.text, streams)?;
    let listed = config.server.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let usable = tools.len().saturating_sub(odd.len());
    files.told(&files.config, format_args!("1 server, 1 issuer, listens on {listed}"), streams);
    files.told(&files.policy, format_args!("{} for the scope {scope}", counted(usable, "tool")), streams);
    files.told(&files.lock, format_args!("{} approved", counted(lock.len(), "definition")), streams);
    Ok(())
}

/// Looks at what was written as `check` does, and names the next command.
fn finished(files: &Files, streams: &mut Streams<'_>) -> Result<Exit, Exit> {
    let found = Check::quietly(&files.config, streams);
    if found != Exit::Done {
        return Err(found);
    }
    let option = files.option();
    streams.print(format_args!("\nNext: portcullis check{option} && portcullis serve{option}"));
    Ok(Exit::Done)
}

/// `1 tool`, `2 tools`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Foreign names in a list, which is cut.
fn names<'n>(all: impl ExactSizeIterator<Item = &'n str>) -> String {
    let more = all.len().saturating_sub(TOLD);
    let mut shown: Vec<String> = all.take(TOLD).map(|name| visible(name).replace('"', "`")).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

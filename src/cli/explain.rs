//! `portcullis explain`: why one call is decided as it is, rule by rule, and the exact answer its client gets.

mod asked;
mod report;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use self::asked::Question;
use self::report::Report;
use super::{Exit, Format, Global, Streams};

/// Arguments of `explain`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis explain --claims '{\"sub\":\"ana\",\"scope\":\"crm:read\"}' --tool update_contact --args '{\"id\":7}'
  portcullis token mint --user ana | portcullis explain --token - --server crm --tool delete_contact
  portcullis explain --claims @claims.json --server crm --list          what this caller's tools/list shows, and why
  portcullis explain --anonymous --tool search_docs --untrusted '{\"name\":\"inspector\",\"version\":\"1.0\"}'",
    after_help = "Nothing is sent to the upstream; with --token the issuer's keys are fetched.\n\
                  Exit codes: 0 allowed, 1 denied or asked to step up, 2 wrong arguments, 69 the issuer's keys cannot be\n\
                  fetched, 78 a file is refused"
)]
pub struct Explain {
    /// Who calls.
    #[command(flatten)]
    caller: CallerArgs,
    /// The server of proxy.toml; needed if there are several.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// What is called.
    #[command(flatten)]
    about: About,
    /// The arguments as a JSON object, or `@FILE`.
    #[arg(long, value_name = "JSON")]
    args: Option<String>,
    /// What the client says of itself, for deny rules that look at it: `name`, `version` and `headers` in a JSON object, or
    /// `@FILE`.
    #[arg(long, value_name = "JSON")]
    untrusted: Option<String>,
    /// The tool as the upstream lists it, in JSON or as `@FILE`; by default the approved definition, if there is one.
    #[arg(long, value_name = "JSON", requires = "tool")]
    definition: Option<String>,
    /// When the call happens, as in 2026-01-05T19:30:00Z [default: now].
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    /// The caller's IP address.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// The protocol revision the client speaks [default: 2026-07-28].
    #[arg(long, value_name = "REVISION")]
    protocol: Option<String>,
    /// How to print the decision.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// Who calls: a token, the claims one would have, or nobody.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct CallerArgs {
    /// A file that holds an access token, or `-` for standard input.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// The token's claims as a JSON object, or `@FILE`.
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
    /// The caller has no token.
    #[arg(long)]
    anonymous: bool,
}

/// What is called.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct About {
    /// A tool to call.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// A resource to read.
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// A prompt to fetch.
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,
    /// A method that names no tool, resource or prompt.
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// A list to see.
    #[arg(long, value_name = "KIND", num_args = 0..=1, default_missing_value = "tools")]
    list: Option<List>,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
enum List {
    Tools,
    Resources,
    ResourceTemplates,
    Prompts,
}

impl Explain {
    /// Decides and prints.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let question = match Question::read(self, global, streams) {
            Ok(question) => question,
            Err(exit) => return exit,
        };
        let report = Report::of(&question);
        match self.format {
            Format::Text => report.text(&question, streams),
            Format::Json => streams.print(report.json(&question)),
        }
        report.exit()
    }
}

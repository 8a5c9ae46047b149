//! `portcullis audit`: what the audit log says, for people, auditors and other programs.

mod erase;
mod export;
pub(super) mod files;
mod find;
mod person;
mod report;
mod tail;
mod verify;

use clap::{Args, Subcommand};

use super::{Exit, Global, Streams};

/// Arguments of `audit`.
#[derive(Args, Debug)]
#[command(
    arg_required_else_help = true,
    disable_help_subcommand = true,
    before_help = "Examples:
  portcullis audit tail --deny --follow                      who is refused, and why, as it happens
  portcullis audit export audit.jsonl --format ocsf          events for a SIEM, one a line
  portcullis audit report audit.jsonl --html report.html     a page for an auditor
  portcullis audit verify audit.jsonl --key audit.pub        is it as it was written?
  portcullis audit find --subject ana                        what is recorded of a person?
  portcullis audit erase --subject ana                       have it be nobody's (`audit.subjects = \"keyed\"`)"
)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

/// The commands below `audit`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Erase the key of a person, so that nobody can tell its lines from those of others.
    Erase(erase::Erase),
    /// Print records as events of another format, one a line.
    Export(export::Export),
    /// Print the lines about a person.
    Find(find::Find),
    /// Report a period: calls, denials, masked values, policies, keys and callers.
    Report(report::Report),
    /// Show the last decisions, and new ones as they come.
    Tail(tail::Tail),
    /// Show whether audit files are as they were written.
    Verify(verify::Verify),
}

impl Audit {
    /// Runs the command below.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        match &self.command {
            Command::Erase(erase) => erase.run(global, streams),
            Command::Export(export) => export.run(streams),
            Command::Find(find) => find.run(global, streams),
            Command::Report(report) => report.run(streams),
            Command::Tail(tail) => tail.run(global, streams),
            Command::Verify(verify) => verify.run(streams),
        }
    }
}

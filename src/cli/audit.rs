//! `portcullis audit`: what the audit log says, for people, auditors and other programs.

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
  portcullis audit verify audit.jsonl --key audit.pub        is it as it was written?"
)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

/// The commands below `audit`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show the last decisions, and new ones as they come.
    Tail(tail::Tail),
    /// Show whether audit files are as they were written.
    Verify(verify::Verify),
}

impl Audit {
    /// Runs the command below.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        match &self.command {
            Command::Tail(tail) => tail.run(global, streams),
            Command::Verify(verify) => verify.run(streams),
        }
    }
}

//! `portcullis audit`: what the audit log says, for people, auditors and other programs.

mod verify;

use clap::{Args, Subcommand};

use super::{Exit, Streams};

/// Arguments of `audit`.
#[derive(Args, Debug)]
#[command(
    arg_required_else_help = true,
    disable_help_subcommand = true,
    before_help = "Examples:
  portcullis audit verify audit.jsonl --key audit.pub        is it as it was written?"
)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

/// The commands below `audit`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show whether audit files are as they were written.
    Verify(verify::Verify),
}

impl Audit {
    /// Runs the command below.
    pub fn run(&self, streams: &mut Streams<'_>) -> Exit {
        match &self.command {
            Command::Verify(verify) => verify.run(streams),
        }
    }
}

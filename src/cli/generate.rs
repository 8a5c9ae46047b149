//! `portcullis generate`: files that always fit this version.

use clap::{Args, Subcommand, ValueEnum};

use super::{Exit, Streams};
use crate::{config, policy};

/// Arguments of `generate`.
#[derive(Args, Debug)]
#[command(
    arg_required_else_help = true,
    disable_help_subcommand = true,
    before_help = "Examples:
  portcullis generate schema proxy > proxy.schema.json      then `#:schema ./proxy.schema.json` above proxy.toml
  portcullis generate schema policy > policy.schema.json    editors complete and check from it"
)]
pub struct Generate {
    #[command(subcommand)]
    command: Command,
}

/// The commands below `generate`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Print the JSON Schema of a kind of file, for editors.
    Schema(Schema),
}

/// Arguments of `generate schema`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  portcullis generate schema proxy > proxy.schema.json
  portcullis generate schema policy > policy.schema.json")]
struct Schema {
    /// Of what.
    #[arg(value_name = "FILE")]
    of: File,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum File {
    /// The proxy.toml.
    Proxy,
    /// Policy files.
    Policy,
}

impl Generate {
    /// Prints.
    pub fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let Command::Schema(schema) = &self.command;
        let schema = match schema.of {
            File::Proxy => config::schema::schema(),
            File::Policy => policy::form::schema(),
        };
        streams.print(format_args!("{schema:#}"));
        Exit::Done
    }
}

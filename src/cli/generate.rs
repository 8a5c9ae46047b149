//! `portcullis generate`: files for this version, such as schemas, completions and manual pages.

use clap::{Args, CommandFactory as _, Subcommand, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, Exit, Global, Streams};
use crate::{config, policy};

/// Arguments of `generate`.
#[derive(Args, Debug)]
#[command(
    arg_required_else_help = true,
    disable_help_subcommand = true,
    before_help = "Examples:
  portcullis generate schema proxy > proxy.schema.json      then `#:schema ./proxy.schema.json` above proxy.toml
  portcullis generate schema policy > policy.schema.json    editors complete and check from it
  portcullis generate completions fish > ~/.config/fish/completions/portcullis.fish
  portcullis generate man > portcullis.1
  portcullis generate man token verify > portcullis-token-verify.1"
)]
pub struct Generate {
    #[command(subcommand)]
    command: Command,
}

/// The commands below `generate`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Print a script that completes commands and options in a shell.
    Completions(Completions),
    /// Print a manual page in roff.
    Man(Page),
    /// Print the JSON Schema of a kind of file, for editors.
    Schema(Schema),
}

/// Arguments of `generate completions`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  portcullis generate completions bash > /etc/bash_completion.d/portcullis
  portcullis generate completions zsh > \"${fpath[1]}/_portcullis\"
  portcullis generate completions fish > ~/.config/fish/completions/portcullis.fish")]
struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Arguments of `generate man`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  portcullis generate man > portcullis.1
  portcullis generate man token verify > portcullis-token-verify.1")]
struct Page {
    /// The command to describe, such as `token verify`; portcullis itself by default.
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// Arguments of `generate schema`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  portcullis generate schema proxy > proxy.schema.json
  portcullis generate schema policy > policy.schema.json")]
struct Schema {
    /// The kind of file.
    #[arg(value_name = "FILE")]
    of: File,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum File {
    /// proxy.toml.
    Proxy,
    /// Policy files.
    Policy,
}

impl Generate {
    /// Prints.
    pub fn run(&self, streams: &mut Streams<'_>) -> Exit {
        match &self.command {
            Command::Completions(completions) => completions.run(streams),
            Command::Man(page) => page.run(streams),
            Command::Schema(schema) => schema.run(streams),
        }
    }
}

impl Completions {
    fn run(&self, streams: &mut Streams<'_>) -> Exit {
        // Into memory: the generator takes a reader that went away for a fault.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut offered(), "portcullis", &mut script);
        streams.write(&script);
        Exit::Done
    }
}

/// The commands a person would type: a script would complete hidden ones too.
fn offered() -> clap::Command {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let version = env!("CARGO_PKG_VERSION");
    let root = clap::Command::new("portcullis").version(version).disable_help_subcommand(true).subcommands(shown);
    Global::augment_args(root)
}

impl Page {
    fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let mut all = Cli::command();
        all.build();
        let mut command = &all;
        for word in &self.command {
            let Some(below) = command.find_subcommand(word) else {
                let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
                let known: Vec<&str> = shown.map(clap::Command::get_name).collect();
                let of = command.get_bin_name().unwrap_or("portcullis");
                streams.message(match &*known {
                    [] => format!("error: `{of}` has no commands below it"),
                    known => format!("error: `{word}` is no command of `{of}`; there are {}", known.join(", ")),
                });
                return Exit::Usage;
            };
            command = below;
        }
        let mut page = Vec::new();
        let version = concat!("portcullis ", env!("CARGO_PKG_VERSION"));
        if Man::new(command.clone()).source(version).render(&mut page).is_err() {
            return Exit::Internal;
        }
        streams.write(&page);
        Exit::Done
    }
}

impl Schema {
    fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let schema = match self.of {
            File::Proxy => config::schema::schema(),
            File::Policy => policy::form::schema(),
        };
        streams.print(format_args!("{schema:#}"));
        Exit::Done
    }
}

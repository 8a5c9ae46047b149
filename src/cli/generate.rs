//! `portcullis generate`: files for this version: what it is deployed and watched with, first files to start from, schemas,
//! completions and manual pages.

mod alerts;
mod deployed;
mod docker;
mod grafana;
mod kubernetes;
mod systemd;
mod yaml;

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
  portcullis generate config > proxy.toml                   every key with its default, to take apart
  portcullis generate policy github > policies/github.toml  a policy for a server that is widely used
  portcullis generate k8s | kubectl apply -f -              as proxy.toml says
  portcullis generate systemd > /etc/systemd/system/portcullis.service
  portcullis generate docker > Dockerfile
  portcullis generate grafana > dashboard.json
  portcullis generate alerts > rules.yml
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
    /// Print alert rules for Prometheus.
    Alerts(alerts::Alerts),
    /// Print a script that completes commands and options in a shell.
    Completions(Completions),
    /// Print a proxy.toml with every key, its default and what it means.
    Config(Config),
    /// Print a Dockerfile that builds a small image without a shell and without root.
    Docker(docker::Docker),
    /// Print a dashboard for Grafana.
    Grafana(grafana::Grafana),
    /// Print manifests that run the proxy in Kubernetes as proxy.toml says.
    K8s(kubernetes::Kubernetes),
    /// Print a manual page in roff.
    Man(Page),
    /// Print a policy file to start from.
    Policy(Policy),
    /// Print the JSON Schema of a kind of file, for editors.
    Schema(Schema),
    /// Print a unit that runs the proxy under systemd as proxy.toml says.
    Systemd(systemd::Systemd),
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

/// Arguments of `generate config`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  portcullis generate config > proxy.toml")]
struct Config {}

/// Arguments of `generate policy`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  portcullis generate policy > policies/crm.toml
  portcullis generate policy filesystem > policies/filesystem.toml")]
struct Policy {
    /// The server it is for.
    #[arg(value_name = "SERVER", default_value = "crm")]
    of: Known,
}

/// A server that a policy comes with the program for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Known {
    /// The demo's sample CRM, with a comment on each key.
    Crm,
    /// `@modelcontextprotocol/server-everything`.
    Everything,
    /// `@modelcontextprotocol/server-filesystem`.
    Filesystem,
    /// GitHub's server.
    Github,
    /// `HubSpot`'s server.
    Hubspot,
    /// A server for `PostgreSQL`.
    Postgres,
    /// A server for Slack.
    Slack,
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
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        match &self.command {
            Command::Alerts(alerts::Alerts {}) => alerts::run(streams),
            Command::Completions(completions) => completions.run(streams),
            Command::Config(Config {}) => {
                streams.write(include_bytes!("../../proxy.toml.example"));
                Exit::Done
            }
            Command::Docker(docker::Docker {}) => docker::run(streams),
            Command::Grafana(grafana::Grafana {}) => grafana::run(streams),
            Command::K8s(kubernetes) => kubernetes.run(global, streams),
            Command::Man(page) => page.run(streams),
            Command::Policy(policy) => policy.run(streams),
            Command::Schema(schema) => schema.run(streams),
            Command::Systemd(systemd) => systemd.run(global, streams),
        }
    }
}

impl Policy {
    fn run(&self, streams: &mut Streams<'_>) -> Exit {
        streams.write(match self.of {
            Known::Crm => include_bytes!("../../policies/crm.toml"),
            Known::Everything => include_bytes!("../../policies/everything.toml"),
            Known::Filesystem => include_bytes!("../../policies/filesystem.toml"),
            Known::Github => include_bytes!("../../policies/github.toml"),
            Known::Hubspot => include_bytes!("../../policies/hubspot.toml"),
            Known::Postgres => include_bytes!("../../policies/postgres.toml"),
            Known::Slack => include_bytes!("../../policies/slack.toml"),
        });
        Exit::Done
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

#[cfg(test)]
mod tests;

//! `portcullis tools`: what a server offers, which definitions are approved, and a first policy.

mod cost;
mod diff;
pub(super) mod listed;
pub(super) mod scaffold;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use self::listed::Listed;
use super::{Exit, Format, Global, Streams};
use crate::config::{self, Config, SecretSource, Server, UpstreamAuth};
use crate::policy::lint::definition::Findings;
use crate::policy::lock::{Lock, visible};
use crate::policy::schema::Schema;

/// Arguments of `tools`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis tools crm                          its tools, and what looks suspicious about them
  portcullis tools crm --scaffold > crm.toml    a first policy
  portcullis tools crm --lock                   write down every definition as approved
  portcullis tools crm --verify                 what has changed since? exit code 1 if anything has
  portcullis tools crm --approve get_contact    approve the current definition
  portcullis tools http://127.0.0.1:3001/mcp --token token.txt",
    after_help = "The upstream is asked with the proxy's own credential, or with the token in --token.\n\
                  Exit codes: 0 done, 1 a definition differs, 69 the upstream cannot be reached, 78 proxy.toml is refused"
)]
pub struct Tools {
    /// A server of proxy.toml, or the URL of an MCP endpoint.
    #[arg(value_name = "SERVER|URL")]
    server: String,
    #[command(flatten)]
    act: Act,
    /// A file with a bearer token for the upstream, in place of the configured credential.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// How to print what was found.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// What to do.
#[derive(Args, Debug)]
#[group(multiple = false)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line, one at most")]
struct Act {
    /// Write the lock file: approve all current definitions.
    #[arg(long)]
    lock: bool,
    /// Compare the current definitions with the lock file.
    #[arg(long)]
    verify: bool,
    /// Approve the current definition of one tool.
    #[arg(long, value_name = "TOOL")]
    approve: Option<String>,
    /// Print a first policy: every tool, for callers with one scope.
    #[arg(long)]
    scaffold: bool,
    /// Estimate how many tokens the list costs a model, for each set of scopes in the policy.
    #[arg(long)]
    tokens: bool,
}

/// Whose tools they are.
struct Asked {
    config: Option<Config>,
    server: Server,
}

impl Tools {
    /// Asks, and does what was said.
    pub fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        match self.done(global, streams) {
            Ok(exit) | Err(exit) => exit,
        }
    }

    fn done(&self, global: &Global, streams: &mut Streams<'_>) -> Result<Exit, Exit> {
        let asked = self.asked(global, streams)?;
        let tools = ask(&asked.server, streams)?;
        if self.act.lock || self.act.verify || self.act.approve.is_some() {
            return self.locked(&asked, &tools, streams);
        }
        if self.act.scaffold {
            let (name, names) = (&asked.server.name, tools.iter().map(|tool| tool.name.as_str()));
            let (text, left_out) = scaffold::policy(name, &scaffold::scope_of(name), names);
            streams.print(text.trim_end());
            for name in left_out {
                streams.message(format_args!("left out, as its name could be misread: {}", visible(&name)));
            }
            return Ok(Exit::Done);
        }
        if self.act.tokens {
            let Some(config) = &asked.config else {
                streams.message("error: --tokens needs a server of proxy.toml, whose policy says who sees what");
                return Err(Exit::Usage);
            };
            return cost::print(config, &asked.server, &tools, self.format == Format::Json, streams);
        }
        self.overview(&asked.server, &tools, streams);
        Ok(Exit::Done)
    }

    /// The server by its name, or one made of a URL.
    fn asked(&self, global: &Global, streams: &mut Streams<'_>) -> Result<Asked, Exit> {
        let is_url = self.server.starts_with("http://") || self.server.starts_with("https://");
        let refused = |problems: &config::Problems, streams: &mut Streams<'_>| {
            streams.problems(problems);
            Exit::Config
        };
        let (config, name) = if is_url {
            let text = format!(
                "[server]\npublic_url = \"http://127.0.0.1\"\n[issuers.none]\nissuer = \"https://issuer.invalid\"\n\
                 [servers.upstream]\npath = \"/mcp\"\nupstream = {}\npolicies = [\"none\"]\n",
                toml::Value::String(self.server.clone())
            );
            let (config, _) = config::parse(&text, &PathBuf::from("URL")).map_err(|found| refused(&found, streams))?;
            (config, "upstream")
        } else {
            let load = if self.act.scaffold { config::load_before_policies } else { config::load };
            let (config, _) = load(&global.config).map_err(|found| refused(&found, streams))?;
            (config, self.server.as_str())
        };
        let Some(server) = config.servers.get(name) else {
            let known: Vec<&str> = config.servers.keys().map(AsRef::as_ref).collect();
            streams.message(format_args!(
                "error: there is no server `{name}` in {}; configured: {}",
                config.path.display(),
                known.join(", ")
            ));
            return Err(Exit::Usage);
        };
        let mut server = server.clone();
        if let Some(file) = &self.token {
            server.upstream_auth = UpstreamAuth::Bearer(SecretSource::File(file.clone()));
        }
        Ok(Asked { config: (!is_url).then_some(config), server })
    }

    fn locked(&self, asked: &Asked, tools: &[Listed], streams: &mut Streams<'_>) -> Result<Exit, Exit> {
        let path = asked.lock_file().ok_or_else(|| {
            streams.message("error: a lock file belongs to a server of proxy.toml; give its name");
            Exit::Usage
        })?;
        let server = &asked.server.name;
        if self.act.lock {
            let mut lock = Lock::default();
            for tool in tools {
                lock.approve(&tool.name, tool.canonical());
            }
            write(&path, &lock, server, streams)?;
            streams.print(format_args!("wrote {}: {} definitions approved", path.display(), lock.len()));
            if asked.server.tools.lock.is_none() {
                streams.message(format_args!("add `lock = \"{}\"` to [servers.{server}]", asked.written(&path)));
            }
            return Ok(Exit::Done);
        }
        let mut lock = Lock::load(&path, server).map_err(|found| {
            streams.problems(&found);
            Exit::Config
        })?;
        let Some(name) = &self.act.approve else {
            let drift = diff::compare(&lock, tools);
            diff::print(&drift, self.format == Format::Json, streams);
            return Ok(if drift.is_empty() { Exit::Done } else { Exit::No });
        };
        match tools.iter().find(|tool| tool.name == *name) {
            Some(tool) => lock.approve(name, tool.canonical()),
            None if lock.remove(name) => {}
            None => {
                streams.message(format_args!("error: the server offers no tool {}, and none is locked", visible(name)));
                return Err(Exit::No);
            }
        }
        write(&path, &lock, server, streams)?;
        streams.print(format_args!("approved {} in {}", visible(name), path.display()));
        Ok(Exit::Done)
    }

    fn overview(&self, server: &Server, tools: &[Listed], streams: &mut Streams<'_>) {
        let host = server.backend.host();
        let mut lines = Vec::new();
        for tool in tools {
            let findings = tool.findings(tools, host);
            let schema = tool.document.root().get("inputSchema").map_or_else(Schema::any, Schema::compile);
            lines.push((tool, findings, schema.err().map(|error| error.to_string())));
        }
        if self.format == Format::Json {
            let tools: Vec<Value> =
                lines.iter().map(|(tool, findings, schema)| described(tool, findings, schema.as_deref())).collect();
            streams.print(json!({ "schema_version": 1, "server": server.name, "tools": tools }));
            return;
        }
        for (tool, findings, schema) in &lines {
            streams.print(visible(&tool.name).trim_matches('"'));
            if let Some(schema) = schema {
                streams.print(format_args!("  ✗ input schema: {}", visible(schema).trim_matches('"')));
            }
            if !findings.found.is_empty() {
                let mark = if findings.is_suspicious() { "✗" } else { "!" };
                streams.print(format_args!("  {mark} {}", visible(&findings.told()).trim_matches('"')));
            }
        }
    }
}

fn described(tool: &Listed, findings: &Findings, schema: Option<&str>) -> Value {
    let found: Vec<Value> = findings
        .found
        .iter()
        .map(|(place, kind)| json!({ "at": place, "what": kind.to_string(), "suspicious": kind.is_suspicious() }))
        .collect();
    json!({ "name": tool.name, "schema_error": schema, "findings": found })
}

impl Asked {
    /// `lock` of the server, else `NAME.lock` beside its first policy file.
    fn lock_file(&self) -> Option<PathBuf> {
        let config = self.config.as_ref()?;
        let beside = config.policy_files(&self.server).into_iter().next()?;
        let default = || beside.with_file_name(format!("{}.lock", self.server.name));
        Some(self.server.tools.lock.clone().unwrap_or_else(default))
    }

    /// A path as proxy.toml would name it.
    fn written(&self, path: &std::path::Path) -> String {
        let directory = self.config.as_ref().map(|config| config.directory.clone()).unwrap_or_default();
        path.strip_prefix(&directory).unwrap_or(path).display().to_string()
    }
}

fn ask(server: &Server, streams: &mut Streams<'_>) -> Result<Vec<Listed>, Exit> {
    listed::ask(server).map(|offer| offer.tools).map_err(|unasked| {
        streams.message(format_args!("error: {}", unasked.why));
        if let Some(help) = unasked.help {
            streams.message(help);
        }
        unasked.exit
    })
}

/// Writes the whole file beside its place and moves it there, so that a reload never reads half of it.
fn write(path: &std::path::Path, lock: &Lock, server: &Arc<str>, streams: &mut Streams<'_>) -> Result<(), Exit> {
    let beside = path.with_extension("lock.new");
    let written = std::fs::write(&beside, lock.write(server)).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| {
        streams.message(format_args!("error: cannot write `{}`: {error}", path.display()));
        Exit::Unavailable
    })
}

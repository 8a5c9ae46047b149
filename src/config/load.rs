//! From what the file says to what it means: every problem is collected before the file is refused.

mod access;
mod address;
mod admin;
mod ask;
mod audit;
mod backend;
mod command;
mod elsewhere;
mod field;
mod grant;
mod identity;
mod issuer;
mod listener;
mod metadata;
mod otel;
mod proxies;
mod sealing;
mod secret;
mod server;
mod state;
mod telemetry;
mod tls;
mod upstream_auth;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, Deserializer};

pub(crate) use self::elsewhere::Elsewhere;
use super::keys::PROXY;
use super::problem::{Problem, Problems, Source};
use super::walk::Walk;
use super::{Config, hide, raw, text};
use crate::clock::Timestamp;

/// Far beyond any configuration written by people.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the file at `path`, checks it and that the files it names can be used. Errs with everything that is wrong;
/// what only wants a look comes with the configuration.
pub fn load(path: &Path) -> Result<(Config, Problems), Problems> {
    load_at(path, Timestamp::now(), &variable)
}

/// As [`load`], for who is about to write the policy: the files in `policies` need not be there yet.
pub(crate) fn load_before_policies(path: &Path) -> Result<(Config, Problems), Problems> {
    load_from(path, Disk { now: Timestamp::now(), policies_to_come: true }, &variable)
}

/// Checks `text` as [`load`] does, as if it stood at `path`, for who is about to write it and its policies.
pub(crate) fn check_before_writing(text: &str, path: &Path) -> Result<(Config, Problems), Problems> {
    Loader::run(text, path, &variable, Some(Disk { now: Timestamp::now(), policies_to_come: true }))
}

/// As [`load`], with the time and the environment as arguments.
pub(crate) fn load_at(
    path: &Path,
    now: Timestamp,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Config, Problems), Problems> {
    load_from(path, Disk { now, policies_to_come: false }, variable)
}

fn load_from(
    path: &Path,
    disk: Disk,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Config, Problems), Problems> {
    let text = read(path).map_err(|(message, help)| {
        let nothing = Arc::new(Source::new(path, String::new()));
        let mut problems = Problems::new();
        problems.push(Problem::error(&nothing, 0..0, message, "").help(help));
        problems
    })?;
    Loader::run(&text, path, variable, Some(disk))
}

/// Checks `text` as if it stood at `path`, without touching any file.
pub fn parse(text: &str, path: &Path) -> Result<(Config, Problems), Problems> {
    parse_with(text, path, &variable)
}

/// As [`parse`], with the environment as an argument.
pub(crate) fn parse_with(
    text: &str,
    path: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Config, Problems), Problems> {
    Loader::run(text, path, variable, None)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The text, or why there is none and what to do about it.
fn read(path: &Path) -> Result<String, (String, String)> {
    const ANOTHER: &str = "name another file with `--config` or `PORTCULLIS_CONFIG`";
    let shown = path.display();
    let cannot = |error: io::Error| (format!("cannot read `{shown}`: {error}"), ANOTHER.to_owned());
    let mut bytes = Vec::new();
    File::open(path).map_err(cannot)?.take(LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > LIMIT_BYTES {
        return Err((format!("`{shown}` is larger than 4 MiB"), ANOTHER.to_owned()));
    }
    text::decode(bytes).map_err(|(wrong, _)| (format!("`{shown}` {wrong}"), wrong.help(path)))
}

/// How the files that are named are looked at.
#[derive(Clone, Copy)]
struct Disk {
    now: Timestamp,
    /// Whether policy files may be missing, as they are about to be written.
    policies_to_come: bool,
}

/// One file on its way.
struct Loader<'a> {
    file: Arc<Source>,
    directory: PathBuf,
    problems: Problems,
    excused: HashSet<(Range<usize>, &'static str)>,
    variable: &'a dyn Fn(&str) -> Option<String>,
    /// How to look at the files that are named, if at all.
    disk: Option<Disk>,
}

impl<'a> Loader<'a> {
    fn run(
        text: &str,
        path: &Path,
        variable: &'a dyn Fn(&str) -> Option<String>,
        disk: Option<Disk>,
    ) -> Result<(Config, Problems), Problems> {
        let (mut root, errors) = DeTable::parse_recoverable(text);
        let shown = if errors.is_empty() { hide::secrets(text, root.get_ref()) } else { hide::likely_secrets(text) };
        let file = Arc::new(Source::new(path, shown));
        let mut problems = Problems::new();
        for error in &errors {
            let span = error.span().unwrap_or_default();
            problems.push(Problem::error(&file, span, "not valid TOML", error.message()));
        }
        if problems.has_errors() {
            return Err(problems);
        }
        let mut walk = Walk { file: &file, variable, problems: &mut problems, excused: HashSet::new() };
        walk.file(&mut root, &PROXY);
        let excused = walk.excused;
        let raw = match raw::Proxy::deserialize(Deserializer::from(root)) {
            Ok(raw) => raw,
            Err(error) => {
                problems.push(Problem::error(&file, error.span().unwrap_or_default(), error.message(), ""));
                return Err(problems);
            }
        };
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut loader = Self { file, directory, problems, excused, variable, disk };
        match loader.proxy(raw) {
            Some(config) if !loader.problems.has_errors() => Ok((config, loader.problems)),
            _ => Err(loader.problems),
        }
    }

    fn proxy(&mut self, raw: raw::Proxy) -> Option<Config> {
        if let Some(version) = raw.version.filter(|version| *version.get_ref() != 1) {
            let problem = self.error(version.span(), "`version` must be 1", "not a version this program reads");
            self.report(problem.help("leave `version` out, or write `version = 1`"));
        }
        if raw.server.is_none() {
            self.missing(&(0..0), "server", "");
        }
        let server = raw.server.as_ref().and_then(|server| self.listener(server));
        let loopback = server.as_ref().is_none_or(super::Listener::is_loopback);
        let admin = raw.admin.as_ref().and_then(|admin| self.admin(admin, server.as_ref()));
        let issuers = self.issuers(&raw.issuers, loopback);
        let servers = self.servers(&raw.servers, &issuers, server.as_ref());
        self.idle_issuers(&raw.issuers, &servers);
        let cors = super::Cors { allow_origins: self.origins(raw.cors.and_then(|cors| cors.allow_origins)) };
        let audit = self.audit(raw.audit.as_ref());
        let sealing = self.sealing(raw.sealing.as_ref());
        let state = self.state(raw.state.as_ref(), &sealing);
        let telemetry = self.telemetry(raw.telemetry.as_ref());
        let (directory, path, file) = (self.directory.clone(), self.file.path.clone(), Arc::clone(&self.file));
        Some(Config {
            directory,
            path,
            file,
            server: server?,
            admin,
            issuers,
            servers,
            cors,
            audit,
            sealing,
            state,
            telemetry,
        })
    }

    /// An issuer nobody accepts is most likely a server's forgotten `issuers` entry.
    fn idle_issuers(
        &mut self,
        raw: &BTreeMap<Spanned<String>, Spanned<raw::Issuer>>,
        servers: &BTreeMap<Arc<str>, super::Server>,
    ) {
        // With a server already refused the answer would be a guess.
        if self.problems.has_errors() {
            return;
        }
        for name in raw.keys() {
            let used = servers.values().any(|server| server.issuers.iter().any(|issuer| **issuer == **name.get_ref()));
            if !used {
                let message = format!("no server accepts the issuer `{}`", name.get_ref());
                let problem = Problem::warning(&self.file, name.span(), message, "not used");
                self.report(problem.help("name it in a server's `issuers`, or take it out"));
            }
        }
    }
}

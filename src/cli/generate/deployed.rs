//! What a configuration needs of the machine it is deployed on.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{Exit, Global, Streams};
use crate::config::{AuditSink, Backend, Command, Config, Credential, Elsewhere, SecretSource};
use crate::server::drain::GOODBYE;

/// A configuration that is deployed to another machine.
pub(super) struct Deployed {
    /// With the paths of that machine.
    pub(super) config: Config,
    /// `proxy.toml` as it is written.
    pub(super) text: String,
    /// The folder of `proxy.toml` here.
    here: PathBuf,
    /// The folder of `proxy.toml` there.
    folder: PathBuf,
    /// What systemd calls credentials.
    pub(super) credentials: BTreeSet<String>,
    /// Variables of the environment that are secrets or parts of strings.
    pub(super) variables: BTreeSet<String>,
    /// Files with keys, certificates, secrets and revocations.
    pub(super) files: BTreeSet<PathBuf>,
    /// Policies and approved definitions, which are no secret.
    pub(super) policies: BTreeSet<PathBuf>,
}

/// Why a configuration is not deployed in a way, and what to do about it.
pub(super) struct Refusal(String);

impl Refusal {
    pub(super) fn new(why: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self(format!("error: {why}\n  fix: {remedy}"))
    }

    /// Says so; the exit code is the one of a configuration that is refused.
    pub(super) fn tell(&self, streams: &mut Streams<'_>) -> Exit {
        streams.message(&self.0);
        Exit::Config
    }
}

impl Deployed {
    /// Reads the configuration for a machine where it is at `there` and credentials in the folder `credentials`. Errs, having
    /// said why, if it cannot be used.
    pub(super) fn read(
        global: &Global,
        there: &Path,
        credentials: &str,
        streams: &mut Streams<'_>,
    ) -> Result<Self, Exit> {
        let set = [("CREDENTIALS_DIRECTORY", credentials)];
        let Elsewhere { config, text, variables } = match Elsewhere::load(&global.config, there, &set) {
            Ok(read) if read.has_secrets() => {
                let why = format_args!("{} has secrets written into it", global.config.display());
                let remedy =
                    "name their source instead: `{ file = \"…\" }`, `{ env = \"…\" }` or `{ credential = \"…\" }`";
                return Err(Refusal::new(why, remedy).tell(streams));
            }
            Ok(read) => read,
            Err(problems) => {
                streams.problems(&problems);
                return Err(Exit::Config);
            }
        };
        let policies = config.servers.values().flat_map(|server| config.policy_files(server));
        let locks = config.servers.values().filter_map(|server| server.tools.lock.clone());
        let mut deployed = Self {
            here: global.config.parent().unwrap_or(Path::new("")).to_owned(),
            folder: there.parent().unwrap_or(Path::new("")).to_owned(),
            credentials: BTreeSet::new(),
            variables,
            files: BTreeSet::new(),
            policies: policies.chain(locks).collect(),
            config,
            text,
        };
        deployed.note_secrets(Path::new(credentials));
        Ok(deployed)
    }

    /// Notes where secrets are read from. Those of `{ value = … }` have been refused.
    fn note_secrets(&mut self, directory: &Path) {
        let config = &self.config;
        let (credentials, variables) = (&mut self.credentials, &mut self.variables);
        let mut files: Vec<PathBuf> = config.server.tls.iter().flat_map(crate::config::Tls::files).collect();
        let mut secret = |source: &SecretSource, files: &mut Vec<PathBuf>| match source {
            SecretSource::Credential(name) => _ = credentials.insert(name.clone()),
            SecretSource::Env(name) => _ = variables.insert(name.clone()),
            SecretSource::File(path) => files.push(path.clone()),
            SecretSource::Value(_) => {}
        };
        for credential in config.credentials() {
            match credential {
                Credential::File(path) => files.push(path.to_owned()),
                Credential::Secret(source) => secret(source, &mut files),
            }
        }
        config.actor_tokens().for_each(|source| secret(source, &mut files));
        files.extend(config.sealing.keys.iter().map(|key| key.file.clone()));
        files.extend(config.audit.signing.iter().map(|signing| signing.key_file.clone()));
        files.extend([&config.audit.arguments_key, &config.audit.subjects_key].into_iter().flatten().cloned());
        files.extend(config.issuers.values().filter_map(|issuer| issuer.revocation_file.clone()));
        for file in files {
            // What is written as `${CREDENTIALS_DIRECTORY}/name` is a credential too.
            match file.strip_prefix(directory).ok().and_then(Path::to_str) {
                Some(name) if !name.is_empty() && !name.contains('/') => _ = credentials.insert(name.to_owned()),
                _ => _ = self.files.insert(file),
            }
        }
    }

    /// Where a file of that machine is here, for one that is deployed with the configuration.
    pub(super) fn here(&self, there: &Path) -> PathBuf {
        there.strip_prefix(&self.folder).map_or_else(|_| there.to_owned(), |below| self.here.join(below))
    }

    /// The file the audit goes to, if it goes to one.
    pub(super) fn audit_file(&self) -> Option<&Path> {
        match &self.config.audit.sink {
            AuditSink::File(path) => Some(path),
            AuditSink::Stdout => None,
        }
    }

    /// The folder the admin socket is made in, if there is one.
    pub(super) fn socket_folder(&self) -> Option<&Path> {
        self.config.admin.as_ref()?.socket.as_deref()?.parent()
    }

    /// Servers that are programs, by name.
    pub(super) fn programs(&self) -> impl Iterator<Item = (&str, &Command)> {
        self.config.servers.values().filter_map(|server| match &server.backend {
            Backend::Command(command) => Some((&*server.name, &**command)),
            Backend::Http(_) => None,
        })
    }

    /// How long a stop may take: the drain, then streams, sessions, programs and what is left of traces, one after the other.
    pub(super) fn longest_stop(&self) -> Duration {
        let server = &self.config.server;
        let programs: Duration = self.programs().map(|(_, command)| 2 * command.grace).sum();
        server.drain_delay + server.drain_timeout + 5 * GOODBYE + programs
    }

    /// The ports it listens on, each once, in the order of the file.
    pub(super) fn ports(&self) -> Vec<u16> {
        let mut ports = Vec::new();
        for address in &self.config.server.listen {
            if !ports.contains(&address.port()) {
                ports.push(address.port());
            }
        }
        ports
    }
}

/// A duration in whole seconds, rounded up.
pub(super) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

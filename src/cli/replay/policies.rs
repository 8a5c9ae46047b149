//! The other policies, by server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::Global;
use super::super::test::files_in;
use crate::config::{self, Config, Problems, Server};
use crate::trial::Suite;

/// One suite for each server that has files.
pub(super) struct Policies {
    suites: BTreeMap<Arc<str>, Suite>,
    /// Names of issuers by `iss`.
    issuers: BTreeMap<Arc<str>, Arc<str>>,
}

impl Policies {
    /// Loads `paths`. With a `proxy.toml` a server's files are found by their names in it, without one a file is for the
    /// server it is named after.
    pub(super) fn load(paths: &[PathBuf], global: &Global, problems: &mut Problems) -> Result<Self, String> {
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                files.extend(files_in(path)?);
            } else if path.exists() {
                files.push(path.clone());
            } else {
                return Err(format!("there is no {}", path.display()));
            }
        }
        let mut policies = Self { suites: BTreeMap::new(), issuers: BTreeMap::new() };
        if !global.config.exists() {
            for file in files {
                let name: Arc<str> = file.file_stem().unwrap_or_default().to_string_lossy().as_ref().into();
                policies.suites.extend(Suite::of_files(&[file], problems).map(|suite| (name, suite)));
            }
            return Ok(policies);
        }
        let (config, _) = config::load(&global.config).map_err(|found| {
            problems.append(found);
            format!("{} is refused", global.config.display())
        })?;
        for issuer in config.issuers.values() {
            policies.issuers.insert(Arc::clone(&issuer.issuer), Arc::clone(&issuer.name));
        }
        for server in config.servers.values() {
            let chosen = chosen(&config, server, &files);
            if !chosen.is_empty() {
                let suite = Suite::of_server_with(&config, server, &chosen, problems);
                policies.suites.extend(suite.map(|suite| (Arc::clone(&server.name), suite)));
            }
        }
        if policies.suites.is_empty() && problems.is_empty() {
            return Err("none of the files is named like one of proxy.toml's policies".to_owned());
        }
        Ok(policies)
    }

    pub(super) fn of(&self, server: &str) -> Option<&Suite> {
        self.suites.get(server)
    }

    /// The issuer's name in `proxy.toml`; empty for one that is not there.
    pub(super) fn issuer_name(&self, iss: &str) -> &str {
        self.issuers.get(iss).map_or("", |name| name)
    }
}

/// The files of one server in the order of its `policies`: those of the same names, or all where there is one server.
fn chosen(config: &Config, server: &Server, files: &[PathBuf]) -> Vec<PathBuf> {
    let named = |wanted: &Path| files.iter().find(|file| file.file_name() == wanted.file_name()).cloned();
    let chosen: Vec<PathBuf> = server.policies.iter().filter_map(|path| named(path)).collect();
    if chosen.len() == server.policies.len() {
        return chosen;
    }
    if config.servers.len() == 1 { files.to_vec() } else { Vec::new() }
}

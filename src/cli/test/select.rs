//! What to test: the servers of a `proxy.toml`, or policy files by themselves.

use std::path::{Path, PathBuf};

use super::super::Global;
use crate::config::{self, Problems};
use crate::trial::Suite;

/// The suites of `paths`, or of the `proxy.toml` of `--config`; what is wrong with a file goes to `problems`, what is
/// wrong with the paths is the error.
pub(in crate::cli) fn suites_of(
    paths: &[PathBuf],
    global: &Global,
    problems: &mut Problems,
) -> Result<Vec<Suite>, String> {
    if paths.is_empty() {
        if !global.config.exists() {
            let name = global.config.display();
            return Err(format!("there is no {name}; name policy files, as in `portcullis test policies/`"));
        }
        return Ok(of_config(&global.config, problems));
    }
    let mut suites = Vec::new();
    for path in paths {
        let cannot = |error| format!("cannot read {}: {error}", path.display());
        if std::fs::metadata(path).map_err(cannot)?.is_dir() {
            let files = files_in(path)?;
            suites.extend(files.into_iter().filter_map(|file| Suite::of_files(&[file], problems)));
            continue;
        }
        // Once: a pipe has nothing to read the second time.
        let bytes = std::fs::read(path).map_err(cannot)?;
        if is_proxy(&bytes) {
            suites.extend(of_config(path, problems));
        } else {
            suites.extend(Suite::of_read(path, bytes, problems));
        }
    }
    Ok(suites)
}

fn of_config(path: &Path, problems: &mut Problems) -> Vec<Suite> {
    let config = match config::load(path) {
        Ok((config, warnings)) => {
            problems.append(warnings);
            config
        }
        Err(found) => {
            problems.append(found);
            return Vec::new();
        }
    };
    let suites: Vec<Suite> =
        config.servers.values().filter_map(|server| Suite::of_server(&config, server, problems)).collect();
    for suite in &suites {
        suite.check_cases(problems);
    }
    suites
}

/// The policy files of a folder, by name.
pub(in crate::cli) fn files_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let shown = folder.display();
    let entries = std::fs::read_dir(folder).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml") && path.is_file())
        .collect();
    files.sort();
    if files.is_empty() { Err(format!("there is no policy file (*.toml) in {shown}")) } else { Ok(files) }
}

/// Whether a file is a `proxy.toml`: only that has servers.
fn is_proxy(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let (root, _) = toml::de::DeTable::parse_recoverable(text);
    ["server", "servers", "issuers"].iter().any(|key| root.get_ref().contains_key(*key))
}

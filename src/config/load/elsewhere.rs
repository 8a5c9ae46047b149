//! A configuration as it will be read on another machine, for the files that deploy it there.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::{Config, Loader, Problem, Problems, Source, read, variable};

/// A configuration whose paths are those of the machine it is for; none of the files it names has been looked at.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    /// What it means there.
    pub(crate) config: Config,
    /// The file, as it is written.
    pub(crate) text: String,
    /// The variables its strings name, without those that `load` was given.
    pub(crate) variables: BTreeSet<String>,
}

impl Elsewhere {
    /// Reads the file at `path` as it will be read at `there`, where the variables of `set` are set; others must be set here
    /// too. Errs with everything that is wrong.
    pub(crate) fn load(path: &Path, there: &Path, set: &[(&str, &str)]) -> Result<Self, Problems> {
        let text = read(path).map_err(|(message, help)| {
            let nothing = Arc::new(Source::new(path, String::new()));
            Problems::from_iter([Problem::error(&nothing, 0..0, message, "").help(help)])
        })?;
        let named = RefCell::new(BTreeSet::new());
        let value = |name: &str| {
            if let Some((_, value)) = set.iter().find(|(known, _)| *known == name) {
                return Some((*value).to_owned());
            }
            // What is sent to a collector from here is not what is sent from there.
            if name.starts_with("OTEL_") {
                return None;
            }
            named.borrow_mut().insert(name.to_owned());
            variable(name)
        };
        // Once where it is, for the places of problems.
        Loader::run(&text, path, &value, None)?;
        let (config, _) = Loader::run(&text, there, &value, None)?;
        Ok(Self { config, text, variables: named.into_inner() })
    }

    /// Whether the file itself has secrets in it.
    pub(crate) fn has_secrets(&self) -> bool {
        self.config.source().text != self.text
    }
}

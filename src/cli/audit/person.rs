use std::path::{Path, PathBuf};

use clap::Args;

use super::super::{Exit, Global, Streams};
use crate::audit::subjects::Keys;
use crate::audit::whose::Person;
use crate::config::{self, Config};

/// Whose lines.
#[derive(Args, Debug)]
pub(super) struct Whose {
    /// The person or program, as `sub` in its tokens.
    #[arg(long, value_name = "SUB")]
    subject: String,
    /// The issuer: its name in proxy.toml, or `iss` as in its tokens [default: those in proxy.toml].
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// The file of `audit.subjects_key_file` [default: the one in proxy.toml].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// The person, once for each issuer that may name it so.
pub(super) struct Persons {
    pub(super) all: Vec<Person>,
    pub(super) key: Option<PathBuf>,
    /// `proxy.toml`, where it was read.
    pub(super) config: Option<Config>,
}

impl Whose {
    /// Finds out who is meant, and the digests. Says what is wrong. `proxy.toml` is read where something is not said,
    /// or where `always`.
    pub(super) fn persons(&self, always: bool, global: &Global, streams: &mut Streams<'_>) -> Result<Persons, Exit> {
        let is_said = self.key.is_some() && self.issuer.as_deref().is_some_and(is_identifier);
        let config = if always || (!is_said && global.config.exists()) { Some(load(global, streams)?) } else { None };
        let issuers = self.issuers(config.as_ref(), global, streams)?;
        let key = self.key.clone().or_else(|| config.as_ref()?.audit.subjects_key.clone());
        let keys = key.as_deref().map(|path| read(path, streams)).transpose()?;
        let person = |issuer: Option<Box<str>>| Person {
            digest: issuer.as_deref().and_then(|issuer| Some(keys.as_ref()?.digest(issuer, &self.subject))),
            issuer,
            subject: self.subject.as_str().into(),
        };
        let all: Vec<Person> = issuers.into_iter().map(person).collect();
        for person in &all {
            tell(person, keys.as_ref(), streams);
        }
        Ok(Persons { all, key, config })
    }

    fn issuers(
        &self,
        config: Option<&Config>,
        global: &Global,
        streams: &mut Streams<'_>,
    ) -> Result<Vec<Option<Box<str>>>, Exit> {
        let known = config.map(|config| &config.issuers);
        let Some(wanted) = &self.issuer else {
            let all: Vec<_> = known.into_iter().flat_map(|issuers| issuers.values()).collect();
            if all.is_empty() && self.key.is_some() {
                streams.message("error: whose issuer? Name it with --issuer, as `iss` in tokens");
                return Err(Exit::Usage);
            }
            let named = |issuer: &&config::Issuer| Some(issuer.issuer.as_ref().into());
            return Ok(if all.is_empty() { vec![None] } else { all.iter().map(|issuer| named(&&**issuer)).collect() });
        };
        let named = known.and_then(|issuers| issuers.values().find(|issuer| *issuer.name == **wanted));
        match named {
            Some(issuer) => Ok(vec![Some(issuer.issuer.as_ref().into())]),
            None if is_identifier(wanted) => Ok(vec![Some(wanted.as_str().into())]),
            None => {
                let file = global.config.display();
                streams.message(format_args!(
                    "error: {file} has no issuer `{wanted}`: write its name there, or its `iss`"
                ));
                Err(Exit::Usage)
            }
        }
    }
}

/// Whether it is an issuer's identifier, and not its name in `proxy.toml`.
fn is_identifier(text: &str) -> bool {
    text.contains("://")
}

fn load(global: &Global, streams: &mut Streams<'_>) -> Result<Config, Exit> {
    config::load(&global.config).map(|(config, _)| config).map_err(|problems| {
        streams.problems(&problems);
        Exit::Config
    })
}

fn read(path: &Path, streams: &mut Streams<'_>) -> Result<Keys, Exit> {
    Keys::read(path).map_err(|error| {
        streams.message(format_args!("error: {error}"));
        Exit::Usage
    })
}

/// Says by which digest lines tell the person, and whether there were others.
fn tell(person: &Person, keys: Option<&Keys>, streams: &mut Streams<'_>) {
    let (Some(issuer), Some(digest), Some(keys)) = (&person.issuer, &person.digest, keys) else { return };
    let (subject, issuer) = (person.subject.escape_debug(), issuer.escape_debug());
    streams.message(format_args!("note: {subject} of {issuer} is {digest}"));
    let times = match keys.lives(&person.issuer.clone().unwrap_or_default(), &person.subject) {
        0 => return,
        1 => "once".to_owned(),
        times => format!("{times} times"),
    };
    streams.message(format_args!("note: that key was erased {times}: lines from before can be found by nobody"));
}

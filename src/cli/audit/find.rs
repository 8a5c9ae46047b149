//! `portcullis audit find`: the lines about one person.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::super::{Exit, Global, Streams};
use super::files;
use super::person::{Persons, Whose};
use crate::audit::set;
use crate::config::AuditSink;

/// Arguments of `audit find`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis audit find --subject ana                        in the files of proxy.toml
  portcullis audit find --subject ana /var/log/portcullis | portcullis audit tail -
  portcullis audit find audit.jsonl --subject ana --issuer https://login.example.com --key audit-subjects.key",
    after_help = "Prints the lines as they are, of calls both, in which the person is the caller, acts for the caller, or has tokens \
                  revoked.\nWith `audit.subjects = \"keyed\"` lines tell a person by a digest, which standard error names.\n\
                  Exit codes: 0 there are lines, 1 there are none, or some are no records, 2 wrong arguments or a file that cannot\n\
                  be read, 78 the configuration is refused"
)]
pub(super) struct Find {
    /// Audit files in their order, a folder or a quoted pattern for all of them, or `-` for standard input [default: the file
    /// in proxy.toml, and what was rotated of it].
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    whose: Whose,
}

impl Find {
    /// Prints the lines.
    pub(super) fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let persons = match self.whose.persons(self.files.is_empty(), global, streams) {
            Ok(persons) => persons,
            Err(exit) => return exit,
        };
        let files = match self.paths(&persons, global, streams) {
            Ok(files) => files,
            Err(exit) => return exit,
        };
        let mut found = false;
        let read = files::read(&files, streams, &mut |line, out| {
            let Some(record) = record(line) else { return Ok(Err("not a record of Portcullis".into())) };
            if persons.all.iter().any(|person| person.is_in(&record)) {
                found = true;
                out.write_all(line)?;
                out.write_all(b"\n")?;
            }
            Ok(Ok(()))
        });
        match read {
            Err(exit) => exit,
            Ok(read) => match files::exit(&read, streams) {
                Exit::Done if !found => {
                    streams.message("note: there is no such line");
                    Exit::No
                }
                exit => exit,
            },
        }
    }

    /// The files that were named, or those the proxy writes.
    fn paths(&self, persons: &Persons, global: &Global, streams: &mut Streams<'_>) -> Result<Vec<PathBuf>, Exit> {
        if !self.files.is_empty() {
            return files::named(&self.files, streams);
        }
        if let Some(AuditSink::File(path)) = persons.config.as_ref().map(|config| &config.audit.sink) {
            return Ok(set::with_rotated(path));
        }
        streams.message(format_args!(
            "error: with {} the audit goes to standard output: name a file, or `-` for standard input",
            global.config.display()
        ));
        Err(Exit::Usage)
    }
}

fn record(line: &[u8]) -> Option<Value> {
    let record: Value = serde_json::from_slice(line).ok()?;
    (record.get("v").is_some() && record.get("event").is_some()).then_some(record)
}

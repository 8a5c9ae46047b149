//! `portcullis audit report`: the figures of a period, as a page or for programs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use serde_json::json;

use super::super::{Exit, Streams};
use super::files;
use super::verify::{Finding, Verdict, read_keys};
use crate::audit::reading;
use crate::audit::report::{Evidence, Figures, Integrity, Period, Source, page};
use crate::clock::Timestamp;

/// Arguments of `audit report`.
#[derive(Args, Debug)]
#[command(
    group = ArgGroup::new("result").required(true).multiple(true),
    before_long_help = "Examples:
  portcullis audit report audit.jsonl --html report.html --key audit.pub
  portcullis audit report audit.jsonl.* --html november.html --from 2026-11-01 --to 2026-12-01
  zcat audit.jsonl.*.gz | portcullis audit report - --format json",
    after_help = "The page needs nothing from elsewhere and prints well. It helps you show what the records say; it judges nothing.\n\
                  Exit codes: 0 done, 1 some lines are no records, or the files do not verify with --key,\n\
                  2 wrong arguments, a file that cannot be read, or no record of the period,\n\
                  69 the page cannot be written"
)]
pub(super) struct Report {
    /// Audit files in their order, a folder or a quoted pattern for all of them, or `-` for standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// A PEM file with the public key of the checkpoints, to verify them; can be repeated.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Write a page to this file, or `-` for standard output.
    #[arg(long, value_name = "OUT", group = "result")]
    html: Option<PathBuf>,
    /// Print the figures.
    #[arg(long, value_name = "FORMAT", group = "result")]
    format: Option<FigureFormat>,
    /// The beginning of the period: a day, or a time such as 2026-11-01T06:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// The end of the period, which is not part of it.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FigureFormat {
    /// One JSON object.
    Json,
}

/// A day, from its first moment in UTC, or a moment.
fn moment(text: &str) -> Result<Timestamp, String> {
    reading::moment(text)
        .or_else(|| reading::moment(&format!("{text}T00:00:00Z")))
        .ok_or_else(|| "write a day as in 2026-11-01, or a time as in 2026-11-01T06:00:00Z".to_owned())
}

impl Report {
    /// Reads the files, and writes what was asked for.
    pub(super) fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let named = match files::named(&self.files, streams) {
            Ok(named) => named,
            Err(exit) => return exit,
        };
        let mut figures = Figures::new(Period { from: self.from, until: self.to });
        let files = match files::read(&named, streams, &mut |line, _| Ok(figures.add(line))) {
            Ok(files) => files,
            Err(exit) => return exit,
        };
        if figures.is_empty() {
            files::exit(&files, streams);
            streams.message("error: there is no record of this period");
            return Exit::Usage;
        }
        let integrity = match self.integrity(&named, streams) {
            Ok(integrity) => integrity,
            Err(exit) => return exit,
        };
        if let Some(path) = &self.html {
            let sources: Vec<Source> = files.iter().map(source).collect();
            let evidence = Evidence { now: Timestamp::now(), sources: &sources, integrity: integrity.as_ref() };
            let page = page(&figures, &evidence);
            if path.as_os_str() == "-" {
                streams.write(page.as_bytes());
            } else if let Err(error) = write(path, &page) {
                streams.message(format_args!("error: cannot write {}: {error}", path.display()));
                return Exit::Unavailable;
            }
        }
        if let Some(FigureFormat::Json) = self.format {
            let mut told = figures.json();
            told["schema_version"] = 1.into();
            told["verified"] = integrity.as_ref().is_some_and(|integrity| integrity.holds).into();
            told["files"] = files
                .iter()
                .map(|file| {
                    json!({ "name": file.name, "bytes": file.bytes, "sha256": file.sha256, "records": file.records,
                        "bad_lines": file.bad })
                })
                .collect();
            streams.print(told);
        }
        let exit = files::exit(&files, streams);
        if !self.key.is_empty() && integrity.is_none_or(|integrity| !integrity.holds) {
            streams.message(
                "error: it is not shown that the files are as they were written: see `portcullis audit verify`",
            );
            return Exit::No;
        }
        exit
    }
}

impl Report {
    /// Verifies the files, as `verify` does; `None` for standard input, which can be read only once, and for
    /// files that are not chained, unless a key says that they should be.
    fn integrity(&self, files: &[PathBuf], streams: &mut Streams<'_>) -> Result<Option<Integrity>, Exit> {
        let keys = read_keys(&self.key, streams)?;
        if files.iter().any(|path| path.as_os_str() == "-") {
            return Ok(None);
        }
        let verdict = Verdict::of(files, keys, None, streams)?;
        if self.key.is_empty() && verdict.is_unchained() {
            return Ok(None);
        }
        let lines = verdict.findings().iter().map(Finding::line).collect();
        Ok(Some(Integrity { holds: verdict.is_good(), lines }))
    }
}

fn source(file: &files::AuditFile) -> Source {
    let files::AuditFile { name, bytes, sha256, records, bad } = file.clone();
    Source { name, bytes, sha256, records, bad }
}

/// Replaces the file with a whole page that only its owner can read: it names people.
fn write(path: &Path, page: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file.write_all(page.as_bytes()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

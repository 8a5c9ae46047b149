//! `portcullis audit verify`: shows that audit files are as they were written.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::super::progress::Progress;
use super::super::{Exit, Format, Streams};
use super::files;
use crate::audit::checkpoint::PublicKey;
use crate::audit::verify::{Deletion, Fault, Note, Place, Verification};

/// The longest line that is read, in bytes. Lines written by the proxy are far shorter.
const LINE: usize = 1024 * 1024;

/// Arguments of `audit verify`.
#[derive(Args, Debug)]
#[command(
    before_long_help = "Examples:
  portcullis audit verify /var/log/portcullis/audit.jsonl --key audit.pub
  portcullis audit verify /var/log/portcullis --key audit.pub        with all that was rotated
  portcullis audit verify audit.jsonl.2 audit.jsonl.1 audit.jsonl --key audit.pub
  openssl pkey -in audit.pem -pubout > audit.pub             the public key of `audit.signing_key_file`",
    after_help = "The chain of hashes shows accidents. Who can write the file can write another chain, but no signature: only \
                  --key shows forgery,\nup to the newest checkpoint. What was cut off after it shows only with --at-least: \
                  `portcullis_audit_sequence` in the metrics is the\nnumber of the newest line.\n\
                  Exit codes: 0 the files are as they were written, 1 they are not or that is not proven, 2 wrong arguments"
)]
pub(super) struct Verify {
    /// The audit files, the oldest first, or a folder or a quoted pattern for all of them; `-` for standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// A PEM file with the public key of the checkpoints; can be repeated.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// The number (`seq`) that the newest line has at least.
    #[arg(long, value_name = "SEQ")]
    at_least: Option<u64>,
    /// How to print what was found.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// Reads the public keys; one that cannot be used is named.
pub(super) fn read_keys(paths: &[PathBuf], streams: &mut Streams<'_>) -> Result<Vec<PublicKey>, Exit> {
    let read = |path: &PathBuf| {
        PublicKey::read(path).map_err(|error| {
            streams.message(format_args!(
                "error: `{}` cannot be used as a key: {error}\n  = help: `openssl pkey -in audit.pem -pubout` prints the \
                 public key of a private one",
                path.display()
            ));
            Exit::Usage
        })
    };
    paths.iter().map(read).collect()
}

/// One thing that was found.
pub(super) enum Finding {
    /// The line at which verifying ended, and what to do about it.
    Broken { text: String, at: String, help: &'static str },
    /// Something is not as it should be.
    Fault(String),
    /// Something is.
    Held(String),
    /// Worth knowing.
    Note(String),
}

impl Finding {
    /// In one line.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Broken { text, at, .. } => format!("{at}: {text}"),
            Self::Fault(text) | Self::Held(text) | Self::Note(text) => text.clone(),
        }
    }
}

/// What was found, and where it ended.
pub(super) struct Verdict {
    verification: Verification,
    /// The fault, with its file and line.
    fault: Option<(PathBuf, u64, Fault)>,
    files: Vec<PathBuf>,
    at_least: Option<u64>,
}

impl Verify {
    /// Verifies and prints.
    pub(super) fn run(&self, streams: &mut Streams<'_>) -> Exit {
        let keys = match read_keys(&self.key, streams) {
            Ok(keys) => keys,
            Err(exit) => return exit,
        };
        let files = match files::named(&self.files, streams) {
            Ok(files) => files,
            Err(exit) => return exit,
        };
        let verdict = match Verdict::of(&files, keys, self.at_least, streams) {
            Ok(verdict) => verdict,
            Err(exit) => return exit,
        };
        match self.format {
            Format::Text => verdict.print(streams),
            Format::Json => streams.print(verdict.json()),
        }
        if verdict.is_good() { Exit::Done } else { Exit::No }
    }
}

impl Verdict {
    /// Verifies files, the oldest first, up to the first fault. Errs if one cannot be read, which is said.
    pub(super) fn of(
        files: &[PathBuf],
        keys: Vec<PublicKey>,
        at_least: Option<u64>,
        streams: &mut Streams<'_>,
    ) -> Result<Self, Exit> {
        let mut verification = Verification::new(keys);
        let mut fault = None;
        for path in files {
            verification.next_file();
            let found = if path.as_os_str() == "-" {
                read(&mut *streams.input, 0, &mut verification, &mut *streams.err)
            } else {
                File::open(path).and_then(|file| {
                    let size = file.metadata().map_or(0, |meta| meta.len());
                    read(file, size, &mut verification, &mut *streams.err)
                })
            };
            fault = found.map_err(|error| {
                streams.message(format_args!("error: cannot read {}: {error}", path.display()));
                Exit::Usage
            })?;
            if fault.is_some() {
                break;
            }
        }
        let line = verification.line_number();
        let fault = fault.map(|fault| (files[verification.file()].clone(), line, fault));
        Ok(Self { verification, fault, files: files.to_vec(), at_least })
    }

    /// Whether the newest line has a lower number than it should have.
    fn is_short(&self) -> bool {
        let newest = self.verification.last.as_ref().map_or(0, |last| last.sequence);
        self.at_least.is_some_and(|least| newest < least)
    }

    /// Whether signatures were asked for, and lines that should be signed are not.
    fn is_unproven(&self) -> bool {
        let verification = &self.verification;
        verification.has_keys() && (verification.signed.is_none() || verification.is_overdue())
    }

    /// Whether the files have no chain at all, as without a key or `chain = true`.
    pub(super) fn is_unchained(&self) -> bool {
        self.verification.lines == 0 && matches!(self.fault, Some((_, _, Fault::Unchained)))
    }

    /// Whether everything that was asked is shown.
    pub(super) fn is_good(&self) -> bool {
        self.fault.is_none() && !self.is_short() && !self.is_unproven() && self.verification.lines > 0
    }

    fn print(&self, streams: &mut Streams<'_>) {
        for finding in self.findings() {
            match finding {
                Finding::Broken { text, at, help } => {
                    streams.message(format_args!("error: {text}\n --> {at}\n  = help: {help}"));
                }
                Finding::Note(text) => streams.message(format_args!("note: {text}")),
                Finding::Fault(text) => streams.message(format_args!("error: {text}")),
                Finding::Held(text) => streams.print(text),
            }
        }
    }

    /// What was found, in the order in which it is told.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let verification = &self.verification;
        let notes = verification.notes.iter().map(|(place, note)| format!("{}: {}", self.at(place), self.told(note)));
        let mut found: Vec<_> = notes.map(Finding::Note).collect();
        if let Some((path, line, fault)) = &self.fault {
            let at = format!("{}:{line}", path.display());
            found.push(Finding::Broken { text: fault.to_string(), at, help: fault.remedy() });
        }
        if let (Some(first), Some(last)) = (&verification.first, &verification.last) {
            let lines = count(verification.lines, "line");
            let until = if self.fault.is_some() { " before it" } else { "" };
            let (from, to) = (first.sequence, last.sequence);
            found.push(Finding::Held(format!(
                "chain   {lines}{until}, seq {from} to {to}, {} to {}",
                first.time, last.time
            )));
            found.push(Finding::Held(format!("proven  {}", self.proven())));
        } else if self.fault.is_none() {
            found.push(Finding::Fault("there is no line to verify".to_owned()));
        }
        if self.fault.is_none() && self.is_unproven() {
            let text = "lines that should have been signed are not: the end was written by something else, or nothing signed it";
            found.push(Finding::Fault(text.to_owned()));
        }
        if let Some(least) = self.at_least.filter(|_| self.fault.is_none() && self.is_short()) {
            let newest = verification.last.as_ref().map_or(0, |last| last.sequence);
            let text = format!("the newest line is {newest}, not {least} or more: the end is missing");
            found.push(Finding::Fault(text));
        }
        found
    }

    /// Up to where signatures prove the lines, in words.
    fn proven(&self) -> String {
        let verification = &self.verification;
        let checkpoints = count(verification.checkpoints, "checkpoint");
        match &verification.signed {
            None if verification.has_keys() => "nothing: there is no checkpoint".to_owned(),
            None => "nothing: no line is signed, so the chain shows accidents only".to_owned(),
            Some(_) if !verification.has_keys() => {
                format!("nothing: give --key to verify {checkpoints}; the chain alone shows accidents only")
            }
            Some(signed) => {
                let rest = match verification.unsigned {
                    0 => String::new(),
                    more => format!("; {} after it not yet", count(more, "line")),
                };
                format!("up to {}, seq {}, {}, by {checkpoints}{rest}", self.at(signed), signed.sequence, signed.time)
            }
        }
    }

    fn told(&self, note: &Note) -> String {
        match note {
            Note::Continues(prev) => match self.verification.deleted_before() {
                Some(deletion) => self.deleted(deletion),
                None => format!(
                    "this file continues one that was not given, after the line with hash {prev}, and no line given says that it was deleted"
                ),
            },
            Note::Dropped(lines) => {
                format!(
                    "{} before this one could not be written, and calls went on (`on_error = \"drop\"`)",
                    count(*lines, "line")
                )
            }
            Note::NewChain => {
                "a new chain begins with this file: nothing shows whether lines between the two are missing".to_owned()
            }
            Note::Torn => "what a failed write has left, which was never part of the log".to_owned(),
        }
    }

    /// What the record of a deletion says of the lines that are gone.
    fn deleted(&self, deletion: &Deletion) -> String {
        let signed = match (self.verification.has_keys(), self.verification.proves(&deletion.place)) {
            (true, true) => ", and a checkpoint signs that line",
            (true, false) => ", and no checkpoint signs that line yet",
            (false, _) => "",
        };
        let Deletion { place, file, last, until, .. } = deletion;
        format!(
            "the lines before this one, up to seq {last} in {file} until {until}, were deleted by the proxy when their time was over \
             (`audit.retention`): {}, seq {} says so{signed}; of what they said only the hash of the last is shown",
            self.at(place),
            place.sequence
        )
    }

    fn at(&self, place: &Place) -> String {
        format!("{}:{}", self.files[place.file].display(), place.line)
    }

    fn json(&self) -> Value {
        let verification = &self.verification;
        let place = |place: &Place| json!({"file": self.files[place.file].display().to_string(), "line": place.line, "seq": place.sequence, "time": place.time});
        let notes = verification.notes.iter().map(|(at, note)| json!({"at": place(at), "note": self.told(note)}));
        let fault = self.fault.as_ref().map(|(path, line, fault)| {
            json!({"file": path.display().to_string(), "line": line, "fault": fault.to_string(), "help": fault.remedy()})
        });
        json!({
            "schema_version": 1,
            "verified": self.is_good(),
            "fault": fault,
            "truncated": self.is_short(),
            "lines": verification.lines,
            "first": verification.first.as_ref().map(place),
            "last": verification.last.as_ref().map(place),
            "checkpoints": verification.checkpoints,
            "signatures_verified": verification.has_keys(),
            "proven": verification.signed.as_ref().filter(|_| verification.has_keys()).map(place),
            "unsigned": verification.unsigned,
            "deleted": verification.deleted_before().map(|deletion| json!({"last_seq": deletion.last, "file": deletion.file,
                "until": deletion.until, "recorded": place(&deletion.place), "signed": verification.proves(&deletion.place)})),
            "notes": notes.collect::<Vec<_>>(),
        })
    }
}

/// Verifies the lines of one input, up to the first fault. Unlike elsewhere they are not trimmed: a space is a change.
fn read(
    input: impl Read,
    size: u64,
    verification: &mut Verification,
    err: &mut dyn io::Write,
) -> io::Result<Option<Fault>> {
    let mut input = BufReader::with_capacity(1 << 18, input);
    let mut progress = Progress::new();
    let mut line = Vec::new();
    let mut bytes = 0;
    let fault = loop {
        line.clear();
        let read = input.by_ref().take(LINE as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            break None;
        }
        bytes += read as u64;
        if let Err(fault) = verification.line(line.strip_suffix(b"\n").unwrap_or(&line)) {
            break Some(fault);
        }
        progress.show(verification.line_number(), bytes, size, err);
    };
    progress.clear(err);
    Ok(fault)
}

fn count(number: u64, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}

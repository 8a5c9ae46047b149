//! Verifies the hash chain of audit files, and the signatures of its checkpoints, one line at a time.

use thiserror::Error;

use super::chain::{Hash, Link, is_torn, show};
use super::checkpoint::PublicKey;
use super::reading::moment;
use crate::clock::Timestamp;

/// The longest time from a line to the next checkpoint, in seconds: `audit.checkpoint` is a minute at most.
const UNSIGNED_SECONDS: i64 = 120;

/// The most deletions that are kept in mind.
const DELETIONS: usize = 10_000;

/// Why a line does not verify. Everything before it does.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The line has no link.
    #[error("this is not a line of a chain")]
    Unchained,
    /// Its bytes are not those that were written.
    #[error("this line was changed: its bytes have the hash {actual}, and it says {said}")]
    Changed {
        /// The hash of its bytes.
        actual: String,
        /// The hash it names.
        said: String,
    },
    /// It follows another line than the one before it.
    #[error("this line does not follow the one before it: lines were removed, added or moved here")]
    Link,
    /// The file does not begin where a file begins.
    #[error("this is not how a file begins: lines before this one are missing")]
    Beginning,
    /// A chain begins where another has not ended.
    #[error("a new chain begins inside a file: lines before this one may be missing")]
    Second,
    /// The file does not continue the one before it.
    #[error("this file does not continue the one before it: a file is missing, or they are in another order")]
    File,
    /// The numbers do not rise.
    #[error("this line has a number that is not above the one before it")]
    Number,
    /// It is no record.
    #[error("this line does not begin like a record: a time and an event are missing")]
    Record,
    /// A checkpoint without a signature, or a signature elsewhere.
    #[error("a checkpoint has a signature, and nothing else has one")]
    Unsigned,
    /// No given key has this id.
    #[error("this checkpoint was signed by key {0}, which was not given")]
    UnknownKey(String),
    /// The signature is not that of the key it names.
    #[error("the signature of this checkpoint is wrong: it was not written by the owner of the key")]
    Signature,
}

impl Fault {
    /// What to do about it.
    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::Unchained => {
                "lines written without `chain = true` cannot be verified; give their file another name before chaining"
            }
            Self::Changed { .. } | Self::Record | Self::Signature | Self::Unsigned => {
                "compare with a copy that was shipped elsewhere"
            }
            Self::Link | Self::Number | Self::Second => {
                "compare with a copy that was shipped elsewhere; two processes that record into one file look like this too"
            }
            Self::Beginning => {
                "give the whole file; one that was cut by something else than a rename looks like this too"
            }
            Self::File => "give all files, the oldest first",
            Self::UnknownKey(_) => {
                "give the public keys of all processes that wrote the files: `--key` can be repeated"
            }
        }
    }
}

/// What is worth knowing and breaks nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The first file continues one that was not given, after the line with this hash.
    Continues(String),
    /// Numbers are missing: lines that could not be written, with `on_error = "drop"`.
    Dropped(u64),
    /// A new chain begins with the file: nothing links it to the one before.
    NewChain,
    /// What a write that failed has left; it was never part of the log.
    Torn,
}

/// A line that a report points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The index of its file.
    pub(crate) file: usize,
    /// Its number in that file, from 1.
    pub(crate) line: u64,
    pub(crate) sequence: u64,
    /// As it stands in the line.
    pub(crate) time: String,
}

/// A file whose deletion the log records: its time was over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deletion {
    /// The line that says so.
    pub(crate) place: Place,
    /// The name of the file.
    pub(crate) file: String,
    /// The number of its last line, and the hash.
    pub(crate) last: u64,
    pub(crate) hash: String,
    /// When it was rotated.
    pub(crate) until: String,
}

impl Deletion {
    fn read(line: &[u8], place: Place) -> Option<Self> {
        let line: serde_json::Value = serde_json::from_slice(line).ok()?;
        let text = |name: &str| line["deleted"][name].as_str().map(ToOwned::to_owned);
        let last = line["deleted"]["last_seq"].as_u64()?;
        Some(Self { place, file: text("file")?, last, hash: text("last_hash")?, until: text("until")? })
    }
}

/// What was verified so far.
#[derive(Debug, Default)]
pub(crate) struct Verification {
    keys: Vec<PublicKey>,
    /// The hash of the last line, and its number.
    head: Option<(Hash, u64)>,
    /// The index of the file being read, and the number of its last line.
    file: usize,
    line: u64,
    /// Whether a line of the current file was verified.
    begun: bool,
    /// Whether there is a current file.
    reading: bool,
    pub(crate) lines: u64,
    pub(crate) checkpoints: u64,
    /// The oldest line.
    pub(crate) first: Option<Place>,
    /// The newest line.
    pub(crate) last: Option<Place>,
    /// The newest checkpoint.
    pub(crate) signed: Option<Place>,
    /// Lines after the newest checkpoint, and the time of the first of them.
    pub(crate) unsigned: u64,
    unsigned_since: i64,
    pub(crate) notes: Vec<(Place, Note)>,
    /// The files whose deletion is recorded, as far as they are needed.
    pub(crate) deletions: Vec<Deletion>,
    /// The hash of the line before the first, if there was one.
    before: Option<String>,
}

impl Verification {
    /// Nothing verified yet. Without `keys` signatures are counted, not verified.
    pub(crate) fn new(keys: Vec<PublicKey>) -> Self {
        Self { keys, ..Self::default() }
    }

    /// Whether signatures are verified.
    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The next file begins.
    pub(crate) fn next_file(&mut self) {
        self.file += usize::from(self.reading);
        (self.line, self.begun, self.reading) = (0, false, true);
    }

    /// The index of the file being read.
    pub(crate) const fn file(&self) -> usize {
        self.file
    }

    /// The number of the line last read, in its file.
    pub(crate) const fn line_number(&self) -> u64 {
        self.line
    }

    /// Verifies the next line, without its newline.
    pub(crate) fn line(&mut self, text: &[u8]) -> Result<(), Fault> {
        self.line += 1;
        if text.is_empty() {
            return Ok(());
        }
        let Some(link) = Link::read(text) else {
            if is_torn(text) {
                self.note(0, "", Note::Torn);
                return Ok(());
            }
            return Err(Fault::Unchained);
        };
        if link.hash != link.actual {
            return Err(Fault::Changed { actual: show(&link.actual), said: show(&link.hash) });
        }
        let (time, event) = head_of(text).ok_or(Fault::Record)?;
        self.follow(&link, time, event)?;
        let signed = self.signature(&link, text, event)?;
        self.begun = true;
        self.head = Some((link.hash, link.sequence));
        self.lines += 1;
        let place = self.place(link.sequence, time);
        if signed {
            self.checkpoints += 1;
            self.unsigned = 0;
            self.signed = Some(place.clone());
        } else {
            if self.unsigned == 0 {
                self.unsigned_since = seconds(time);
            }
            self.unsigned += 1;
        }
        if event == "file_deleted" && self.deletions.len() < DELETIONS {
            self.deletions.extend(Deletion::read(text, place.clone()));
        }
        self.first.get_or_insert_with(|| place.clone());
        self.last = Some(place);
        Ok(())
    }

    /// Whether the line may stand after what was read.
    fn follow(&mut self, link: &Link<'_>, time: &str, event: &str) -> Result<(), Fault> {
        let Some((head, sequence)) = self.head else {
            return match link.prev {
                None => Ok(()),
                Some(prev) if event == "opened" => {
                    self.before = Some(show(&prev));
                    self.note(link.sequence, time, Note::Continues(show(&prev)));
                    Ok(())
                }
                Some(_) => Err(Fault::Beginning),
            };
        };
        match link.prev {
            Some(prev) if prev == head => {
                let skipped = link.sequence.checked_sub(sequence + 1).ok_or(Fault::Number)?;
                if skipped > 0 {
                    self.note(link.sequence, time, Note::Dropped(skipped));
                }
                Ok(())
            }
            None if self.begun => Err(Fault::Second),
            None => {
                self.note(link.sequence, time, Note::NewChain);
                Ok(())
            }
            Some(_) if self.begun => Err(Fault::Link),
            Some(_) if event == "opened" => Err(Fault::File),
            Some(_) => Err(Fault::Beginning),
        }
    }

    /// Whether the line is a checkpoint, whose signature is right if that can be told.
    fn signature(&self, link: &Link<'_>, text: &[u8], event: &str) -> Result<bool, Fault> {
        let Some((signed, signature)) = link.signed else {
            return if event == "checkpoint" { Err(Fault::Unsigned) } else { Ok(false) };
        };
        if event != "checkpoint" {
            return Err(Fault::Unsigned);
        }
        if self.has_keys() {
            let kid = kid_of(text);
            let key = self.keys.iter().find(|key| key.kid() == kid).ok_or(Fault::UnknownKey(kid))?;
            if !key.verifies(signed, &signature) {
                return Err(Fault::Signature);
            }
        }
        Ok(true)
    }

    /// What is recorded of the file whose last line the first one follows: everything before was deleted.
    pub(crate) fn deleted_before(&self) -> Option<&Deletion> {
        let before = self.before.as_ref()?;
        self.deletions.iter().find(|deletion| deletion.hash == *before)
    }

    /// Whether a checkpoint proves the line at `place`.
    pub(crate) fn proves(&self, place: &Place) -> bool {
        self.has_keys() && self.signed.as_ref().is_some_and(|signed| signed.sequence >= place.sequence)
    }

    /// Whether lines went on for longer without a checkpoint than they do in a log that has checkpoints.
    pub(crate) fn is_overdue(&self) -> bool {
        let newest = self.last.as_ref().map_or(0, |last| seconds(&last.time));
        self.unsigned > 0 && newest > self.unsigned_since.saturating_add(UNSIGNED_SECONDS)
    }

    fn place(&self, sequence: u64, time: &str) -> Place {
        Place { file: self.file, line: self.line, sequence, time: time.to_owned() }
    }

    fn note(&mut self, sequence: u64, time: &str, note: Note) {
        /// More of them say no more.
        const NOTES: usize = 100;
        if self.notes.len() < NOTES {
            let place = self.place(sequence, time);
            self.notes.push((place, note));
        }
    }
}

/// The time and the event of a line, at the beginning of every record.
fn head_of(line: &[u8]) -> Option<(&str, &str)> {
    let rest = line.strip_prefix(b"{\"v\":1,\"time\":\"")?;
    let (time, rest) = rest.split_at_checked(Timestamp::default().rfc3339().len())?;
    let rest = rest.strip_prefix(b"\",\"event\":\"")?;
    let event = &rest[..rest.iter().position(|byte| *byte == b'"')?];
    Some((std::str::from_utf8(time).ok()?, std::str::from_utf8(event).ok()?))
}

/// The `kid` of a checkpoint; empty if it has none.
fn kid_of(line: &[u8]) -> String {
    let line: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
    line["kid"].as_str().unwrap_or_default().to_owned()
}

/// Seconds since the epoch; 0 for what is not a time.
fn seconds(time: &str) -> i64 {
    moment(time).map_or(0, Timestamp::unix_seconds)
}

#[cfg(test)]
mod tests;

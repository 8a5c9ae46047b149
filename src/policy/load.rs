//! Loads policy files into a [`Policy`]: reads them, checks them together and compiles them.

mod doubts;
mod expressions;
mod masks;
mod rules;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

use self::rules::Issued;
use super::cases::Case;
use super::describe::{self, Descriptions};
use super::lock::Lock;
use super::raw::File;
use super::table::{Report, Text};
use super::{ListVersions, Policy};
use crate::config::text::{self, NotText};
use crate::config::{Problem, Problems, Source};
use crate::mask::{self, Masks};

/// The loaded policy files of one server.
#[derive(Debug)]
pub struct Loaded {
    /// The rules; empty, so that everything is denied, if a file had an error.
    pub policy: Policy,
    /// The masks, in file order; empty if a file had an error.
    pub masks: Vec<mask::Spec>,
    /// A summary of each file that could be read, in order.
    pub files: Vec<Summary>,
    /// `sha256:` and the digest, in hexadecimal, over path and content of each file.
    pub version: String,
    /// What the lists shown to callers depend on.
    pub lists: ListVersions,
    /// Titles and descriptions of tools that replace the upstream's.
    pub descriptions: Descriptions,
    /// The place of each of those.
    described: describe::Places,
    /// The `[[test]]` tables, in file order.
    pub(crate) tests: Vec<Case>,
    /// The place of each mask.
    declared: masks::Declared,
    issued: Vec<Issued>,
}

/// A summary of one policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The file.
    pub path: PathBuf,
    /// The number of rules.
    pub rules: usize,
    /// The number of masks.
    pub masks: usize,
}

impl Loaded {
    /// Compiles the masks; `None` if one is wrong. Problems go to `problems`, each at its place in the file.
    pub fn compile_masks(&mut self, problems: &mut Problems) -> Option<Masks> {
        let specs = std::mem::take(&mut self.masks);
        let errors = match Masks::compile(specs) {
            Ok(masks) => return Some(masks),
            Err(errors) => errors,
        };
        for error in errors {
            if let Some((file, span)) = self.fault_place(&error) {
                problems.push(Problem::error(file, span, error.message, "").help(error.help));
            }
        }
        None
    }
}

impl Loaded {
    /// The `id` of each rule and its place, in file order.
    pub(crate) fn rule_places(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Source>, Range<usize>)> {
        self.issued.iter().map(Issued::place)
    }

    /// Compares the descriptions with the approved tools.
    pub(crate) fn check_lock(&self, lock: &Lock, problems: &mut Problems) {
        describe::check_lock(&self.described, lock, problems);
    }

    /// The same for each mask, in no particular order.
    pub(crate) fn mask_places(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Source>, Range<usize>)> {
        self.declared.ids.iter().map(|(id, (source, span))| (id, source, span.clone()))
    }
}

/// Reads the policy files of one server, in order. Every problem of every file goes to `problems`; with an error among
/// them the policy denies everything.
pub fn load(files: &[PathBuf], problems: &mut Problems) -> Loaded {
    let mut report = Report::new(problems);
    let read = files.iter().map(|path| (path.as_path(), read(path, &mut report))).collect();
    of_bytes(read, report)
}

/// Like [`load`], for a file that was already read: a pipe cannot be read again.
pub(crate) fn load_read(path: &Path, bytes: Vec<u8>, problems: &mut Problems) -> Loaded {
    of_bytes(vec![(path, bytes)], Report::new(problems))
}

fn of_bytes(files: Vec<(&Path, Vec<u8>)>, mut report: Report<'_>) -> Loaded {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut sources = Vec::with_capacity(files.len());
    for (path, bytes) in files {
        note(&mut hash, path, &bytes);
        sources.push(source(path, bytes, &mut report));
    }
    let version = format!("sha256:{}", HEXLOWER.encode(hash.finish().as_ref()));
    compile(&sources, version, report)
}

fn read(path: &Path, report: &mut Report<'_>) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| {
        let source = Arc::new(Source::new(path, String::new()));
        let problem = Problem::error(&source, 0..0, format!("cannot read the policy file: {error}"), "");
        report.error(problem.help("`policies` in proxy.toml lists it"));
        Vec::new()
    })
}

/// Adds one file to the version. The lengths keep different divisions into files from having the same digest.
fn note(hash: &mut digest::Context, path: &Path, bytes: &[u8]) {
    for part in [path.as_os_str().as_encoded_bytes(), bytes] {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
}

fn source(path: &Path, bytes: Vec<u8>, report: &mut Report<'_>) -> Arc<Source> {
    let text = text::decode(bytes).unwrap_or_else(|(wrong, bytes)| {
        let (text, span, label) = match wrong {
            NotText::Other { at, .. } => {
                (String::from_utf8_lossy(&bytes).into_owned(), at..at + 1, "not UTF-8 from here")
            }
            NotText::Encoded(_) | NotText::Nul(_) => (String::new(), 0..0, ""),
        };
        let source = Arc::new(Source::new(path, text));
        let problem = Problem::error(&source, span, format!("the policy file {wrong}"), label);
        report.error(problem.help(wrong.help(path)));
        // Read as empty, so that it has no syntax errors on top.
        String::new()
    });
    Arc::new(Source::new(path, text))
}

/// Compiles the files; `report` may already have errors from reading them.
fn compile(sources: &[Arc<Source>], version: String, mut report: Report<'_>) -> Loaded {
    let files: Vec<File> = sources.iter().filter_map(|source| File::read(source, &mut report)).collect();
    let (policy, issued) = rules::compile(&files, &mut report);
    let (masks, declared) = masks::compile(&files, &mut report);
    let written = files.iter().map(|file| (&file.source, &*file.described));
    let (descriptions, described) = describe::compile(written, &mut report);
    let lists = ListVersions::of(&files, &masks);
    let summary =
        |file: &File| Summary { path: file.source.path.clone(), rules: file.rules.len(), masks: file.masks.len() };
    let summaries = files.iter().map(summary).collect();
    let tests = files.into_iter().flat_map(|file| file.tests).collect();
    let (policy, masks) = if report.failed() { (Policy::default(), Vec::new()) } else { (policy, masks) };
    Loaded { policy, masks, files: summaries, version, lists, descriptions, described, tests, declared, issued }
}

/// Reports an id that is already used.
fn unique(
    ids: &mut HashMap<Arc<str>, (Arc<Source>, Range<usize>)>,
    id: &Text,
    what: &str,
    source: &Arc<Source>,
    report: &mut Report<'_>,
) -> Arc<str> {
    let name: Arc<str> = id.get_ref().as_str().into();
    if let Some((file, span)) = ids.get(&name) {
        let (line, _) = file.position(span.start);
        let message = format!("the {what} `{name}` is there twice");
        let problem = Problem::error(source, id.span(), message, "taken");
        report
            .error(problem.help(format!("the first is at {}:{line}; give this one another `id`", file.path.display())));
    } else {
        ids.insert(Arc::clone(&name), (Arc::clone(source), id.span()));
    }
    name
}

#[cfg(test)]
pub(super) fn from_texts(texts: &[&str], problems: &mut Problems) -> Loaded {
    let sources: Vec<Arc<Source>> =
        texts.iter().enumerate().map(|(at, text)| Arc::new(Source::new(format!("{at}.toml"), *text))).collect();
    compile(&sources, String::new(), Report::new(problems))
}

#[cfg(test)]
mod tests;

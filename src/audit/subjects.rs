//! Keyed subjects: who called is told by a digest, which only a key tells who it is of, and each subject's can be erased alone.
//!
//! The key of a subject is drawn from those in one file, so that nothing has to be kept of who has called, and proxies with the
//! same file write the same digests. To erase a subject is to take from the file what gives its key, and no other: see
//! [`tree`]. Without its key nobody can tell of a line whether it is the subject's, not even who knows whom to look for. One
//! who calls again after that gets another key, and so another digest.

mod replacement;
mod tree;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::{digest, hmac};
use data_encoding::HEXLOWER;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Audit, Event, Fragment, Lane, Record, Subject, record};
use crate::clock::Timestamp;
use crate::seal;
use replacement::Replacement;
use tree::{Key, Tree};

/// How a digest in place of a name begins.
pub(crate) const PREFIX: &str = "keyed:";
/// What is written where a name is left out.
pub(super) const WITHHELD: &str = "withheld";
/// Bytes of a digest that are told.
const TOLD: usize = 16;
/// The most times one subject can be erased.
const LIVES: u32 = 4096;

/// Why the file of keys cannot be used.
#[derive(Debug, Error)]
pub(crate) enum SubjectsError {
    /// It is a file from which something was erased, and somebody changed it.
    #[error("line {0} of `{1}` is not as it was written")]
    Changed(usize, PathBuf),
    /// It is neither that nor a key.
    #[error(transparent)]
    Key(#[from] seal::LoadError),
    /// It cannot be read or written.
    #[error("cannot read or replace `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The keys of one file.
#[derive(Debug)]
pub(crate) struct Keys(Tree);

impl Keys {
    /// Reads a file with 32 random bytes, or what [`Self::erase`] has made of one.
    pub(crate) fn read(path: &Path) -> Result<Self, SubjectsError> {
        let content = fs::read(path).map_err(|source| SubjectsError::File { path: path.to_owned(), source })?;
        let content = Zeroizing::new(content);
        if content.starts_with(tree::HEAD.as_bytes()) {
            let text = std::str::from_utf8(&content).map_err(|_| SubjectsError::Changed(1, path.to_owned()))?;
            return Tree::read(text).map(Self).map_err(|line| SubjectsError::Changed(line, path.to_owned()));
        }
        let tag = hmac::sign(&seal::hash_key(path)?, b"portcullis/1/subjects");
        let mut root = Key::default();
        root.copy_from_slice(tag.as_ref());
        Ok(Self(Tree::of(root)))
    }

    /// The digest lines tell a subject by.
    pub(crate) fn digest(&self, issuer: &str, subject: &str) -> String {
        self.named(issuer, subject).digest("sub", subject)
    }

    /// How many keys were erased.
    pub(crate) fn erased(&self) -> u64 {
        self.0.erased()
    }

    /// How often this subject's was.
    pub(crate) fn lives(&self, issuer: &str, subject: &str) -> u32 {
        (0..LIVES).find(|life| self.0.key(point(issuer, subject, *life)).is_some()).unwrap_or(LIVES)
    }

    /// Erases the key of a subject in the file, which is replaced as a whole. Returns the digest it was told by so far. Errs if
    /// nothing is erased.
    pub(crate) fn erase(path: &Path, issuer: &str, subject: &str) -> Result<String, SubjectsError> {
        let failed = |source| SubjectsError::File { path: path.to_owned(), source };
        let replacement = Replacement::begin(path).map_err(failed)?;
        let mut keys = Self::read(path)?;
        let digest = keys.digest(issuer, subject);
        keys.0.erase(point(issuer, subject, keys.lives(issuer, subject)));
        replacement.put(keys.0.text().as_bytes()).map_err(failed)?;
        Ok(digest)
    }

    fn named(&self, issuer: &str, subject: &str) -> Named {
        let mut lives = (0..LIVES).filter_map(|life| self.0.key(point(issuer, subject, life)));
        Named(lives.next().map(|key| hmac::Key::new(hmac::HMAC_SHA256, &*key)))
    }
}

/// Where the key of a subject is in the tree, in its first life or one after it was erased.
fn point(issuer: &str, subject: &str, life: u32) -> u64 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"portcullis/1/subject");
    for text in [issuer, subject] {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    context.update(&life.to_be_bytes());
    context.finish().as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The key of one subject; `None` if it was erased more often than anybody is.
struct Named(Option<hmac::Key>);

impl Named {
    /// The digest in place of a value of this subject.
    fn digest(&self, kind: &str, value: &str) -> String {
        let Some(key) = &self.0 else { return WITHHELD.to_owned() };
        let mut context = hmac::Context::with_key(key);
        for text in [kind, value] {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
        let tag = context.sign();
        format!("{PREFIX}{}", HEXLOWER.encode(tag.as_ref().first_chunk::<TOLD>().map_or(&[][..], |told| told)))
    }
}

/// The keys a running proxy writes with.
#[derive(Debug)]
pub(super) struct Subjects {
    path: PathBuf,
    keys: RwLock<Keys>,
}

impl Subjects {
    pub(super) fn open(path: &Path) -> Result<Self, SubjectsError> {
        Ok(Self { path: path.to_owned(), keys: RwLock::new(Keys::read(path)?) })
    }

    /// Reads the file again; on an error the keys stay. Returns how many more keys are erased than before.
    fn read_again(&self) -> Result<u64, SubjectsError> {
        let newer = Keys::read(&self.path)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let more = newer.erased().saturating_sub(keys.erased());
        *keys = newer;
        Ok(more)
    }

    /// The `subject` member with digests for everything that is one person's or client's alone.
    pub(super) fn render(&self, subject: &Subject<'_>) -> Fragment {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let named = keys.named(subject.issuer, subject.subject);
        // Each actor is a subject of its own: who erases it erases it here too.
        let actors: Vec<String> = subject.actors.iter().map(|actor| keys.digest(subject.issuer, actor)).collect();
        let client = subject.client_id.map(|client| named.digest("client_id", client));
        let token = subject.token_id.map(|token| named.digest("jti", token));
        record::render_subject(&Subject {
            subject: &named.digest("sub", subject.subject),
            client_id: client.as_deref(),
            token_id: token.as_deref(),
            actors: &actors.iter().map(String::as_str).collect::<Vec<_>>(),
            ..*subject
        })
    }

    /// The digest in place of a subject.
    pub(super) fn digest(&self, issuer: &str, subject: &str) -> String {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).digest(issuer, subject)
    }
}

/// Has a running proxy read the keys again, and writes how many were erased, but not whose.
pub(crate) fn read_again(audit: &Arc<Audit>) {
    let Some(subjects) = &audit.subjects else { return };
    let erased = match subjects.read_again() {
        Ok(0) => return,
        Ok(erased) => erased,
        Err(error) => {
            tracing::error!(%error, "keys of subjects cannot be read again, the old ones stay in use");
            return;
        }
    };
    tracing::info!(erased, "keys of subjects were erased");
    let about = Fragment::kept(format!(",\"erased\":{{\"subjects\":{erased}}}").into_bytes());
    let mut record = Record::new(Event::SubjectsErased, Timestamp::now(), uuid::Uuid::now_v7());
    record.about = Some(&about);
    if Lane::new(Arc::clone(audit)).record_now(&record).is_err() {
        tracing::error!("that keys of subjects were erased is not in the audit log");
    }
}

/// The network of an address, which many share: the first 24 bits, or 48 of IPv6.
pub(super) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [one, two, three, _] = address.octets();
            format!("{one}.{two}.{three}.0/24")
        }
        IpAddr::V6(address) => {
            let [one, two, three, ..] = address.segments();
            format!("{}/48", std::net::Ipv6Addr::from([one, two, three, 0, 0, 0, 0, 0]))
        }
    }
}

#[cfg(test)]
mod tests;

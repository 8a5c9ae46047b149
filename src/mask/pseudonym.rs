//! Keyed replacements: hashes, and pseudonyms that only the same principal can open again.
//!
//! A pseudonym is `tok_`, the entity in lower case, `_`, and in base64url: one byte of version and epoch, the id of the master
//! key (4 bytes), a tag of the mask (2), and the value encrypted with AES-256-GCM-SIV and a zero nonce (RFC 8452), so that
//! equal values have equal pseudonyms. The key is derived from principal, server, mask and epoch: nothing needs to be stored,
//! and pseudonyms of others do not open.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

use super::pace::Pace;
use super::spec::Share;
use crate::auth::Caller;
use crate::clock::Timestamp;
use crate::seal::{Binding, Purpose, Seals};

/// The prefix of every pseudonym.
pub(super) const PREFIX: &str = "tok_";
/// The hexadecimal digits of a hash: 80 bits.
pub(super) const HASH_DIGITS: usize = 20;
/// The length of an epoch in seconds. Pseudonyms of the previous epoch still open.
const EPOCH: i64 = 24 * 60 * 60;
const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const HEAD_LEN: usize = 1 + KEY_ID_LEN + TAG_LEN;
const TAG_LEN: usize = 2;
const AEAD_TAG_LEN: usize = 16;
/// The longest value, in bytes, as for sealed ids.
const LONGEST: usize = 1024;

/// Identifies a mask of a server in its pseudonyms.
pub(super) type MaskTag = [u8; TAG_LEN];

/// The tag of the mask with that id: the beginning of the id's SHA-256.
pub(super) fn tag_of(mask: &str) -> MaskTag {
    digest::digest(&digest::SHA256, mask.as_bytes()).as_ref().first_chunk().copied().unwrap_or_default()
}

/// Derives the keys of one server's keyed replacements.
#[derive(Clone, Debug)]
pub struct Keyring {
    seals: Arc<Seals>,
    server: Arc<str>,
    upstream: Box<str>,
    pub(super) pace: Arc<Pace>,
}

impl Keyring {
    /// The keys for `server`, whose upstream has that origin.
    pub fn new(seals: Arc<Seals>, server: Arc<str>, upstream: &str, pace: Arc<Pace>) -> Self {
        Self { seals, server, upstream: upstream.into(), pace }
    }

    fn binding<'a>(&'a self, caller: &'a Caller) -> Binding<'a> {
        Binding {
            server: &self.server,
            upstream: &self.upstream,
            issuer: &caller.issuer,
            tenant: caller.tenant.as_deref(),
            subject: &caller.subject,
            client: caller.client_id.as_deref(),
        }
    }

    /// `NAME:` and 80 bits of HMAC-SHA-256 over the value, keyed for the caller or for all callers of the server. `None` if it
    /// is to be keyed for a caller and there is none.
    pub(super) fn hash(&self, share: Share, caller: Option<&Caller>, value: &Keyed<'_>) -> Option<String> {
        let whose = match share {
            Share::Principal => self.binding(caller?).associated_data(Purpose::Pseudonym),
            Share::Server => self.server.as_bytes().to_vec(),
        };
        let epoch = epoch(value.now).to_be_bytes();
        let canonical = canonical(value.name, value.text);
        let parts: [&[u8]; 7] = [
            b"hash",
            share.name().as_bytes(),
            &whose,
            value.mask.as_bytes(),
            &epoch,
            value.name.as_bytes(),
            canonical.as_bytes(),
        ];
        let (_, hash) = self.seals.draw(&parts, value.now)?;
        let digits = HEXLOWER.encode(hash.expose().get(..HASH_DIGITS / 2)?);
        Some(format!("{}:{digits}", value.name))
    }

    /// The pseudonym of a value for the caller; `None` if the value is too long.
    pub(super) fn seal(&self, caller: &Caller, value: &Keyed<'_>) -> Option<String> {
        if value.text.len() > LONGEST {
            return None;
        }
        let epoch = epoch(value.now);
        let binding = self.binding(caller).associated_data(Purpose::Pseudonym);
        let (id, secret) = self.seals.draw(&key_parts(&binding, value.mask, &epoch.to_be_bytes()), value.now)?;
        let mut sealed = value.text.as_bytes().to_vec();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let aad = Aad::from(value.name.as_bytes());
        aead(secret.expose())?.seal_in_place_append_tag(nonce, aad, &mut sealed).ok()?;
        let mut bytes = Vec::with_capacity(HEAD_LEN + sealed.len());
        bytes.push(VERSION << 1 | u8::from(epoch % 2 != 0));
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&tag_of(value.mask));
        bytes.extend_from_slice(&sealed);
        Some(format!("{PREFIX}{}_{}", value.name.to_ascii_lowercase(), BASE64URL_NOPAD.encode(&bytes)))
    }

    /// The value behind a pseudonym, if it is the caller's, of the mask with that id, and of this epoch or the previous one.
    pub(super) fn open(&self, caller: &Caller, mask: &str, read: &Read<'_>, now: Timestamp) -> Option<String> {
        let current = epoch(now);
        let epoch = if current % 2 != 0 { [current - 1, current] } else { [current, current - 1] }[read.odd];
        let binding = self.binding(caller).associated_data(Purpose::Pseudonym);
        let secret = self.seals.draw_from(read.key_id, &key_parts(&binding, mask, &epoch.to_be_bytes()), now)?;
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let mut sealed = read.sealed.clone();
        let aad = Aad::from(read.name.as_bytes());
        let opened = aead(secret.expose())?.open_in_place(nonce, aad, &mut sealed).ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }
}

/// A value to be replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyed<'a> {
    pub(super) mask: &'a str,
    /// Its entity or label.
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) now: Timestamp,
}

/// A parsed pseudonym, not decrypted yet.
#[derive(Debug)]
pub(super) struct Read<'a> {
    pub(super) tag: MaskTag,
    name: &'a str,
    odd: usize,
    key_id: [u8; KEY_ID_LEN],
    sealed: Vec<u8>,
}

impl<'a> Read<'a> {
    /// Parses a pseudonym of the entity `name`; `None` if `text` is none.
    pub(super) fn new(text: &str, name: &'a str) -> Option<Self> {
        let encoded = encoded(text, name)?;
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).ok()?;
        let (head, sealed) = bytes.split_first_chunk::<HEAD_LEN>()?;
        let [first, id @ .., tag0, tag1] = head;
        let fits = first >> 1 == VERSION && sealed.len() >= AEAD_TAG_LEN;
        fits.then(|| Self {
            tag: [*tag0, *tag1],
            name,
            odd: usize::from(first & 1),
            key_id: *id,
            sealed: sealed.to_vec(),
        })
    }
}

/// Whether a text has the form of a pseudonym of the entity `name`, whether it opens or not.
pub(super) fn looks_like_one(text: &str, name: &str) -> bool {
    let shortest = (HEAD_LEN + AEAD_TAG_LEN) * 4 / 3;
    encoded(text, name).is_some_and(|rest| rest.len() >= shortest && rest.bytes().all(is_symbol))
}

fn encoded<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let rest = text.strip_prefix(PREFIX)?;
    let (word, rest) = rest.split_at_checked(name.len())?;
    if word.bytes().eq(name.bytes().map(|byte| byte.to_ascii_lowercase())) { rest.strip_prefix('_') } else { None }
}

/// Whether a byte is in the alphabet of base64url.
pub(super) const fn is_symbol(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn key_parts<'a>(binding: &'a [u8], mask: &'a str, epoch: &'a [u8; 8]) -> [&'a [u8]; 4] {
    [b"pseudonym", binding, mask.as_bytes(), epoch]
}

fn aead(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM_SIV, key).ok().map(LessSafeKey::new)
}

const fn epoch(now: Timestamp) -> i64 {
    now.unix_seconds().div_euclid(EPOCH)
}

/// The form of a value that is hashed, so that different spellings of a value have the same hash.
fn canonical(name: &str, value: &str) -> String {
    match name {
        "CREDIT_CARD" | "IBAN_CODE" | "PHONE_NUMBER" | "US_SSN" => {
            value.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
        }
        "EMAIL_ADDRESS" => value.to_lowercase(),
        _ => value.to_owned(),
    }
}

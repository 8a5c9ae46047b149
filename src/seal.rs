//! Sealed state: what the proxy must remember about a client is encrypted and carried by the client. It opens only for the
//! principal, server and purpose it was made for, and only until its key or the value itself expires.
//!
//! version 1 | key id 4 | nonce 12 | AES-256-GCM-SIV ciphertext and tag, in base64url. The key is
//! HKDF-SHA-256(master, "portcullis/1/" purpose). The associated data is the purpose and every field of [`Binding`], each
//! with a mark for present or absent and its length, so that no two bindings give the same bytes.

mod keys;
mod payload;

use std::time::Duration;

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::rand;
use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;

pub use keys::LoadError;
pub(crate) use keys::hash_key;
pub(crate) use payload::{Reader, Writer};

use crate::clock::Timestamp;
use crate::secret::Secret;
use keys::Master;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const HEAD_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;
const TAG_LEN: usize = 16;
/// Issue time and expiry, in seconds, before the payload.
const TIMES_LEN: usize = 16;
/// Longest sealed text that is taken as an id of a message.
const LONGEST_ID: usize = 1024;
/// The days a text of the kind that is the same each time is good for: that of its making, and the next.
const DAY: i64 = 24 * 60 * 60;

/// How far the clock that sealed may be ahead of the one that opens, in seconds.
const AHEAD: i64 = 5 * 60;

/// The id of the master key something was drawn from.
pub type DrawnFrom = [u8; KEY_ID_LEN];

/// What a sealed value is for. Each has its own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A page of a list.
    Cursor,
    /// The URL a client of HTTP+SSE posts to.
    Endpoint,
    /// Where an event stream resumes.
    EventId,
    /// A `DPoP` nonce.
    ProofNonce,
    /// A value that a pseudonym stands for.
    Pseudonym,
    /// The id of a request a server sends to a client.
    RequestId,
    /// A `requestState`, which a client sends back with its answers.
    RequestState,
    /// A session of the older era.
    Session,
    /// A task.
    TaskId,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 9] = [
        Self::Cursor,
        Self::Endpoint,
        Self::EventId,
        Self::ProofNonce,
        Self::Pseudonym,
        Self::RequestId,
        Self::RequestState,
        Self::Session,
        Self::TaskId,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Cursor => "cursor",
            Self::Endpoint => "endpoint",
            Self::EventId => "event-id",
            Self::ProofNonce => "proof-nonce",
            Self::Pseudonym => "pseudonym",
            Self::RequestId => "request-id",
            Self::RequestState => "request-state",
            Self::Session => "session",
            Self::TaskId => "task-id",
        }
    }

    /// Whether it may belong to nobody in particular. A page of a list gives nobody more than its first page does, and a
    /// nonce is asked for before anyone is known; whoever held anything else of an anonymous caller would be that caller.
    const fn may_be_nobodys(self) -> bool {
        match self {
            Self::Cursor | Self::ProofNonce => true,
            Self::Endpoint
            | Self::EventId
            | Self::Pseudonym
            | Self::RequestId
            | Self::RequestState
            | Self::Session
            | Self::TaskId => false,
        }
    }

    /// Whether equal payloads must give equal texts: sealed with a zero nonce and without times, under keys of its own.
    const fn is_deterministic(self) -> bool {
        match self {
            Self::Pseudonym | Self::RequestId => true,
            Self::Cursor
            | Self::Endpoint
            | Self::EventId
            | Self::ProofNonce
            | Self::RequestState
            | Self::Session
            | Self::TaskId => false,
        }
    }

    /// The most bytes of a payload: what fits a header, and more where it travels in a body.
    const fn longest(self) -> usize {
        match self {
            Self::RequestState => 16 * 1024,
            Self::Cursor => 4 * 1024,
            Self::Endpoint
            | Self::EventId
            | Self::ProofNonce
            | Self::Pseudonym
            | Self::RequestId
            | Self::Session
            | Self::TaskId => 1024,
        }
    }

    /// Issue time and expiry where equal payloads give equal texts: the same ones all day.
    const fn even_times(self, now: Timestamp) -> [i64; 2] {
        match self {
            Self::RequestId => {
                let day = now.unix_seconds().div_euclid(DAY) * DAY;
                [day, day + 2 * DAY]
            }
            _ => [0, i64::MAX],
        }
    }
}

/// The principal and server a sealed value is bound to, as associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// Name of the server in the configuration.
    pub server: &'a str,
    /// Origin of its upstream.
    pub upstream: &'a str,
    /// `iss`.
    pub issuer: &'a str,
    /// The issuer's tenant.
    pub tenant: Option<&'a str>,
    /// `sub`.
    pub subject: &'a str,
    /// Client id.
    pub client: Option<&'a str>,
}

impl Binding<'_> {
    /// Tells principals on servers apart where nothing is sealed: in what the process remembers.
    pub(crate) fn owner(&self) -> Vec<u8> {
        self.associated_data(Purpose::TaskId)
    }

    /// Errs where nothing of that purpose may belong to it: no token names an empty issuer.
    const fn serves(&self, purpose: Purpose) -> Result<(), SealError> {
        if self.issuer.is_empty() && !purpose.may_be_nobodys() { Err(SealError::Nobody) } else { Ok(()) }
    }

    /// All of it and what it is for in bytes; no two bindings give the same.
    pub(crate) fn associated_data(&self, purpose: Purpose) -> Vec<u8> {
        let fields = [
            Some(purpose.label()),
            Some(self.server),
            Some(self.upstream),
            Some(self.issuer),
            self.tenant,
            Some(self.subject),
            self.client,
        ];
        let mut data = Vec::with_capacity(160);
        for field in fields {
            data.push(u8::from(field.is_some()));
            let field = field.unwrap_or_default();
            data.extend_from_slice(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            data.extend_from_slice(field.as_bytes());
        }
        data
    }
}

/// Why a value cannot be sealed or opened. A client is told none of this.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SealError {
    /// Made at a time to come: by a clock that ran ahead, and would hold longer than it should.
    #[error("of a time to come")]
    Early,
    /// Its time, or its key's, is over.
    #[error("expired")]
    Expired,
    /// Changed, or sealed for another principal, server or purpose.
    #[error("does not open here")]
    Forged,
    /// Not base64url, too short, or of another version.
    #[error("not a sealed value")]
    Malformed,
    /// There is no principal to seal to: the value would open for everybody.
    #[error("nobody to seal for")]
    Nobody,
    /// No key may seal now.
    #[error("no key to seal with")]
    NoKey,
    /// Over the purpose's limit.
    #[error("too long to seal")]
    TooLong,
    /// Sealed with a key that is not configured.
    #[error("unknown key")]
    UnknownKey,
    /// The purpose is sealed in the other way.
    #[error("wrong kind of sealing for this purpose")]
    WrongKind,
}

/// The master keys of this process, with the keys of every purpose drawn from them.
#[derive(Debug)]
pub struct Seals {
    masters: Vec<Master>,
}

impl Seals {
    /// One random key: what is sealed with it opens in this process only.
    pub fn random() -> Result<Self, LoadError> {
        Ok(Self { masters: vec![Master::random()?] })
    }

    /// Reads the configured keys, or makes a random one where none is configured; every problem is reported.
    pub fn load(sealing: &crate::config::Sealing) -> Result<Self, Vec<LoadError>> {
        if sealing.keys.is_empty() {
            return Self::random().map_err(|error| vec![error]);
        }
        keys::load(&sealing.keys).map(|masters| Self { masters })
    }

    /// Seals `payload` until `lifetime` is over.
    pub fn seal(
        &self,
        purpose: Purpose,
        binding: &Binding<'_>,
        payload: &[u8],
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<String, SealError> {
        if purpose.is_deterministic() {
            return Err(SealError::WrongKind);
        }
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::NoKey)?;
        let times = [now.unix_seconds(), now.plus(lifetime).unix_seconds()];
        self.seal_with(purpose, binding, nonce, times, payload, now)
    }

    /// Seals `payload` so that the same payload gives the same text as long as the same key seals; that of a request id
    /// on the same day, and until the end of the next.
    pub fn seal_deterministic(
        &self,
        purpose: Purpose,
        binding: &Binding<'_>,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<String, SealError> {
        if !purpose.is_deterministic() {
            return Err(SealError::WrongKind);
        }
        self.seal_with(purpose, binding, [0; NONCE_LEN], purpose.even_times(now), payload, now)
    }

    /// The payload of `sealed`, if it was sealed for this purpose and binding, its time is not over, and it was sealed no
    /// later than now.
    ///
    /// The key is the one the text names; no other is tried.
    pub fn open(
        &self,
        purpose: Purpose,
        binding: &Binding<'_>,
        sealed: &str,
        now: Timestamp,
    ) -> Result<Vec<u8>, SealError> {
        binding.serves(purpose)?;
        let longest = HEAD_LEN + TIMES_LEN + purpose.longest() + TAG_LEN;
        if sealed.len() > longest.div_ceil(3) * 4 {
            return Err(SealError::Malformed);
        }
        let mut bytes = BASE64URL_NOPAD.decode(sealed.as_bytes()).map_err(|_| SealError::Malformed)?;
        let (head, body) = bytes.split_at_mut_checked(HEAD_LEN).ok_or(SealError::Malformed)?;
        let [VERSION, rest @ ..] = head else { return Err(SealError::Malformed) };
        let (id, nonce) = rest.split_at(KEY_ID_LEN);
        let master = self.masters.iter().find(|master| master.id().as_slice() == id).ok_or(SealError::UnknownKey)?;
        if !master.may_open(now) {
            return Err(SealError::Expired);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Malformed)?;
        let data = Aad::from(binding.associated_data(purpose));
        let opened = master.key(purpose).open_in_place(nonce, data, body).map_err(|_| SealError::Forged)?;
        let (times, payload) = opened.split_at_checked(TIMES_LEN).ok_or(SealError::Malformed)?;
        let issued = times.first_chunk().map_or(i64::MAX, |bytes| i64::from_be_bytes(*bytes));
        let expires = times.last_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        if issued.saturating_sub(AHEAD) > now.unix_seconds() {
            return Err(SealError::Early);
        }
        if expires <= now.unix_seconds() { Err(SealError::Expired) } else { Ok(payload.to_vec()) }
    }

    /// 32 bytes for one use: HMAC-SHA-256 over `parts`, each with its length, under a key drawn from the master key that
    /// seals now, and that master's id.
    pub fn draw(&self, parts: &[&[u8]], now: Timestamp) -> Option<(DrawnFrom, Secret<[u8; 32]>)> {
        let master = self.masters.iter().find(|master| master.may_seal(now))?;
        Some((*master.id(), drawn(master, parts)?))
    }

    /// The same from the master key of that id, while it opens.
    pub fn draw_from(&self, id: DrawnFrom, parts: &[&[u8]], now: Timestamp) -> Option<Secret<[u8; 32]>> {
        let master = self.masters.iter().find(|master| *master.id() == id)?;
        if master.may_open(now) { drawn(master, parts) } else { None }
    }

    fn seal_with(
        &self,
        purpose: Purpose,
        binding: &Binding<'_>,
        nonce: [u8; NONCE_LEN],
        times: [i64; 2],
        payload: &[u8],
        now: Timestamp,
    ) -> Result<String, SealError> {
        binding.serves(purpose)?;
        if payload.len() > purpose.longest() {
            return Err(SealError::TooLong);
        }
        let master = self.masters.iter().find(|master| master.may_seal(now)).ok_or(SealError::NoKey)?;
        let mut body = Vec::with_capacity(TIMES_LEN + payload.len() + TAG_LEN);
        body.extend_from_slice(times.map(i64::to_be_bytes).as_flattened());
        body.extend_from_slice(payload);
        let key: &LessSafeKey = master.key(purpose);
        let data = Aad::from(binding.associated_data(purpose));
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), data, &mut body)
            .map_err(|_| SealError::TooLong)?;
        let mut out = Vec::with_capacity(HEAD_LEN + body.len());
        out.push(VERSION);
        out.extend_from_slice(master.id());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&body);
        Ok(BASE64URL_NOPAD.encode(&out))
    }
}

fn drawn(master: &Master, parts: &[&[u8]]) -> Option<Secret<[u8; 32]>> {
    let mut data = Vec::with_capacity(160);
    for part in parts {
        data.extend_from_slice(&u64::try_from(part.len()).ok()?.to_be_bytes());
        data.extend_from_slice(part);
    }
    master.draw(&data).as_ref().try_into().ok().map(Secret::new)
}

/// Whether `text` could be one of our sealed ids: base64url of our version, long enough and not too long.
pub fn looks_sealed(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= LONGEST_ID
        && bytes.len() >= (HEAD_LEN + TIMES_LEN + TAG_LEN).div_ceil(3) * 4 - 2
        // The first six bits are zero and the next two are the low bits of the version.
        && matches!(bytes, [b'A', b'Q'..=b'Z' | b'a'..=b'f', ..])
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests;

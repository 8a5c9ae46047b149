use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM_SIV, LessSafeKey, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{KEY_ID_LEN, Purpose};
use crate::clock::Timestamp;
use crate::config::SealingKey;
use crate::secret::Secret;

const KEY_LEN: usize = 32;

/// Why the sealing keys cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Two keys of one id: which opens would be a guess.
    #[error("sealing key id `{0}` is given twice")]
    DuplicateId(String),
    /// Not one to four printable ASCII characters.
    #[error("sealing key id `{0}` must be one to four printable ASCII characters")]
    Id(String),
    /// The library refused.
    #[error("sealing keys cannot be derived")]
    Derivation,
    /// Not 32 bytes in a form that is understood.
    #[error("`{0}` must hold 32 random bytes, raw, in hex or in base64url")]
    Key(PathBuf),
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl LoadError {
    /// The file it is about.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Key(path) | Self::Read { path, .. } => Some(path),
            Self::Derivation | Self::DuplicateId(_) | Self::Id(_) => None,
        }
    }
}

/// One master key with the keys drawn from it; the master itself is not kept.
pub(super) struct Master {
    id: [u8; KEY_ID_LEN],
    keys: Vec<LessSafeKey>,
    /// What keys of one principal and use are drawn from.
    root: hmac::Key,
    seal_from: Option<Timestamp>,
    open_until: Option<Timestamp>,
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Master({})", self.id.escape_ascii())
    }
}

impl Master {
    /// A key of this process alone. Its id is its own too, so that what another process sealed is told from a forgery; no
    /// configured id has its first bit.
    pub(super) fn random() -> Result<Self, LoadError> {
        let (mut key, mut id) = ([0; KEY_LEN], [0; KEY_ID_LEN]);
        rand::fill(&mut key).map_err(|_| LoadError::Derivation)?;
        rand::fill(&mut id).map_err(|_| LoadError::Derivation)?;
        id[0] |= 0x80;
        Self::new(id, &Secret::new(key))
    }

    fn new(id: [u8; KEY_ID_LEN], key: &Secret<[u8; KEY_LEN]>) -> Result<Self, LoadError> {
        let keys: Result<Vec<_>, _> = Purpose::ALL.into_iter().map(|purpose| derive(key, purpose)).collect();
        let keys = keys.map_err(|_| LoadError::Derivation)?;
        let root = derive_root(key).map_err(|_| LoadError::Derivation)?;
        Ok(Self { id, keys, root, seal_from: None, open_until: None })
    }

    pub(super) fn id(&self) -> &[u8; KEY_ID_LEN] {
        &self.id
    }

    /// HMAC-SHA-256 over `data` under the root key.
    pub(super) fn draw(&self, data: &[u8]) -> hmac::Tag {
        hmac::sign(&self.root, data)
    }

    pub(super) fn key(&self, purpose: Purpose) -> &LessSafeKey {
        &self.keys[purpose as usize]
    }

    pub(super) fn may_seal(&self, now: Timestamp) -> bool {
        self.seal_from.is_none_or(|from| from <= now) && self.may_open(now)
    }

    pub(super) fn may_open(&self, now: Timestamp) -> bool {
        self.open_until.is_none_or(|until| now < until)
    }
}

/// HKDF-SHA-256 (RFC 5869) without salt, the purpose as info.
fn derive(master: &Secret<[u8; KEY_LEN]>, purpose: Purpose) -> Result<LessSafeKey, Unspecified> {
    let info: [&[u8]; 2] = [b"portcullis/1/", purpose.label().as_bytes()];
    let secret = Salt::new(HKDF_SHA256, &[]).extract(master.expose());
    let key = UnboundKey::from(secret.expand(&info, &AES_256_GCM_SIV)?);
    Ok(LessSafeKey::new(key))
}

/// The key other keys are drawn from: its own by its info, which no purpose is called.
fn derive_root(master: &Secret<[u8; KEY_LEN]>) -> Result<hmac::Key, Unspecified> {
    let secret = Salt::new(HKDF_SHA256, &[]).extract(master.expose());
    Ok(hmac::Key::from(secret.expand(&[b"portcullis/1/", b"root"], hmac::HMAC_SHA256)?))
}

pub(super) fn load(keys: &[SealingKey]) -> Result<Vec<Master>, Vec<LoadError>> {
    let mut masters: Vec<Master> = Vec::with_capacity(keys.len());
    let mut problems = Vec::new();
    for key in keys {
        match read(key) {
            Ok(master) if masters.iter().any(|other| other.id == master.id) => {
                problems.push(LoadError::DuplicateId(key.id.clone()));
            }
            Ok(master) => masters.push(master),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(masters) } else { Err(problems) }
}

fn read(key: &SealingKey) -> Result<Master, LoadError> {
    let mut id = [0; KEY_ID_LEN];
    let name = key.id.as_bytes();
    let room = id.get_mut(..name.len()).filter(|room| !room.is_empty() && name.iter().all(u8::is_ascii_graphic));
    room.ok_or_else(|| LoadError::Id(key.id.clone()))?.copy_from_slice(name);
    let master = Master::new(id, &read_key(&key.file)?)?;
    Ok(Master { seal_from: key.seal_from, open_until: key.open_until, ..master })
}

/// Reads a file with 32 random bytes as the key of an HMAC-SHA-256 over something else than sealed state.
pub(crate) fn hash_key(path: &Path) -> Result<hmac::Key, LoadError> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, read_key(path)?.expose()))
}

fn read_key(path: &Path) -> Result<Secret<[u8; KEY_LEN]>, LoadError> {
    let content = std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    let content = Zeroizing::new(content);
    let key = decode(&content).filter(|key| key.iter().any(|byte| *byte != key[0]));
    key.map(|key| Secret::new(*key)).ok_or_else(|| LoadError::Key(path.to_owned()))
}

/// 32 bytes as they are, or as 64 hex digits or 43 base64url characters, perhaps padded, with a line break behind them.
fn decode(content: &[u8]) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    if let Ok(raw) = content.try_into() {
        return Some(Zeroizing::new(raw));
    }
    let text = content.trim_ascii();
    let bytes = match text.len() {
        64 => HEXLOWER_PERMISSIVE.decode(text).ok()?,
        43 | 44 => BASE64URL_NOPAD.decode(text.strip_suffix(b"=").unwrap_or(text)).ok()?,
        _ => return None,
    };
    let bytes = Zeroizing::new(bytes);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

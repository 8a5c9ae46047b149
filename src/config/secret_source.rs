//! Reads secrets from where `proxy.toml` says they are. Errors name the place, never what was found there.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use zeroize::Zeroize as _;

use super::{SealingKey, SecretSource};
use crate::secret::Secret;

/// More than any token or password.
const LIMIT_BYTES: u64 = 64 * 1024;

/// Why a secret cannot be used; the text names its source.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It could end a header line early.
    #[error("{0} holds a control character")]
    Control(String),
    /// An empty secret would be no secret.
    #[error("{0} is empty")]
    Empty(String),
    /// A sealing key of another size.
    #[error("{0} does not hold 32 bytes, raw or as base64url or hex text")]
    KeyLength(String),
    /// A sealing key of one repeated byte.
    #[error("{0} holds one byte repeated, not a random key")]
    KeyWeak(String),
    /// A folder, a pipe or a device.
    #[error("{0} is not a regular file")]
    NoFile(String),
    /// It is not UTF-8.
    #[error("{0} is not text")]
    NotText(String),
    /// It is no secret at all.
    #[error("{0} is larger than 64 KiB")]
    TooLarge(String),
    /// The operating system says why.
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, #[source] io::Error),
    /// The variable does not exist.
    #[error("{0} is not set")]
    Unset(String),
}

/// The source, as it appears in messages.
impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "the credential `{name}`"),
            Self::Env(name) => write!(f, "the environment variable `{name}`"),
            Self::File(path) => write!(f, "the file `{}`", path.display()),
            Self::Value(_) => f.write_str("the value"),
        }
    }
}

impl SecretSource {
    /// The file it is in, if it is in one.
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Credential(name) => std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join(name)),
            Self::File(path) => Some(path.clone()),
            Self::Env(_) | Self::Value(_) => None,
        }
    }

    /// Reads the secret as it is now: text without control characters, one trailing line break of a file cut.
    pub fn resolve(&self) -> Result<Secret<String>, SecretError> {
        self.resolve_with(&|name| std::env::var_os(name))
    }

    /// As [`Self::resolve`], with the environment as an argument.
    pub(crate) fn resolve_with(
        &self,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Secret<String>, SecretError> {
        let text = match self {
            Self::Credential(name) => {
                let Some(directory) = variable("CREDENTIALS_DIRECTORY") else {
                    return Err(SecretError::Unset(format!("`$CREDENTIALS_DIRECTORY`, which holds {self},")));
                };
                self.text_of(&Path::new(&directory).join(name))?
            }
            Self::Env(name) => {
                let value = variable(name).ok_or_else(|| SecretError::Unset(self.to_string()))?;
                Secret::new(value.into_string().map_err(|_| SecretError::NotText(self.to_string()))?)
            }
            Self::File(path) => self.text_of(path)?,
            Self::Value(value) => value.clone(),
        };
        if text.expose().is_empty() {
            return Err(SecretError::Empty(self.to_string()));
        }
        if text.expose().chars().any(char::is_control) {
            return Err(SecretError::Control(self.to_string()));
        }
        Ok(text)
    }

    fn text_of(&self, path: &Path) -> Result<Secret<String>, SecretError> {
        let text = String::from_utf8(read(path, &self.to_string())?).map_err(|error| {
            error.into_bytes().zeroize();
            SecretError::NotText(self.to_string())
        })?;
        let mut text = text;
        let end = text.strip_suffix('\n').map_or(text.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
        text.truncate(end);
        Ok(Secret::new(text))
    }
}

impl SealingKey {
    /// Reads the key as it is now.
    pub fn read(&self) -> Result<Secret<[u8; 32]>, SecretError> {
        let source = SecretSource::File(self.file.clone()).to_string();
        let bytes = Secret::new(read(&self.file, &source)?);
        if bytes.expose().is_empty() {
            return Err(SecretError::Empty(source));
        }
        let Some(key) = key_bytes(bytes.expose()) else {
            return Err(SecretError::KeyLength(source));
        };
        if key.expose().iter().all(|byte| *byte == key.expose()[0]) {
            return Err(SecretError::KeyWeak(source));
        }
        Ok(key)
    }
}

/// 32 bytes as they are, or written as hex or base64 of either alphabet.
fn key_bytes(bytes: &[u8]) -> Option<Secret<[u8; 32]>> {
    if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
        return Some(Secret::new(raw));
    }
    let text = bytes.trim_ascii();
    [HEXLOWER_PERMISSIVE, BASE64URL_NOPAD, BASE64URL, BASE64_NOPAD, BASE64].iter().find_map(|encoding| {
        let decoded = Secret::new(encoding.decode(text).ok()?);
        <[u8; 32]>::try_from(decoded.expose().as_slice()).ok().map(Secret::new)
    })
}

fn read(path: &Path, source: &str) -> Result<Vec<u8>, SecretError> {
    let unreadable = |error| SecretError::Unreadable(source.to_owned(), error);
    let mut bytes = Vec::new();
    // Opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(SecretError::NoFile(source.to_owned()));
    }
    File::open(path).map_err(unreadable)?.take(LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LIMIT_BYTES {
        bytes.zeroize();
        return Err(SecretError::TooLarge(source.to_owned()));
    }
    Ok(bytes)
}

/// Who besides the owner can get at a secret's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposure {
    /// Every user of the machine can read it.
    Readable,
    /// Every user of the machine can put another secret there.
    Writable,
}

/// Whether the file's mode lets every user at it.
#[cfg(unix)]
pub(crate) fn exposure(path: &Path) -> Option<Exposure> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    match (mode & 0o002 != 0, mode & 0o004 != 0) {
        (true, _) => Some(Exposure::Writable),
        (false, true) => Some(Exposure::Readable),
        (false, false) => None,
    }
}

/// Not known where files have no mode.
#[cfg(not(unix))]
pub(crate) fn exposure(_: &Path) -> Option<Exposure> {
    None
}

#[cfg(test)]
mod tests;

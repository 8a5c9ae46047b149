//! The operator's revocation list: a file of JSON lines, read with the configuration and in force with its snapshot.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use thiserror::Error;

use super::{Caller, Denials, Revoked};
use crate::clock::Timestamp;
use crate::config::text;
use crate::json::{Document, Kind, Limits, Value};

/// The most bytes of the file.
const LIMIT_BYTES: u64 = 64 << 20;
/// The time for an entry without one: it applies whenever the token was issued.
const ALWAYS: Timestamp = Timestamp::from_unix_seconds(i64::MAX / 1_000_000_000);

/// Why the file cannot be used; then none of it is, as an incomplete list is not safe.
#[derive(Debug, Error)]
pub enum ListError {
    /// A line that is not one entry.
    #[error("`{}` line {line}: {reason}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not readable, or too large.
    #[error("cannot read `{}`: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A revocation list.
#[derive(Debug)]
pub struct Listed {
    denials: Denials,
    digest: [u8; 32],
}

impl Listed {
    /// Reads the file. Each line is an object with at most one of `jti`, `sid` and `sub`, and `issued_before`, which alone
    /// applies to every token of the issuer. Errs if a line is malformed.
    pub fn read(path: &Path) -> Result<Self, ListError> {
        let failed = |source| ListError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > LIMIT_BYTES {
            return Err(failed(std::io::Error::other("larger than 64 MiB")));
        }
        let text = text::read(path).map_err(failed)?;
        let mut denials = Denials::default();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |reason| ListError::Line { path: path.to_owned(), line: at + 1, reason };
            let (revoked, last) = entry(line).map_err(wrong)?;
            denials.add(revoked, last);
        }
        let digest = digest(&SHA256, text.as_bytes()).as_ref().first_chunk().copied().unwrap_or_default();
        Ok(Self { denials, digest })
    }

    /// A digest of the file.
    pub(in crate::auth) const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether the caller's token is on it.
    pub fn names(&self, caller: &Caller) -> bool {
        self.denials.hit(caller)
    }
}

fn entry(line: &str) -> Result<(Revoked, Timestamp), &'static str> {
    let limits = Limits { depth: 2, members: 8 };
    let document = Document::parse(Bytes::copy_from_slice(line.as_bytes()), &limits).map_err(|_| "not strict JSON")?;
    let root = document.root();
    if root.kind() != Kind::Object {
        return Err("not an object");
    }
    let (mut revoked, mut before) = (None, None);
    for member in root.members() {
        let value = member.value;
        let make: fn(Box<str>) -> Revoked = match &*member.name() {
            "jti" => Revoked::Token,
            "sid" => Revoked::Session,
            "sub" => Revoked::Subject,
            "issued_before" => {
                before = Some(moment(value).ok_or("`issued_before` is not a time in seconds")?);
                continue;
            }
            _ => return Err("a key other than `jti`, `sid`, `sub` and `issued_before`"),
        };
        let text = value.as_str().filter(|text| !text.is_empty()).ok_or("a name is not text")?;
        if revoked.replace(make(text.into())).is_some() {
            return Err("more than one of `jti`, `sid` and `sub`");
        }
    }
    match (revoked, before) {
        (None, None) => Err("neither `jti`, `sid`, `sub` nor `issued_before`"),
        (revoked, before) => Ok((revoked.unwrap_or(Revoked::Everyone), before.unwrap_or(ALWAYS))),
    }
}

/// The last second before a time.
fn moment(value: Value<'_>) -> Option<Timestamp> {
    value.as_i64().filter(|seconds| *seconds > 0).map(|seconds| Timestamp::from_unix_seconds(seconds - 1))
}

#[cfg(test)]
mod tests {
    use super::{Listed, Revoked, entry};

    #[test]
    fn reads_one_entry_a_line() {
        for (line, expected) in [
            (r#"{"jti":"a"}"#, Ok(Revoked::Token("a".into()))),
            (r#"{"sid":"s"}"#, Ok(Revoked::Session("s".into()))),
            (r#"{"sub":"ana","issued_before":1767614400}"#, Ok(Revoked::Subject("ana".into()))),
            (r#"{"issued_before":1767614400}"#, Ok(Revoked::Everyone)),
            (r"{}", Err("neither `jti`, `sid`, `sub` nor `issued_before`")),
            (r#"{"jti":"a","sub":"b"}"#, Err("more than one of `jti`, `sid` and `sub`")),
            (r#"{"jti":""}"#, Err("a name is not text")),
            (r#"{"jti":1}"#, Err("a name is not text")),
            (r#"{"jti":"a","jti":"b"}"#, Err("not strict JSON")),
            (r#"{"user":"a"}"#, Err("a key other than `jti`, `sid`, `sub` and `issued_before`")),
            (r#"{"issued_before":"now"}"#, Err("`issued_before` is not a time in seconds")),
            (r#"["a"]"#, Err("not an object")),
            ("jti=a", Err("not strict JSON")),
        ] {
            assert_eq!(entry(line).map(|(revoked, _)| revoked), expected, "{line}");
        }
    }

    #[test]
    fn one_wrong_line_refuses_the_file() {
        let folder = std::env::temp_dir().join(format!("portcullis-listed-{}", uuid::Uuid::now_v7()));
        std::fs::write(&folder, "{\"jti\":\"a\"}\n\n{\"jti\":}\n").unwrap();
        let error = Listed::read(&folder).unwrap_err().to_string();
        std::fs::remove_file(&folder).unwrap();
        assert!(error.ends_with("line 3: not strict JSON"), "{error}");
        assert!(Listed::read(&folder).is_err());
    }
}

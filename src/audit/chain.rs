//! The hash chain over the lines of the log: each line has the hash of the line before it and its own, so that no line can be
//! changed, removed, added or moved without a trace. Checkpoints sign it.
//!
//! A chained line ends with `,"seq":N,"prev":P,"hash":H}`. `H` is the SHA-256 of the line's exact bytes before `,"hash"`, `P`
//! the `hash` of the line before, or `null` in the first line of a chain. In a checkpoint `,"signature":S` stands between
//! them, an Ed25519 signature of the line's exact bytes before `,"signature"`.

use aws_lc_rs::digest;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

use super::checkpoint::CheckpointKey;

/// A SHA-256 hash.
pub(super) type Hash = [u8; 32];

/// How every line begins.
const BEGIN: &[u8] = b"{\"v\":1,";
const SEQ: &[u8] = b",\"seq\":";
const PREV: &[u8] = b",\"prev\":";
const SIGNATURE: &[u8] = b",\"signature\":\"";
const HASH: &[u8] = b",\"hash\":";
/// How a hash is written before its hexadecimal digits.
const SHA256: &[u8] = b"\"sha256:";
/// Length of an Ed25519 signature in base64url.
const SIGNATURE_LEN: usize = 86;

/// The end of a chain, to which lines are added.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// The hash of the last line that is in the log.
    head: Option<Hash>,
    /// The hashes of lines that are being written.
    pending: Vec<Hash>,
}

impl Chain {
    /// A chain that goes on after the line with this hash.
    pub(super) const fn after(head: Option<Hash>) -> Self {
        Self { head, pending: Vec::new() }
    }

    /// The hash of the last line that is in the log.
    pub(super) const fn head(&self) -> Option<&Hash> {
        self.head.as_ref()
    }

    /// Closes the line that begins at `start` of `batch`, which has everything up to its `seq`; signs it with `key`.
    pub(super) fn close(&mut self, batch: &mut Vec<u8>, start: usize, key: Option<&CheckpointKey>) {
        batch.extend_from_slice(PREV);
        match self.pending.last().or(self.head.as_ref()) {
            Some(prev) => write_hash(batch, prev),
            None => batch.extend_from_slice(b"null"),
        }
        if let Some(key) = key {
            let signature = BASE64URL_NOPAD.encode(&key.sign(&batch[start..]));
            batch.extend_from_slice(SIGNATURE);
            batch.extend_from_slice(signature.as_bytes());
            batch.push(b'"');
        }
        let hash = sha256(&batch[start..]);
        batch.extend_from_slice(HASH);
        write_hash(batch, &hash);
        batch.push(b'}');
        self.pending.push(hash);
    }

    /// The first `written` of the lines closed since the last call are in the log, the others are not.
    pub(super) fn commit(&mut self, written: usize) {
        if let Some(last) = written.checked_sub(1) {
            self.head = self.pending.get(last).copied().or(self.head);
        }
        self.pending.clear();
    }
}

/// What a chained line says of its place, and whether that is true of its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'l> {
    pub(super) sequence: u64,
    pub(super) prev: Option<Hash>,
    /// The hash it names.
    pub(super) hash: Hash,
    /// The hash its bytes have.
    pub(super) actual: Hash,
    /// The signed bytes and the signature.
    pub(super) signed: Option<(&'l [u8], [u8; 64])>,
}

impl<'l> Link<'l> {
    /// Reads the end of a line without its newline; `None` if that is not what [`Chain::close`] writes.
    pub(super) fn read(line: &'l [u8]) -> Option<Self> {
        let (hashed, hash) = split_hash(line.strip_suffix(b"}")?)?;
        let hashed = hashed.strip_suffix(HASH)?;
        let (signed, signature) = match split_signature(hashed) {
            Some((signed, signature)) => (signed, Some((signed, signature))),
            None => (hashed, None),
        };
        let (rest, prev) = match signed.strip_suffix(b"null") {
            Some(rest) => (rest, None),
            None => split_hash(signed).map(|(rest, prev)| (rest, Some(prev)))?,
        };
        let sequence = read_sequence(rest.strip_suffix(PREV)?)?;
        Some(Self { sequence, prev, hash, actual: sha256(hashed), signed: signature })
    }
}

/// Whether this is the beginning of a line: what a write that failed has left.
pub(super) fn is_torn(line: &[u8]) -> bool {
    !line.ends_with(b"}") && (line.starts_with(BEGIN) || BEGIN.starts_with(line))
}

/// The digits at the end of `text`, after `,"seq":`; a number is written in one way only.
fn read_sequence(text: &[u8]) -> Option<u64> {
    let start = text.iter().rposition(|byte| !byte.is_ascii_digit())? + 1;
    let digits = std::str::from_utf8(&text[start..]).ok()?;
    let number: u64 = digits.parse().ok().filter(|_| digits == "0" || !digits.starts_with('0'))?;
    text[..start].ends_with(SEQ).then_some(number)
}

fn sha256(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// Appends a hash as a JSON string.
fn write_hash(out: &mut Vec<u8>, hash: &Hash) {
    let mut digits = [0; 64];
    HEXLOWER.encode_mut(hash, &mut digits);
    out.extend_from_slice(SHA256);
    out.extend_from_slice(&digits);
    out.push(b'"');
}

/// A hash as it is shown.
pub(super) fn show(hash: &Hash) -> String {
    format!("sha256:{}", HEXLOWER.encode(hash))
}

/// The hash at the end of `text`, written by [`write_hash`], and what stands before it.
fn split_hash(text: &[u8]) -> Option<(&[u8], Hash)> {
    let text = text.strip_suffix(b"\"")?;
    let (rest, digits) = text.split_at_checked(text.len().checked_sub(64)?)?;
    let hash = HEXLOWER.decode(digits).ok()?.try_into().ok()?;
    Some((rest.strip_suffix(SHA256)?, hash))
}

fn split_signature(text: &[u8]) -> Option<(&[u8], [u8; 64])> {
    let text = text.strip_suffix(b"\"")?;
    let (rest, encoded) = text.split_at_checked(text.len().checked_sub(SIGNATURE_LEN)?)?;
    let signature = BASE64URL_NOPAD.decode(encoded).ok()?;
    Some((rest.strip_suffix(SIGNATURE)?, signature.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Chain, Link, show};
    use crate::audit::tests::keys::{key, public};

    /// A chain of lines, each with everything before its `prev`.
    fn chained(lines: &[&str]) -> Vec<Vec<u8>> {
        let mut chain = Chain::default();
        let mut all = Vec::new();
        for line in lines {
            let mut batch = b"before".to_vec();
            batch.extend_from_slice(line.as_bytes());
            chain.close(&mut batch, 6, None);
            chain.commit(1);
            all.push(batch.split_off(6));
        }
        all
    }

    #[test]
    fn links_are_read_as_written() {
        let lines = chained(&["{\"v\":1,\"seq\":7", "{\"v\":1,\"text\":\"\\\"seq\\\":9\",\"seq\":8"]);
        // sha256sum of the text before `,"hash"`
        assert_eq!(
            String::from_utf8_lossy(&lines[0]),
            "{\"v\":1,\"seq\":7,\"prev\":null,\
             \"hash\":\"sha256:ec64cb4d8bbc78e9d3c1a67d2a1c23e760f9a80fb925c071bcaca73a5ee52093\"}"
        );
        let (first, second) = (Link::read(&lines[0]).unwrap(), Link::read(&lines[1]).unwrap());
        assert_eq!((first.sequence, first.prev, first.hash), (7, None, first.actual));
        assert_eq!((second.sequence, second.prev, second.hash), (8, Some(first.hash), second.actual));
        assert!(second.signed.is_none());
    }

    #[test]
    fn lines_that_were_not_written_are_not_linked_to() {
        let mut chain = Chain::default();
        let mut batch = Vec::new();
        for line in ["{\"v\":1,\"seq\":1", "{\"v\":1,\"seq\":2", "{\"v\":1,\"seq\":3"] {
            let start = batch.len();
            batch.extend_from_slice(line.as_bytes());
            chain.close(&mut batch, start, None);
        }
        let ends: Vec<_> = batch.split_inclusive(|byte| *byte == b'}').map(|line| Link::read(line).unwrap()).collect();
        assert_eq!(ends[1].prev, Some(ends[0].hash));
        chain.commit(0);
        assert_eq!(chain.head(), None);
        chain.pending = ends.iter().map(|link| link.hash).collect();
        chain.commit(2);
        assert_eq!(chain.head(), Some(&ends[1].hash));
        assert!(show(&ends[1].hash).starts_with("sha256:"));
    }

    #[test]
    fn a_signature_covers_everything_before_it() {
        let mut text = b"{\"v\":1,\"seq\":7".to_vec();
        Chain::default().close(&mut text, 0, Some(&key()));
        let link = Link::read(&text).unwrap();
        assert_eq!(link.hash, link.actual);
        let (signed, signature) = link.signed.unwrap();
        assert_eq!(signed, b"{\"v\":1,\"seq\":7,\"prev\":null");
        assert!(public().verifies(signed, &signature));
        assert!(!public().verifies(b"{\"v\":1,\"seq\":8,\"prev\":null", &signature));
    }

    #[test]
    fn nothing_else_is_a_link() {
        let line = String::from_utf8(chained(&["{\"v\":1,\"seq\":10"]).remove(0)).unwrap();
        assert!(Link::read(line.as_bytes()).is_some());
        for (from, to) in [
            ("}", "} "),
            ("}", ""),
            ("\"seq\":10", "\"seq\":010"),
            ("\"seq\":10", "\"seq\":"),
            ("\"seq\":10", "\"seq\":-1"),
            ("\"seq\":10", "\"seq\":99999999999999999999"),
            ("\"seq\":10", "\"seqs\":10"),
            ("null", "nil"),
            ("null", "\"sha256:00\""),
            ("\"hash\"", "\"Hash\""),
            ("\"hash\"", "\"hash\": "),
            ("sha256:", "sha512:"),
            ("\"hash\":\"sha256:", "\"hash\":\"sha256:A"),
            ("\"prev\":null,", "\"prev\":null,\"signature\":\"AAAA\","),
        ] {
            let other = line.replacen(from, to, 1);
            assert_ne!(other, line, "{from}");
            assert!(Link::read(other.as_bytes()).is_none(), "{other}");
        }
        assert!(Link::read(b"").is_none());
        assert!(Link::read(line.to_uppercase().as_bytes()).is_none());
    }
}

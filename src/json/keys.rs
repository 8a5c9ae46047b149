use std::borrow::Cow;
use std::collections::HashSet;

use super::literal::{fail, unescape};
use super::{Error, ErrorKind, Node};

/// Detects duplicate keys during a scan: RFC 8259 section 4 leaves open what two members of one name mean, so two parsers may
/// read two messages.
///
/// Each key hashes to one of 64 bits, collected per open object as in a Bloom filter. On a collision the key is compared with
/// those before it; in an object with many keys, or with an escaped one, all keys are compared once the object ends.
pub(super) struct Keys {
    /// The bits of the innermost open container; zero for an array.
    seen: u64,
    /// The bits of the containers around it, by depth.
    around: [u64; Self::DEPTH],
}

/// The bits of an object whose keys are compared when it ends. Keys may set all 64 bits by themselves, which is harmless.
const UNTOLD: u64 = u64::MAX;

impl Default for Keys {
    fn default() -> Self {
        Self { seen: 0, around: [0; Self::DEPTH] }
    }
}

#[expect(clippy::inline_always, reason = "steps of the scan")]
impl Keys {
    /// The deepest nesting.
    pub(super) const DEPTH: usize = 64;

    /// Enters a container inside `depth` others, fewer than [`Keys::DEPTH`].
    #[inline(always)]
    pub(super) fn enter(&mut self, depth: usize) {
        self.around[depth % Self::DEPTH] = std::mem::take(&mut self.seen);
    }

    /// Leaves the container with the node at `index`, which was inside `depth` others.
    #[inline(always)]
    pub(super) fn leave(&mut self, depth: usize, bytes: &[u8], nodes: &[Node], index: usize) -> Result<(), Error> {
        let seen = std::mem::replace(&mut self.seen, self.around[depth % Self::DEPTH]);
        if seen == UNTOLD { all_differ(bytes, nodes, index) } else { Ok(()) }
    }

    /// Adds the last of `nodes`, which is a key of the object with the node at `object`.
    #[inline(always)]
    pub(super) fn take(&mut self, bytes: &[u8], nodes: &[Node], object: usize) -> Result<(), Error> {
        let Some(last) = nodes.last() else { return Ok(()) };
        let bit = bit(bytes, last) | if last.escaped { UNTOLD } else { 0 };
        if self.seen & bit != 0 {
            self.compare(bytes, nodes, object)?;
        }
        self.seen |= bit;
        Ok(())
    }

    /// Compares the last key with those before it.
    #[cold]
    #[inline(never)]
    fn compare(&mut self, bytes: &[u8], nodes: &[Node], object: usize) -> Result<(), Error> {
        const FEW: usize = 64;
        let Some((last, before)) = nodes.split_last() else { return Ok(()) };
        if self.seen == UNTOLD || last.escaped {
            return Ok(());
        }
        let (mut at, mut count) = (object + 1, 0);
        while at < before.len() {
            if raw(bytes, &before[at]) == raw(bytes, last) {
                return fail(ErrorKind::DuplicateKey, last.start as usize);
            }
            count += 1;
            at = before[at].next as usize;
        }
        if count > FEW {
            self.seen = UNTOLD;
        }
        Ok(())
    }
}

/// A one-bit hash of a key.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a step of the scan")]
fn bit(bytes: &[u8], key: &Node) -> u64 {
    // For an empty key these are its quotes.
    let (first, last) = (bytes[key.start as usize + 1], bytes[(key.end as usize).wrapping_sub(2)]);
    let length = key.end.wrapping_sub(key.start);
    1 << ((u32::from(first) * 5 + u32::from(last) * 11).wrapping_add(length) % 64)
}

/// Errs if two keys of the object with the node at `object` are equal once decoded.
#[cold]
#[inline(never)]
fn all_differ(bytes: &[u8], nodes: &[Node], object: usize) -> Result<(), Error> {
    let mut seen: HashSet<Cow<'_, [u8]>> = HashSet::new();
    let (mut at, end) = (object + 1, nodes[object].next as usize);
    while at < end {
        let (key, raw) = (&nodes[at], raw(bytes, &nodes[at]));
        if !seen.insert(if key.escaped { unescape(raw).into_bytes().into() } else { raw.into() }) {
            return fail(ErrorKind::DuplicateKey, key.start as usize);
        }
        at = key.next as usize;
    }
    Ok(())
}

/// The bytes between a key's quotes.
fn raw<'a>(bytes: &'a [u8], key: &Node) -> &'a [u8] {
    &bytes[key.start as usize + 1..key.end as usize - 1]
}

#[cfg(test)]
mod tests {
    use super::super::{Document, ErrorKind, Limits};

    /// The offset of the key that was there before, if one was.
    fn twice(text: &str) -> Option<usize> {
        match Document::parse(text.to_owned().into(), &Limits::REQUEST) {
            Ok(_) => None,
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::DuplicateKey, "{text}");
                Some(error.offset)
            }
        }
    }

    #[test]
    fn a_key_is_found_twice_among_few_and_many_wherever_it_stands() {
        for count in [1, 2, 5, 8, 9, 40, 63, 64, 65, 66, 67, 130, 400] {
            let mut keys: Vec<String> = (0..count).map(|number| format!("\"k{number}\":{{\"k0\":[]}},")).collect();
            let object = |keys: &[String]| format!("[{{}},{{{}\"z\":0}}]", keys.concat());
            assert_eq!(twice(&object(&keys)), None, "{count}");
            for again in [0, count / 2, count - 1] {
                // The first of them written with an escape, the second, or none.
                let (plain, escaped) = (format!("\"k{again}\":1,"), format!("\"\\u006b{again}\":1,"));
                for (first, second) in [(&plain, &plain), (&escaped, &plain), (&plain, &escaped)] {
                    let first = std::mem::replace(&mut keys[again], first.clone());
                    let at = object(&keys).len() - "\"z\":0}]".len();
                    keys.push(second.clone());
                    assert_eq!(twice(&object(&keys)), Some(at), "{count}, {again}");
                    keys.pop();
                    keys[again] = first;
                }
            }
        }
    }

    #[test]
    fn an_object_inside_leaves_the_keys_around_it_known() {
        for (text, at) in [
            (r#"{"a":{"b":1},"b":1}"#, None),
            (r#"{"a":{"a":1},"a":1}"#, Some(13)),
            (r#"{"a":[{"\u0061":1}],"a":1}"#, Some(20)),
            (r#"{"\u0061":{"b":1,"c":2},"a":1}"#, Some(24)),
            (r#"{"":1,"b":{},"":1}"#, Some(13)),
            (r#"{"":1,"\"":1," ":1}"#, None),
        ] {
            assert_eq!(twice(text), at, "{text}");
        }
    }
}

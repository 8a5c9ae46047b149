use std::fmt;
use std::fmt::Write as _;

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

/// How a file of keys begins from which something was erased.
pub(super) const HEAD: &str = "portcullis-subjects 1";
/// How its last line begins, before the number of keys.
const END: &str = "end ";
/// Levels below the root: one for each bit of a point.
const DEPTH: u32 = u64::BITS;

/// A key of the tree or of a subject.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// One key for each of 2^64 points, drawn from the keys that are held, and any of them can be erased alone.
///
/// The construction is the one of Goldreich, Goldwasser and Micali: each key gives two, for the halves of what it stands for.
/// To erase a point, the key above it is replaced by those of the halves beside its way down, so that what is held still
/// gives every other key and no longer that one. What is held is one key at first and at most 64 more for each erasure.
pub(super) struct Tree(Vec<Node>);

/// The key of all points that begin with the first `depth` bits of `prefix`, whose other bits are zero.
struct Node {
    prefix: u64,
    depth: u32,
    key: Key,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({} keys)", self.0.len())
    }
}

impl Tree {
    /// All keys.
    pub(super) fn of(root: Key) -> Self {
        Self(vec![Node { prefix: 0, depth: 0, key: root }])
    }

    /// The key of a point; `None` if it was erased.
    pub(super) fn key(&self, point: u64) -> Option<Key> {
        let node = self.0.get(self.above(point)?)?;
        Some((node.depth..DEPTH).fold(node.key.clone(), |key, level| below(&key, is_right(point, level))))
    }

    /// Erases the key of a point. Returns whether there was one.
    pub(super) fn erase(&mut self, point: u64) -> bool {
        let Some(at) = self.above(point) else { return false };
        let Node { depth, mut key, .. } = self.0.remove(at);
        for level in depth..DEPTH {
            let right = is_right(point, level);
            let beside = (point & first(level + 1)) ^ bit(level);
            self.0.push(Node { prefix: beside, depth: level + 1, key: below(&key, !right) });
            key = below(&key, right);
        }
        self.0.sort_unstable_by_key(|node| node.prefix);
        true
    }

    /// How many points were erased.
    pub(super) fn erased(&self) -> u64 {
        let held = self.0.iter().fold(0_u128, |sum, node| sum + (1 << (DEPTH - node.depth)));
        u64::try_from((1_u128 << DEPTH).saturating_sub(held)).unwrap_or(u64::MAX)
    }

    /// Where the key is that the one of this point is drawn from.
    fn above(&self, point: u64) -> Option<usize> {
        let at = self.0.partition_point(|node| node.prefix <= point).checked_sub(1)?;
        let node = self.0.get(at)?;
        (point & first(node.depth) == node.prefix).then_some(at)
    }

    /// The keys as text, from which [`Self::read`] makes them again.
    pub(super) fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() * 72 + 64));
        text.push_str(HEAD);
        text.push('\n');
        for Node { prefix, depth, key } in &self.0 {
            let key = Zeroizing::new(BASE64URL_NOPAD.encode(&**key));
            let _ = writeln!(text, "{depth} {prefix:016x} {}", &*key);
        }
        // By this a file that was cut is told from one from which more was erased.
        let _ = writeln!(text, "{END}{}", self.0.len());
        text
    }

    /// Reads that text. Errs with the number of a line that is not as it was written.
    pub(super) fn read(text: &str) -> Result<Self, usize> {
        let mut nodes: Vec<Node> = Vec::new();
        // The first point that no line has stood for yet; beyond the last there is none.
        let mut free = Some(0_u64);
        let (all, last) = text.trim_end_matches('\n').rsplit_once('\n').ok_or(1_usize)?;
        for (at, line) in all.lines().enumerate() {
            if at == 0 {
                (line == HEAD).then_some(()).ok_or(1_usize)?;
                continue;
            }
            let node = node(line).filter(|node| free.is_some_and(|free| node.prefix >= free)).ok_or(at + 1)?;
            free = (node.prefix | !first(node.depth)).checked_add(1);
            nodes.push(node);
        }
        let is_whole = last.strip_prefix(END) == Some(&*nodes.len().to_string());
        is_whole.then_some(Self(nodes)).ok_or(all.lines().count() + 1)
    }
}

fn node(line: &str) -> Option<Node> {
    let mut words = line.split(' ');
    let (depth, prefix, key) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let prefix = u64::from_str_radix(prefix, 16).ok()?;
    let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(key.as_bytes()).ok()?);
    let key = Zeroizing::new(bytes.as_slice().try_into().ok()?);
    let is_one = words.next().is_none() && depth <= DEPTH && prefix & !first(depth) == 0;
    is_one.then_some(Node { prefix, depth, key })
}

/// The key of one half of what `key` stands for.
fn below(key: &Key, right: bool) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &**key), &[u8::from(right)]);
    let mut half = Key::default();
    half.copy_from_slice(tag.as_ref());
    half
}

/// The bit a point is told by at a level, from the first on.
const fn bit(level: u32) -> u64 {
    1 << (DEPTH - 1 - level)
}

const fn is_right(point: u64, level: u32) -> bool {
    point & bit(level) != 0
}

/// The first `count` bits.
const fn first(count: u32) -> u64 {
    match count {
        0 => 0,
        _ => u64::MAX << (DEPTH - count),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HEAD, Key, Tree};

    fn tree() -> Tree {
        Tree::of(Key::new([7; 32]))
    }

    #[test]
    fn an_erased_key_is_gone_and_no_other() {
        let points = [0, 1, 2, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1, 0x0123_4567_89ab_cdef];
        let whole = tree();
        for erased in points {
            let mut tree = tree();
            assert!(tree.erase(erased) && !tree.erase(erased), "once");
            assert_eq!(tree.key(erased), None);
            assert_eq!((tree.0.len(), tree.erased()), (64, 1));
            for other in points.into_iter().filter(|point| *point != erased) {
                assert_eq!(tree.key(other), whole.key(other), "{erased:x} {other:x}");
            }
        }
        let mut tree = tree();
        assert!(points.into_iter().all(|point| tree.erase(point)));
        assert!(points.into_iter().all(|point| tree.key(point).is_none()));
        assert_eq!((tree.erased(), tree.key(3)), (8, whole.key(3)));
    }

    /// What is held must give nothing that was erased: neither that key nor one above it.
    #[test]
    fn no_key_on_the_way_to_an_erased_one_is_held() {
        let whole = tree();
        let point = 0x0123_4567_89ab_cdef;
        let mut tree = tree();
        tree.erase(point);
        let mut above = whole.0[0].key.clone();
        for level in 0..64 {
            assert!(tree.0.iter().all(|node| *node.key != *above), "level {level}");
            above = super::below(&above, super::is_right(point, level));
        }
        assert!(tree.0.iter().all(|node| *node.key != *above));
    }

    #[test]
    fn text_that_is_not_as_it_was_written_is_refused() {
        let mut tree = tree();
        tree.erase(5);
        let text = tree.text();
        assert_eq!(text.lines().next(), Some(HEAD));
        let second = text.lines().nth(1).unwrap();
        for (wrong, line) in [
            ("portcullis-subjects 2".to_owned(), 1),
            (text.replacen(second, &format!("{second}\n{second}"), 1), 3),
            (text.replacen(second, "", 1), 2),
            (text.replacen(&format!("{second}\n"), "", 1), 65),
            (text.lines().take(64).collect::<Vec<_>>().join("\n"), 64),
            (HEAD.to_owned(), 1),
            (text.replacen(second, &format!("{second} "), 1), 2),
            (text.replacen(second, &second.replacen("62 ", "61 ", 1).replacen("0000 ", "0001 ", 1), 1), 2),
            (text.replacen(second, second.get(..second.len() - 2).unwrap(), 1), 2),
            (text.replacen(second, &second.replacen("62 ", "65 ", 1), 1), 2),
        ] {
            assert_eq!(Tree::read(&wrong).map(|_| ()), Err(line), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn erased_points_and_no_others_have_no_key_also_after_reading(
            erased in prop::collection::vec(any::<u64>(), 0..12), others in prop::collection::vec(any::<u64>(), 1..12)
        ) {
            let (whole, mut tree) = (tree(), tree());
            for point in &erased {
                tree.erase(*point);
            }
            let read = Tree::read(&tree.text()).unwrap();
            for point in erased.iter().chain(&others) {
                let expected = if erased.contains(point) { None } else { whole.key(*point) };
                prop_assert_eq!(&tree.key(*point), &expected);
                prop_assert_eq!(&read.key(*point), &expected);
            }
        }
    }
}

//! Sets of bytes, for texts of which every byte must be one of some kinds.

use std::ops::RangeInclusive;

/// A set of bytes as a table, which is asked without a branch.
#[derive(Debug)]
pub(crate) struct ByteSet([bool; 256]);

impl ByteSet {
    /// The bytes of all these ranges.
    pub(crate) const fn of(ranges: &[RangeInclusive<u8>]) -> Self {
        let (mut set, mut at) = ([false; 256], 0);
        while at < ranges.len() {
            let (mut byte, last) = (*ranges[at].start() as usize, *ranges[at].end() as usize);
            while byte <= last {
                set[byte] = true;
                byte += 1;
            }
            at += 1;
        }
        Self(set)
    }

    /// Whether all of `bytes` are in it; true of none. Looks at every byte: most texts are as they should be.
    pub(crate) fn has_all(&self, bytes: &[u8]) -> bool {
        bytes.iter().fold(true, |all, byte| all & self.0[usize::from(*byte)])
    }
}

#[cfg(test)]
mod tests {
    use super::ByteSet;

    #[test]
    fn holds_the_bytes_of_its_ranges_and_no_others() {
        static SET: ByteSet = ByteSet::of(&[b'a'..=b'z', b'-'..=b'-', 0xff..=0xff, 0..=0]);
        for byte in 0..=u8::MAX {
            let is_in = byte.is_ascii_lowercase() || matches!(byte, b'-' | 0xff | 0);
            assert_eq!(SET.has_all(&[byte]), is_in, "{byte:x}");
            assert_eq!(SET.has_all(&[b'a', b'-', byte, b'z']), is_in, "{byte:x}");
        }
        assert!(SET.has_all(b""));
    }
}

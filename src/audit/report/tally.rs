use std::collections::BTreeMap;

/// The most different keys that are counted apart: names come from callers, who can invent as many as they like.
const KEYS: usize = 20_000;

/// Values by key, of a bounded number of keys; what comes beyond them is counted together.
#[derive(Debug)]
pub(super) struct Tally<K, V> {
    by_key: BTreeMap<K, V>,
    others: Option<V>,
}

impl<K: Ord, V: Default> Tally<K, V> {
    /// The value of `key`, or the one of all keys there was no room for.
    pub(super) fn of(&mut self, key: K) -> &mut V {
        if self.by_key.len() >= KEYS && !self.by_key.contains_key(&key) {
            return self.others.get_or_insert_default();
        }
        self.by_key.entry(key).or_default()
    }

    /// All keys, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.by_key.iter()
    }

    /// The keys with the greatest `weight` first, and in their order where it is the same.
    pub(super) fn by_weight(&self, weight: impl Fn(&V) -> u64) -> Vec<(&K, &V)> {
        let mut all: Vec<_> = self.by_key.iter().collect();
        all.sort_by_key(|(_, value)| std::cmp::Reverse(weight(value)));
        all
    }

    /// What was counted together.
    pub(super) const fn others(&self) -> Option<&V> {
        self.others.as_ref()
    }

    /// The number of keys counted apart.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }
}

impl<K, V> Default for Tally<K, V> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), others: None }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEYS, Tally};

    #[test]
    fn keys_are_bounded_and_nothing_is_lost() {
        let mut tally: Tally<usize, u64> = Tally::default();
        for key in 0..KEYS + 5 {
            *tally.of(key) += 1;
        }
        *tally.of(7) += 1;
        assert_eq!((tally.len(), tally.others()), (KEYS, Some(&5)));
        assert_eq!(tally.by_weight(|count| *count)[..2], [(&7, &2), (&0, &1)]);
        assert_eq!(tally.iter().map(|(_, count)| count).sum::<u64>(), KEYS as u64 + 1);
    }
}

//! Context words: what the words before a number say about it.

use std::cell::Cell;
use std::sync::LazyLock;

use super::{birth, identity, payment, phone};

/// What a number may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Aadhaar,
    Bank,
    Birth,
    Card,
    Cpf,
    FiscalCode,
    GermanTax,
    Itin,
    Nhs,
    Nif,
    Nino,
    Nir,
    Pesel,
    Phone,
    Sin,
    Ssn,
    Tfn,
}

/// What the nearest word says about a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// It is of the topic.
    For,
    /// It is something else.
    Against,
}

/// A word and the topics of a number after it.
pub(super) type Word = (&'static str, &'static [Topic]);

/// Words before numbers that are no personal data.
const OTHERS: [Word; 68] = [
    ("amount", &[]),
    ("article", &[]),
    ("artikel", &[]),
    ("asin", &[]),
    ("barcode", &[]),
    ("batch", &[]),
    ("bestellung", &[]),
    ("build", &[]),
    ("case", &[]),
    ("checksum", &[]),
    ("commande", &[]),
    ("commit", &[]),
    ("count", &[]),
    ("customer", &[]),
    ("ean", &[]),
    ("epoch", &[]),
    ("error", &[]),
    ("factura", &[]),
    ("facture", &[]),
    ("fattura", &[]),
    ("gtin", &[]),
    ("hash", &[]),
    ("id", &[]),
    ("identifier", &[]),
    ("imei", &[]),
    ("invoice", &[]),
    ("isbn", &[]),
    ("issn", &[]),
    ("issue", &[]),
    ("item", &[]),
    ("lot", &[]),
    ("matricule", &[]),
    ("model", &[]),
    ("offset", &[]),
    ("order", &[]),
    ("parcel", &[]),
    ("part", &[]),
    ("pedido", &[]),
    ("po", &[]),
    ("population", &[]),
    ("port", &[]),
    ("price", &[]),
    ("product", &[]),
    ("qty", &[]),
    ("rechnung", &[]),
    ("record", &[]),
    ("ref", &[]),
    ("reference", &[]),
    ("request", &[]),
    ("rev", &[]),
    ("revision", &[]),
    ("revenue", &[]),
    ("run", &[]),
    ("sequence", &[]),
    ("serial", &[]),
    ("sha", &[]),
    ("size", &[]),
    ("sku", &[]),
    ("ticket", &[]),
    ("timestamp", &[]),
    ("total", &[]),
    ("trace", &[]),
    ("tracking", &[]),
    ("transaction", &[]),
    ("uuid", &[]),
    ("version", &[]),
    ("zaak", &[]),
    ("zip", &[]),
];

static WORDS: LazyLock<Words<&'static [Topic]>> = LazyLock::new(|| {
    let families =
        [birth::WORDS, identity::AMERICAN, identity::BRITISH, identity::EUROPEAN, identity::OVERSEAS, payment::WORDS];
    let table = families.into_iter().chain([phone::WORDS, &OTHERS]).flatten().copied();
    Words::new(table)
});

/// Builds the search for all words.
pub(super) fn prepare() {
    LazyLock::force(&WORDS);
}

/// How many bytes before a number a word may be to count.
const REACH: usize = 48;

/// A cache of the last lookup: several recognisers look up the same number, and then its groups.
#[derive(Debug, Default)]
pub(super) struct Context {
    asked: Cell<Option<Asked>>,
    label: Cell<Option<Said>>,
}

/// A cached result.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The position of the number.
    at: usize,
    said: Said,
    /// Where the word begins, or the searched bytes if there is no word.
    from: usize,
    is_word: bool,
}

impl Asked {
    /// Whether it is also valid for a number at `at`: only digits and separators are in between, and the bytes to search for
    /// that one still include the word and do not begin inside a word.
    fn holds(self, text: &[u8], at: usize) -> bool {
        if self.at == at {
            return true;
        }
        let from = at.saturating_sub(REACH);
        let is_cut = from > 0 && text[from - 1].is_ascii_alphabetic() && text[from].is_ascii_alphabetic();
        let parts = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')' | b':');
        self.at < at
            && !is_cut
            && (!self.is_word || from <= self.from)
            && text.get(self.at..at).is_some_and(|between| between.len() <= REACH && between.iter().all(parts))
    }
}

/// The topics of the nearest word; `None` if there is no word.
type Said = Option<&'static [Topic]>;

impl Context {
    /// The hint of the nearest known word before `at`, on the same line, about `topic`; else that of the label.
    pub(super) fn hint(&self, text: &[u8], label: &str, at: usize, topic: Topic) -> Option<Hint> {
        let asked = match self.asked.get() {
            Some(asked) if asked.holds(text, at) => Asked { at, ..asked },
            _ => self.ask(text, label, at),
        };
        self.asked.set(Some(asked));
        asked.said.map(|topics| if topics.contains(&topic) { Hint::For } else { Hint::Against })
    }

    fn ask(&self, text: &[u8], label: &str, at: usize) -> Asked {
        match WORDS.nearest_before(text, at, REACH) {
            (from, Some(said)) => Asked { at, said: Some(said), from, is_word: true },
            (from, None) => Asked { at, said: self.of_label(label), from, is_word: false },
        }
    }

    fn of_label(&self, label: &str) -> Said {
        if let Some(said) = self.label.get() {
            return said;
        }
        let said = WORDS.nearest(end_of(label));
        self.label.set(Some(said));
        said
    }
}

/// The part of a key that is searched.
pub(in crate::mask) fn end_of(label: &str) -> &[u8] {
    const LONGEST: usize = 128;
    let label = label.as_bytes();
    &label[label.len().saturating_sub(LONGEST)..]
}

/// Whether words before that byte do not count: the names in our own replacements must not influence their neighbours, nor a
/// line the next.
const fn is_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b']')
}

/// A search for the last word in a text: backwards from the end, by the last two bytes of a word.
///
/// The nearest word is mostly a few bytes away, and only one in twenty other positions ends like a word of the table.
#[derive(Debug)]
pub(in crate::mask) struct Words<M> {
    /// For each ending 1 plus the index of its bucket; 0 if there is none.
    table: Box<[u16]>,
    /// Words by ending, the longest first.
    buckets: Vec<Vec<(Box<[u8]>, M)>>,
}

impl<M: Copy> Words<M> {
    const ENDINGS: usize = 1 << 11;

    pub(in crate::mask) fn new(table: impl Iterator<Item = (impl AsRef<[u8]>, M)>) -> Self {
        let mut words = Self { table: vec![0; Self::ENDINGS].into(), buckets: Vec::new() };
        for (word, meaning) in table {
            match *word.as_ref() {
                [] => {}
                // With any byte before it.
                [last] => (0..=u8::MAX).for_each(|before| words.put(Self::ending(before, last), &[last], meaning)),
                [.., before, last] => words.put(Self::ending(before, last), word.as_ref(), meaning),
            }
        }
        words.buckets.iter_mut().for_each(|bucket| bucket.sort_by_key(|(word, _)| std::cmp::Reverse(word.len())));
        words
    }

    fn put(&mut self, ending: usize, word: &[u8], meaning: M) {
        if self.table[ending] == 0 {
            self.buckets.push(Vec::new());
            // Does not fail: there are no more buckets than endings.
            self.table[ending] = u16::try_from(self.buckets.len()).unwrap_or_default();
        }
        if let Some(bucket) = self.bucket(ending).and_then(|index| self.buckets.get_mut(index))
            && bucket.last().is_none_or(|(known, _)| **known != *word)
        {
            bucket.push((word.into(), meaning));
        }
    }

    /// The index of the last two bytes, whatever their case.
    const fn ending(before: u8, last: u8) -> usize {
        (((before | 0x20) as usize) << 5 ^ (last | 0x20) as usize) % Self::ENDINGS
    }

    fn bucket(&self, ending: usize) -> Option<usize> {
        usize::from(*self.table.get(ending)?).checked_sub(1)
    }

    /// Whether one of the words is before `at`, on the same line, or in the label.
    pub(in crate::mask) fn stand_before(&self, text: &[u8], at: usize, label: &str) -> bool {
        self.nearest_before(text, at, REACH).1.or_else(|| self.nearest(end_of(label))).is_some()
    }

    /// The meaning of the word that ends last in `text`, the longest if several do. Parts of longer words do not count.
    pub(super) fn nearest(&self, text: &[u8]) -> Option<M> {
        self.search(text, |_| false).1
    }

    /// The same for the bytes before `at`, at most `reach`, with the beginning of the word, or of those bytes if there is none.
    pub(super) fn nearest_before(&self, text: &[u8], at: usize, reach: usize) -> (usize, Option<M>) {
        let from = at.saturating_sub(reach);
        let (start, meaning) = self.search(&text[from..at], is_end);
        (from + start, meaning)
    }

    /// Searches `text` backwards to the first byte that `is_end`.
    fn search(&self, text: &[u8], is_end: impl Fn(u8) -> bool) -> (usize, Option<M>) {
        let (mut behind, mut further) = (b' ', b' ');
        for (at, last) in text.iter().enumerate().rev() {
            if is_end(*last) {
                return (at + 1, None);
            }
            // Most bytes are within words.
            if ends_word(behind, further)
                && let Some(bucket) = self.bucket(Self::ending(if at > 0 { text[at - 1] } else { 0 }, *last))
                && let Some((start, meaning)) = self.last_word(bucket, &text[..=at])
                && !text[start..at].iter().any(|byte| is_end(*byte))
            {
                return (start, Some(meaning));
            }
            (behind, further) = (*last, behind);
        }
        (0, None)
    }

    /// The position and the meaning of the longest word of a bucket that `text` ends with.
    fn last_word(&self, bucket: usize, text: &[u8]) -> Option<(usize, M)> {
        let fits = |word: &[u8]| {
            let start = text.len().checked_sub(word.len());
            start.is_some_and(|start| text[start..].eq_ignore_ascii_case(word) && starts_word(text, start))
        };
        let found = self.buckets.get(bucket)?.iter().find(|(word, _)| fits(word));
        found.map(|(word, meaning)| (text.len() - word.len(), *meaning))
    }
}

fn starts_word(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|index| text[index]) else { return true };
    // `homePhone` contains the word `phone`.
    !before.is_ascii_alphabetic() || (before.is_ascii_lowercase() && text[at].is_ascii_uppercase())
}

/// Whether a word may end before these two bytes, possibly with a plural `s`; spaces stand for the end of a text.
const fn ends_word(behind: u8, further: u8) -> bool {
    !behind.is_ascii_lowercase() || behind == b's' && !further.is_ascii_alphabetic()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Context, Hint, REACH, Topic, WORDS};

    fn hint(text: &str, label: &str, topic: Topic) -> Option<Hint> {
        Context::default().hint(text.as_bytes(), label, text.len(), topic)
    }

    #[test]
    fn the_nearest_word_speaks() {
        let cases = [
            ("my ssn is ", "", Topic::Ssn, Some(Hint::For)),
            ("my ssn is ", "", Topic::Phone, Some(Hint::Against)),
            ("ssn, phone: ", "", Topic::Phone, Some(Hint::For)),
            ("phone, order ", "", Topic::Phone, Some(Hint::Against)),
            ("nothing said ", "", Topic::Phone, None),
            ("telephones: ", "", Topic::Phone, Some(Hint::For)),
            ("homePhone", "", Topic::Phone, Some(Hint::For)),
            ("microphone ", "", Topic::Phone, None),
            ("phone\n", "", Topic::Phone, None),
            ("[PHONE_NUMBER] ", "", Topic::Phone, None),
            ("", "homePhone", Topic::Phone, Some(Hint::For)),
            ("", "order_id", Topic::Phone, Some(Hint::Against)),
            ("ssn ", "order_id", Topic::Ssn, Some(Hint::For)),
            ("tax id ", "", Topic::Itin, Some(Hint::For)),
        ];
        for (text, label, topic, wanted) in cases {
            assert_eq!(hint(text, label, topic), wanted, "{text:?} {label:?} {topic:?}");
        }
    }

    #[test]
    fn asks_once_for_one_number() {
        let context = Context::default();
        let text = b"phone 12 order 34";
        for _ in 0..2 {
            assert_eq!(context.hint(text, "", 6, Topic::Phone), Some(Hint::For));
            assert_eq!(context.hint(text, "", 15, Topic::Phone), Some(Hint::Against));
        }
    }

    fn piece() -> impl Strategy<Value = String> {
        const WORDS: [&str; 17] = [
            "phone",
            "micro",
            "tele",
            "order",
            " ",
            ": ",
            "-",
            ".",
            "(",
            ")",
            "\n",
            "]",
            "t",
            "é",
            "s",
            "Tel",
            "date of birth",
        ];
        prop_oneof![
            2 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
            2 => "[0-9]{1,9}",
            1 => "[ ./-]{1,3}",
            1 => "[a-z ]{1,20}",
        ]
    }

    proptest! {
        /// Words count as in a text that has only the bytes within reach, on the line, and after the last bracket.
        #[test]
        fn hears_no_word_from_elsewhere(pieces in prop::collection::vec(piece(), 1..30), reach in 1..REACH) {
            let text = pieces.concat();
            for at in 0..=text.len() {
                let near = &text.as_bytes()[at.saturating_sub(reach)..at];
                let cut = near.iter().rposition(|byte| matches!(byte, b'\n' | b']')).map_or(0, |end| end + 1);
                let (from, said) = WORDS.nearest_before(text.as_bytes(), at, reach);
                prop_assert_eq!(said, WORDS.nearest(&near[cut..]), "{} before {} of {:?}", reach, at, text);
                prop_assert!(said.is_some() || from == at - near.len() + cut);
            }
        }

        /// A cached result is used for the next number only if a search would find the same.
        #[test]
        fn says_what_is_said_when_asked_anew(pieces in prop::collection::vec(piece(), 1..30)) {
            let text = pieces.concat();
            let bytes = text.as_bytes();
            let context = Context::default();
            let is_start = |at: &usize| bytes[*at].is_ascii_digit() && (*at == 0 || !bytes[at - 1].is_ascii_digit());
            for at in (0..bytes.len()).filter(is_start) {
                for topic in [Topic::Phone, Topic::Birth, Topic::Bank] {
                    let anew = Context::default().hint(bytes, "", at, topic);
                    prop_assert_eq!(context.hint(bytes, "", at, topic), anew, "at {} of {:?}", at, text);
                }
            }
        }
    }
}

//! The cheap first scan: decides that a text contains nothing any mask could match, before anything is parsed or allocated.
//!
//! A coarse pass finds out about each block of 64 bytes, in a dozen vector instructions, whether it has a digit, an `@`, a
//! spelling that hides characters, a mark of encoded text, or a word as long as a key. Only then numbers and long words are
//! examined one by one, and only what could belong to a value is reported. The scan may report too much, never too little.

mod beside;
mod coarse;
mod crowd;
mod figure;
mod heard;
mod numbers;
mod points;
mod runs;
mod wanted;
mod window;
mod words;

use aho_corasick::packed::Searcher;
use fearless_simd::Simd;

use super::heat::Heat;
use super::literals::{Literal, Presence};
use super::recognisers::secret;
use super::{Entity, blob};
use crate::json::Span;
pub(super) use beside::joins;
use coarse::{Marks, Visit};
use crowd::Crowd;
use numbers::Clusters;
use wanted::Wanted;
use words::Dashes;

/// A sign that a recogniser could find something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// An `@`.
    At,
    /// Colons as in an IPv6 address.
    Colons,
    /// Digits that could belong to a wanted number.
    Digits,
    /// Spellings that hide characters: `\u`, `%41`, `&#64;`, zero-width and compatibility characters.
    Disguise,
    /// A JSON key of encoded text, or a data URL.
    Encoded,
    /// A literal that matches of a pattern in the policy begin with.
    Literal,
    /// Separators as in a MAC address.
    Mac,
}

/// A set of signals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signals(u8);

impl Signals {
    const fn add(&mut self, signal: Signal) {
        self.0 |= 1 << signal as u8;
    }

    pub(super) const fn has(self, signal: Signal) -> bool {
        self.0 & 1 << signal as u8 != 0
    }
}

/// What the gate found in a text.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) signals: Signals,
    /// Runs of digits that could belong to a wanted number, in order.
    pub(super) runs: Vec<Span>,
    /// Words that could be or contain a secret key, in order.
    pub(super) keys: Vec<Span>,
    /// Words that contain a code of letters and digits, in order.
    pub(super) codes: Vec<Span>,
}

impl Survey {
    /// The number of spans allocated.
    pub(super) const fn capacity(&self) -> usize {
        self.runs.capacity() + self.keys.capacity() + self.codes.capacity()
    }
}

/// Something the gate found, and where.
#[derive(Clone, Copy, Debug)]
enum Sight<'s> {
    /// A signal, and the byte where it begins.
    At(Signal, usize),
    Number(&'s [Span]),
    Word(Span, Holds),
}

/// What a word could contain.
#[derive(Clone, Copy, Debug)]
struct Holds {
    /// A secret key.
    key: bool,
    /// A code of letters and digits.
    code: bool,
    /// Digits that are not reported as a number.
    digits: bool,
}

/// Which signals matter for the entities of one plan.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "signals that matter independently")]
pub(super) struct Gate {
    mails: bool,
    secrets: bool,
    macs: bool,
    /// Long words matter: keys, wallets, accounts, codes.
    words: bool,
    wanted: Wanted,
    /// Whether every text must pass, since some pattern has no literal prefix.
    open: bool,
    secret_literals: Presence,
    dashes: Dashes,
    /// The literals that matches of patterns begin with.
    literals: Option<Searcher>,
    many_literals: Presence,
}

impl Gate {
    /// A gate for `entities`. `literals` are the prefixes that matches of patterns begin with; `open` turns the gate off.
    pub(super) fn new(
        entities: impl Iterator<Item = Entity>,
        secrets: &[Literal],
        literals: &[Literal],
        open: bool,
    ) -> Self {
        /// The most literals for a packed search; for more, [`Presence`] is faster.
        const PACKED: usize = 32;
        let mut gate = Self { open, ..Self::default() };
        heard::prepare();
        for entity in entities {
            gate.want(entity);
        }
        if gate.secrets {
            gate.secret_literals = Presence::new(secrets);
        }
        let packed = (1..=PACKED).contains(&literals.len());
        gate.literals = packed.then(|| Searcher::new(literals.iter().map(|literal| &literal.bytes))).flatten();
        if gate.literals.is_none() {
            gate.many_literals = Presence::new(literals);
        }
        gate
    }

    fn want(&mut self, entity: Entity) {
        match entity {
            Entity::EmailAddress | Entity::UrlCredentials => self.mails = true,
            Entity::MacAddress => (self.macs, self.wanted.macs) = (true, true),
            Entity::Secret => self.secrets = true,
            _ => self.wanted.add(entity),
        }
        self.words |= matches!(
            entity,
            Entity::Crypto
                | Entity::IbanCode
                | Entity::IpAddress
                | Entity::ItFiscalCode
                | Entity::MacAddress
                | Entity::Secret
        );
    }

    /// Whether anything in `text`, plain or as JSON source, could match. If not, it is clean.
    pub(super) fn opens(&self, text: &[u8]) -> bool {
        self.opens_under("", text)
    }

    /// The same for a text under the JSON key `label`.
    pub(super) fn opens_under(&self, label: &str, text: &[u8]) -> bool {
        if self.open {
            return true;
        }
        !self.each(label, text, Crowd::NONE, &mut |_| false)
    }

    /// The places in `text`, which is JSON source, where something could match: a string that touches none of them is clean.
    pub(super) fn heat(&self, text: &[u8]) -> Heat {
        /// The number of bytes between checks whether to go on.
        const ASKED: usize = 4096;
        if self.open {
            return Heat::Everywhere;
        }
        let mut heat = Heat::none(text.len());
        let mut asked = 0;
        let is_sparse = self.each("", text, Crowd::NONE, &mut |sight| {
            let Span { start, end } = match sight {
                Sight::At(_, at) => Span { start: at, end: at },
                // Mark all blocks from the first run to the last: a word between them may give the number away.
                Sight::Number(runs) => {
                    Span { start: runs.first().map_or(0, |run| run.start), end: runs.last().map_or(0, |run| run.end) }
                }
                Sight::Word(word, _) => word,
            };
            (start..end).step_by(Heat::BLOCK).chain([end.saturating_sub(1).max(start)]).for_each(|at| heat.mark(at));
            let is_due = start >= asked + ASKED;
            asked = if is_due { start } else { asked };
            !is_due || !heat.is_full(start)
        });
        if is_sparse { heat } else { Heat::Everywhere }
    }

    /// Collects everything in `text`, under the JSON key `label`, that a recogniser could start from.
    pub(super) fn survey(&self, label: &str, text: &[u8], survey: &mut Survey) {
        self.survey_in(Crowd::new(), label, text, survey);
    }

    fn survey_in(&self, crowd: Crowd, label: &str, text: &[u8], survey: &mut Survey) {
        // Where no number matters, none is collected.
        let crowd = if self.wanted.is_nothing() { Crowd::NONE } else { crowd };
        let Survey { signals, runs, keys, codes } = survey;
        *signals = Signals::default();
        [&mut *runs, &mut *keys, &mut *codes].into_iter().for_each(Vec::clear);
        // The digits of wallets, accounts and codes are collected with their words.
        let mut own = Vec::new();
        self.each(label, text, crowd, &mut |sight| {
            match sight {
                Sight::At(signal, _) => signals.add(signal),
                Sight::Number(found) => {
                    signals.add(Signal::Digits);
                    // A number that continues after a crowd is read from its beginning again.
                    let behind = runs.last().map_or(0, |run| run.end);
                    let is_known = found.first().is_some_and(|run| run.start < behind);
                    let known = if is_known { found.partition_point(|run| run.start < behind) } else { 0 };
                    runs.extend_from_slice(&found[known..]);
                }
                Sight::Word(word, Holds { key, code, digits }) => {
                    keys.extend(key.then_some(word));
                    codes.extend(code.then_some(word));
                    if digits {
                        runs::runs_in(text, word, &mut own);
                    }
                }
            }
            true
        });
        runs::merge(runs, &own);
    }

    /// Calls `visit` with everything found in `text` until it returns false; returns whether it never did.
    fn each(&self, label: &str, text: &[u8], crowd: Crowd, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let clusters = Clusters::new(label, text, &self.wanted);
        let mut look = Look { gate: self, label, text, clusters, crowd, dashes: None, visit };
        coarse::look(text, &mut look) && look.clusters.tell_taken(look.visit) && self.patterns(text, look.visit)
    }

    fn patterns(&self, text: &[u8], visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        if let Some(literals) = &self.literals {
            return literals.find_iter(text).all(|found| visit(Sight::At(Signal::Literal, found.start())));
        }
        self.many_literals.each_in(text, |at| visit(Sight::At(Signal::Literal, at)))
    }
}

/// One pass over a text.
struct Look<'l> {
    gate: &'l Gate,
    label: &'l str,
    text: &'l [u8],
    clusters: Clusters<'l>,
    crowd: Crowd,
    /// Whether the text has five dashes in a row; computed at the first long word.
    dashes: Option<bool>,
    visit: &'l mut dyn FnMut(Sight<'_>) -> bool,
}

impl Visit for Look<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for the instructions of the pass over all blocks")]
    fn digits<S: Simd>(&mut self, simd: S, at: usize, digits: (u64, u64)) -> bool {
        let Self { gate, clusters, crowd, visit, .. } = self;
        if gate.wanted.is_nothing() {
            return true;
        }
        if crowd.has(at) {
            return clusters.take(simd, at, digits.0, crowd, *visit);
        }
        if crowd.leave(clusters.told) && !clusters.take_rest(*visit) {
            return false;
        }
        let told = clusters.told;
        let go_on = clusters.block(simd, at, digits, *visit);
        if clusters.told != told {
            crowd.note(clusters.told);
        }
        go_on
    }

    fn marks(&mut self, marks: &Marks) -> bool {
        let Self { gate, text, clusters, visit, .. } = self;
        if marks.quotes != 0 {
            clusters.quote();
        }
        if marks.ats != 0 && gate.mails && !visit(Sight::At(Signal::At, marks.at + marks.ats.trailing_zeros() as usize))
        {
            return false;
        }
        if let Some(place) = coarse::disguise(text, marks)
            && !visit(Sight::At(Signal::Disguise, place))
        {
            return false;
        }
        let mut each = |mut bits: u64, is_ahead: fn(&[u8]) -> bool| {
            while bits != 0 {
                let at = marks.at + bits.trailing_zeros() as usize;
                if text.get(at + 1..).is_some_and(is_ahead) && !visit(Sight::At(Signal::Encoded, at)) {
                    return false;
                }
                bits &= bits - 1;
            }
            true
        };
        each(marks.labels, |rest| rest.starts_with(b"blob") || rest.starts_with(b"data"))
            && each(marks.semicolons, |rest| blob::mark_length(rest).is_some())
    }

    fn word<S: Simd>(&mut self, simd: S, word: Span) -> bool {
        let Self { gate, label, text, crowd, dashes, visit, .. } = self;
        if !gate.words {
            return true;
        }
        let words::Glance { colons, marks, letters, assigns, rows } = words::glance(simd, text, word);
        if gate.macs && marks > 4 && words::has_mac(text, word) && !visit(Sight::At(Signal::Mac, word.start))
            || gate.wanted.addresses
                && colons > 5
                && words::has_colons(text, word)
                && !visit(Sight::At(Signal::Colons, word.start))
        {
            return false;
        }
        let mut has_secret = || {
            let dashes = *dashes.get_or_insert_with(|| gate.dashes.are_in(text));
            // Every key and every name of one has letters.
            (letters || dashes) && words::has_secret(text, word, &gate.secret_literals, dashes)
                || letters && assigns | secret::is_first(word) && secret::is_assigned(label, text, word)
        };
        let holds = Holds {
            key: gate.secrets && has_secret(),
            code: gate.wanted.codes && rows.sixteen && words::has_code(text, word),
            digits: !crowd.has_all(word),
        };
        let told =
            holds.key || holds.code || holds.digits && rows.fourteen && words::is_shaped(text, word, &gate.wanted);
        !told || visit(Sight::Word(word, holds))
    }
}

/// Whether `text` ends with an escape of two characters, such as `\n`.
pub(super) fn is_escape_end(text: &[u8]) -> bool {
    text.len() >= 2 && text[text.len() - 2] == b'\\'
}

#[cfg(test)]
mod tests;

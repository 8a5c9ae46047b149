//! Runs of digits, and which of them could belong to a wanted number.
//!
//! Numbers are judged in three steps, each for what the one before left undecided: a [`Figure`] by the bits of its block and
//! the bytes next to it, which dismisses most; a [`Window`] by a wider context, for all its figures at once; and a cluster by
//! reading it run by run, as recognisers do.

mod cluster;

use fearless_simd::Simd;

use super::Sight;
use super::beside::{LONGEST_GAP, is_digit, is_lone_date, is_year};
use super::coarse::BLOCK;
use super::figure::{self, AFTER_DAY, Figure, Kind};
use super::heard::speaks_before;
use super::wanted::{Asked, Wanted};
use super::window::{Hints, Window};
use crate::json::Span;
use crate::mask::recognisers::{end_of, speaks_of_birth};

/// The clusters of a text, one after the other: runs of digits close enough to be one number.
///
/// Only positions are carried from one cluster to the next, so that each can be read by itself, from its first run to its last.
pub(super) struct Clusters<'t> {
    label: &'t str,
    pub(super) text: &'t [u8],
    pub(super) wanted: &'t Wanted,
    asked: Asked,
    figures: figure::Asked,
    births: Births,
    /// Whether the blocks so far contain a quotation mark.
    quoted: bool,
    /// Digits from here on are not judged yet.
    pub(super) judged: usize,
    /// The end of the last digit that was judged.
    pub(super) behind: usize,
    /// The beginning of the last run of one or two digits, which may be the day before a year.
    pub(super) day: usize,
    /// The end of the last run that was reported.
    pub(super) told: usize,
    /// The runs of the cluster being read.
    pub(super) runs: Vec<Span>,
    /// The runs collected in a dense stretch and not reported yet.
    pub(super) taken: Vec<Span>,
}

/// How many bytes before a date, or before its year or last part, a word for birth may begin.
const BEFORE_DATE: usize = 64;
const BEFORE_YEAR: usize = 128;

/// Which digits of a window could belong to a value, one bit each.
#[derive(Clone, Copy)]
struct Told {
    long: u64,
    lettered: u64,
    points: u64,
    /// Whether any could be a date of birth.
    born: bool,
    /// The beginnings of dates that are no part of anything else.
    alone: u64,
    /// The rows entirely within the window that have enough digits: reported whatever else they are.
    sure: u64,
}

/// Whether numbers may be dates of birth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Births {
    /// Any number may be: the label is a word for birth, or some key in the text may be.
    All,
    /// Those after a word for birth.
    Near,
    /// None.
    No,
    /// The label was not checked yet.
    Unknown,
}

impl<'t> Clusters<'t> {
    pub(super) fn new(label: &'t str, text: &'t [u8], wanted: &'t Wanted) -> Self {
        Self {
            label,
            text,
            wanted,
            asked: Asked::of(wanted),
            figures: Asked::of(wanted).of_figures(),
            births: if wanted.births { Births::Unknown } else { Births::No },
            quoted: false,
            judged: 0,
            behind: 0,
            day: 0,
            told: 0,
            runs: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Notes a quotation mark in the next block: numbers from there on may be under a key.
    pub(super) const fn quote(&mut self) {
        self.quoted = true;
    }

    /// Judges the `digits` of the block at `at`, and those of the `next` that continue them; false if `visit` returned false.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "so that it is compiled for the instructions of the pass over all blocks")]
    pub(super) fn block<S: Simd>(
        &mut self,
        simd: S,
        at: usize,
        (digits, next): (u64, u64),
        visit: &mut dyn FnMut(Sight<'_>) -> bool,
    ) -> bool {
        let mut rest = self.left_of(at, digits);
        while rest != 0 {
            let bit = rest.trailing_zeros();
            let first = at.wrapping_add(bit as usize);
            let figure = Figure::of(rest >> bit | (next << 1) << (u64::BITS - 1).wrapping_sub(bit));
            let kind = figure.kind(self.text, first, &self.figures, first.wrapping_sub(self.day) <= AFTER_DAY);
            let is_apart = first.wrapping_sub(self.behind) > LONGEST_GAP;
            if is_apart && (kind == Kind::Idle || kind == Kind::Date && self.is_date_of_other(simd, first)) {
                let days = figure.days();
                if days != 0 {
                    self.day = first.wrapping_add((u64::BITS - 1).wrapping_sub(days.leading_zeros()) as usize);
                }
                self.behind = first.wrapping_add(figure.width() as usize);
                self.judged = first.wrapping_add(figure.length as usize);
                let behind = bit.wrapping_add(figure.length);
                rest &= if behind < u64::BITS { u64::MAX << behind } else { 0 };
            } else {
                if !self.look_around(simd, first, visit) {
                    return false;
                }
                rest = self.left_of(at, rest);
            }
        }
        true
    }

    /// Whether the date of ten bytes at `first` is no part of anything else, and no date of birth.
    #[inline(never)]
    fn is_date_of_other<S: Simd>(&mut self, simd: S, first: usize) -> bool {
        is_lone_date(&self.text[first..])
            && self.text[first - 1] != b':'
            && (self.births == Births::No || !self.may_be_born(simd, first, BEFORE_DATE))
    }

    /// Those of `digits`, in the block at `at`, that are not judged yet.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the loop over all blocks")]
    pub(super) fn left_of(&self, at: usize, digits: u64) -> u64 {
        // The branch is predicted well; a shift would have to wait for the value.
        if self.judged <= at {
            return digits;
        }
        match self.judged - at {
            over @ 0..BLOCK => digits & u64::MAX << over,
            _ => 0,
        }
    }

    /// Judges the digit at `first` and those after it by a wider context; false if `visit` returned false.
    #[inline(never)]
    fn look_around<S: Simd>(&mut self, simd: S, first: usize, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        let window = Window::around(simd, self.text, first);
        let (hints, asked) = (window.hints(), &self.asked);
        let told = hints.long & asked.long | hints.lettered & asked.lettered | hints.points & asked.points;
        let dated = (hints.dates | hints.threes | self.years_behind_days(&window, &hints)) & asked.births;
        if told | dated == 0 {
            self.skip(&window, &hints);
            return true;
        }
        self.consider(simd, &window, &hints, visit)
    }

    /// The years of `window` that follow a day.
    #[inline]
    fn years_behind_days(&self, window: &Window, hints: &Hints) -> u64 {
        let first = hints.years & hints.years.wrapping_neg();
        let is_near = window.place(hints.years).wrapping_sub(self.day) <= AFTER_DAY;
        hints.years_behind_days() | if is_near { first } else { 0 }
    }

    /// Moves past the judged part of `window`.
    #[inline]
    fn skip(&mut self, window: &Window, hints: &Hints) {
        // Days further on may come after a year that is judged later.
        let days = hints.days & window.passed();
        if days != 0 {
            self.day = self.day.max(window.at.wrapping_add((u64::BITS - 1 - days.leading_zeros()) as usize));
        }
        self.judged = self.judged.max(window.end);
        let judged = window.judged();
        self.behind = window.at.wrapping_add((u64::BITS - judged.leading_zeros()) as usize).max(self.behind);
    }

    /// Examines the digits with `hints`, and reports what could be a value; false if `visit` returned false.
    #[inline(never)]
    fn consider<S: Simd>(
        &mut self,
        simd: S,
        window: &Window,
        hints: &Hints,
        visit: &mut dyn FnMut(Sight<'_>) -> bool,
    ) -> bool {
        let alone = if hints.dates == 0 { 0 } else { self.lone(window, hints) };
        // The parts of a date that stands alone are nothing else.
        let parts = alone << 5 | alone << 8;
        let hints = &Hints {
            years: hints.years & !alone,
            threes: hints.threes & !parts,
            lettered: hints.lettered & !parts,
            ..*hints
        };
        let long = self.asked.long & if alone == 0 { hints.long } else { window.long_beside(alone) };
        let sure = self.sure(window, hints, long);
        let told = Told {
            long,
            lettered: self.asked.lettered & if hints.lettered == 0 { 0 } else { window.lettered() },
            points: self.asked.points & if hints.points == 0 { 0 } else { window.points() },
            born: self.births != Births::No && self.may_be_birth(simd, window, alone | hints.threes & !sure, hints),
            alone,
            sure,
        };
        if told.long | told.lettered | told.points != 0 || told.born {
            return self.judge(window, hints, &told, visit);
        }
        self.skip(window, hints);
        true
    }

    /// The rows of `long` that have enough digits for a wanted number.
    fn sure(&self, window: &Window, hints: &Hints, long: u64) -> u64 {
        let (mut rest, mut sure) = (long, 0);
        while rest != 0 {
            let (row, is_whole) = hints.row_of(rest.trailing_zeros());
            let is_enough =
                self.wanted.digits.is_some_and(|least| (window.digits & row).count_ones() as usize >= least);
            sure |= if is_whole && is_enough { row } else { 0 };
            rest &= !row;
        }
        sure
    }

    /// The dates that stand alone: no recogniser takes such a date for anything else.
    fn lone(&self, window: &Window, hints: &Hints) -> u64 {
        let (mut lone, mut rest) = (0, hints.dates);
        while rest != 0 {
            let start = window.place(rest);
            let before = start.checked_sub(1).map_or(b' ', |before| self.text[before]);
            if before != b':' && !is_digit(before) && is_lone_date(&self.text[start..]) {
                lone |= rest & rest.wrapping_neg();
            }
            rest &= rest - 1;
        }
        lone & !hints.joined
    }

    /// Whether one of `dates`, or a year in `window`, could be of birth: by a key, however far before it, or by a word near it.
    fn may_be_birth<S: Simd>(&mut self, simd: S, window: &Window, dates: u64, hints: &Hints) -> bool {
        let mut years = self.years_behind_days(window, hints);
        if dates | years == 0 {
            return false;
        }
        let mut dates = dates;
        while dates != 0 {
            let is_third = dates & dates.wrapping_neg() & hints.threes != 0;
            let reach = if is_third { BEFORE_YEAR } else { BEFORE_DATE };
            if self.may_be_born(simd, window.place(dates), reach) {
                return true;
            }
            dates &= dates - 1;
        }
        while years != 0 {
            let start = window.place(years);
            if is_year(self.text, Span { start, end: start + 4 }) && self.may_be_born(simd, start, BEFORE_YEAR) {
                return true;
            }
            years &= years - 1;
        }
        false
    }

    /// Whether a date at `at` could be of birth: by a key, or by a word within `reach` bytes before it.
    fn may_be_born<S: Simd>(&mut self, simd: S, at: usize, reach: usize) -> bool {
        if self.births == Births::Unknown || self.quoted && self.births == Births::Near {
            self.ask_for_births();
        }
        match self.births {
            Births::All => true,
            Births::Near => speaks_before(simd, self.text, at, reach),
            Births::No | Births::Unknown => false,
        }
    }

    #[cold]
    fn ask_for_births(&mut self) {
        self.births = match () {
            () if self.births == Births::Unknown && speaks_of_birth(end_of(self.label)) => Births::All,
            () if !self.quoted => Births::Near,
            () if speaks_of_birth(self.text) => Births::All,
            () => Births::No,
        };
    }

    /// Reads the clusters of the digits in `window` that could belong to a value: the `lettered` and `long` ones or, if one may
    /// be a date of birth, all. Searches for addresses if there are `points`.
    #[inline(never)]
    fn judge(&mut self, window: &Window, hints: &Hints, told: &Told, visit: &mut dyn FnMut(Sight<'_>) -> bool) -> bool {
        if told.points != 0 && !self.look_for_hardware(window, visit) {
            return false;
        }
        let certain = if told.born { window.judged() } else { told.lettered };
        let mut suspects = certain | told.long;
        while suspects != 0 {
            let bit = suspects.trailing_zeros();
            let (row, is_whole) = hints.row_of(bit);
            let is_sure = told.sure & row != 0;
            if is_whole
                && !is_sure
                && row & certain == 0
                && !self.wanted.could_be(window.digits & row, hints.joined & row)
            {
                suspects &= !row;
                continue;
            }
            let go_on = if is_whole && !told.born && told.alone & row == 0 {
                self.read_row(window, row, is_sure, visit)
            } else {
                self.read(self.first_of(window.at + bit as usize), visit)
            };
            if !go_on {
                return false;
            }
            suspects = self.left_of(window.at, suspects);
        }
        self.skip(window, hints);
        true
    }
}

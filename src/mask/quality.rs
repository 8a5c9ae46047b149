//! Quality of the recognisers on labelled text: precision, recall and F1 per entity.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Masks;
use crate::json::Span;

/// A text and its values: one line of a file of labelled text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labelled {
    /// The text.
    pub text: String,
    /// Its values.
    pub spans: Vec<Label>,
}

/// A labelled value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Its first character, counted from 0.
    pub start: usize,
    /// The first character after it.
    pub end: usize,
    /// Its entity; `null` for a value of another kind, where findings count neither as right nor as wrong.
    pub entity: Option<String>,
}

/// The counts of one entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Labelled values found as the right entity.
    pub found: u32,
    /// Findings that match no label.
    pub wrong: u32,
    /// Labelled values not found.
    pub missed: u32,
}

impl Counts {
    /// The share of findings that are right; 1 if there are none.
    pub fn precision(self) -> f64 {
        share(self.found, self.wrong)
    }

    /// The share of labelled values that were found; 1 if there are none.
    pub fn recall(self) -> f64 {
        share(self.found, self.missed)
    }

    /// The harmonic mean of precision and recall.
    pub fn f1(self) -> f64 {
        share(2 * self.found, self.wrong + self.missed)
    }

    const fn add(&mut self, other: Self) {
        self.found += other.found;
        self.wrong += other.wrong;
        self.missed += other.missed;
    }
}

fn share(right: u32, other: u32) -> f64 {
    if right + other == 0 { 1.0 } else { f64::from(right) / f64::from(right + other) }
}

/// The results of an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// By entity.
    pub entities: BTreeMap<String, Counts>,
    /// Texts without a value.
    pub clean: u32,
    /// Texts without a value in which something was found.
    pub touched: u32,
}

impl Quality {
    /// Searches `row` and adds to the counts. A finding is right if it is of the labelled entity and their intersection is at
    /// least half of their union.
    pub fn take(&mut self, masks: &Masks, row: &Labelled) {
        let found = masks.locate(&row.text);
        let labels: Vec<(Span, Option<&str>)> = row.spans.iter().map(|label| label.place(&row.text)).collect();
        self.clean += u32::from(labels.is_empty());
        self.touched += u32::from(labels.is_empty() && !found.is_empty());
        let mut taken = vec![false; labels.len()];
        for (span, entity) in &found {
            let fits = |(place, label): &(Span, Option<&str>)| *label == Some(&**entity) && overlap(*span, *place);
            let right = labels.iter().enumerate().find(|(at, label)| !taken[*at] && fits(label)).map(|(at, _)| at);
            if let Some(at) = right {
                taken[at] = true;
                self.of(entity).found += 1;
            } else if !labels.iter().any(|(place, label)| label.is_none() && touches(*span, *place)) {
                self.of(entity).wrong += 1;
            }
        }
        for ((_, entity), taken) in labels.iter().zip(taken) {
            if let (Some(entity), false) = (entity, taken) {
                self.of(entity).missed += 1;
            }
        }
    }

    fn of(&mut self, entity: &str) -> &mut Counts {
        self.entities.entry(entity.to_owned()).or_default()
    }

    /// The counts of all entities together.
    pub fn overall(&self) -> Counts {
        let mut all = Counts::default();
        self.entities.values().for_each(|counts| all.add(*counts));
        all
    }
}

impl Label {
    /// Its span in bytes, and its entity.
    fn place(&self, text: &str) -> (Span, Option<&str>) {
        let byte = |character: usize| text.char_indices().nth(character).map_or(text.len(), |(at, _)| at);
        (Span { start: byte(self.start), end: byte(self.end) }, self.entity.as_deref())
    }
}

const fn touches(one: Span, other: Span) -> bool {
    one.start < other.end && other.start < one.end
}

fn overlap(one: Span, other: Span) -> bool {
    let both = one.end.min(other.end).saturating_sub(one.start.max(other.start));
    let either = one.end.max(other.end) - one.start.min(other.start);
    2 * both >= either
}

#[cfg(test)]
mod tests {
    use super::{Counts, Label, Labelled, Quality};
    use crate::mask::{Action, Directions, Entity, Masks, Spec, What};

    fn masks() -> Masks {
        let on = Directions { arguments: true, result: true };
        let what = What::Entities(vec![Entity::EmailAddress, Entity::CreditCard]);
        Masks::compile(vec![Spec::new("m", on, what, Action::Redact)]).unwrap()
    }

    fn row(text: &str, spans: &[(usize, usize, Option<&str>)]) -> Labelled {
        let label = |(start, end, entity): &(usize, usize, Option<&str>)| Label {
            start: *start,
            end: *end,
            entity: entity.map(ToOwned::to_owned),
        };
        Labelled { text: text.to_owned(), spans: spans.iter().map(label).collect() }
    }

    #[test]
    fn counts_what_is_found_wrong_and_missed() {
        let mail = Some("EMAIL_ADDRESS");
        let rows = [
            row("é ana@example.com", &[(2, 17, mail)]),
            row("ana@example.com", &[]),
            row("ana@example.com", &[(0, 15, None)]),
            row("ana at example", &[(0, 14, mail)]),
            row("clean", &[]),
            row("ana@example.com 4111111111111111", &[(0, 15, mail), (16, 32, Some("CREDIT_CARD"))]),
            row("ana@example.com and more of it", &[(12, 30, mail)]),
        ];
        let (masks, mut quality) = (masks(), Quality::default());
        for row in &rows {
            quality.take(&masks, row);
        }
        assert_eq!(quality.entities["EMAIL_ADDRESS"], Counts { found: 2, wrong: 2, missed: 2 });
        assert_eq!(quality.entities["CREDIT_CARD"], Counts { found: 1, wrong: 0, missed: 0 });
        assert_eq!((quality.clean, quality.touched), (2, 1));
        assert_eq!(quality.overall(), Counts { found: 3, wrong: 2, missed: 2 });
        assert!((quality.overall().precision() - 0.6).abs() < 1e-9 && (Counts::default().f1() - 1.0).abs() < 1e-9);
    }
}

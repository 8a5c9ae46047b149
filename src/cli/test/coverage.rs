//! Which rules and masks the tests cover.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::trial::{Outcome, Place, Suite};

/// What was reached and what was not.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    pub(super) rules: Counted,
    pub(super) masks: Counted,
}

/// Of one kind.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) covered: usize,
    pub(super) missed: Vec<Place>,
}

impl Counted {
    pub(super) fn total(&self) -> usize {
        self.covered + self.missed.len()
    }

    fn add(&mut self, places: &[Place], reached: &BTreeSet<Arc<str>>) {
        for place in places {
            if reached.contains(&place.id) {
                self.covered += 1;
            } else {
                self.missed.push(place.clone());
            }
        }
    }
}

impl Coverage {
    /// Adds what the cases of one suite reached: the rule that decided, and every mask that found something.
    pub(super) fn add<'a>(&mut self, suite: &Suite, outcomes: impl Iterator<Item = &'a Outcome>) {
        let (mut rules, mut masks) = (BTreeSet::new(), BTreeSet::new());
        for outcome in outcomes {
            rules.extend(outcome.rule.clone().into_iter().chain(outcome.would.clone()));
            masks.extend(outcome.masks.iter().cloned());
        }
        self.rules.add(&suite.rules, &rules);
        self.masks.add(&suite.mask_places, &masks);
    }

    fn covered(&self) -> usize {
        self.rules.covered + self.masks.covered
    }

    fn total(&self) -> usize {
        self.rules.total() + self.masks.total()
    }

    /// Whether at least `least` percent are covered, to the last rule.
    pub(super) fn reaches(&self, least: Percent) -> bool {
        self.covered() * 10_000 >= self.total() * least.0
    }

    /// What is covered; rounded down, so that only all of it is 100 %.
    pub(super) fn percent(&self) -> Percent {
        Percent((self.covered() * 10_000).checked_div(self.total()).unwrap_or(10_000))
    }

    /// Everything no case has reached.
    pub(super) fn missed(&self) -> impl Iterator<Item = (&'static str, &Place)> {
        let rules = self.rules.missed.iter().map(|place| ("rule", place));
        rules.chain(self.masks.missed.iter().map(|place| ("mask", place)))
    }
}

/// Hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Percent(usize);

impl Percent {
    /// For JSON.
    pub(super) fn as_f64(self) -> f64 {
        f64::from(u32::try_from(self.0).unwrap_or(10_000)) / 100.0
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a number from 0 to 100, with at most two digits behind the point".to_owned();
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 2 {
            return Err(wrong());
        }
        let whole: usize = whole.parse().map_err(|_| wrong())?;
        let part: usize = format!("{part:0<2}").parse().map_err(|_| wrong())?;
        let all = whole * 100 + part;
        if all <= 10_000 { Ok(Self(all)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole} %"),
            (whole, part) => write!(f, "{whole}.{part:02} %"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Counted, Coverage, Percent};

    fn coverage(covered: usize, missed: usize) -> Coverage {
        let place = crate::trial::Place {
            id: "r".into(),
            source: std::sync::Arc::new(crate::config::Source::new("a", String::new())),
            span: 0..0,
        };
        let rules = Counted { covered, missed: vec![place; missed] };
        Coverage { rules, masks: Counted::default() }
    }

    #[test]
    fn almost_all_is_not_all() {
        for (covered, missed, shown) in [
            (3, 0, "100 %"),
            (0, 0, "100 %"),
            (0, 3, "0 %"),
            (1, 2, "33.33 %"),
            (2, 1, "66.66 %"),
            (9_999, 1, "99.99 %"),
            (99_999, 1, "99.99 %"),
            (1, 1, "50 %"),
        ] {
            assert_eq!(coverage(covered, missed).percent().to_string(), shown);
        }
        let all: Percent = "100".parse().unwrap();
        assert!(!coverage(99_999, 1).reaches(all));
        assert!(coverage(99_999, 1).reaches("99.99".parse().unwrap()));
        assert!(coverage(0, 0).reaches(all));
        assert!(!coverage(2, 1).reaches("66.67".parse().unwrap()));
    }

    #[test]
    fn reads_percent_strictly() {
        assert_eq!("99.5".parse(), Ok(Percent(9950)));
        assert_eq!("0".parse(), Ok(Percent(0)));
        for wrong in ["", "101", "100.01", "-1", "1e2", "99.999", "5.", ".5", "NaN", "1,5"] {
            assert!(wrong.parse::<Percent>().is_err(), "{wrong}");
        }
    }
}

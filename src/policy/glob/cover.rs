//! Whether one glob matches everything another one matches.

use std::collections::{BTreeSet, HashSet};

use super::{Pattern, Token};

/// The most pairs of sets that are examined before giving up.
const PAIRS: usize = 2_000;

/// Positions in a pattern.
type Set = BTreeSet<usize>;

impl Pattern {
    /// Whether this pattern matches every name `other` matches; also false if that cannot be decided in bounded time.
    pub(in crate::policy) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(own), Self::Exact(other)) => own == other,
            (Self::Exact(_), Self::Wild(_)) => false,
            (Self::Wild(own), Self::Exact(name)) => own.matches(name),
            (Self::Wild(own), Self::Wild(wild)) => {
                // A longer literal prefix excludes names that a shorter one includes.
                wild.prefix.starts_with(&*own.prefix) && (own == wild || covers(&self.all(), &other.all()))
            }
        }
    }

    fn all(&self) -> Vec<Token> {
        match self {
            Self::Exact(name) => name.chars().map(Token::Char).collect(),
            Self::Wild(wild) => wild.prefix.chars().map(Token::Char).chain(wild.rest.0.iter().copied()).collect(),
        }
    }
}

/// Runs both automata in parallel over every text the inner one accepts: a text that it accepts and the outer one does not is
/// not covered.
fn covers(outer: &[Token], inner: &[Token]) -> bool {
    let alphabet = alphabet(outer, inner);
    let start = (enter(inner, Set::from([0])), enter(outer, Set::from([0])));
    let (mut seen, mut open) = (HashSet::from([start.clone()]), vec![start]);
    while let Some((inside, outside)) = open.pop() {
        if inside.contains(&inner.len()) && !outside.contains(&outer.len()) {
            return false;
        }
        for char in &alphabet {
            let next = (step(inner, &inside, *char), step(outer, &outside, *char));
            if !next.0.is_empty() && seen.insert(next.clone()) {
                if seen.len() > PAIRS {
                    return false;
                }
                open.push(next);
            }
        }
    }
    true
}

/// Every character that the patterns distinguish, and one that they do not.
fn alphabet(outer: &[Token], inner: &[Token]) -> Vec<char> {
    let literal = |token: &Token| if let Token::Char(char) = token { Some(*char) } else { None };
    let mut chars: BTreeSet<char> = outer.iter().chain(inner).filter_map(literal).collect();
    chars.insert('/');
    let other = ('a'..=char::MAX).find(|char| !chars.contains(char));
    chars.into_iter().chain(other).collect()
}

fn step(pattern: &[Token], from: &Set, char: char) -> Set {
    let next = from.iter().filter_map(|at| match pattern.get(*at)? {
        Token::Char(expected) => (*expected == char).then_some(at + 1),
        Token::One => Some(at + 1),
        Token::OneInSegment => (char != '/').then_some(at + 1),
        Token::Many => Some(*at),
        Token::ManyInSegment => (char != '/').then_some(*at),
        Token::OptionalTwo => None,
    });
    enter(pattern, next.collect())
}

/// Adds the positions reached without consuming a character.
fn enter(pattern: &[Token], places: Set) -> Set {
    let mut open: Vec<usize> = places.into_iter().collect();
    let mut all = Set::new();
    while let Some(at) = open.pop() {
        if !all.insert(at) {
            continue;
        }
        match pattern.get(at) {
            Some(Token::OptionalTwo) => open.extend([at + 1, at + 3]),
            Some(Token::Many | Token::ManyInSegment) => open.push(at + 1),
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Pattern, Separator};

    fn pattern(text: &str, separator: Separator) -> Pattern {
        Pattern::parse(text, separator).unwrap().remove(0)
    }

    #[test]
    fn knows_what_covers_what() {
        for (outer, inner, expected) in [
            ("*", "get_*", true),
            ("get_*", "*", false),
            ("get_*", "get_a*", true),
            ("get_*", "get_contact", true),
            ("get_contact", "get_*", false),
            ("*_a", "get_*_a", true),
            ("get_*_a", "*_a", false),
            ("a*c", "ab*bc", true),
            ("ab*bc", "a*c", false),
            ("a?c", "a*c", false),
            ("a*c", "a?c", true),
            ("?*", "a*", true),
            ("a*", "?*", false),
            ("a*b*c", "a*b*b*c", true),
            ("delete_*", "delete_*", true),
        ] {
            let covers = pattern(outer, Separator::None).covers(&pattern(inner, Separator::None));
            assert_eq!(covers, expected, "{outer} {inner}");
        }
        for (outer, inner, expected) in [
            ("crm://**", "crm://contacts/*", true),
            ("crm://*", "crm://contacts/*", false),
            ("crm://contacts/*", "crm://**", false),
            ("crm://**/x", "crm://a/*/x", true),
            ("crm://a/**/x", "crm://a/x", true),
            ("crm://a/*/x", "crm://a/**/x", false),
        ] {
            let covers = pattern(outer, Separator::Slash).covers(&pattern(inner, Separator::Slash));
            assert_eq!(covers, expected, "{outer} {inner}");
        }
    }

    #[test]
    fn gives_up_in_bounded_time() {
        let outer = pattern(&format!("*a{}", "?".repeat(200)), Separator::None);
        let inner = pattern(&format!("*{}*", "a?".repeat(100)), Separator::None);
        assert!(!outer.covers(&inner));
    }

    proptest! {
        #[test]
        fn what_is_covered_matches(outer in "[ab*?]{1,5}", inner in "[ab*?]{1,5}", names in prop::collection::vec("[ab]{0,6}", 30)) {
            let (outer, inner) = (pattern(&outer, Separator::None), pattern(&inner, Separator::None));
            let counter = names.iter().find(|name| inner.matches(name) && !outer.matches(name));
            if outer.covers(&inner) {
                prop_assert_eq!(counter, None);
            }
        }
    }
}

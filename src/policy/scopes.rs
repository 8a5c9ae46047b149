//! The scopes a rule requires, with the broader scopes that imply them, and the choice of a set for a step-up.
//!
//! MCP 2026-07-28, Authorization: servers must account for broader scopes that imply narrower ones. Scopes are compared byte
//! for byte; only the `[scopes]` tables define implications.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::sync::Arc;

use crate::auth::Scopes;

/// The scope that requests a refresh token from the issuer. It is no permission, so it is never advertised.
pub(super) const OFFLINE_ACCESS: &str = "offline_access";

/// Which scope implies which, transitively and without cycles.
#[derive(Debug, Default)]
pub(super) struct Hierarchy {
    /// For each scope those that imply it directly.
    broader: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
}

impl Hierarchy {
    /// Adds that `broad` implies `narrow`. Errs with the cycle, from `broad` back to itself, if that would close one.
    pub(super) fn imply(&mut self, broad: &str, narrow: &str) -> Result<(), Vec<Box<str>>> {
        let mut circle = vec![broad.into()];
        if broad != narrow {
            let Some(path) = self.path(broad, narrow) else {
                self.broader.entry(narrow.into()).or_default().insert(broad.into());
                return Ok(());
            };
            circle.extend(path);
        }
        circle.push(broad.into());
        Err(circle)
    }

    /// The chain of implications from `broadest` down to `from`, without `from`, if `broadest` implies it.
    fn path(&self, from: &str, broadest: &str) -> Option<Vec<Box<str>>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut open = vec![from];
        while let Some(scope) = open.pop() {
            for broader in self.broader.get(scope).into_iter().flatten() {
                if !came_from.contains_key(&**broader) {
                    came_from.insert(broader, scope);
                    open.push(broader);
                }
            }
        }
        let mut path = Vec::new();
        let mut at = broadest;
        while at != from {
            path.push(at.into());
            at = came_from.get(at)?;
        }
        Some(path)
    }

    /// The scope with all scopes that imply it.
    pub(super) fn required(&self, scope: &str) -> Required {
        let mut broader: BTreeSet<&Box<str>> = BTreeSet::new();
        let mut open: Vec<&str> = vec![scope];
        while let Some(narrow) = open.pop() {
            for broad in self.broader.get(narrow).into_iter().flatten() {
                if broader.insert(broad) {
                    open.push(broad);
                }
            }
        }
        Required { name: scope.into(), broader: broader.into_iter().cloned().collect() }
    }
}

/// One scope that a rule requires.
#[derive(Clone, Debug)]
pub(super) struct Required {
    /// As in the rule.
    pub(super) name: Box<str>,
    /// Every scope that implies it.
    broader: Box<[Box<str>]>,
}

impl Required {
    /// Whether a caller with `scopes` holds it, directly or by a broader one.
    pub(super) fn is_held(&self, scopes: &Scopes) -> bool {
        scopes.has(&self.name) || self.broader.iter().any(|broader| scopes.has(broader))
    }

    /// The scope itself and every scope that implies it.
    pub(super) fn holders(&self) -> Scopes {
        iter::once(&self.name).chain(&self.broader).map(|name| &**name).collect()
    }

    /// Whether holding `other` implies holding it.
    fn is_implied_by(&self, other: &Self) -> bool {
        self.name == other.name || self.broader.contains(&other.name)
    }
}

/// A rule's `scopes` and `scopes_any`.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// All of these.
    pub(super) all: Box<[Required]>,
    /// One of these, unless empty.
    pub(super) any: Box<[Required]>,
}

impl Demand {
    /// Whether a caller with `scopes` satisfies it.
    pub(super) fn is_met(&self, scopes: &Scopes) -> bool {
        self.all.iter().all(|scope| scope.is_held(scopes))
            && (self.any.is_empty() || self.any.iter().any(|scope| scope.is_held(scopes)))
    }

    /// Whether every caller that satisfies `other` satisfies it too.
    pub(super) fn is_met_with(&self, other: &Self) -> bool {
        let is_held = |scope: &Required| other.all.iter().any(|held| scope.is_implied_by(held));
        let all = self.all.iter().all(is_held);
        let any = self.any.is_empty()
            || self.any.iter().any(is_held)
            || !other.any.is_empty()
                && other.any.iter().all(|held| self.any.iter().any(|scope| scope.is_implied_by(held)));
        all && any
    }

    /// Scopes of which a caller must hold one to satisfy it; empty if it requires nothing.
    pub(super) fn keys(&self) -> BTreeSet<&str> {
        let required = if self.all.is_empty() { &*self.any } else { &self.all[..1] };
        required.iter().flat_map(|scope| iter::once(&scope.name).chain(&scope.broader)).map(|name| &**name).collect()
    }

    /// The scopes to request: all of `all`, and of `any` one that is held, else the first.
    ///
    /// A held alternative is named too, because a client asks its issuer for the scopes of the challenge only and would
    /// lose it otherwise (MCP 2025-11-25, scope challenge handling).
    fn of(&self, scopes: &Scopes) -> Vec<&Required> {
        let held = self.any.iter().find(|scope| scope.is_held(scopes));
        let mut named: Vec<&Required> = Vec::new();
        for scope in self.all.iter().chain(held.or(self.any.first())) {
            if named.iter().all(|other| other.name != scope.name) {
                named.push(scope);
            }
        }
        named
    }

    /// The scopes to request from an unknown caller, without [`OFFLINE_ACCESS`].
    pub(super) fn advertised(&self) -> Vec<Box<str>> {
        let named = self.of(&Scopes::from_iter([""; 0]));
        named.into_iter().map(|scope| scope.name.clone()).filter(|name| **name != *OFFLINE_ACCESS).collect()
    }
}

/// A step-up: the scopes to request from a caller.
#[derive(Debug)]
pub(super) struct StepUp<T> {
    /// What the caller of [`choose`] passed along with the demand.
    pub(super) of: T,
    /// All scopes for the operation.
    pub(super) scopes: Arc<[Box<str>]>,
    /// Those the caller lacks.
    pub(super) needs: Arc<[Box<str>]>,
}

struct Offer<'a, T> {
    of: T,
    scopes: Vec<&'a Required>,
    needs: Vec<&'a Required>,
}

impl<T> Offer<'_, T> {
    /// Whether holding this set implies holding `other`.
    fn contains(&self, other: &Self) -> bool {
        other.scopes.iter().all(|scope| self.scopes.iter().any(|own| scope.is_implied_by(own)))
    }
}

/// Chooses among demands the caller does not satisfy, in file order: of the sets that include no smaller one the set with the
/// fewest missing scopes, then the first.
pub(super) fn choose<'a, T>(demands: impl Iterator<Item = (T, &'a Demand)>, scopes: &Scopes) -> Option<StepUp<T>> {
    let mut offers: Vec<Offer<'a, T>> = demands
        .map(|(of, demand)| {
            let named = demand.of(scopes);
            let needs = named.iter().copied().filter(|scope| !scope.is_held(scopes)).collect();
            Offer { of, scopes: named, needs }
        })
        .collect();
    offers.sort_by_key(|offer| offer.needs.len());
    let is_minimal = |offer: &Offer<'a, T>| offers.iter().all(|other| !offer.contains(other) || other.contains(offer));
    let chosen = offers.iter().position(is_minimal)?;
    let Offer { of, scopes, needs } = offers.swap_remove(chosen);
    let names = |set: Vec<&Required>| set.into_iter().map(|scope| scope.name.clone()).collect();
    Some(StepUp { of, scopes: names(scopes), needs: names(needs) })
}

#[cfg(test)]
mod tests {
    use super::{Demand, Hierarchy, choose};
    use crate::auth::Scopes;

    fn hierarchy(edges: &[(&str, &str)]) -> Hierarchy {
        let mut hierarchy = Hierarchy::default();
        for (broad, narrow) in edges {
            hierarchy.imply(broad, narrow).unwrap();
        }
        hierarchy
    }

    fn scopes(text: &str) -> Scopes {
        text.split_whitespace().collect()
    }

    #[test]
    fn broader_scopes_imply_narrower_ones_at_any_distance() {
        let hierarchy = hierarchy(&[("admin", "write"), ("write", "read"), ("audit", "read"), ("admin", "read")]);
        for (required, held, expected) in [
            ("read", "read", true),
            ("read", "write", true),
            ("read", "admin", true),
            ("read", "audit", true),
            ("write", "admin", true),
            ("write", "read audit", false),
            ("admin", "write read audit", false),
            ("other", "admin", false),
            ("write", "administer WRITE write,read writ", false),
        ] {
            assert_eq!(hierarchy.required(required).is_held(&scopes(held)), expected, "{required} with {held}");
        }
    }

    #[test]
    fn refuses_circles() {
        let mut hierarchy = hierarchy(&[("a", "b"), ("b", "c"), ("a", "x")]);
        for (broad, narrow, expected) in
            [("c", "a", "c a b c"), ("b", "a", "b a b"), ("a", "a", "a a"), ("c", "b", "c b c")]
        {
            assert_eq!(hierarchy.imply(broad, narrow).unwrap_err().join(" "), expected);
        }
        assert!(hierarchy.imply("c", "d").is_ok());
        assert_eq!(hierarchy.imply("d", "a").unwrap_err().join(" "), "d a b c d");
    }

    #[test]
    fn follows_long_chains() {
        let names: Vec<String> = (0..2000).map(|number| format!("s{number}")).collect();
        let mut hierarchy = Hierarchy::default();
        for pair in names.windows(2) {
            hierarchy.imply(&pair[0], &pair[1]).unwrap();
        }
        assert!(hierarchy.required("s1999").is_held(&scopes("s0")));
        assert_eq!(hierarchy.imply("s1999", "s0").unwrap_err().len(), 2001);
    }

    /// Demands as `all scopes | any scopes`, in file order; the expected answer as `number: scopes; needs`.
    #[test]
    fn asks_for_the_least() {
        let hierarchy = hierarchy(&[("admin", "write"), ("write", "read")]);
        for (demands, held, expected) in [
            // Fewest missing.
            (&["a b c", "a d"][..], "", "1: a d; a d"),
            (&["a b c", "d e"], "a b", "0: a b c; c"),
            // File order.
            (&["b", "a"], "", "0: b; b"),
            (&["a c", "a b"], "a", "0: a c; c"),
            // A set that contains another is not asked for, even where it misses fewer.
            (&["admin", "read write"], "read", "1: read write; write"),
            (&["admin", "read write"], "", "1: read write; read write"),
            (&["admin", "write", "read"], "", "2: read; read"),
            (&["a b", "a"], "", "1: a; a"),
            (&["a b", "b"], "a", "1: b; b"),
            // The same set, spelled differently: file order.
            (&["write read", "write"], "", "1: write; write"),
            (&["write", "write"], "", "0: write; write"),
            // What a broader scope gives is named, not needed.
            (&["read x"], "admin", "0: read x; x"),
            // Alternatives: the first, or the one that is held.
            (&["a | b c"], "", "0: a b; a b"),
            (&["a | b c"], "c", "0: a c; a"),
            (&["a | b c"], "a", "0: a b; b"),
            (&["| b c"], "", "0: b; b"),
            (&["| write c"], "read", "0: write; write"),
            (&["a | a b"], "", "0: a; a"),
            (&["a | b c", "a c"], "c", "0: a c; a"),
        ] {
            let required = |names: &str| names.split_whitespace().map(|name| hierarchy.required(name)).collect();
            let built: Vec<Demand> = demands
                .iter()
                .map(|text| {
                    let (all, any) = text.split_once('|').unwrap_or((text, ""));
                    Demand { all: required(all), any: required(any) }
                })
                .collect();
            let held = scopes(held);
            assert!(built.iter().all(|demand| !demand.is_met(&held)), "{demands:?}");
            let chosen = choose(built.iter().enumerate(), &held).unwrap();
            let answer = format!("{}: {}; {}", chosen.of, chosen.scopes.join(" "), chosen.needs.join(" "));
            assert_eq!(answer, expected, "{demands:?}");
        }
        assert!(choose(std::iter::empty::<((), &Demand)>(), &scopes("a")).is_none());
    }
}

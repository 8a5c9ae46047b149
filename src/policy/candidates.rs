//! The rules that list one name, indexed by scope where there are many.

use std::iter;

use foldhash::HashMap;

use super::scopes::Demand;
use crate::auth::Scopes;

/// The index of a rule in its policy, in file order.
pub(super) type RuleIndex = u32;

/// Up to this many rules are faster tried one by one than looked up.
const MANY: usize = 16;

/// The rules that list one name.
#[derive(Debug)]
pub(super) struct Candidates {
    all: Box<[RuleIndex]>,
    /// The same rules by scope, if there are many.
    by_scope: Option<Box<ByScope>>,
}

/// Rules by a scope they require.
#[derive(Debug, Default)]
struct ByScope {
    /// Those that require none.
    open: Vec<RuleIndex>,
    keyed: HashMap<Box<str>, Vec<RuleIndex>>,
}

impl Candidates {
    /// Indexes `rules`, in file order; `demands` has the scopes of all rules of the policy.
    pub(super) fn new(rules: Vec<RuleIndex>, demands: &[&Demand]) -> Self {
        let by_scope = (rules.len() > MANY).then(|| {
            let mut by_scope = ByScope::default();
            for rule in &rules {
                let keys = demands[*rule as usize].keys();
                if keys.is_empty() {
                    by_scope.open.push(*rule);
                }
                for key in keys {
                    by_scope.keyed.entry(key.into()).or_default().push(*rule);
                }
            }
            Box::new(by_scope)
        });
        Self { all: rules.into(), by_scope }
    }

    /// All of them, in file order.
    pub(super) fn all(&self) -> &[RuleIndex] {
        &self.all
    }

    /// Slices, each in file order, that together contain every rule a caller with `scopes` can match.
    pub(super) fn possible<'a>(&'a self, scopes: &'a Scopes) -> impl Iterator<Item = &'a [RuleIndex]> {
        let open = self.by_scope.as_ref().map_or(&*self.all, |by_scope| &by_scope.open);
        let keyed = self.by_scope.iter().flat_map(move |by_scope| {
            scopes.iter().filter_map(move |scope| by_scope.keyed.get(scope)).map(Vec::as_slice)
        });
        iter::once(open).chain(keyed)
    }
}

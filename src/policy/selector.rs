//! A set of names of one kind, for selections other than rules.

use super::glob::Pattern;
use crate::json::fold;
use crate::mcp::SubjectKind;

/// Globs over the names of one kind; those of resources apply to templates too.
#[derive(Clone, Debug)]
pub struct Selector {
    kind: SubjectKind,
    patterns: Box<[Pattern]>,
    folded: Box<[Pattern]>,
}

impl Selector {
    pub(super) fn new(kind: SubjectKind, patterns: Vec<Pattern>) -> Self {
        let folded = patterns.iter().map(Pattern::folded).collect();
        Self { kind, patterns: patterns.into(), folded }
    }

    /// Whether it applies to that kind.
    pub fn is_about(&self, kind: SubjectKind) -> bool {
        match kind {
            SubjectKind::ResourceTemplate => self.kind == SubjectKind::Resource,
            SubjectKind::Prompt | SubjectKind::Resource | SubjectKind::Tool => self.kind == kind,
        }
    }

    /// Whether it matches `name` exactly: for exceptions, which remove a protection.
    pub fn names(&self, kind: SubjectKind, name: &str) -> bool {
        self.is_about(kind) && self.patterns.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether it matches `name` in any spelling (case, compatibility forms, invisible characters): for protections.
    pub fn covers(&self, kind: SubjectKind, name: &str) -> bool {
        self.names(kind, name) || self.is_about(kind) && self.folded.iter().any(|pattern| pattern.matches(&fold(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::Selector;
    use crate::mcp::SubjectKind;
    use crate::policy::glob::{Pattern, Separator};

    #[test]
    fn covers_more_spellings_than_it_names() {
        let selector = Selector::new(SubjectKind::Tool, Pattern::parse("get_{a,b*}", Separator::None).unwrap());
        let cases = [
            (SubjectKind::Tool, "get_a", true, true),
            (SubjectKind::Tool, "get_bc", true, true),
            (SubjectKind::Tool, "GET_A", false, true),
            (SubjectKind::Tool, "get\u{200b}_a", false, true),
            (SubjectKind::Tool, "get_c", false, false),
            (SubjectKind::Prompt, "get_a", false, false),
        ];
        for (kind, name, named, covered) in cases {
            assert_eq!((selector.names(kind, name), selector.covers(kind, name)), (named, covered), "{name}");
        }
        let resources = Selector::new(SubjectKind::Resource, Pattern::parse("crm://*", Separator::Slash).unwrap());
        assert!(resources.names(SubjectKind::ResourceTemplate, "crm://a"));
    }
}

//! The observed use: which names, by which callers, as far as rules can express it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::Streams;
use crate::audit::history::Decided;
use crate::mcp::{Access, SubjectKind, methods, names};
use crate::policy::cases::Verdict;

/// The most names a policy is written for; beyond, a glob is what is wanted.
const NAMES: usize = 1000;
/// Most different sets of scopes that are kept for one name.
const SETS: usize = 256;
/// What an issuer's clients ask for themselves (`OpenID` Connect Core section 5.4, RFC 6749 section 6); no permission here.
const NO_PERMISSION: [&str; 6] = ["openid", "profile", "email", "address", "phone", "offline_access"];

/// What stands for the issuer where there was no token.
pub(super) const ANONYMOUS: &str = "";

/// What one name was used with.
pub(super) type Sets = BTreeSet<Vec<Box<str>>>;

/// How often callers of an issuer, with those scopes, were denied something.
pub(super) type Denied = BTreeMap<(Box<str>, Vec<Box<str>>), u64>;

/// What a rule can name: a subject, or a method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Subject(SubjectKind, Box<str>),
    Method(Box<str>),
}

impl Name {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Subject(_, text) | Self::Method(text) => text,
        }
    }
}

/// Everything that was used of one server.
#[derive(Debug)]
pub(super) struct Used {
    wanted: Option<Box<str>>,
    /// Names of issuers by `iss`.
    issuers: BTreeMap<Arc<str>, Arc<str>>,
    servers: BTreeSet<Box<str>>,
    /// By name and issuer: the scopes of each caller.
    pub(super) names: BTreeMap<Name, BTreeMap<Box<str>, Sets>>,
    /// What was denied, whatever the reason.
    pub(super) denied: BTreeMap<Name, Denied>,
    /// How often names were allowed that rules in shadow would not have allowed.
    shadowed: BTreeMap<Name, u64>,
    /// Names no rule should be written for.
    odd: BTreeSet<Box<str>>,
    /// Calls that were left out because of their number.
    beyond: u64,
    /// Issuers that are not in `proxy.toml`.
    unknown_issuers: BTreeSet<Box<str>>,
}

impl Used {
    pub(super) fn new(wanted: Option<&str>, issuers: BTreeMap<Arc<str>, Arc<str>>) -> Self {
        Self {
            wanted: wanted.map(Into::into),
            issuers,
            servers: BTreeSet::new(),
            names: BTreeMap::new(),
            denied: BTreeMap::new(),
            shadowed: BTreeMap::new(),
            odd: BTreeSet::new(),
            beyond: 0,
            unknown_issuers: BTreeSet::new(),
        }
    }

    /// Adds a decision that allowed something; one that did not is only counted.
    pub(super) fn add(&mut self, decided: &Decided) {
        if self.wanted.as_deref().is_some_and(|wanted| *wanted != *decided.server) {
            return;
        }
        if self.servers.len() < 100 {
            self.servers.insert(decided.server.clone());
        }
        if decided.blocked {
            return;
        }
        let Some(name) = name(decided) else { return };
        if decided.verdict != Verdict::Allow {
            self.add_denied(decided, name);
            return;
        }
        let text = match &name {
            Name::Subject(_, text) | Name::Method(text) => text,
        };
        let odd = match &name {
            Name::Subject(kind, text) => !decided.name_is_whole() || names::is_odd(*kind, text),
            Name::Method(text) => {
                text.is_empty() || text.len() > 128 || !text.bytes().all(|byte| byte.is_ascii_graphic())
            }
        };
        if odd {
            if self.odd.len() < NAMES {
                self.odd.insert(text.clone());
            }
            return;
        }
        let Some(issuer) = self.issuer(decided) else {
            self.unknown_issuers.insert(decided.caller.issuer.clone());
            return;
        };
        if self.names.len() >= NAMES && !self.names.contains_key(&name) {
            self.beyond += 1;
            return;
        }
        if decided.shadow {
            *self.shadowed.entry(name.clone()).or_default() += 1;
        }
        let sets = self.names.entry(name).or_default().entry(issuer).or_default();
        if sets.len() < SETS {
            sets.insert(permissions(decided));
        }
    }

    fn add_denied(&mut self, decided: &Decided, name: Name) {
        let Some(issuer) = self.issuer(decided) else { return };
        if self.denied.len() >= NAMES && !self.denied.contains_key(&name) {
            return;
        }
        let (denied, who) = (self.denied.entry(name).or_default(), (issuer, permissions(decided)));
        if denied.len() < SETS || denied.contains_key(&who) {
            *denied.entry(who).or_default() += 1;
        }
    }

    /// The name of the caller's issuer; `None` if `proxy.toml` has none of that kind.
    fn issuer(&self, decided: &Decided) -> Option<Box<str>> {
        match self.issuers.get(&*decided.caller.issuer) {
            // No issuer is called so.
            _ if decided.caller.anonymous => Some(ANONYMOUS.into()),
            Some(name) => Some(name.as_ref().into()),
            None => self.issuers.is_empty().then(|| decided.caller.issuer.clone()),
        }
    }

    /// The one server there is.
    pub(super) fn server(&self) -> &str {
        self.servers.first().map_or("", |server| server)
    }

    /// How many issuers `proxy.toml` has.
    pub(super) fn known_issuers(&self) -> usize {
        self.issuers.len()
    }

    /// The servers to choose from, where that is open.
    pub(super) fn undecided(&self) -> Option<String> {
        (self.servers.len() > 1).then(|| self.servers.iter().map(|name| &**name).collect::<Vec<_>>().join(", "))
    }

    /// What was left out, and why; and what was not, though rules in shadow speak against it.
    pub(super) fn tell(&self, streams: &mut Streams<'_>) {
        for name in self.odd.iter().take(20) {
            streams.message(format_args!(
                "warning: left out, as a rule could not name it safely: {}",
                name.escape_debug()
            ));
        }
        if self.odd.len() > 20 {
            streams.message(format_args!("warning: and {} more such names", self.odd.len() - 20));
        }
        if self.beyond > 0 {
            let count = self.beyond;
            streams.message(format_args!(
                "warning: {count} calls of names beyond the first {NAMES} are left out: write a glob"
            ));
        }
        for (name, count) in self.shadowed.iter().take(20) {
            streams.message(format_args!(
                "warning: {} was allowed {count} times where rules in shadow would have decided otherwise",
                name.text().escape_debug()
            ));
        }
        if self.shadowed.len() > 20 {
            streams.message(format_args!("warning: and {} more such names", self.shadowed.len() - 20));
        }
        for issuer in &self.unknown_issuers {
            streams.message(format_args!(
                "warning: left out, as proxy.toml has no such issuer: callers of {}",
                issuer.escape_debug()
            ));
        }
    }
}

/// The caller's scopes, as far as they mean something.
fn permissions(decided: &Decided) -> Vec<Box<str>> {
    decided.caller.scopes.iter().filter(|scope| is_permission(scope)).cloned().collect()
}

/// A scope that can stand in a rule, and means something there.
fn is_permission(scope: &str) -> bool {
    !scope.is_empty()
        && !NO_PERMISSION.contains(&scope)
        && scope.len() <= 256
        && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// What a rule would have to name to allow it; `None` for what every caller may do.
fn name(decided: &Decided) -> Option<Name> {
    if let Some((kind, name)) = &decided.subject {
        return Some(Name::Subject(*kind, name.clone()));
    }
    match methods::find(&decided.method).map(|method| method.access) {
        Some(Access::Named) | None if decided.rule.is_some() => Some(Name::Method(decided.method.clone())),
        _ => None,
    }
}

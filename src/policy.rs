//! Authorization: the compiled rules of one server, and the decision they make.
//!
//! A decision is a pure function of policy, caller, operation and [`Context`]. What no rule allows is denied, a deny in any
//! file wins, and a policy that could not be read in full denies everything.

mod about;
mod args;
mod candidates;
pub(crate) mod cases;
mod context;
mod decide;
mod describe;
mod explain;
pub(crate) mod form;
mod glob;
mod index;
mod limit;
pub mod lint;
mod lists;
mod load;
pub mod lock;
mod permit;
mod raw;
mod review;
mod rewritten;
mod rule;
pub mod schema;
mod scopes;
mod selector;
mod table;
pub mod tools;
mod when;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::auth::Scopes;
use crate::clock::Timestamp;
use crate::mcp::SubjectKind;

pub use self::args::{Args, Argument, Equals, Number, Scalar, Template, Word};
pub(crate) use self::cases::Verdict;
pub use self::context::{Annotations, Arguments, Claims, Context, Definition, Phase, Untrusted};
pub use self::describe::Descriptions;
pub use self::explain::{ConditionTrace, Explanation, RuleTrace};
pub use self::limit::{Limits, Slot};
pub use self::lists::ListVersions;
pub(crate) use self::load::load_read;
pub use self::load::{Loaded, Summary, load};
pub(crate) use self::permit::{Asker, Foreseen, Kept, enforced, foresee};
pub use self::permit::{Denial, Permit, authorize};
pub(crate) use self::review::{Offer, Offered};
pub(crate) use self::rewritten::still_fits;
pub use self::rule::{Effect, Holds};
pub use self::selector::Selector;
pub(crate) use self::when::Expressed;

/// The compiled rules of one server. The default has none and denies everything.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about the rules")]
pub struct Policy {
    /// In the order of the files, and within a file in its order.
    rules: Box<[rule::Rule]>,
    /// For each rule, what explanations need and decisions do not.
    written: Box<[explain::Written]>,
    tables: decide::Tables<decide::Table>,
    /// The methods that rules name without wildcards.
    methods: HashSet<Box<str>>,
    list: ListMode,
    /// How a denial is answered when no rule applies.
    on_deny: OnDeny,
    advertised: Box<[Box<str>]>,
    /// Whether a rule reads what clients say of themselves.
    asks_untrusted: bool,
    /// From when on a rule allows callers without a token; `None` if none does.
    anonymous: Option<Timestamp>,
    /// The rate limit for each of those callers.
    anonymous_limit: Option<limit::Limit>,
    /// Whether a rule is in shadow.
    has_shadow: bool,
    /// Whether a rule has conditions that a tool's definition may decide.
    minds_definitions: bool,
    /// Whether everything the upstream lists is allowed while every rule is in shadow.
    baseline: bool,
    /// By rule.
    limits: HashMap<Arc<str>, limit::Limit>,
    /// The longest time for a call, by rule.
    timeouts: HashMap<Arc<str>, Duration>,
    counted: Arc<Limits>,
}

impl Policy {
    /// Whether a rule names this method without wildcards, so that it may be allowed although the method table does not have
    /// it.
    pub fn names_method(&self, name: &str) -> bool {
        self.methods.contains(name)
    }

    /// The smallest set of scopes an allow rule requires, for `scopes_supported` and the first challenge.
    pub fn scopes_advertised(&self) -> &[Box<str>] {
        &self.advertised
    }

    /// The scopes that satisfy rules requiring `scope`: itself and those that imply it.
    pub fn holders(&self, scope: &str) -> Scopes {
        let mut asked = self.rules.iter().flat_map(|rule| rule.demand.all.iter().chain(&rule.demand.any));
        let asked = asked.find(|asked| &*asked.name == scope);
        asked.map_or_else(|| [scope].into_iter().collect(), scopes::Required::holders)
    }

    /// Whether a rule is in shadow, so that its would-be decision is to be recorded.
    pub const fn has_shadow(&self) -> bool {
        self.has_shadow
    }

    /// A word for how many of the rules have an effect: `enforce` if all do, `shadow` if none does, else `mixed`.
    pub(crate) fn mode(&self) -> &'static str {
        match self.rules.iter().filter(|rule| rule.shadow.is_some()).count() {
            0 => "enforce",
            shadowed if shadowed == self.rules.len() => "shadow",
            _ => "mixed",
        }
    }

    /// Whether a rule reads what clients say of themselves, so that [`Untrusted`] must be collected.
    pub const fn asks_untrusted(&self) -> bool {
        self.asks_untrusted
    }

    /// Whether a decision on a call may depend on the tool's definition: on its annotations, or on the defaults of arguments.
    pub(crate) const fn minds_definitions(&self) -> bool {
        self.minds_definitions
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none, so that everything is denied.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// What a caller requests.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The JSON-RPC method.
    pub method: &'a str,
    /// The kind of the method's subject, if it has one.
    pub kind: Option<SubjectKind>,
    /// Its name or URI; empty without a kind.
    pub name: &'a str,
}

/// The answer to an [`Operation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed.
    Allow {
        /// The first rule that allows it.
        rule: Arc<str>,
    },
    /// Denied, and more scopes would not help.
    Deny {
        /// The first rule that denies it; `None` if no rule applies.
        rule: Option<Arc<str>>,
        /// The rule's `reason`, to be shown to the caller.
        reason: Option<Arc<str>>,
        /// Whether to answer as if it did not exist: it is not in this caller's list, or is a method without a subject that no
        /// rule allows.
        hidden: bool,
        /// How to answer if it is not hidden.
        on_deny: OnDeny,
        /// The argument condition that alone keeps a rule from allowing the call.
        argument: Option<Box<RefusedArgument>>,
    },
    /// Only scopes are missing.
    StepUp {
        /// The rule whose scopes are requested.
        rule: Arc<str>,
        /// All scopes for the operation (MCP: a challenge names all of them).
        scopes: Arc<[Box<str>]>,
        /// Those the caller lacks.
        needs: Arc<[Box<str>]>,
    },
}

/// An argument that does not meet a rule's condition, as far as the caller may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedArgument {
    /// The rule.
    pub rule: Arc<str>,
    /// The argument, as a JSON Pointer below `arguments`.
    pub pointer: Box<str>,
    /// The keyword of the condition.
    pub word: &'static str,
}

/// `on_deny`: how a denial is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeny {
    /// HTTP 200 and a JSON-RPC error.
    Error,
    /// HTTP 403.
    Http403,
    /// HTTP 200 and a tool result with `isError`; a JSON-RPC error if it is no tool call.
    #[default]
    ToolError,
}

/// `list`: what a caller's lists show, ordered from the most to the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum ListMode {
    /// Everything no rule denies.
    All,
    /// What it may call now or with more scopes.
    #[default]
    Acquirable,
    /// What it may call now.
    Allowed,
}

#[cfg(test)]
pub(crate) mod tests;

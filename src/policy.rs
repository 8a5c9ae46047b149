//! Who may do what: the rules of one server, compiled, and the decision over them.
//!
//! Pure: a decision depends on the caller, the operation and the files, nothing else. What no rule allows is denied, a
//! deny in any file wins, and a policy that could not be read in full denies everything.

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
pub struct Policy {
    /// In file order, files in theirs.
    rules: Box<[rule::Rule]>,
    /// Of each rule, what the decision does not need.
    written: Box<[explain::Written]>,
    tables: decide::Tables<decide::Table>,
    /// Methods that a rule names without wildcards.
    methods: HashSet<Box<str>>,
    list: ListMode,
    /// For what no rule speaks of.
    on_deny: OnDeny,
    advertised: Box<[Box<str>]>,
    /// Whether a rule looks at what clients say of themselves.
    asks_untrusted: bool,
    /// From when on a rule lets pass who has no token, if one does.
    anonymous: Option<Timestamp>,
    /// How often each of them may ask.
    anonymous_limit: Option<limit::Limit>,
    /// Whether a rule is in shadow.
    has_shadow: bool,
    /// Whether everything listed passes while every rule is in shadow.
    baseline: bool,
    /// By rule.
    limits: HashMap<Arc<str>, limit::Limit>,
    /// How long a call may take, by rule.
    timeouts: HashMap<Arc<str>, Duration>,
    counted: Arc<Limits>,
}

impl Policy {
    /// Whether a rule names this method exactly, so that it may pass although no table knows it.
    pub fn names_method(&self, name: &str) -> bool {
        self.methods.contains(name)
    }

    /// The smallest set of scopes an allow rule asks for; `scopes_supported` and the first challenge name it.
    pub fn scopes_advertised(&self) -> &[Box<str>] {
        &self.advertised
    }

    /// The scopes that are as good as `scope` to the rules that ask for it: itself and what implies it.
    pub fn holders(&self, scope: &str) -> Scopes {
        let mut asked = self.rules.iter().flat_map(|rule| rule.demand.all.iter().chain(&rule.demand.any));
        let asked = asked.find(|asked| &*asked.name == scope);
        asked.map_or_else(|| [scope].into_iter().collect(), scopes::Required::holders)
    }

    /// Whether a rule is in shadow, so that what it would do is to be recorded.
    pub const fn has_shadow(&self) -> bool {
        self.has_shadow
    }

    /// Whether a rule looks at what clients say of themselves, so that it must be put together.
    pub const fn asks_untrusted(&self) -> bool {
        self.asks_untrusted
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none, so that everything is denied.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The JSON-RPC method.
    pub method: &'a str,
    /// What kind of thing the method is about; some are about none.
    pub kind: Option<SubjectKind>,
    /// Its name or URI; empty without a kind.
    pub name: &'a str,
}

/// The answer to an [`Operation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may pass.
    Allow {
        /// The first rule that allows it.
        rule: Arc<str>,
    },
    /// It may not, and no wider scope would help.
    Deny {
        /// The first rule that denies it; none if no rule allows it.
        rule: Option<Arc<str>>,
        /// The author's words, to be shown.
        reason: Option<Arc<str>>,
        /// Not in this caller's list, or a method no rule speaks of: to be answered as if it did not exist.
        hidden: bool,
        /// How to answer otherwise.
        on_deny: OnDeny,
        /// What of the arguments a rule minds that would allow the call without it.
        argument: Option<Box<RefusedArgument>>,
    },
    /// Scopes are all that is missing.
    StepUp {
        /// The rule whose scopes are asked for.
        rule: Arc<str>,
        /// All scopes of the operation (MCP: one challenge names all).
        scopes: Arc<[Box<str>]>,
        /// Those of them the caller lacks.
        needs: Arc<[Box<str>]>,
    },
}

/// An argument that is not as a rule asks: what may be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedArgument {
    /// The rule.
    pub rule: Arc<str>,
    /// The argument, as a JSON Pointer below `arguments`.
    pub pointer: Box<str>,
    /// The word it does not meet.
    pub word: &'static str,
}

/// `on_deny`: how a denial is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeny {
    /// HTTP 200 and a JSON-RPC error.
    Error,
    /// HTTP 403.
    Http403,
    /// HTTP 200 and a tool result with `isError`; a JSON-RPC error where there is no tool.
    #[default]
    ToolError,
}

/// `list`: what a caller's lists show. Ordered from the most to the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum ListMode {
    /// Everything no rule denies.
    All,
    /// What it may call, now or with wider scopes.
    #[default]
    Acquirable,
    /// What it may call now.
    Allowed,
}

#[cfg(test)]
pub(crate) mod tests;

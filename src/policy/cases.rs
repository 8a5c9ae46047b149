//! `[[test]]`: the tests in a policy file.

mod client;
mod read;

use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};

pub(crate) use self::client::Client;
pub(super) use self::client::{CLIENT, HEADERS, UNTRUSTED};
pub(super) use self::read::{CALL, EXPECT, TEST, WOULD};

use super::lock::Lock;
use crate::clock::Timestamp;
use crate::config::Source;
use crate::trial::Call;

/// The time of a case that does not set one: Monday, 2026-01-05T12:00:00Z.
pub(crate) const NOON: Timestamp = Timestamp::from_unix_seconds(1_767_614_400);

/// One `[[test]]`.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The file it is in.
    pub(crate) source: Arc<Source>,
    /// The span of its header.
    pub(crate) span: Range<usize>,
    pub(crate) name: Box<str>,
    /// The claims of the caller's token.
    pub(crate) claims: Map<String, Value>,
    /// The caller's scopes, if given apart from the claims.
    pub(crate) scopes: Option<Vec<Box<str>>>,
    /// Whether the caller has no token.
    pub(crate) anonymous: bool,
    /// The name of the caller's issuer in `proxy.toml`; `None` for the only one.
    pub(crate) issuer: Option<Box<str>>,
    pub(crate) client: Client,
    /// The approved tool definitions, in place of the server's lock.
    pub(crate) approved: Option<Lock>,
    pub(crate) call: Call,
    /// The time of the call.
    pub(crate) now: Timestamp,
    /// What the upstream answers.
    pub(crate) result: Option<Value>,
    pub(crate) expect: Expect,
}

/// A value and its span.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) span: Range<usize>,
    pub(crate) value: T,
}

/// What a case expects; absent members are not compared.
#[derive(Clone, Debug)]
pub(crate) struct Expect {
    pub(crate) decision: At<Verdict>,
    /// The rule that decides, or the mask that blocks.
    pub(crate) rule: Option<At<Box<str>>>,
    /// All scopes a step-up names, in any order.
    pub(crate) scopes: Option<At<Vec<Box<str>>>>,
    /// The arguments as the upstream gets them.
    pub(crate) arguments: Option<At<Value>>,
    /// The result as the caller gets it: its text, or the whole result.
    pub(crate) result: Option<At<Value>>,
    /// What would be decided if rules in shadow were enforced.
    pub(crate) would: Option<Would>,
    /// The names a list shows, in order.
    pub(crate) listed: Option<At<Vec<Box<str>>>>,
}

/// `expect.would`.
#[derive(Clone, Debug)]
pub(crate) struct Would {
    pub(crate) decision: At<Verdict>,
    pub(crate) rule: Option<At<Box<str>>>,
}

/// `expect.decision`, with the names of the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Verdict {
    Allow,
    Deny,
    StepUp,
}

impl Verdict {
    /// Its name in policy files and in the audit.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::StepUp => "step_up",
        }
    }
}

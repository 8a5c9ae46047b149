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

/// When a case happens that does not say: Monday, 2026-01-05T12:00:00Z.
pub(crate) const NOON: Timestamp = Timestamp::from_unix_seconds(1_767_614_400);

/// One `[[test]]`.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The file it is in.
    pub(crate) source: Arc<Source>,
    /// Where its header stands.
    pub(crate) span: Range<usize>,
    pub(crate) name: Box<str>,
    /// The claims of the caller's token.
    pub(crate) claims: Map<String, Value>,
    /// What its scopes are, if that is said beside the claims.
    pub(crate) scopes: Option<Vec<Box<str>>>,
    /// Whether the caller has no token.
    pub(crate) anonymous: bool,
    /// The caller's issuer by its name in `proxy.toml`; the only one where there is one.
    pub(crate) issuer: Option<Box<str>>,
    pub(crate) client: Client,
    /// What is approved of the server's tools, in place of its lock.
    pub(crate) approved: Option<Lock>,
    pub(crate) call: Call,
    /// When the call happens.
    pub(crate) now: Timestamp,
    /// What the upstream answers.
    pub(crate) result: Option<Value>,
    pub(crate) expect: Expect,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) span: Range<usize>,
    pub(crate) value: T,
}

/// What a case expects; what it does not mention is not compared.
#[derive(Clone, Debug)]
pub(crate) struct Expect {
    pub(crate) decision: At<Verdict>,
    /// The rule that decides, or the mask that blocks.
    pub(crate) rule: Option<At<Box<str>>>,
    /// Every scope a step-up names, in any order.
    pub(crate) scopes: Option<At<Vec<Box<str>>>>,
    /// The arguments as the upstream gets them.
    pub(crate) arguments: Option<At<Value>>,
    /// The result as the caller gets it: a text, or all of it.
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

/// `expect.decision`, in the words of the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Verdict {
    Allow,
    Deny,
    StepUp,
}

impl Verdict {
    /// Its word in policy files and in the audit.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::StepUp => "step_up",
        }
    }
}

use std::sync::Arc;

use crate::mcp::{ClientSaid, Era, Message, Revision, RpcId, SubjectKind, methods};

/// What was asked for, kept after the message itself has gone on.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: CalledMethod,
    pub(crate) subject: Option<(SubjectKind, Arc<str>)>,
    pub(crate) id: Option<RpcId>,
    pub(crate) era: Era,
    pub(crate) revision: Option<Revision>,
    /// What the client says it is, where it says so.
    pub(crate) client: Option<ClientSaid>,
}

impl Call {
    /// Whether the answer may be a tool result; that of a question about a tool's task may not.
    pub(super) fn is_of_a_tool(&self) -> bool {
        matches!(self.method, CalledMethod::Listed(method) if method.name == methods::use_of(SubjectKind::Tool))
            && self.subject.is_some()
    }
}

/// A method, where it can be without memory of its own.
#[derive(Clone, Debug)]
pub(crate) enum CalledMethod {
    Listed(&'static methods::Method),
    Named(Box<str>),
    Http(&'static str),
    Unknown,
}

impl CalledMethod {
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Listed(method) => Some(method.name),
            Self::Named(name) => Some(name),
            Self::Http(name) => Some(name),
            Self::Unknown => None,
        }
    }
}

/// The revision of a message: for `initialize` the one it asks for, in place of an unknown one the newest of its era, which
/// servers should answer it with (2025-11-25, "Version Negotiation").
pub(super) fn spoken(message: &Message) -> Revision {
    let revision = message.revision();
    if revision.era() == Era::Modern || !message.listed().is_some_and(methods::is_initialize) {
        return revision;
    }
    let asked = message.requested_version().and_then(|version| Revision::parse(&version));
    let older = |revision: &Revision| revision.era() == Era::Legacy;
    asked.filter(older).or_else(|| Revision::ALL.into_iter().rfind(older)).unwrap_or(revision)
}

//! A caller, as what is held between two calls tells callers apart.

use std::sync::Arc;

use super::Caller;

/// One user of one issuer with one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Who {
    issuer: Arc<str>,
    tenant: Option<Box<str>>,
    subject: Box<str>,
    client: Option<Box<str>>,
}

impl Who {
    pub(crate) fn of(caller: &Caller) -> Self {
        Self {
            issuer: caller.issuer.clone(),
            tenant: caller.tenant.clone(),
            subject: caller.subject.clone(),
            client: caller.client_id.as_deref().map(Into::into),
        }
    }
}

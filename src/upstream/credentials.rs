//! Which credential a call uses: the server's, or that of its tool; fixed, or requested from an authorization server.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use super::grant::{Broker, Granted, Holder};
use super::{Credential, GrantError, Grants, Identity};
use crate::audit::{Fragment, render_credential};
use crate::auth::{Bearer, Caller, StartError};
use crate::clock::Timestamp;
use crate::config::secret_source::SecretError;
use crate::config::{self, SecretSource, UpstreamAuth};

use super::credential::CredentialError;

/// Everything a server's calls are shown with.
#[derive(Debug)]
pub struct Credentials {
    usual: Held,
    /// By the exact name of the tool.
    tools: HashMap<Box<str>, Held>,
    /// What is told of the caller besides.
    identity: Option<Identity>,
}

/// Where a credential is from, and how the audit log names it.
#[derive(Debug)]
struct Held {
    source: Source,
    told: Option<Fragment>,
}

#[derive(Debug)]
enum Source {
    Fixed(Credential),
    Granted(Arc<Broker>),
}

/// Why credentials cannot be had at all: a mistake in the configuration.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum CredentialsError {
    #[error(transparent)]
    Fixed(#[from] CredentialError<SecretError>),
    #[error(transparent)]
    Granted(#[from] StartError),
}

/// Who calls, and the token that shows it: what a credential may be asked for with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calling<'a> {
    pub(crate) caller: &'a Arc<Caller>,
    pub(crate) token: Option<Bearer<'a>>,
    pub(crate) now: Timestamp,
}

/// The credential of one call.
#[derive(Clone, Debug)]
pub(crate) struct Shown<'a> {
    credential: Cow<'a, Credential>,
    /// What was asked for, if it was.
    pub(crate) granted: Option<Granted>,
    holder: Option<Holder>,
}

impl Shown<'_> {
    pub(crate) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Whom it is of; `None` for what is the same for every caller.
    pub(crate) const fn holder(&self) -> Option<Holder> {
        self.holder
    }
}

impl Credentials {
    /// Reads the secrets of `server`; nothing is asked for yet. `origin` is the proxy's public one.
    pub fn new(server: &config::Server, grants: &Grants, origin: &str) -> Result<Self, CredentialsError> {
        let held = |tool: Option<&str>, auth: &UpstreamAuth| {
            let source = match auth {
                UpstreamAuth::Granted(grant) => Source::Granted(grants.get_or_start(&server.name, tool, grant)?),
                fixed => Source::Fixed(Credential::new(fixed, SecretSource::resolve)?),
            };
            let told = auth.told(server.upstream_client_certificate.is_some());
            let told = told.map(|(kind, issuer)| render_credential(kind, issuer));
            Ok::<_, CredentialsError>(Held { source, told })
        };
        let tools = server.tool_auth.iter().map(|(tool, auth)| Ok((tool.as_str().into(), held(Some(tool), auth)?)));
        let tools = tools.collect::<Result<_, CredentialsError>>()?;
        let identity = Identity::new(&server.identity, origin)?;
        Ok(Self { usual: held(None, &server.upstream_auth)?, tools, identity })
    }

    /// The credential for a call, of that tool if it is about one.
    pub(crate) async fn shown(&self, tool: Option<&str>, calling: Calling<'_>) -> Result<Shown<'_>, GrantError> {
        let shown = match &self.held(tool).source {
            Source::Fixed(credential) => Shown { credential: Cow::Borrowed(credential), granted: None, holder: None },
            // In a box, as most servers have a fixed one.
            Source::Granted(broker) => {
                let granted = Box::pin(broker.credential(calling.caller, calling.token, calling.now)).await?;
                let (credential, holder) = (Cow::Owned(granted.credential.clone()), Some(granted.holder()));
                Shown { credential, granted: Some(granted), holder }
            }
        };
        match &self.identity {
            None => Ok(shown),
            Some(identity) => told(shown, identity, calling),
        }
    }

    fn held(&self, tool: Option<&str>) -> &Held {
        tool.filter(|_| !self.tools.is_empty()).and_then(|tool| self.tools.get(tool)).unwrap_or(&self.usual)
    }

    /// How the audit log names what a call is shown with; `None` where that is nothing.
    pub(crate) fn told(&self, tool: Option<&str>) -> Option<&Fragment> {
        self.held(tool).told.as_ref()
    }

    /// The public key of what upstreams are told, if it is signed.
    pub(crate) fn identity_key(&self) -> Option<&serde_json::Value> {
        self.identity.as_ref()?.key()
    }

    /// What the proxy shows where nobody calls; `None` where only callers have credentials.
    pub(crate) async fn own(&self, now: Timestamp) -> Option<Result<Credential, GrantError>> {
        match &self.usual.source {
            Source::Fixed(credential) => Some(Ok(credential.clone())),
            Source::Granted(broker) if broker.is_own() => Some(broker.own_credential(now).await),
            Source::Granted(_) => None,
        }
    }

    /// Every broker, for the registry to know which may stay.
    pub(crate) fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        std::iter::once(&self.usual).chain(self.tools.values()).filter_map(|held| match &held.source {
            Source::Fixed(_) => None,
            Source::Granted(broker) => Some(broker),
        })
    }
}

/// An upstream that knows who calls may answer each caller differently.
fn told<'a>(shown: Shown<'a>, identity: &Identity, calling: Calling<'_>) -> Result<Shown<'a>, GrantError> {
    let told = identity.told(calling.caller, calling.now)?;
    let holder = calling.token.map(|token| Holder::of(calling.caller, token));
    Ok(Shown { credential: Cow::Owned(shown.credential.telling(told)), holder, ..shown })
}

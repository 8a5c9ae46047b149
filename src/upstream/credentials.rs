//! Which credential a call uses: the server's, or that of its tool; fixed, or requested from an authorization server.

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

/// The credentials of a server's calls.
#[derive(Debug)]
pub struct Credentials {
    usual: Held,
    /// By the exact name of the tool.
    tools: HashMap<Box<str>, Held>,
    /// What is sent about the caller besides.
    identity: Option<Identity>,
}

/// A source of credentials, and its name in the audit log.
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

/// Why the configured credentials cannot be used.
#[derive(Debug, Error)]
#[allow(missing_docs)]
pub enum CredentialsError {
    #[error(transparent)]
    Fixed(#[from] CredentialError<SecretError>),
    #[error(transparent)]
    Granted(#[from] StartError),
}

/// A caller and its token, with which a credential may be requested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calling<'a> {
    pub(crate) caller: &'a Arc<Caller>,
    pub(crate) token: Option<Bearer<'a>>,
    pub(crate) now: Timestamp,
}

/// The credential of one call.
#[derive(Clone, Debug)]
pub(crate) struct Shown<'a> {
    fixed: &'a Credential,
    /// The token, if it was issued by an authorization server.
    pub(crate) granted: Option<Granted>,
    /// Either of them with headers about the caller, if there are any.
    telling: Option<Box<Credential>>,
    holder: Option<Holder>,
}

impl Shown<'_> {
    pub(crate) fn credential(&self) -> &Credential {
        let granted = || self.granted.as_ref().map_or(self.fixed, Granted::credential);
        self.telling.as_deref().unwrap_or_else(granted)
    }

    /// For whom the credential is; `None` if it is the same for every caller.
    pub(crate) const fn holder(&self) -> Option<Holder> {
        self.holder
    }
}

impl Credentials {
    /// Reads the secrets of `server`; no token is requested yet. `origin` is the proxy's public origin.
    ///
    /// Errs if a secret or key cannot be read or used.
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

    /// The credential for a call, of `tool` if it has one of its own. Errs if the authorization server issues no token.
    pub(crate) async fn shown(&self, tool: Option<&str>, calling: Calling<'_>) -> Result<Shown<'_>, GrantError> {
        let shown = match &self.held(tool).source {
            Source::Fixed(fixed) => Shown { fixed, granted: None, telling: None, holder: None },
            // Boxed to keep the future small, since most servers have a fixed credential.
            Source::Granted(broker) => {
                let granted = Box::pin(broker.credential(calling.caller, calling.token, calling.now)).await?;
                let holder = Some(granted.holder());
                Shown { fixed: &Credential::NONE, granted: Some(granted), telling: None, holder }
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

    /// The name in the audit log of the credential for a call; `None` without a credential.
    pub(crate) fn told(&self, tool: Option<&str>) -> Option<&Fragment> {
        self.held(tool).told.as_ref()
    }

    /// The public JWK of the signed identity header, if it is configured.
    pub(crate) fn identity_key(&self) -> Option<&serde_json::Value> {
        self.identity.as_ref()?.key()
    }

    /// The credential for the proxy's own requests; `None` where every credential belongs to a caller.
    pub(crate) async fn own(&self, now: Timestamp) -> Option<Result<Credential, GrantError>> {
        match &self.usual.source {
            Source::Fixed(credential) => Some(Ok(credential.clone())),
            Source::Granted(broker) if broker.is_own() => Some(broker.own_credential(now).await),
            Source::Granted(_) => None,
        }
    }

    /// Every broker, so that the registry keeps them.
    pub(crate) fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        std::iter::once(&self.usual).chain(self.tools.values()).filter_map(|held| match &held.source {
            Source::Fixed(_) => None,
            Source::Granted(broker) => Some(broker),
        })
    }
}

/// Adds the identity headers, and the holder: an upstream that knows the caller may answer each caller differently.
fn told<'a>(shown: Shown<'a>, identity: &Identity, calling: Calling<'_>) -> Result<Shown<'a>, GrantError> {
    let told = identity.told(calling.caller, calling.now)?;
    let holder = calling.token.map(|token| Holder::of(calling.caller, token));
    let telling = Some(Box::new(shown.credential().telling(told)));
    Ok(Shown { telling, holder, ..shown })
}

//! Which credential a call is shown with: the server's, or that of the tool it is about; fixed, or asked for.

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use super::grant::{Broker, Granted, Holder};
use super::{Credential, GrantError, Grants};
use crate::auth::{Bearer, Caller, StartError};
use crate::clock::Timestamp;
use crate::config::secret_source::SecretError;
use crate::config::{self, SecretSource, UpstreamAuth};

use super::credential::CredentialError;

/// Everything a server's calls are shown with.
#[derive(Debug)]
pub struct Credentials {
    usual: Source,
    /// By the exact name of the tool.
    tools: HashMap<Box<str>, Source>,
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
pub(crate) enum Shown<'a> {
    Fixed(&'a Credential),
    Granted(Granted),
}

impl Shown<'_> {
    pub(crate) const fn credential(&self) -> &Credential {
        match self {
            Self::Fixed(credential) => credential,
            Self::Granted(granted) => &granted.credential,
        }
    }

    /// Whom it was given for; `None` for what is the same for every caller.
    pub(crate) const fn holder(&self) -> Option<Holder> {
        match self {
            Self::Fixed(_) => None,
            Self::Granted(granted) => Some(granted.holder()),
        }
    }
}

impl Credentials {
    /// Reads the secrets of `server`; nothing is asked for yet.
    pub fn new(server: &config::Server, grants: &Grants) -> Result<Self, CredentialsError> {
        let source = |tool: Option<&str>, auth: &UpstreamAuth| match auth {
            UpstreamAuth::Granted(grant) => {
                Ok::<_, CredentialsError>(Source::Granted(grants.get_or_start(&server.name, tool, grant)?))
            }
            fixed => Ok(Source::Fixed(Credential::new(fixed, SecretSource::resolve)?)),
        };
        let tools = server.tool_auth.iter().map(|(tool, auth)| Ok((tool.as_str().into(), source(Some(tool), auth)?)));
        let tools = tools.collect::<Result<_, CredentialsError>>()?;
        Ok(Self { usual: source(None, &server.upstream_auth)?, tools })
    }

    /// The credential for a call, of that tool if it is about one.
    pub(crate) async fn shown(&self, tool: Option<&str>, calling: Calling<'_>) -> Result<Shown<'_>, GrantError> {
        let own = tool.filter(|_| !self.tools.is_empty()).and_then(|tool| self.tools.get(tool));
        match own.unwrap_or(&self.usual) {
            Source::Fixed(credential) => Ok(Shown::Fixed(credential)),
            // In a box, as most servers have a fixed one.
            Source::Granted(broker) => {
                let Calling { caller, token, now } = calling;
                Ok(Shown::Granted(Box::pin(broker.credential(caller, token, now)).await?))
            }
        }
    }

    /// What the proxy shows where nobody calls; `None` where only callers have credentials.
    pub(crate) async fn own(&self, now: Timestamp) -> Option<Result<Credential, GrantError>> {
        match &self.usual {
            Source::Fixed(credential) => Some(Ok(credential.clone())),
            Source::Granted(broker) if broker.is_own() => Some(broker.own_credential(now).await),
            Source::Granted(_) => None,
        }
    }

    /// Every broker, for the registry to know which may stay.
    pub(crate) fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        std::iter::once(&self.usual).chain(self.tools.values()).filter_map(|source| match source {
            Source::Fixed(_) => None,
            Source::Granted(broker) => Some(broker),
        })
    }
}

//! The sequence of requests that obtains a token.

use std::time::{Duration, Instant};

use super::answer::{self, Token, Wanted};
use super::{GrantError, Subject};
use crate::auth::TokenEndpoint;
use crate::clock::Timestamp;
use crate::config::{Grant, GrantKind};
use crate::secret::Secret;

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// The token endpoints to ask.
#[derive(Debug)]
pub(super) struct Endpoints {
    pub(super) first: TokenEndpoint,
    /// The upstream's own authorization server, which accepts the identity provider's assertion.
    pub(super) second: Option<TokenEndpoint>,
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) monotonic: Instant,
}

impl Moment {
    pub(super) fn plus(self, passed: Duration) -> Self {
        Self { wall: self.wall.plus(passed), monotonic: self.monotonic + passed }
    }
}

/// Requests a token according to `grant`, on behalf of `subject` unless it is the proxy's own. Errs if none is issued.
pub(super) async fn ask(
    grant: &Grant,
    endpoints: &Endpoints,
    subject: Option<&Subject>,
    now: Moment,
) -> Result<Token, GrantError> {
    let scope = grant.scopes.join(" ");
    let mut form = Vec::with_capacity(12);
    let token = || subject.map(|subject| subject.token.expose().as_str()).ok_or(GrantError::Token);
    let actor;
    let wanted = match &grant.kind {
        // RFC 6749 section 4.4.2.
        GrantKind::ClientCredentials => {
            form.push(("grant_type", "client_credentials"));
            targets(&mut form, grant, &scope);
            Wanted::AccessToken
        }
        // Microsoft identity platform, "OAuth 2.0 On-Behalf-Of flow".
        GrantKind::OnBehalfOf => {
            form.push(("grant_type", JWT_BEARER));
            form.push(("requested_token_use", "on_behalf_of"));
            form.push(("assertion", token()?));
            form.push(("scope", &scope));
            Wanted::AccessToken
        }
        // RFC 8693 section 2.1.
        GrantKind::TokenExchange { subject_token_type, requested_token_type, actor: from } => {
            exchange(&mut form, token()?, subject_token_type);
            targets(&mut form, grant, &scope);
            if let Some(requested) = requested_token_type {
                form.push(("requested_token_type", requested));
            }
            if let Some((source, kind)) = from {
                actor = resolved(source)?;
                form.push(("actor_token", actor.expose()));
                form.push(("actor_token_type", kind));
            }
            Wanted::Exchanged(requested_token_type.as_deref())
        }
        // draft-ietf-oauth-identity-assertion-authz-grant, "Token Exchange".
        GrantKind::IdJag { subject_token_type, server } => {
            exchange(&mut form, token()?, subject_token_type);
            form.push(("requested_token_type", ID_JAG));
            if grant.audiences.is_empty() {
                form.push(("audience", server.issuer.as_deref().unwrap_or_default()));
            }
            targets(&mut form, grant, &scope);
            Wanted::Assertion(ID_JAG)
        }
    };
    let asked = endpoints.first.ask(&form, now.wall, now.monotonic).await.map_err(answer::unanswered)?;
    let token = answer::read(asked, wanted, &grant.scopes)?;
    match &endpoints.second {
        None => Ok(token),
        Some(second) => asserted(second, &token, &scope, &grant.scopes, now).await,
    }
}

/// Exchanges the identity provider's assertion for an access token (RFC 7523 section 2.1). Errs if none is issued.
async fn asserted(
    endpoint: &TokenEndpoint,
    assertion: &Token,
    scope: &str,
    scopes: &[String],
    now: Moment,
) -> Result<Token, GrantError> {
    let mut form = vec![("grant_type", JWT_BEARER), ("assertion", assertion.value.expose().as_str())];
    if !scope.is_empty() {
        form.push(("scope", scope));
    }
    let asked = endpoint.ask(&form, now.wall, now.monotonic).await.map_err(answer::unanswered)?;
    answer::read(asked, Wanted::AccessToken, scopes).map_err(|error| match error {
        // The assertion was refused, not the caller's token: another sign-in would not help.
        GrantError::Token => GrantError::Unusable { reason: "assertion_refused" },
        other => other,
    })
}

fn exchange<'a>(form: &mut Vec<(&'a str, &'a str)>, token: &'a str, kind: &'a str) {
    form.extend([("grant_type", TOKEN_EXCHANGE), ("subject_token", token), ("subject_token_type", kind)]);
}

/// Adds `audience`, `resource` and `scope`.
fn targets<'a>(form: &mut Vec<(&'a str, &'a str)>, grant: &'a Grant, scope: &'a str) {
    form.extend(grant.audiences.iter().map(|audience| ("audience", audience.as_str())));
    form.extend(grant.resources.iter().map(|resource| ("resource", resource.as_str())));
    if !scope.is_empty() {
        form.push(("scope", scope));
    }
}

/// Reads the actor's token, on every request because workload identity tokens are replaced every few minutes. Errs if it
/// cannot be read.
fn resolved(source: &crate::config::SecretSource) -> Result<Secret<String>, GrantError> {
    source.resolve().map_err(|error| {
        tracing::warn!(%error, "actor token cannot be read");
        GrantError::Unusable { reason: "actor_token" }
    })
}

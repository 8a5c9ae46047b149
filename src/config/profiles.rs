//! The table of issuer profiles: what the access tokens of well-known issuers look like. Each value can be overridden by the key
//! of its name.

use super::Discovery;

/// One row.
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    pub(crate) algorithms: &'static [&'static str],
    pub(crate) strict: bool,
    pub(crate) scope_claim: &'static [&'static str],
    pub(crate) client_claim: &'static [&'static str],
    pub(crate) subject_claim: &'static [&'static str],
    pub(crate) tenant_claim: &'static [&'static str],
    pub(crate) audience_claim: Option<&'static str>,
    pub(crate) audience_may_be_client: bool,
    pub(crate) required_claims: &'static [&'static str],
    pub(crate) forbidden_claims: &'static [&'static str],
    pub(crate) discovery: Discovery,
}

/// Accepted where nothing else is said.
const COMMON: &[&str] = &["RS256", "PS256", "ES256", "EdDSA"];

/// Without a profile: any signed JWT that is not visibly something else than an access token.
pub(crate) const GENERIC: Profile = Profile {
    name: "",
    algorithms: COMMON,
    strict: false,
    scope_claim: &["scope", "scp"],
    client_claim: &["client_id", "azp", "cid", "appid"],
    subject_claim: &["sub"],
    tenant_claim: &["tid", "org_id", "hd"],
    audience_claim: None,
    audience_may_be_client: false,
    required_claims: &[],
    forbidden_claims: &[],
    discovery: Discovery::Auto,
};

/// Every profile by name.
pub(crate) const PROFILES: &[Profile] = &[
    Profile {
        name: "auth0",
        algorithms: &["RS256", "PS256"],
        scope_claim: &["scope"],
        client_claim: &["client_id", "azp"],
        tenant_claim: &["org_id"],
        ..GENERIC
    },
    Profile {
        name: "authentik",
        scope_claim: &["scope"],
        client_claim: &["azp"],
        tenant_claim: &[],
        audience_may_be_client: true,
        // Its ID tokens have neither, and name the same audience.
        required_claims: &["azp", "scope"],
        discovery: Discovery::OpenId,
        ..GENERIC
    },
    Profile {
        name: "cognito",
        algorithms: &["RS256"],
        scope_claim: &["scope"],
        client_claim: &["client_id"],
        tenant_claim: &[],
        audience_claim: Some("client_id"),
        required_claims: &["client_id", "token_use"],
        discovery: Discovery::OpenId,
        ..GENERIC
    },
    Profile {
        name: "entra",
        algorithms: &["RS256"],
        scope_claim: &["scp"],
        client_claim: &["azp", "appid"],
        // `sub` differs from application to application; `oid` is the person in the tenant.
        subject_claim: &["oid"],
        tenant_claim: &["tid"],
        required_claims: &["oid", "tid"],
        discovery: Discovery::OpenId,
        ..GENERIC
    },
    // Its access tokens are opaque; this row is for its ID tokens, which it refuses.
    Profile {
        name: "google",
        algorithms: &["RS256"],
        scope_claim: &["scope"],
        client_claim: &["azp"],
        tenant_claim: &["hd"],
        audience_may_be_client: true,
        required_claims: &["azp", "scope"],
        discovery: Discovery::OpenId,
        ..GENERIC
    },
    Profile {
        name: "keycloak",
        scope_claim: &["scope"],
        client_claim: &["azp", "client_id"],
        tenant_claim: &[],
        // `Bearer`; its ID tokens say `ID` here, and refresh tokens `Refresh`.
        required_claims: &["typ"],
        ..GENERIC
    },
    Profile {
        name: "okta",
        algorithms: &["RS256", "ES256"],
        scope_claim: &["scp"],
        client_claim: &["cid"],
        // `sub` is a login, which can be given to somebody else.
        subject_claim: &["uid", "sub"],
        tenant_claim: &[],
        required_claims: &["cid", "jti"],
        ..GENERIC
    },
    Profile {
        name: "ping",
        algorithms: &["RS256", "ES256"],
        scope_claim: &["scope"],
        client_claim: &["client_id"],
        tenant_claim: &["env"],
        required_claims: &["client_id"],
        discovery: Discovery::OpenId,
        ..GENERIC
    },
    Profile {
        name: "rfc9068",
        strict: true,
        scope_claim: &["scope"],
        client_claim: &["client_id"],
        tenant_claim: &[],
        ..GENERIC
    },
];

/// The profile of that name.
pub(crate) fn find(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

#[cfg(test)]
mod tests {
    use super::{GENERIC, PROFILES, find};

    #[test]
    fn is_sorted_and_each_has_what_a_caller_needs() {
        assert!(PROFILES.is_sorted_by(|one, next| one.name < next.name));
        for profile in PROFILES.iter().chain([&GENERIC]) {
            assert!(!profile.algorithms.is_empty() && !profile.subject_claim.is_empty(), "{}", profile.name);
            assert!(!profile.client_claim.is_empty() && !profile.scope_claim.is_empty(), "{}", profile.name);
            assert!(profile.algorithms.iter().all(|name| !name.starts_with("HS")), "{}", profile.name);
        }
        assert!(find("").is_none() && find("entra").is_some());
    }
}

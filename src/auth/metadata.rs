//! Protected resource metadata (RFC 9728): where it is served and what it says.

mod attestation;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

pub(crate) use self::attestation::{Attestation, AttestationError};
use super::challenge::usable;
use crate::clock::Timestamp;
use crate::config;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The URL of the document of `resource`: the well-known path is inserted between host and path (RFC 9728 section 3.1).
pub fn location(resource: &str) -> String {
    let (origin, path) = split(resource);
    format!("{origin}{WELL_KNOWN}{path}")
}

/// The path of [`location`] on the resource's own origin.
pub fn path(resource: &str) -> String {
    format!("{WELL_KNOWN}{}", split(resource).1)
}

/// Origin and path; the path `/` counts as empty.
fn split(resource: &str) -> (&str, &str) {
    let host = resource.find("://").map_or(0, |at| at + 3);
    let end = resource.get(host..).and_then(|rest| rest.find(['/', '?'])).map_or(resource.len(), |at| host + at);
    let (origin, path) = resource.split_at_checked(end).unwrap_or((resource, ""));
    (origin, if path == "/" { "" } else { path })
}

/// A metadata document (RFC 9728 section 2): resource identifier and issuers exactly as configured.
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    resource: &'a str,
    authorization_servers: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scopes_supported: Vec<&'a str>,
    bearer_methods_supported: [&'a str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_documentation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_policy_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_tos_uri: Option<&'a str>,
    /// Localized members such as `resource_name#de` (section 2.1).
    #[serde(flatten)]
    localized: BTreeMap<String, &'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_client_certificate_bound_access_tokens: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    authorization_details_types_supported: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    dpop_signing_alg_values_supported: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dpop_bound_access_tokens_required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_metadata: Option<String>,
}

impl<'a> Document<'a> {
    /// The document of `resource`, unsigned.
    pub(crate) fn new(
        resource: &'a str,
        issuers: impl IntoIterator<Item = &'a str>,
        scopes: impl IntoIterator<Item = &'a str>,
        resource_name: Option<&'a str>,
        access: &'a config::Access,
    ) -> Self {
        let (metadata, dpop) = (&access.metadata, access.dpop.as_ref());
        Self {
            resource,
            authorization_servers: issuers.into_iter().collect(),
            scopes_supported: usable(scopes).collect(),
            bearer_methods_supported: ["header"],
            resource_name,
            resource_documentation: metadata.documentation.as_ref().map(url::Url::as_str),
            resource_policy_uri: metadata.policy_uri.as_ref().map(url::Url::as_str),
            resource_tos_uri: metadata.tos_uri.as_ref().map(url::Url::as_str),
            localized: metadata.languages.iter().flat_map(|(tag, said)| localized(tag, said)).collect(),
            tls_client_certificate_bound_access_tokens: access.mtls.is_some(),
            authorization_details_types_supported: &metadata.authorization_details_types,
            dpop_signing_alg_values_supported: dpop.map(|dpop| &*dpop.algorithms).unwrap_or_default(),
            dpop_bound_access_tokens_required: dpop.is_some_and(|dpop| dpop.required),
            jwks_uri: None,
            signed_metadata: None,
        }
    }

    /// Adds `signed_metadata` (section 2.2). Differences from the document are passed to `differing`. Errs if it is unusable.
    pub(crate) fn vouched_for(
        mut self,
        attestation: &'a Attestation,
        now: Timestamp,
        differing: &mut dyn FnMut(String),
    ) -> Result<Self, AttestationError> {
        self.jwks_uri = attestation.keys();
        if let Ok(Value::Object(members)) = serde_json::to_value(&self) {
            self.signed_metadata = attestation.statement(&members, now, differing)?;
        }
        Ok(self)
    }

    /// The document, as served.
    pub(crate) fn to_bytes(&self) -> Bytes {
        // Strings and lists of strings always serialise.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// The members of one language.
fn localized<'a>(tag: &str, said: &'a config::Localized) -> impl Iterator<Item = (String, &'a str)> {
    let page = |url: &'a Option<url::Url>| url.as_ref().map(url::Url::as_str);
    let members = [
        ("resource_name", said.resource_name.as_deref()),
        ("resource_documentation", page(&said.documentation)),
        ("resource_policy_uri", page(&said.policy_uri)),
        ("resource_tos_uri", page(&said.tos_uri)),
    ];
    let named = members.map(|(name, value)| value.map(|value| (format!("{name}#{tag}"), value)));
    named.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::{Document, location, path};
    use crate::config::{Access, Dpop, Localized, Metadata, Mtls};

    #[test]
    fn rfc_9728_inserts_the_well_known_path_before_the_path() {
        for (resource, url) in [
            ("https://h", "https://h/.well-known/oauth-protected-resource"),
            ("https://h/", "https://h/.well-known/oauth-protected-resource"),
            ("https://h/mcp", "https://h/.well-known/oauth-protected-resource/mcp"),
            ("https://h:8443/a/mcp", "https://h:8443/.well-known/oauth-protected-resource/a/mcp"),
            ("https://h/a/mcp/", "https://h/.well-known/oauth-protected-resource/a/mcp/"),
            ("https://h/mcp?t=1", "https://h/.well-known/oauth-protected-resource/mcp?t=1"),
            ("https://h?t=1", "https://h/.well-known/oauth-protected-resource?t=1"),
            ("http://[::1]:8080/crm/mcp", "http://[::1]:8080/.well-known/oauth-protected-resource/crm/mcp"),
        ] {
            assert_eq!(location(resource), url);
            assert!(url.ends_with(&path(resource)));
        }
    }

    #[test]
    fn says_what_clients_need_and_nothing_empty() {
        let access = Access::default();
        let full = Document::new(
            "https://mcp.example.com/crm/mcp",
            ["https://t.auth0.com/", "https://login.example.com/realms/acme"],
            ["crm:read", "offline_access"],
            Some("CRM \"live\""),
            &access,
        )
        .to_bytes();
        assert_eq!(
            std::str::from_utf8(&full).unwrap(),
            "{\"resource\":\"https://mcp.example.com/crm/mcp\",\"authorization_servers\":[\"https://t.auth0.com/\",\"https://login.example.com/realms/acme\"],\
             \"scopes_supported\":[\"crm:read\"],\"bearer_methods_supported\":[\"header\"],\"resource_name\":\"CRM \\\"live\\\"\"}"
        );
        let least = Document::new("https://h/mcp", ["https://i"], [], None, &access).to_bytes();
        assert_eq!(
            std::str::from_utf8(&least).unwrap(),
            "{\"resource\":\"https://h/mcp\",\"authorization_servers\":[\"https://i\"],\"bearer_methods_supported\":[\"header\"]}"
        );
    }
    #[test]
    fn says_everything_that_is_configured() {
        let access = Access {
            dpop: Some(Dpop { required: true, algorithms: vec!["ES256".into()], ..Dpop::default() }),
            mtls: Some(Mtls::default()),
            metadata: Metadata {
                documentation: Some("https://docs.example.com/crm".parse().unwrap()),
                policy_uri: Some("https://example.com/policy".parse().unwrap()),
                tos_uri: Some("https://example.com/terms".parse().unwrap()),
                authorization_details_types: vec!["crm_record".into()],
                languages: [
                    ("de".to_owned(), Localized { resource_name: Some("Kundendaten".into()), ..Localized::default() }),
                    (
                        "pt-BR".to_owned(),
                        Localized {
                            tos_uri: Some("https://example.com/termos".parse().unwrap()),
                            ..Localized::default()
                        },
                    ),
                ]
                .into(),
                signed: None,
            },
            ..Access::default()
        };
        let full: serde_json::Value =
            serde_json::from_slice(&Document::new("https://h/mcp", ["https://i"], [], None, &access).to_bytes())
                .unwrap();
        assert_eq!(
            full,
            serde_json::json!({
                "resource": "https://h/mcp", "authorization_servers": ["https://i"],
                "bearer_methods_supported": ["header"],
                "resource_documentation": "https://docs.example.com/crm",
                "resource_policy_uri": "https://example.com/policy", "resource_tos_uri": "https://example.com/terms",
                "resource_name#de": "Kundendaten", "resource_tos_uri#pt-BR": "https://example.com/termos",
                "tls_client_certificate_bound_access_tokens": true,
                "authorization_details_types_supported": ["crm_record"],
                "dpop_signing_alg_values_supported": ["ES256"], "dpop_bound_access_tokens_required": true,
            })
        );
    }
}

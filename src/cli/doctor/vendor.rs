//! What is known about identity providers beyond their metadata.

use url::Url;

/// An identity provider, known by its issuer's URL.
#[derive(Debug)]
pub(in crate::cli) struct Vendor {
    pub(in crate::cli) title: &'static str,
    is: fn(host: &str, path: &str) -> bool,
    /// What its tokens say they are for.
    pub(in crate::cli) audience: &'static str,
    /// What to do about that.
    pub(in crate::cli) fix: &'static str,
    /// The value of `profile` for it; `None` if nothing can be verified about its access tokens.
    pub(in crate::cli) profile: Option<&'static str>,
    pub(in crate::cli) refuses_resource: bool,
    /// Whether its metadata leaves out that it does PKCE.
    pub(in crate::cli) is_silent_about_pkce: bool,
}

const VENDORS: &[Vendor] = &[
    Vendor {
        title: "Auth0",
        is: |host, _| host.ends_with(".auth0.com"),
        audience: "tokens are opaque unless the server is registered as an API",
        fix: "register the server's URL as an API identifier and make it the default audience; `profile = \"auth0\"`",
        profile: Some("auth0"),
        refuses_resource: false,
        is_silent_about_pkce: false,
    },
    Vendor {
        title: "authentik",
        is: |_, path| path.starts_with("/application/o/"),
        audience: "`aud` is the client id",
        fix: "`profile = \"authentik\"`, and the client ids in `audiences`",
        profile: Some("authentik"),
        refuses_resource: false,
        is_silent_about_pkce: false,
    },
    Vendor {
        title: "Amazon Cognito",
        is: |host, _| host.starts_with("cognito-idp.") && host.ends_with(".amazonaws.com"),
        audience: "access tokens have no `aud`",
        fix: "`profile = \"cognito\"`, which takes `client_id` in its place, and the client ids in `audiences`",
        profile: Some("cognito"),
        refuses_resource: false,
        is_silent_about_pkce: true,
    },
    Vendor {
        title: "Google",
        is: |host, _| host == "accounts.google.com",
        audience: "access tokens are opaque",
        fix: "put a broker such as Keycloak between",
        profile: None,
        refuses_resource: false,
        is_silent_about_pkce: false,
    },
    Vendor {
        title: "Keycloak",
        is: |_, path| path.contains("/realms/"),
        audience: "tokens name the server only with an Audience mapper",
        fix: "add an Audience mapper with the server's URL to a default client scope; `profile = \"keycloak\"`",
        profile: Some("keycloak"),
        refuses_resource: false,
        is_silent_about_pkce: false,
    },
    Vendor {
        title: "Microsoft Entra",
        is: |host, _| matches!(host, "login.microsoftonline.com" | "login.microsoftonline.us" | "sts.windows.net"),
        audience: "`aud` is the API's client id",
        fix: "`profile = \"entra\"`, and clients that can leave `resource` out (mcp-remote --disable-resource-parameter), \
              or a broker between",
        profile: Some("entra"),
        refuses_resource: true,
        is_silent_about_pkce: true,
    },
    Vendor {
        title: "Okta",
        is: |host, _| host.ends_with(".okta.com") || host.ends_with(".oktapreview.com"),
        audience: "each authorization server has one fixed audience; those of the org's own server are opaque",
        fix: "use a custom authorization server, and put its audience into `audiences`; `profile = \"okta\"`",
        profile: Some("okta"),
        refuses_resource: false,
        is_silent_about_pkce: false,
    },
    Vendor {
        title: "PingOne",
        is: |host, _| host.starts_with("auth.pingone."),
        audience: "`aud` is the audience of the resource that was set up",
        fix: "`profile = \"ping\"`, and that audience in `audiences`",
        profile: Some("ping"),
        refuses_resource: false,
        is_silent_about_pkce: false,
    },
];

/// Whose issuer it is, if that can be told from its URL.
pub(in crate::cli) fn of(issuer: &str) -> Option<&'static Vendor> {
    let url = Url::parse(issuer).ok()?;
    VENDORS.iter().find(|vendor| (vendor.is)(url.host_str().unwrap_or_default(), url.path()))
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn knows_issuers_by_their_urls() {
        for (issuer, title) in [
            ("https://acme.eu.auth0.com/", Some("Auth0")),
            ("https://id.example.com/application/o/crm/", Some("authentik")),
            ("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x", Some("Amazon Cognito")),
            ("https://accounts.google.com", Some("Google")),
            ("https://login.example.com/realms/acme", Some("Keycloak")),
            ("https://login.microsoftonline.com/tid/v2.0", Some("Microsoft Entra")),
            ("https://acme.okta.com/oauth2/default", Some("Okta")),
            ("https://auth.pingone.eu/env/as", Some("PingOne")),
            ("https://login.microsoftonline.com.example.com/tid/v2.0", None),
            ("https://login.example.com", None),
            ("accounts.google.com", None),
        ] {
            assert_eq!(of(issuer).map(|vendor| vendor.title), title, "{issuer}");
        }
    }
}

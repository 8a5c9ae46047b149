//! Keys of `upstream_auth` and of what belongs to it.

use super::{Kind, Table, key, table};

pub(crate) static UPSTREAM_AUTH: Table = Table {
    keys: &[
        key("type", Kind::Text, "\"bearer\""),
        key("username", Kind::Text, "\"portcullis\""),
        key("password", Kind::Secret, "{ file = \"/run/secrets/crm-password\" }"),
        key("token", Kind::Secret, "{ file = \"/run/secrets/crm-token\" }"),
        key("name", Kind::Text, "\"X-Api-Key\""),
        key("value", Kind::Secret, "{ file = \"/run/secrets/crm-key\" }"),
        key("issuer", Kind::Text, "\"https://login.example.com/realms/acme\""),
        key("token_endpoint", Kind::Text, "\"https://login.example.com/token\""),
        key("revocation_endpoint", Kind::Text, "\"https://login.example.com/revoke\""),
        key("client_id", Kind::Text, "\"portcullis\""),
        key("auth_method", Kind::Text, "\"client_secret_basic\""),
        key("client_secret", Kind::Secret, "{ file = \"/run/secrets/client\" }"),
        key("private_key_file", Kind::Text, "\"client.pem\""),
        key("key_id", Kind::Text, "\"k1\""),
        key("assertion_audience", Kind::Text, "\"https://login.example.com/token\""),
        key("client_certificate", Kind::Table(&KEY_PAIR), "{ cert_file = \"client.crt\", key_file = \"client.key\" }"),
        key("ca_file", Kind::Text, "\"login-ca.pem\""),
        key("audience", Kind::TextOrTexts, "\"crm-api\""),
        key("resource", Kind::TextOrTexts, "\"https://crm.example.com/mcp\""),
        key("scopes", Kind::TextOrTexts, "[\"crm.use\"]"),
        key("subject_token_type", Kind::Text, "\"urn:ietf:params:oauth:token-type:access_token\""),
        key("requested_token_type", Kind::Text, "\"urn:ietf:params:oauth:token-type:access_token\""),
        key("actor_token", Kind::Secret, "{ file = \"/run/secrets/actor\" }"),
        key("actor_token_type", Kind::Text, "\"urn:ietf:params:oauth:token-type:jwt\""),
        key(
            "authorization_server",
            Kind::Table(&SERVER),
            "{ issuer = \"https://auth.example.com\", client_id = \"portcullis\" }",
        ),
    ],
    // What the types of later versions are written with.
    later: &["assertion", "region", "service"],
    synonyms: &[
        ("audiences", "audience"),
        ("header", "name"),
        ("kind", "type"),
        ("private_key", "private_key_file"),
        ("resources", "resource"),
        ("scope", "scopes"),
        ("token_url", "token_endpoint"),
        ("user", "username"),
    ],
};

static SERVER: Table = Table {
    keys: &[
        key("issuer", Kind::Text, "\"https://auth.example.com\""),
        key("token_endpoint", Kind::Text, "\"https://auth.example.com/token\""),
        key("revocation_endpoint", Kind::Text, "\"https://auth.example.com/revoke\""),
        key("client_id", Kind::Text, "\"portcullis\""),
        key("auth_method", Kind::Text, "\"client_secret_basic\""),
        key("client_secret", Kind::Secret, "{ file = \"/run/secrets/client\" }"),
        key("private_key_file", Kind::Text, "\"client.pem\""),
        key("key_id", Kind::Text, "\"k1\""),
        key("assertion_audience", Kind::Text, "\"https://auth.example.com/token\""),
        key("client_certificate", Kind::Table(&KEY_PAIR), "{ cert_file = \"client.crt\", key_file = \"client.key\" }"),
        key("ca_file", Kind::Text, "\"auth-ca.pem\""),
    ],
    later: &[],
    synonyms: &[("private_key", "private_key_file"), ("token_url", "token_endpoint")],
};

pub(super) static KEY_PAIR: Table = Table {
    keys: &[key("cert_file", Kind::Text, "\"client.crt\""), key("key_file", Kind::Text, "\"client.key\"")],
    later: &[],
    synonyms: &[("cert", "cert_file"), ("certificate", "cert_file"), ("key", "key_file")],
};

pub(super) static IDENTITY: Table = Table {
    keys: &[
        key("headers", Kind::Map, "{ X-Forwarded-User = \"sub\" }"),
        key("jwt", Kind::Table(&IDENTITY_JWT), "{ key_file = \"identity.pem\" }"),
    ],
    later: &[],
    synonyms: &[],
};

static IDENTITY_JWT: Table = table(&[
    key("header", Kind::Text, "\"X-Portcullis-Identity\""),
    key("key_file", Kind::Text, "\"identity.pem\""),
    key("audience", Kind::Text, "\"https://crm.internal\""),
    key("lifetime", Kind::Duration, "\"60s\""),
    key("claims", Kind::Texts, "[\"email\"]"),
]);

//! Keys of `[issuers.NAME]`.

use super::grant::KEY_PAIR;
use super::{Kind, Table, key};

pub(super) static ISSUER: Table = Table {
    keys: &[
        key("issuer", Kind::Text, "\"https://login.example.com/realms/acme\""),
        key("profile", Kind::Text, "\"keycloak\""),
        key("jwks_uri", Kind::Text, "\"https://login.example.com/realms/acme/keys\""),
        key("discovery", Kind::Text, "\"auto\""),
        key("algorithms", Kind::Texts, "[\"RS256\", \"ES256\"]"),
        key("scope_claim", Kind::TextOrTexts, "\"scope\""),
        key("scope_prefixes", Kind::Map, "{ roles = \"role:\" }"),
        key("client_claim", Kind::TextOrTexts, "\"client_id\""),
        key("subject_claim", Kind::TextOrTexts, "\"sub\""),
        key("tenant_claim", Kind::TextOrTexts, "\"tid\""),
        key("clock_skew", Kind::Duration, "\"60s\""),
        key("max_lifetime", Kind::Duration, "\"24h\""),
        key("strict", Kind::Flag, "true"),
        key("tenants", Kind::Texts, "[\"11111111-2222-3333-4444-555555555555\"]"),
        key("audience_claim", Kind::Text, "\"client_id\""),
        key("audience_may_be_client", Kind::Flag, "true"),
        key("max_audiences", Kind::Whole, "1"),
        key("required_claims", Kind::Texts, "[\"jti\"]"),
        key("forbidden_claims", Kind::Texts, "[\"nonce\"]"),
        key("jwks", Kind::Table(&JWKS), "{ cache_ttl = \"10m\" }"),
        key("introspection", Kind::Table(&INTROSPECTION), "{ endpoint = \"https://…\", client_id = \"portcullis\" }"),
        key("revocation_file", Kind::Text, "\"revoked.jsonl\""),
        key("signals", Kind::Table(&SIGNALS), "{ audience = \"https://mcp.example.com\" }"),
        key("ca_file", Kind::Text, "\"issuer-ca.pem\""),
        key("insecure_loopback", Kind::Flag, "true"),
    ],
    later: &["legacy_as_metadata", "proxy"],
    synonyms: &[
        ("allowed_algorithms", "algorithms"),
        ("audience", "audience_claim"),
        ("jwks_file", "jwks_uri"),
        ("jwks_url", "jwks_uri"),
        ("leeway", "clock_skew"),
        ("provider", "profile"),
        ("revocation", "revocation_file"),
        ("scope_claims", "scope_claim"),
        ("scopes_claim", "scope_claim"),
        ("uri", "issuer"),
        ("url", "issuer"),
    ],
};

static JWKS: Table = Table {
    keys: &[
        key("cache_ttl", Kind::Duration, "\"10m\""),
        key("min_refresh_interval", Kind::Duration, "\"30s\""),
        key("max_stale", Kind::Duration, "\"24h\""),
        key("deny_kids", Kind::Texts, "[\"2026-01\"]"),
        key("on_start", Kind::Text, "\"wait\""),
    ],
    later: &["file"],
    synonyms: &[("denied_kids", "deny_kids"), ("ttl", "cache_ttl")],
};

static INTROSPECTION: Table = Table {
    keys: &[
        key("endpoint", Kind::Text, "\"https://login.example.com/introspect\""),
        key("client_id", Kind::Text, "\"portcullis\""),
        key("auth_method", Kind::Text, "\"client_secret_basic\""),
        key("client_secret", Kind::Secret, "{ file = \"/run/secrets/introspection\" }"),
        key("private_key_file", Kind::Text, "\"introspection.pem\""),
        key("key_id", Kind::Text, "\"k1\""),
        key("client_certificate", Kind::Table(&KEY_PAIR), "{ cert_file = \"client.crt\", key_file = \"client.key\" }"),
        key("when", Kind::Text, "\"opaque\""),
        key("response", Kind::Text, "\"json\""),
        key("cache_ttl", Kind::Duration, "\"60s\""),
    ],
    later: &[],
    synonyms: &[("mode", "when"), ("private_key", "private_key_file"), ("ttl", "cache_ttl"), ("url", "endpoint")],
};

static SIGNALS: Table = Table {
    keys: &[
        key("transmitter", Kind::Text, "\"https://ssf.example.com\""),
        key("jwks_uri", Kind::Text, "\"https://ssf.example.com/keys\""),
        key("audience", Kind::Text, "\"https://mcp.example.com\""),
        key("push_path", Kind::Text, "\"/signals/corp\""),
        key("push_token", Kind::Secret, "{ file = \"/run/secrets/signals\" }"),
        key("poll_endpoint", Kind::Text, "\"https://ssf.example.com/poll\""),
        key("poll_token", Kind::Secret, "{ file = \"/run/secrets/signals\" }"),
        key("poll_interval", Kind::Duration, "\"30s\""),
        key("keep", Kind::Duration, "\"24h\""),
    ],
    later: &["stream"],
    synonyms: &[("aud", "audience"), ("issuer", "transmitter"), ("path", "push_path")],
};

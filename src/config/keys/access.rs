//! Keys for what one server requires of callers.

use super::{Kind, Table, key, table};

pub(super) static DPOP: Table = Table {
    keys: &[
        key("required", Kind::Flag, "true"),
        key("nonces", Kind::Flag, "true"),
        key("proof_age", Kind::Duration, "\"60s\""),
        key("algorithms", Kind::Texts, "[\"ES256\"]"),
    ],
    later: &["shared"],
    synonyms: &[("max_age", "proof_age"), ("nonce", "nonces")],
};

pub(super) static MTLS: Table = Table {
    keys: &[key("required", Kind::Flag, "true"), key("terminators", Kind::Texts, "[\"10.0.0.5\"]")],
    later: &[],
    synonyms: &[("trusted_proxies", "terminators")],
};

pub(super) static AUTHENTICATION: Table = Table {
    keys: &[key("acr_values", Kind::Texts, "[\"phr\"]"), key("max_age", Kind::Duration, "\"8h\"")],
    later: &["amr"],
    synonyms: &[("acr", "acr_values")],
};

pub(super) static ANONYMOUS: Table =
    Table { keys: &[key("rate", Kind::Text, "\"120/min\"")], later: &["bytes"], synonyms: &[("limit", "rate")] };

pub(super) static ELICITATION: Table = Table {
    keys: &[key("url_hosts", Kind::Texts, "[\"*.example.com\"]"), key("secrets", Kind::Text, "\"refuse\"")],
    later: &[],
    synonyms: &[("hosts", "url_hosts"), ("url_host", "url_hosts")],
};

pub(super) static METADATA: Table = Table {
    keys: &[
        key("documentation", Kind::Text, "\"https://docs.example.com/crm\""),
        key("policy_uri", Kind::Text, "\"https://example.com/policy\""),
        key("tos_uri", Kind::Text, "\"https://example.com/terms\""),
        key("authorization_details_types", Kind::Texts, "[\"crm_record\"]"),
        key("languages", Kind::Named(&LOCALIZED), "{ de = { resource_name = \"Kundendaten\" } }"),
        key("signing_key_file", Kind::Text, "\"metadata.pem\""),
        key("signed_metadata_file", Kind::Text, "\"crm-metadata.jwt\""),
    ],
    later: &[],
    synonyms: &[("key_file", "signing_key_file"), ("signed_metadata", "signed_metadata_file")],
};

static LOCALIZED: Table = table(&[
    key("resource_name", Kind::Text, "\"Kundendaten\""),
    key("documentation", Kind::Text, "\"https://docs.example.com/de/crm\""),
    key("policy_uri", Kind::Text, "\"https://example.com/de/policy\""),
    key("tos_uri", Kind::Text, "\"https://example.com/de/terms\""),
]);

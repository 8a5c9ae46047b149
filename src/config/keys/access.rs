//! Keys of how callers show themselves to one server.

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

pub(super) static METADATA: Table = table(&[
    key("documentation", Kind::Text, "\"https://docs.example.com/crm\""),
    key("policy_uri", Kind::Text, "\"https://example.com/policy\""),
    key("tos_uri", Kind::Text, "\"https://example.com/terms\""),
    key("authorization_details_types", Kind::Texts, "[\"crm_record\"]"),
]);

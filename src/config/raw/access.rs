//! `servers.NAME.dpop`, `mtls`, `authentication`, `anonymous`, `elicitation` and `metadata`, as written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

type Texts = Option<Spanned<Vec<Spanned<String>>>>;

/// `servers.NAME.dpop`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Dpop {
    pub(in crate::config) required: Option<bool>,
    pub(in crate::config) nonces: Option<bool>,
    pub(in crate::config) proof_age: Option<Spanned<String>>,
    pub(in crate::config) algorithms: Texts,
}

/// `servers.NAME.mtls`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Mtls {
    pub(in crate::config) required: Option<bool>,
    pub(in crate::config) terminators: Texts,
}

/// `servers.NAME.authentication`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Authentication {
    pub(in crate::config) acr_values: Texts,
    pub(in crate::config) max_age: Option<Spanned<String>>,
}

/// `servers.NAME.anonymous`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Anonymous {
    pub(in crate::config) rate: Option<Spanned<String>>,
}

/// `servers.NAME.elicitation`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Elicitation {
    pub(in crate::config) url_hosts: Texts,
    pub(in crate::config) secrets: Option<Spanned<String>>,
}

/// `servers.NAME.metadata`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Metadata {
    pub(in crate::config) documentation: Option<Spanned<String>>,
    pub(in crate::config) policy_uri: Option<Spanned<String>>,
    pub(in crate::config) tos_uri: Option<Spanned<String>>,
    pub(in crate::config) authorization_details_types: Texts,
    pub(in crate::config) languages: Option<BTreeMap<Spanned<String>, Spanned<Localized>>>,
    pub(in crate::config) signing_key_file: Option<Spanned<String>>,
    pub(in crate::config) signed_metadata_file: Option<Spanned<String>>,
}

/// `servers.NAME.metadata.languages.TAG`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Localized {
    pub(in crate::config) resource_name: Option<Spanned<String>>,
    pub(in crate::config) documentation: Option<Spanned<String>>,
    pub(in crate::config) policy_uri: Option<Spanned<String>>,
    pub(in crate::config) tos_uri: Option<Spanned<String>>,
}

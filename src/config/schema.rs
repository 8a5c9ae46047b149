//! The JSON Schema of `proxy.toml` (2020-12), for editors: drawn from the same table of keys the reader walks by, with the
//! sentences and defaults of `proxy.toml.example`.

mod notes;

use serde_json::{Map, Value, json};

use self::notes::Notes;
use super::keys::{Kind, PROXY, SECRET, Table, UPSTREAM_AUTH};

/// A number and a unit, once or several times; `${NAME}` may stand for any of it.
const DURATION: &str = r"^\s*([0-9]+\s*[a-zµ]+\s*)+$|\$\{";
const SIZE: &str = r"^\s*[0-9]+\s*([kmgKMG]?[iI]?[bB])?\s*$|\$\{";
/// What people call issuers and servers.
const NAME: &str = "^[A-Za-z0-9_-]{1,64}$";

/// What servers call tools.
const TOOL: &str = "^[A-Za-z0-9_./-]{1,128}$";

/// Keys a table cannot be without, by the table's path.
const REQUIRED: &[(&str, &[&str])] = &[
    ("", &["server", "issuers", "servers"]),
    ("server", &["public_url"]),
    ("server.tls", &["cert_file", "key_file"]),
    ("issuers.*", &["issuer"]),
    ("issuers.*.introspection", &["endpoint", "client_id"]),
    ("issuers.*.introspection.client_certificate", &["cert_file", "key_file"]),
    ("issuers.*.signals", &["audience"]),
    ("servers.*", &["path", "policies"]),
    ("UPSTREAM_AUTH", &["type"]),
    ("UPSTREAM_AUTH.authorization_server", &["client_id"]),
    ("UPSTREAM_AUTH.client_certificate", &["cert_file", "key_file"]),
    ("UPSTREAM_AUTH.authorization_server.client_certificate", &["cert_file", "key_file"]),
    ("servers.*.upstream_client_certificate", &["cert_file", "key_file"]),
    ("servers.*.identity.jwt", &["audience", "key_file"]),
    ("audit.sinks.*", &["type"]),
    ("sealing.keys.*", &["id", "file"]),
];

/// Lists that must name something.
const NOT_EMPTY: &[&str] = &[
    "server.listen",
    "issuers.*.algorithms",
    "issuers.*.client_claim",
    "issuers.*.scope_claim",
    "issuers.*.subject_claim",
    "issuers.*.tenants",
    "servers.*.authentication.acr_values",
    "servers.*.dpop.algorithms",
    "servers.*.metadata.authorization_details_types",
    "servers.*.policies",
    "servers.*.issuers",
    "servers.*.audiences",
    "audit.sinks",
];

/// Keys that are one of a few words in every version.
const WORDS: &[(&str, &[&str])] = &[
    ("server.proxy_protocol", &["off", "optional", "required"]),
    ("server.forwarded_header", &["forwarded", "off", "x-forwarded-for"]),
    ("server.tls.client_certificates", &["any", "off", "optional", "required"]),
    ("issuers.*.profile", &["auth0", "authentik", "cognito", "entra", "google", "keycloak", "okta", "ping", "rfc9068"]),
    ("issuers.*.discovery", &["auto", "oauth", "openid"]),
    ("issuers.*.jwks.on_start", &["serve", "wait"]),
    ("issuers.*.introspection.auth_method", &AUTH_METHODS),
    ("UPSTREAM_AUTH.type", &UPSTREAM_TYPES),
    ("UPSTREAM_AUTH.auth_method", &AUTH_METHODS),
    ("UPSTREAM_AUTH.authorization_server.auth_method", &AUTH_METHODS),
    ("issuers.*.introspection.when", &["always", "opaque"]),
    ("issuers.*.introspection.response", &["json", "jwt"]),
    ("audit.arguments", &["hash", "none"]),
    ("audit.on_error", &["block", "drop"]),
    ("servers.*.era", &["auto", "legacy", "modern", "pass"]),
    ("servers.*.transport", &["auto", "sse", "streamable_http"]),
    ("telemetry.log_format", &["auto", "json", "pretty"]),
];

const UPSTREAM_TYPES: [&str; 9] =
    ["basic", "bearer", "client_credentials", "header", "id_jag", "mtls", "none", "on_behalf_of", "token_exchange"];
const AUTH_METHODS: [&str; 5] =
    ["client_secret_basic", "client_secret_post", "private_key_jwt", "self_signed_tls_client_auth", "tls_client_auth"];

/// The schema.
pub(crate) fn schema() -> Value {
    let notes = Notes::read();
    let mut schema = table(&PROXY, "", &notes);
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        members.insert("title".into(), "Portcullis: proxy.toml".into());
    }
    schema
}

fn table(table: &Table, path: &str, notes: &Notes) -> Value {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let properties: Map<String, Value> = table
        .keys
        .iter()
        .map(|key| {
            (
                key.name.to_owned(),
                described(value(key.kind, &below(key.name), notes), &below(key.name), key.example, notes),
            )
        })
        .collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let required = REQUIRED.iter().find(|(of, _)| *of == path).map_or(&[][..], |(_, keys)| keys);
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn value(kind: Kind, path: &str, notes: &Notes) -> Value {
    let below = format!("{path}.*");
    let least = usize::from(NOT_EMPTY.contains(&path));
    let texts = || json!({ "type": "array", "items": { "type": "string" }, "minItems": least });
    match kind {
        Kind::Duration => json!({ "type": "string", "pattern": DURATION }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Moment | Kind::Text => match WORDS.iter().find(|(of, _)| *of == path) {
            Some((_, words)) => json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": r"\$\{" }] }),
            None => json!({ "type": "string" }),
        },
        // What one tool is shown with is what its server is shown with, under the tool's own name.
        Kind::Named(tables) if std::ptr::eq(tables, &raw const UPSTREAM_AUTH) => json!({
            "type": "object", "additionalProperties": false,
            "patternProperties": { TOOL: table(tables, "UPSTREAM_AUTH", notes) },
        }),
        Kind::Table(schema) if std::ptr::eq(schema, &raw const UPSTREAM_AUTH) => table(schema, "UPSTREAM_AUTH", notes),
        Kind::Named(tables) => json!({
            "type": "object", "minProperties": 1, "additionalProperties": false,
            "patternProperties": { NAME: table(tables, &below, notes) },
        }),
        Kind::Secret => {
            let mut secret = table(&SECRET, "SECRET", notes);
            secret["minProperties"] = 1.into();
            secret["maxProperties"] = 1.into();
            secret
        }
        Kind::Size => json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": SIZE }] }),
        Kind::Table(schema) => table(schema, path, notes),
        Kind::Tables(schema) => json!({ "type": "array", "items": table(schema, &below, notes), "minItems": least }),
        Kind::Texts => texts(),
        Kind::TextOrTexts => json!({ "anyOf": [{ "type": "string" }, texts()] }),
        Kind::Map => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Whole => json!({ "type": "integer", "minimum": 0 }),
    }
}

fn described(mut schema: Value, path: &str, example: &str, notes: &Notes) -> Value {
    if let Some(sentence) = notes.sentence(path) {
        schema["description"] = sentence.into();
    }
    if let Some(default) = notes.default_of(path) {
        schema["default"] = default.clone();
    }
    if let Some(example) = notes::toml_value(example) {
        schema["examples"] = json!([example]);
    }
    schema
}

#[cfg(test)]
mod tests;

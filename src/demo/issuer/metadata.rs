//! The documents clients and proxies discover: RFC 8414, OIDC Discovery 1.0, and the key set.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{ClientDocuments, SCOPES, Shared};
use crate::demo::lock;
use crate::demo::web::{self, Body};

/// RFC 8414 2, with `protected_resources` of RFC 9728 4 and the flag of RFC 9207 3.
pub(super) fn oauth(shared: &Shared) -> Response<Body> {
    cached(web::json(StatusCode::OK, &document(shared)), 300)
}

/// The same document with what OIDC Discovery 3 makes mandatory. No ID tokens are issued.
pub(super) fn openid(shared: &Shared) -> Response<Body> {
    let mut document = document(shared);
    document["subject_types_supported"] = json!(["public"]);
    document["id_token_signing_alg_values_supported"] = json!(["ES256"]);
    document["claims_supported"] = json!(["sub", "iss", "aud", "email", "department"]);
    cached(web::json(StatusCode::OK, &document), 300)
}

/// The public keys.
pub(super) fn keys(shared: &Shared) -> Response<Body> {
    let keys = lock(&shared.keys).public();
    cached(web::json(StatusCode::OK, &keys), shared.settings.keys_max_age.as_secs())
}

fn document(shared: &Shared) -> Value {
    let url = &shared.url;
    let scopes: Vec<&str> = SCOPES.iter().map(|(name, _)| *name).collect();
    let mut document = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "registration_endpoint": format!("{url}/register"),
        "jwks_uri": format!("{url}/jwks"),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    if shared.settings.client_documents == ClientDocuments::Fetched {
        document["client_id_metadata_document_supported"] = json!(true);
    }
    if !shared.settings.resources.is_empty() {
        document["protected_resources"] = json!(shared.settings.resources);
    }
    document
}

fn cached(mut response: Response<Body>, seconds: u64) -> Response<Body> {
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={seconds}")) {
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    response
}

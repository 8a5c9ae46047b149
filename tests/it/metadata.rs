//! The metadata document of a server: in the languages of its readers, and vouched for.

use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, jwk};
use serde_json::{Value, json};

use crate::support::{Ask, Proxy, Setup, Upstream};

const PATH: &str = "/.well-known/oauth-protected-resource/crm/mcp";
const LANGUAGES: &str = "[servers.crm.metadata.languages]\nde = { resource_name = \"Kundendaten\" }\n\
    pt-BR = { documentation = \"https://docs.example.com/pt/crm\" }\n";

async fn document(proxy: &Proxy) -> Value {
    proxy.ask(&Ask::new("GET").target(PATH)).await.json()
}

/// Section 2.2: with the proxy's own key, that whoever has the key set can check.
#[tokio::test]
async fn rfc_9728_signed_metadata_says_what_the_document_says() {
    let upstream = Upstream::plain().await;
    let pair = rcgen::KeyPair::generate().unwrap();
    let tables = format!("[servers.crm.metadata]\nsigning_key_file = \"metadata.pem\"\n{LANGUAGES}");
    let setup = Setup::new(upstream.url()).file("metadata.pem", pair.serialize_pem()).tables(&tables);
    let proxy = setup.start().await;
    let mut document = document(&proxy).await;
    assert_eq!(document["resource_name#de"], "Kundendaten");
    assert_eq!(document["resource_documentation#pt-BR"], "https://docs.example.com/pt/crm");
    assert_eq!(document["jwks_uri"], "https://gw.test/.well-known/portcullis/jwks.json");
    let keys: jwk::JwkSet = serde_json::from_value(proxy.ask_raw("/.well-known/portcullis/jwks.json").await).unwrap();
    let signed = document.as_object_mut().unwrap().remove("signed_metadata").unwrap();
    let signed = signed.as_str().unwrap();
    let header = jsonwebtoken::decode_header(signed).unwrap();
    assert_eq!(header.typ.as_deref(), Some("portcullis-metadata+jwt"));
    let key = DecodingKey::from_jwk(keys.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&["https://gw.test"]);
    (validation.validate_aud, validation.validate_exp) = (false, false);
    validation.set_required_spec_claims(&["iss"]);
    let mut claims = jsonwebtoken::decode::<Value>(signed, &key, &validation).unwrap().claims;
    let own = claims.as_object_mut().unwrap();
    assert!(own.remove("iss").is_some() && own.remove("iat").is_some_and(|iat| iat.is_i64()));
    assert_eq!(claims, document);
    // It opens nothing here.
    assert_eq!(proxy.ask(&Ask::modern("tools/list", &json!({})).token(signed)).await.status, 401);
    assert!(upstream.take().is_empty());
}

/// What somebody else vouches for is served as it was given.
#[tokio::test]
async fn a_given_statement_is_served_to_the_byte() {
    let upstream = Upstream::plain().await;
    let claims = json!({ "iss": "https://federation.test", "resource": "https://gw.test/crm/mcp" });
    let jwt = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(&[7; 32])).unwrap();
    let tables = "[servers.crm.metadata]\nsigned_metadata_file = \"crm.jwt\"\n";
    let setup = Setup::new(upstream.url()).file("crm.jwt", format!("{jwt}\n")).tables(tables);
    let proxy = setup.start().await;
    let document = document(&proxy).await;
    assert_eq!(document["signed_metadata"], jwt);
    // It is signed with no key of ours.
    assert!(document.get("jwks_uri").is_none());
    let keys = proxy.ask(&Ask::new("GET").target("/.well-known/portcullis/jwks.json")).await;
    assert_eq!(keys.status, 404);
}

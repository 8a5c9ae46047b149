//! Public documents: the metadata of the servers, and the public keys of the proxy.

use std::sync::Arc;

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt as _};
use serde_json::Value;

use super::push;
use crate::auth::metadata::{self, Attestation, Document};
use crate::clock::Timestamp;
use crate::config::{Config, Problem, Problems, Server};
use crate::route::Route;

/// The path of the JWK set (RFC 7517 section 5) that verifies the proxy's identity tokens and signed metadata.
const OWN_KEYS: &str = "/.well-known/portcullis/jwks.json";

/// All documents, by path. The metadata of a server is at the path form of its URL, and at the root form too if there is
/// exactly one server (RFC 9728 section 3.1): two resources on one origin cannot both match the root form.
pub(super) fn all(
    config: &Config,
    routes: &HashMap<Box<str>, Arc<Route>>,
    problems: &mut Problems,
) -> HashMap<Box<str>, Bytes> {
    let mut documents = HashMap::new();
    let mut keys: Vec<Value> = Vec::new();
    for server in config.servers.values() {
        let Some(route) = routes.get(server.path.as_str()) else { continue };
        let attestation = attestation(config, server, problems);
        let document = document(config, server, route, attestation.as_ref(), problems);
        if config.servers.len() == 1 {
            documents.insert(metadata::path("").into(), document.clone());
        }
        documents.insert(metadata::path(&server.resource).into(), document);
        let own = route.credentials.identity_key().into_iter().chain(attestation.as_ref().and_then(Attestation::key));
        for key in own {
            // A key may be used by several servers, and for both purposes.
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
    }
    if !keys.is_empty() {
        documents.insert(OWN_KEYS.into(), serde_json::json!({ "keys": keys }).to_string().into());
    }
    documents
}

fn attestation(config: &Config, server: &Server, problems: &mut Problems) -> Option<Attestation> {
    let signed = server.access.metadata.signed.as_ref()?;
    let origin = config.server.public_url.origin().ascii_serialization();
    let read = Attestation::read(signed, &origin, OWN_KEYS);
    read.map_err(|error| push(problems, config, server, "metadata", &error)).ok()
}

fn document(
    config: &Config,
    server: &Server,
    route: &Route,
    attestation: Option<&Attestation>,
    problems: &mut Problems,
) -> Bytes {
    let issuers = route.acceptance.issuers.iter().map(|issuer| &**issuer.issuer());
    let scopes = route.scopes.iter().map(|scope| &**scope);
    let plain = Document::new(&server.resource, issuers, scopes, server.resource_name.as_deref(), &server.access);
    let Some(attestation) = attestation else { return plain.to_bytes() };
    let mut differing = Vec::new();
    let vouched = plain.vouched_for(attestation, Timestamp::now(), &mut |said| differing.push(said));
    for said in differing {
        let key = format!("servers.{}.metadata", server.name);
        problems.push(Problem::warning(&config.source(), config.place(&key), format!("{key}: {said}"), ""));
    }
    match vouched {
        Ok(document) => document.to_bytes(),
        Err(error) => {
            push(problems, config, server, "metadata", &error);
            Bytes::new()
        }
    }
}

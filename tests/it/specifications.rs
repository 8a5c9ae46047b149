//! What the specifications of OAuth and MCP say of a resource server, each by its name, as its clients see it.

use portcullis::clock::Timestamp;
use serde_json::{Value, json};

use crate::hostile::Signer;
use crate::support::{Ask, Setup, Upstream, json_answer, token_of};

const METADATA: &str = "https://gw.test/.well-known/oauth-protected-resource/crm/mcp";

fn call(tool: &str) -> Ask {
    Ask::call("2026-07-28", tool, &json!({}))
}

fn search() -> Ask {
    call("search_contacts")
}

/// Sections 2.1, 3 and 3.1: a token in the header and nowhere else, and a challenge for each way to fail.
#[tokio::test]
async fn rfc_6750_each_failure_has_its_status_and_challenge() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    let mut claims = token_of(&proxy.issuer, "ana");
    claims.insert("exp".into(), json!(Timestamp::now().unix_seconds() - 600));
    let expired = proxy.mint(&claims);
    let bearer = |rest: &str| format!("Bearer resource_metadata=\"{METADATA}\"{rest}");
    let malformed = |text: &str| bearer(&format!(", error=\"invalid_request\", error_description=\"{text}\""));
    let write = call("update_contact").token(&token);
    for (name, ask, status, challenge) in [
        ("nothing", search(), 401, bearer(", scope=\"crm:read\"")),
        ("another scheme", search().header("Authorization", "Basic YTpi"), 401, bearer(", scope=\"crm:read\"")),
        (
            "expired",
            search().token(&expired),
            401,
            bearer(", error=\"invalid_token\", scope=\"crm:read\", error_description=\"The access token expired\""),
        ),
        (
            "no token",
            search().header("Authorization", "Bearer"),
            400,
            malformed("The Authorization header is malformed"),
        ),
        (
            "not token68",
            search().header("Authorization", "Bearer a\"b"),
            400,
            malformed("The Authorization header is malformed"),
        ),
        (
            "two",
            search().token(&token).header("Authorization", &format!("Bearer {token}")),
            400,
            malformed("More than one Authorization header"),
        ),
        (
            "in the query",
            search().target(&format!("/crm/mcp?access_token={token}")),
            400,
            malformed("Access tokens are not accepted in the query string"),
        ),
        (
            "in the query beside the header",
            search().token(&token).target(&format!("/crm/mcp?a=b&access_token={token}")),
            400,
            malformed("Access tokens are not accepted in the query string"),
        ),
    ] {
        let answer = proxy.ask(&ask).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (status, Some(challenge.as_str())), "{name}");
        assert_eq!(upstream.take().len(), 0, "{name}");
    }
    let answer = proxy.ask(&write).await;
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(
        answer.status == 403 && challenge.contains("error=\"insufficient_scope\"") && challenge.contains("crm:write"),
        "{answer:?}"
    );
    // The name of the scheme is in no case (section 2.1 with RFC 9110 section 11.1).
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(proxy.ask(&search().header("Authorization", &format!("{scheme} {token}"))).await.status, 200);
    }
}

/// Appendix A.2 idea, on the wire: no token with one changed byte is the token.
#[tokio::test]
async fn rfc_7515_no_changed_byte_verifies() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let good = proxy.token("ana");
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let answer = proxy.ask(&search().token(std::str::from_utf8(&bytes).unwrap())).await;
        // A changed key id may be looked for, and the issuer answers that it has none.
        assert_eq!(answer.status, 401, "byte {at}: {answer:?}");
    }
    assert_eq!(upstream.take().len(), 0);
    assert_eq!(proxy.ask(&search().token(&good)).await.status, 200);
}

/// Section 2.2: `Ed25519` says what `EdDSA` said of a key of that curve, and neither is taken for another curve's.
#[tokio::test]
async fn rfc_9864_ed25519_and_eddsa_are_one() {
    let signer = Signer::ed25519();
    let keys = json!({ "keys": [signer.jwk("k1")] }).to_string();
    let published = Upstream::answering(move |_| json_answer(200, &keys)).await;
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).issuer_keys(&format!("jwks_uri = \"{}\"", published.url())).start().await;
    let claims = Value::Object(token_of(&proxy.issuer, "ana"));
    for (alg, status) in [("Ed25519", 200), ("EdDSA", 200), ("Ed448", 401), ("ed25519", 401), ("ES256", 401)] {
        let token = signer.token(&json!({ "alg": alg, "typ": "at+jwt", "kid": "k1" }), &claims);
        assert_eq!(proxy.ask(&search().token(&token)).await.status, status, "{alg}");
    }
}

/// Sections 2, 3 and 3.1: one document for each server, at the path form, with the identifier to the byte.
#[tokio::test]
async fn rfc_9728_each_server_has_its_document() {
    let upstream = Upstream::plain().await;
    let wiki = format!(
        "[servers.wiki]\npath = \"/a/wiki\"\nupstream = \"{}\"\npolicies = [\"crm.toml\"]\nissuers = [\"corp\"]\n",
        upstream.url()
    );
    let proxy = Setup::new(upstream.url()).tables(&wiki).start().await;
    for path in ["/crm/mcp", "/a/wiki"] {
        let ask = Ask::new("GET").target(&format!("/.well-known/oauth-protected-resource{path}"));
        for ask in [ask.clone(), ask.header("X-Forwarded-Host", "evil.test")] {
            let answer = proxy.ask(&ask).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("*")), "{answer:?}");
            assert!(answer.header("cache-control").unwrap().contains("max-age="));
            let document = answer.json();
            assert_eq!(document["resource"], format!("https://gw.test{path}"));
            assert_eq!(document["authorization_servers"], json!([proxy.issuer.url()]));
            assert_eq!(document["bearer_methods_supported"], json!(["header"]));
            let empty = document.as_object().unwrap().values().any(|value| value == &json!([]) || value.is_null());
            assert!(!empty, "{document}");
        }
    }
    // With two servers the one of the origin would be neither's; and what is none has none.
    for path in ["", "/", "/wiki", "/crm", "/crm/mcp/x"] {
        let answer = proxy.ask(&Ask::new("GET").target(&format!("/.well-known/oauth-protected-resource{path}"))).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
}

/// Section 2.2: a token is for one server, whoever else shares its issuer.
#[tokio::test]
async fn rfc_8707_a_token_for_one_server_opens_no_other() {
    let upstream = Upstream::plain().await;
    let wiki = format!(
        "[servers.wiki]\npath = \"/wiki/mcp\"\nupstream = \"{}\"\npolicies = [\"crm.toml\"]\nissuers = [\"corp\"]\n",
        upstream.url()
    );
    let proxy = Setup::new(upstream.url()).tables(&wiki).start().await;
    let with = |aud: Value| {
        let mut claims = token_of(&proxy.issuer, "ana");
        claims.insert("aud".into(), aud);
        proxy.mint(&claims)
    };
    let (crm, wiki) = ("https://gw.test/crm/mcp", "https://gw.test/wiki/mcp");
    for (aud, at_crm, at_wiki) in [
        (json!(crm), 200, 401),
        (json!(wiki), 401, 200),
        (json!([crm, wiki]), 200, 200),
        (json!([crm, "account"]), 200, 401),
        (json!(format!("{crm}/")), 200, 401),
        (json!("HTTPS://GW.TEST/crm/mcp"), 401, 401),
        (json!("https://gw.test:443/crm/mcp"), 200, 401),
        (json!("https://gw.test/"), 401, 401),
    ] {
        let token = with(aud.clone());
        // Twice, so that what is remembered of one server says nothing at the other.
        for _ in 0..2 {
            assert_eq!(proxy.ask(&search().token(&token)).await.status, at_crm, "{aud}");
            assert_eq!(proxy.ask(&search().token(&token).target("/wiki/mcp")).await.status, at_wiki, "{aud}");
        }
    }
}

/// "Authorization" of each revision: 401 with the way to the metadata, then a call, then 403 with every scope, then a call.
#[tokio::test]
async fn mcp_authorization_from_nothing_to_a_step_up() {
    for revision in ["2025-06-18", "2025-11-25", "2026-07-28"] {
        let upstream = Upstream::plain().await;
        let proxy = Setup::new(upstream.url()).start().await;
        let call =
            |tool: &str, arguments: Value| Ask::call(revision, tool, &arguments).with("MCP-Protocol-Version", revision);
        for ask in [call("search_contacts", json!({})), Ask::new("GET"), Ask::new("DELETE")] {
            let answer = proxy.ask(&ask).await;
            assert_eq!(answer.status, 401, "{revision} {}: {answer:?}", ask.method);
            let named = answer.header("www-authenticate").unwrap().split("resource_metadata=\"").nth(1).unwrap();
            assert_eq!(named.split('"').next(), Some(METADATA), "{revision}");
        }
        let document = proxy.ask_raw("/.well-known/oauth-protected-resource/crm/mcp").await;
        assert_eq!(document["authorization_servers"][0], proxy.issuer.url());
        let ana = proxy.token("ana");
        assert_eq!(proxy.ask(&call("search_contacts", json!({})).token(&ana)).await.status, 200, "{revision}");
        let update = || call("update_contact", json!({ "id": "c-001", "fields": {} }));
        let refused = proxy.ask(&update().token(&ana)).await;
        let challenge = refused.header("www-authenticate").unwrap();
        assert_eq!(refused.status, 403, "{revision}: {refused:?}");
        assert!(challenge.contains("insufficient_scope") && challenge.contains("crm:write"), "{revision}: {challenge}");
        let mut wider = token_of(&proxy.issuer, "ana");
        wider.insert("scope".into(), json!("crm:read crm:write"));
        assert_eq!(proxy.ask(&update().token(&proxy.mint(&wider))).await.status, 200, "{revision}");
        assert_eq!(upstream.take().len(), 2, "{revision}");
    }
}

/// MCP carries trace context in `_meta`, where it goes on; the header of the same name is of this hop and ends here.
#[tokio::test]
async fn w3c_trace_context_goes_on_in_the_message() {
    let upstream = Upstream::plain().await;
    let proxy = Setup::new(upstream.url()).start().await;
    let token = proxy.token("ana");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let params = json!({ "name": "search_contacts", "arguments": {}, "_meta": { "traceparent": parent } });
    let ask =
        Ask::modern("tools/call", &params).token(&token).header("traceparent", parent).header("Forwarded", "for=1");
    assert_eq!(proxy.ask(&ask).await.status, 200);
    let heard = upstream.take().pop().unwrap();
    assert_eq!(heard.json()["params"]["_meta"]["traceparent"], parent);
    assert!(!heard.names().iter().any(|name| name == "traceparent" || name == "forwarded"), "{:?}", heard.names());
}
